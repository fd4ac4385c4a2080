"""Laws and facts in; the terms that run (or have run out), and which of a decision's have not begun, out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from residency.model import Clock, Decision, FactSet, SinkVerdict, deadline
from residency.policy.parsed import LawDoc

__all__ = ["begun_terms", "moment", "term_word", "unbegun"]


def begun_terms(laws: Iterable[LawDoc], facts: FactSet) -> tuple[Clock, ...]:
    """Every term of the laws whose event has happened, with its deadline (microseconds), sorted.

    Of one that several laws write the earliest deadline counts. Whether anything leans on it is not asked here.
    """
    found: dict[str, Clock] = {}
    for law in laws:
        for rule in law.rules:
            for grace in rule.graces:
                began = facts.event(grace.event, law.jurisdiction)
                if began is None:
                    continue
                ends = deadline(began, grace.term, law.calendar)
                known = found.get(grace.token)
                if known is None or known.deadline is None or ends < known.deadline:
                    found[grace.token] = Clock(grace.token, grace.event, law.jurisdiction, ends)
    return tuple(sorted(found.values(), key=lambda clock: clock.token))


def unbegun(decision: Decision, verdict: SinkVerdict | None) -> tuple[Clock, ...]:
    """The terms that the decision, and the sink's verdict, lean on and that have no deadline yet."""
    clocks = decision.clocks if verdict is None else (*decision.clocks, *verdict.clocks)
    return tuple(dict.fromkeys(clock for clock in clocks if clock.deadline is None))


def term_word(clock: Clock) -> str:
    """A term as an entry tells it: until when it runs, where that is known."""
    return clock.token if clock.deadline is None else f"{clock.token} {moment(clock.deadline)}"


def moment(at: int) -> str:
    """An instant (microseconds) for people: to the second, UTC."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return "the end of the calendar"
