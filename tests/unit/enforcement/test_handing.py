"""Whose instance serves a person where this one refuses: theirs, if the place is what stands against it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.enforcement.handing import home_for
from residency.model import Decision, Duty, Effect, Finding, Pin, Reason, Sink, SinkVerdict

PLACES = ("VN", "DE")
REFUSED = Decision(
    activity=None, effect=Effect.DENY, mode="enforce", reason=Reason.ONLY_IN_COUNTRY, duty=Duty(), sinks=(), rules=(),
    observed=(), jurisdictions=("SG", "VN"), presumed=(), finding=Finding(), evidence=frozenset(), policy="", epoch=0,
)  # fmt: skip


def pin(home: str) -> Pin:
    return Pin("s", home, (), "a", "act", "p", 0)


@pytest.mark.parametrize(
    ("decision", "known", "expected"),
    [
        (REFUSED, None, "VN"),
        (replace(REFUSED, duty=Duty(only=frozenset({"DE"}))), None, "DE"),
        (REFUSED, pin("DE"), "DE"),
        (REFUSED, pin("VN-HN"), "VN"),
        (REFUSED, pin("FR"), None),
        (replace(REFUSED, jurisdictions=("FR",)), None, None),
        (replace(REFUSED, mode="observe"), None, None),
    ],
)
def test_home_is_the_pins_else_where_data_may_lie_else_whose_law_covers(
    decision: Decision, known: Pin | None, expected: str | None
) -> None:
    assert home_for(PLACES, decision, known, Reason.ONLY_IN_COUNTRY) == expected


def test_only_a_refusal_because_of_the_place_sends_a_person_home() -> None:
    sent = {reason for reason in Reason if home_for(PLACES, REFUSED, None, reason) is not None}
    assert sent == {
        Reason.ONLY_IN_COUNTRY,
        Reason.NOT_HOME,
        Reason.DETAIL_ABROAD,
        Reason.CANNOT_BE_TREATED,
        Reason.NO_SINK,
        Reason.STOP_ORDER,
    }
    assert home_for((), REFUSED, None, Reason.NOT_HOME) is None


def test_a_person_whose_data_may_rest_where_it_does_and_may_not_be_read_here_is_sent_home() -> None:
    sink = Sink("vn", "vn-han", "VN", "VN", "VN", True)
    read = replace(
        REFUSED, reason=Reason.FILING_MISSING, evidence=frozenset({"reader:SG"}),
        sinks=(SinkVerdict(sink, Effect.PERMIT, None),),
    )  # fmt: skip
    assert home_for(PLACES, read, None, Reason.FILING_MISSING) == "VN"
    for other in (
        replace(read, evidence=frozenset({"identity:phone"})),
        replace(read, sinks=(SinkVerdict(sink, Effect.DENY, Reason.FILING_MISSING),)),
        replace(read, reason=None),
    ):
        assert home_for(PLACES, other, None, Reason.FILING_MISSING) is None
