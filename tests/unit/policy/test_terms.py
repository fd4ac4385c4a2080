"""Terms that have begun, with their ends; those of a decision that have not."""

from __future__ import annotations

from dataclasses import replace

from residency.model import NEUTRAL, Clock, Decision, Effect, Event, FactSet, Finding, Sink, SinkVerdict
from residency.policy.parsed import LawDoc
from residency.policy.parser import parse_law
from residency.policy.terms import begun_terms, moment, unbegun

LAW = """
residency: 1
kind: law
jurisdiction: VN
instrument: Test
time_zone: "+07:00"
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: high, source: a test}
rules:
  - id: vn.transfer
    article: art. 1
    text: Within 60 days.
    applies: {anchor: territory, sink: {abroad: true}}
    duty: {require: [{any: "filing:vn.dossier", within: 60 days, after: first_transfer}]}
  - id: vn.use
    article: art. 2
    text: Within 24 hours.
    applies: {anchor: territory}
    duty: {require: [{any: "filing:vn.use", within: 24 hours, after: in_use}]}
"""
NOON = 1_767_268_800_000_000  # 2026-01-01 12:00 UTC


def law(zone: str = "+07:00") -> LawDoc:
    return parse_law(LAW.replace("+07:00", zone).encode(), "test.yaml", "vn/test")


def test_a_term_is_told_once_its_event_has_happened_with_its_end_on_the_laws_clocks() -> None:
    assert begun_terms([law()], FactSet(0)) == ()
    (term,) = begun_terms([law()], FactSet(0, events=(Event("first_transfer", "VN", NOON),)))
    assert (term.token, term.event, term.place) == ("clock:first_transfer.VN/60-days", "first_transfer", "VN")
    assert term.deadline is not None
    assert moment(term.deadline) == "2026-03-02T17:00:00Z"


def test_of_two_calendars_the_earlier_end_counts_and_events_elsewhere_begin_nothing() -> None:
    facts = FactSet(0, events=(Event("first_transfer", "VN", NOON), Event("in_use", "LA", 0)))
    (term,) = begun_terms([law(), law("+09:00")], facts)
    assert term.deadline is not None
    assert moment(term.deadline) == "2026-03-02T15:00:00Z"


def test_a_decision_and_a_verdict_tell_which_of_their_terms_have_no_end_yet() -> None:
    new, old = Clock("clock:a.VN/1-day", "a", "VN", None), Clock("clock:b.VN/1-day", "b", "VN", 5)
    sink = Sink("sg", "sg", "SG", "SG", "SG", encrypted=True)
    verdict = SinkVerdict(sink, Effect.PERMIT, None, clocks=(old, new))
    decision = Decision(
        None, Effect.PERMIT, "enforce", None, NEUTRAL, (verdict,), (), (), (), (), Finding(), frozenset(), "", 0
    )
    assert unbegun(decision, None) == ()
    assert unbegun(decision, verdict) == (new,)
    assert unbegun(replace(decision, clocks=(new, old)), verdict) == (new,)


def test_an_instant_past_the_calendar_has_a_word() -> None:
    assert moment(1 << 62) == "the end of the calendar"
