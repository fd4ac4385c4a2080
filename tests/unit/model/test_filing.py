"""Records of the register: when each may be relied on, and the evidence that they give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.model import Event, Exemption, FactSet, Filing, FilingResult, StopOrder

DOSSIER = Filing("vn.dossier", "9", 10, FilingResult.FILED, expires=50)


@pytest.mark.parametrize(("now", "stands"), [(9, False), (10, True), (49, True), (50, False)])
def test_a_filing_stands_from_its_date_until_it_expires(now: int, stands: bool) -> None:
    assert DOSSIER.stands(now) is stands


@pytest.mark.parametrize("result", FilingResult)
def test_only_what_is_filed_or_passed_stands(result: FilingResult) -> None:
    stands = result in (FilingResult.FILED, FilingResult.PASSED)
    assert replace(DOSSIER, result=result).stands(10) is stands


def test_later_results_change_whether_it_stands() -> None:
    changed = replace(DOSSIER, changes=((20, FilingResult.SUSPENDED), (30, FilingResult.PASSED)))
    assert [changed.result_at(now) for now in (19, 20, 30)] == [
        FilingResult.FILED,
        FilingResult.SUSPENDED,
        FilingResult.PASSED,
    ]
    assert [changed.stands(now) for now in (19, 20, 30)] == [True, False, True]


def test_filings_are_evidence_everywhere_or_at_the_sinks_that_they_are_bounded_to() -> None:
    bounded = replace(DOSSIER, kind="vn.sink", sinks=frozenset({"sg"}))
    facts = FactSet(0, filings=(DOSSIER, bounded))
    assert facts.tokens(10) == {"filing:vn.dossier"}
    assert facts.sink_tokens("sg", 10) == {"filing:vn.sink"}
    assert facts.sink_tokens("vn", 10) == frozenset()
    assert facts.tokens(9) == facts.sink_tokens("sg", 9) == frozenset()


def test_the_first_event_of_a_kind_and_place_counts() -> None:
    facts = FactSet(0, events=(Event("first_transfer", "VN", 7), Event("first_transfer", "VN", 5), Event("x", "VN", 1)))
    assert facts.event("first_transfer", "VN") == 5
    assert facts.event("first_transfer", "LA") is None


def test_exemptions_and_stop_orders_hold_from_their_first_instant_until_just_before_their_last() -> None:
    exemption = Exemption("X", frozenset({"r"}), "CISO", "art. 1", 10, 20)
    assert [exemption.holds(now) for now in (9, 10, 19, 20)] == [False, True, True, False]
    facts = FactSet(0, stop_orders=(StopOrder("1", "sg", 10, 20), StopOrder("2", "*", 15)))
    assert [facts.stopped(now) for now in (9, 10, 15, 20)] == [
        frozenset(),
        frozenset({"sg"}),
        frozenset({"sg", "*"}),
        frozenset({"*"}),
    ]
