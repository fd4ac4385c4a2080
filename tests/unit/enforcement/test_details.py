"""A person's detail lies in each country whose law covers them; where it may not lie, nothing is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from residency.adapters.detail_files import DetailFiles
from residency.adapters.journal_memory import JournalMemory
from residency.audit.detail import commit, parse_detail
from residency.audit.detail_head import Head, parse_record
from residency.audit.detail_terms import Keeping
from residency.audit.recall import Basis
from residency.enforcement.current import Current
from residency.enforcement.details import Details
from residency.enforcement.request import Refusal
from residency.errors import Refused
from residency.model import Bound, Duty, Pin, Reason, Retention
from tests.detail_world import open_detail
from tests.world import HANOI, SINGAPORE, handling

pytestmark = pytest.mark.anyio
KEY = bytes(range(32))
YEAR = Retention("log", Bound.AT_LEAST, 12, 0, "creation")
MONTH = Retention("log", Bound.AT_MOST, 0, 30, "creation")
DAY = 86_400_000_000
Worlds = Callable[..., Any]


class Places:
    """The journals of two countries, and a world that keeps details in them."""

    def __init__(self, make_world: Worlds, keeping: Keeping, **options: Any) -> None:
        self.vn, self.sg = JournalMemory(), JournalMemory()
        files = DetailFiles({"VN": self.vn, "SG": self.sg}, lambda country: KEY, lambda size: bytes(size))
        self.world = make_world(details=files, keeping=keeping, **options)

    def heads(self, country: str) -> list[Head]:
        records = (self.vn if country == "VN" else self.sg).records
        return [parsed[0] for record in records if (parsed := parse_record(record)) is not None]


def duty(here: Current, **changes: Any) -> Any:
    return replace(here.decision, duty=replace(here.decision.duty, **changes))


async def test_the_head_names_the_entry_of_the_log_and_the_subjects_alias(make_world: Worlds) -> None:
    places = Places(make_world, Keeping({"VN": "VN"}))
    here = places.world.admit("POST", "/people", who="an")
    places.world.recorder.decision(here.decision, here.alias, here.detail, here.basis)
    ((head, entry),) = [(head, entry) for head in places.heads("VN") for entry in places.world.entries]
    assert (head.origin, head.entry, head.commitment, head.alias, head.at) == (
        "test", entry.id, entry.detail, entry.subject, entry.at
    )  # fmt: skip
    assert head.keeping == "none"


async def test_a_person_under_two_laws_has_one_detail_in_both_countries_each_kept_as_its_law_asks(
    make_world: Worlds,
) -> None:
    owners = {YEAR: frozenset({"VN"}), MONTH: frozenset({"SG"})}
    places = Places(make_world, Keeping({"VN": "VN", "SG": "SG"}, owners))
    here = places.world.admit("GET", "/plain")
    both = replace(here.decision, jurisdictions=("VN", "SG"), duty=Duty(retain=frozenset({YEAR, MONTH})))
    places.world.recorder.decision(both, None, here.detail, here.basis)
    (one,), (other,) = places.heads("VN")[1:], places.heads("SG")
    assert one.commitment == other.commitment == places.world.entries[-1].detail
    assert (one.keeping, other.keeping) == ("log>=12m", "log<=30d")
    began = datetime.fromtimestamp(one.at / 1e6, UTC)
    assert one.keep_until is not None
    ends = datetime.fromtimestamp(one.keep_until / 1e6, UTC)
    assert (ends.year, ends.hour, ends.minute) == (began.year + 1, 0, 0)
    assert (one.erase_by, other.keep_until) == (None, None)
    told = [
        open_detail(place, journal.records[-1], KEY)[1] for place, journal in (("VN", places.vn), ("SG", places.sg))
    ]
    assert told[0] == told[1]
    assert commit(told[0]) == one.commitment
    assert parse_detail(told[0])["address"] == HANOI


async def test_terms_count_from_the_day_of_each_entry_however_long_its_decision_is_remembered(
    make_world: Worlds,
) -> None:
    places = Places(make_world, Keeping({"VN": "VN"}))
    here = places.world.admit("GET", "/plain")
    asked = duty(here, retain=frozenset({YEAR}))
    for _ in range(3):
        places.world.recorder.decision(asked, None, {}, Basis(0))
        places.world.clock.advance(2 * DAY)
    ends = [head.keep_until for head in places.heads("VN")[1:]]
    assert [end is not None and end - (ends[0] or 0) for end in ends] == [0, 2 * DAY, 4 * DAY]


async def test_an_act_is_kept_as_its_sinks_rules_ask_too(make_world: Worlds) -> None:
    places = Places(make_world, Keeping({"VN": "VN"}))
    here = places.world.admit("POST", "/people", who="an")
    verdict = here.decision.sinks[0]
    asked = replace(verdict, duty=replace(verdict.duty, retain=frozenset({YEAR})))
    decision = replace(here.decision, sinks=(asked, *here.decision.sinks[1:]))
    places.world.recorder.intent(decision, verdict.sink.name, "write", here.alias, {}, Basis(0))
    places.world.recorder.decision(decision, here.alias, {}, Basis(0))
    assert [head.keeping for head in places.heads("VN")] == ["log>=12m", "none"]


async def test_the_terms_that_are_remembered_are_bounded(make_world: Worlds) -> None:
    places = Places(make_world, Keeping({"VN": "VN"}))
    here = places.world.admit("GET", "/plain")
    for epoch in range(5000):
        places.world.recorder.decision(replace(here.decision, epoch=epoch), None, {}, Basis(0))
    details = places.world.recorder._details
    assert isinstance(details, Details)
    assert len(details._known) <= 4096


async def test_where_only_lets_it_lie_in_one_country_it_lies_there_alone(make_world: Worlds) -> None:
    places = Places(make_world, Keeping({"VN": "VN", "SG": "SG"}))
    here = places.world.admit("GET", "/plain")
    both = replace(here.decision, jurisdictions=("SG", "VN"), duty=Duty(only=frozenset({"VN"})))
    places.world.recorder.decision(both, None, {}, Basis(0))
    assert (len(places.heads("VN")), len(places.heads("SG"))) == (2, 0)
    assert places.world.recorder.barred(both) is None


ABROAD = Keeping({"VN": "SG"})
"""Detail of Vietnam is spooled in Singapore, sealed."""


async def test_a_request_whose_detail_may_not_be_spooled_abroad_is_refused_and_leaves_no_detail(
    make_world: Worlds,
) -> None:
    places = Places(make_world, ABROAD)
    answer = places.world.admit("POST", "/people", who="an")  # the law keeps personal data in Vietnam
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.DETAIL_ABROAD
    (entry,) = places.world.entries
    assert (entry.kind, entry.reason, entry.effect, entry.detail) == ("refusal", "detail_abroad", "deny", None)
    assert (places.vn.records, places.sg.records) == ([], [])


async def test_a_request_that_no_law_keeps_at_home_is_recorded_in_the_spool(make_world: Worlds) -> None:
    places = Places(make_world, ABROAD)
    assert isinstance(places.world.admit("GET", "/plain"), Current)
    assert len(places.heads("VN")) == 1


async def test_who_is_not_covered_is_served_abroad_as_before(make_world: Worlds) -> None:
    places = Places(make_world, ABROAD)
    assert isinstance(places.world.admit("POST", "/people", SINGAPORE, who="an"), Current)


async def test_identify_refuses_whom_it_finds_barred(make_world: Worlds) -> None:
    places = Places(make_world, ABROAD)
    here = places.world.admit("POST", "/sign-up")
    with handling(here), pytest.raises(Refused) as refused:
        await here.identify("an", {}, verified=True)
    assert refused.value.reason == "detail_abroad"
    assert [entry.kind for entry in places.world.entries] == ["refusal"]


async def test_an_act_is_refused_whose_decision_has_come_to_bar_it(make_world: Worlds) -> None:
    places = Places(make_world, ABROAD)
    here = places.world.admit("POST", "/people", SINGAPORE, who="an")
    details = places.world.recorder._details
    assert isinstance(details, Details)
    places.world.recorder._details = details.under(Keeping({"SG": "VN", "VN": "VN"}))
    here.decision = replace(here.decision, jurisdictions=("SG",), duty=Duty(only=frozenset({"SG"})))
    places.world.point.refresh = lambda current: None
    with handling(here), pytest.raises(Refused) as refused:
        here.begin("people", "sg")
    assert refused.value.reason == "detail_abroad"
    assert places.world.intents == []


async def test_a_deployment_that_only_observes_refuses_nobody_and_spools_nothing_that_may_not_be(
    make_world: Worlds,
) -> None:
    places = Places(make_world, ABROAD, replace=[("mode: enforce", "mode: observe")])
    assert isinstance(places.world.admit("POST", "/people", who="an"), Current)
    assert places.vn.records == []


async def test_a_pin_is_kept_in_a_country_that_may_have_it_and_for_the_time_that_nobody_asks(
    make_world: Worlds,
) -> None:
    places = Places(make_world, Keeping({"VN": "VN"}))
    here = places.world.admit("POST", "/people", who="an")
    with handling(here):
        act = here.begin("people", "vn")
        await act.confirm()
        act.outcome("committed")
    head = places.heads("VN")[-1]
    assert (head.keeping, head.alias, head.keep_until) == ("pin", here.pin.alias, None)
    assert head.entry == places.world.entries[-1].id
    assert head.due > head.at + 89 * DAY


@pytest.mark.parametrize(
    ("places", "kept"), [({"SG": "SG", "VN": "VN"}, "VN"), ({"SG": "SG"}, None), ({"SG": "SG", "VN": "SG"}, None)]
)
async def test_a_pin_is_kept_nowhere_but_where_only_lets_it_lie(
    make_world: Worlds, places: dict[str, str], kept: str | None
) -> None:
    all_of = Places(make_world, Keeping({"SG": "SG", "VN": "VN"}))
    here = all_of.world.admit("POST", "/people", who="an")
    with handling(here):
        act = here.begin("people", "vn")
        await act.confirm()
        act.outcome("committed")
    details = all_of.world.recorder._details
    assert isinstance(details, Details)
    before = len(all_of.heads("SG")), len(all_of.heads("VN"))
    told = details.under(Keeping(places)).keep_pin(here.pin, "0.9", 0, ("SG", "VN"), frozenset({"VN"}))
    more = len(all_of.heads("SG")) - before[0], len(all_of.heads("VN")) - before[1]
    assert (told is not None, more) == (kept is not None, (0, 0 if kept is None else 1))


async def write(places: Places, **claims: str) -> None:
    here = places.world.admit("POST", "/people", who="an")
    with handling(here):
        if claims:
            await here.identify("an", claims, verified=True)
        act = here.begin("people", "vn")
        await act.confirm()
        act.outcome("committed")


async def moved_pin(places: Places) -> tuple[int, int]:
    """How many details of a move by a stronger signal lie in (VN, SG)."""
    await write(places)
    before = pins_in(places)
    await write(places, citizenship="VN")
    vn, sg = pins_in(places)
    return vn - before[0], sg - before[1]


def pins_in(places: Places) -> tuple[int, int]:
    vn, sg = (sum(head.keeping == "pin" for head in places.heads(country)) for country in ("VN", "SG"))
    return vn, sg


async def test_a_pin_that_a_stronger_signal_moves_is_kept_where_the_decision_lets_it_lie(make_world: Worlds) -> None:
    assert await moved_pin(Places(make_world, Keeping({"VN": "VN", "SG": "SG"}))) == (1, 0)
    # Nothing of a person whose data stays in Vietnam is spooled abroad, nor kept for another country.
    observed = [("mode: enforce", "mode: observe")]
    assert await moved_pin(Places(make_world, Keeping({"VN": "SG", "SG": "SG"}), replace=observed)) == (0, 0)
    assert await moved_pin(Places(make_world, Keeping({"SG": "SG"}), replace=observed)) == (0, 0)


@pytest.mark.parametrize(
    ("places", "kept"),
    [
        ({"SG": "SG", "VN": "VN"}, (1, 0)),
        ({"SG": "SG", "VN": "SG"}, (0, 0)),  # its home has a place, abroad: sealed or not, it is not for us to send it
        ({"SG": "SG"}, (0, 1)),  # its home has none: an older pin must not come back instead of this one
    ],
)
async def test_a_pin_that_an_operator_moves_is_kept_at_its_home_or_where_there_is_none_elsewhere(
    make_world: Worlds, places: dict[str, str], kept: tuple[int, int]
) -> None:
    both = Places(make_world, Keeping({"VN": "VN", "SG": "SG"}))
    details = both.world.recorder._details
    assert isinstance(details, Details)
    both.world.recorder._details = details.under(Keeping(places))
    pin = Pin("d1", "VN", (), "ab" * 16, "operator", "p", 1)
    _, intent = both.world.recorder.pin_intent(pin, "operator: ticket 7")
    both.world.recorder.pin_outcome(intent, "committed", pin)
    assert (len(both.heads("VN")), len(both.heads("SG"))) == kept
