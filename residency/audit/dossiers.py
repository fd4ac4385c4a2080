"""Flows abroad, a policy and the facts in; which dossiers are due, until when, and what they leave out, out.

A law that wants a filing within a term of the first transfer starts a clock. It starts with the earlier of the event
that stands in the facts and the first transfer of the log that the law's rules speak of; two that do not agree are a
finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from residency.audit.transfers import Flow
from residency.model import FactSet, Filing, FilingResult, deadline
from residency.model.calendar import Calendar
from residency.policy.compiler import Policy
from residency.policy.parsed import Grace

__all__ = ["SENTENCES", "Dossier", "State", "dossiers"]

_FILING: Final = "filing:"
_ABROAD: Final = frozenset({"abroad", "provider_abroad", "keys_abroad"})


class State(StrEnum):
    """How far a dossier is (LAW.md section 2, L 20.2)."""

    NOT_NEEDED = "not_needed"
    CLOCK_RUNNING = "clock_running"
    OVERDUE = "overdue"
    FILED = "filed"
    PASSED = "passed"
    FAILED = "failed"
    SUSPENDED = "suspended"
    EXPIRED = "expired"


_NOT_NOTED: Final = "dossier_event_not_noted"
_EARLIER: Final = "dossier_event_later_than_the_log"
SENTENCES: Final = {
    "dossier_overdue": "overdue",
    "dossier_failed": "failed",
    "dossier_suspended": "suspended",
    "dossier_expired": "expired",
    "dossier_late": "filed after its term",
    "dossier_not_mentioned": "no filing that stands mentions",
    _NOT_NOTED: "the log has a first transfer, and the facts have no event of it",
    _EARLIER: "the log has an earlier transfer than the event that stands",
}
_BAD: Final = frozenset({State.OVERDUE, State.FAILED, State.SUSPENDED, State.EXPIRED})


@dataclass(frozen=True, slots=True)
class Dossier:
    """One filing that a law wants because of flows abroad, at one instant. Instants in microseconds.

    `first` is the first transfer in the log that its rules speak of, `noted` the event as it stands in the facts,
    `began` the earlier of both, from which `deadline` counts. `began_on`, `last_day` and the numbers of days are days
    on the law's clocks, `offset` minutes east of UTC; `days_left` is 0 on the last day. `not_mentioned` are flows to
    sinks that no filing which stands names; `begun_after` those that began only after the newest filing, which cannot
    have known of them.
    """

    jurisdiction: str
    filing: str
    event: str
    term: str
    rules: tuple[str, ...]
    state: State
    first: int | None
    noted: int | None
    began: int | None
    deadline: int | None
    began_on: date | None
    last_day: date | None
    offset: int
    days_since: int | None
    days_left: int | None
    filings: tuple[Filing, ...]
    flows: tuple[Flow, ...]
    not_mentioned: tuple[Flow, ...]
    begun_after: tuple[Flow, ...]
    disagreement: str | None

    @property
    def late(self) -> bool:
        """Whether it was filed, and after its term."""
        return bool(self.filings) and self.deadline is not None and self.filings[0].date >= self.deadline

    def amiss(self) -> Iterator[tuple[str, str]]:
        """What is amiss: (a code, the activity and sink that it is about or "")."""
        if self.state in _BAD:
            yield f"dossier_{self.state.value}", ""
        if self.disagreement is not None:
            yield self.disagreement, ""
        if self.late:
            yield "dossier_late", ""
        for flow in self.not_mentioned if self.filings else ():
            yield "dossier_not_mentioned", f"{flow.key.activity} > {flow.key.sink}"

    def problems(self) -> Iterator[str]:
        """What is amiss, in sentences."""
        for code, about in self.amiss():
            yield f"{self.filing} ({self.jurisdiction}): {SENTENCES[code]}" + (f": {about}" if about else "")

    def data(self) -> dict[str, Any]:
        """The dossier as plain JSON values; flows by activity and sink."""
        return {
            "jurisdiction": self.jurisdiction,
            "filing": self.filing,
            "event": self.event,
            "term": self.term,
            "rules": list(self.rules),
            "state": self.state.value,
            "first_in_log": self.first,
            "noted": self.noted,
            "began": self.began,
            "deadline": self.deadline,
            "began_on": None if self.began_on is None else self.began_on.isoformat(),
            "last_day": None if self.last_day is None else self.last_day.isoformat(),
            "days_since": self.days_since,
            "days_left": self.days_left,
            "filings": [
                {
                    "number": filing.number,
                    "date": filing.date,
                    "on": _there(filing.date, self.offset).isoformat(),
                    "result": filing.result.value,
                }
                for filing in self.filings
            ],
            "not_mentioned": [[f.key.activity, f.key.sink] for f in self.not_mentioned],
            "begun_after_filing": [[f.key.activity, f.key.sink] for f in self.begun_after],
            "late": self.late,
            "disagreement": self.disagreement,
        }


def dossiers(policy: Policy, facts: FactSet, flows: Iterable[Flow], now: int) -> tuple[Dossier, ...]:
    """Every filing that a law of `policy` wants within a term of a transfer, with what is known of it at `now`
    (microseconds), in order of jurisdiction and filing."""
    known = tuple(flows)
    found: dict[tuple[str, str, str], tuple[set[str], Grace, Calendar]] = {}
    for law in policy.laws:
        for rule in law.rules:
            cited = any(rule.id in ground.rules for flow in known for ground in flow.grounds)
            kinds = set() if rule.sink is None else {rule.sink.kind, *rule.sink.also}
            if not kinds & _ABROAD or not (cited or (law.span.holds(now) and rule.span.holds(now))):
                continue
            for grace in rule.graces:
                for filing in _filings(rule.duty.require, grace.token):
                    key = (law.jurisdiction, filing, grace.event)
                    rules, shortest, calendar = found.setdefault(key, (set(), grace, law.calendar))
                    rules.add(rule.id)
                    if deadline(0, grace.term, law.calendar) < deadline(0, shortest.term, calendar):
                        found[key] = (rules, grace, law.calendar)
    return tuple(
        _dossier(key, frozenset(rules), grace, calendar, facts, known, now)
        for key, (rules, grace, calendar) in sorted(found.items(), key=lambda pair: pair[0])
    )


def _filings(require: Iterable[frozenset[str]], token: str) -> Iterator[str]:
    for clause in require:
        if token in clause:
            yield from sorted(each.removeprefix(_FILING) for each in clause if each.startswith(_FILING))


def _dossier(
    key: tuple[str, str, str],
    rules: frozenset[str],
    grace: Grace,
    calendar: Calendar,
    facts: FactSet,
    known: tuple[Flow, ...],
    now: int,
) -> Dossier:
    jurisdiction, filing, event = key
    flows = tuple(
        flow
        for flow in known
        if flow.key.jurisdiction == jurisdiction and any(rules.intersection(g.rules) for g in flow.grounds)
    )
    first = min((flow.first for flow in flows), default=None)
    noted = facts.event(event, jurisdiction)
    noted = None if noted is None or noted > now else noted  # what a register expects has not happened
    began = min((at for at in (first, noted) if at is not None), default=None)
    ends = None if began is None else deadline(began, grace.term, calendar)
    filed = tuple(sorted((f for f in facts.filings if f.kind == filing and f.date <= now), key=lambda f: f.date))
    standing = tuple(f for f in filed if f.stands(now))
    today = _day(now, calendar)
    began_on = None if began is None else _day(began, calendar)
    last_day = None if ends is None else _day(ends - 1, calendar)
    covered = frozenset().union(*(f.sinks for f in standing if f.sinks is not None))
    for_all = any(f.sinks is None for f in standing)
    return Dossier(
        jurisdiction=jurisdiction,
        filing=filing,
        event=event,
        term=grace.token.rpartition("/")[2],
        rules=tuple(sorted(rules)),
        state=_state(filed, began, ends, now),
        first=first,
        noted=noted,
        began=began,
        deadline=ends,
        began_on=began_on,
        last_day=last_day,
        offset=calendar.offset,
        days_since=None if began_on is None else (today - began_on).days,
        days_left=None if last_day is None else (last_day - today).days,
        filings=filed,
        flows=flows,
        not_mentioned=() if for_all else tuple(f for f in flows if f.key.sink not in covered),
        begun_after=tuple(f for f in flows if filed and f.first > filed[-1].date),
        disagreement=_disagreement(first, noted, filed),
    )


def _state(filed: tuple[Filing, ...], began: int | None, ends: int | None, now: int) -> State:
    if filed:
        newest = filed[-1]
        if newest.expires is not None and newest.expires <= now:
            return State.EXPIRED
        return _RESULTS[newest.result_at(now)]
    if began is None or ends is None:
        return State.NOT_NEEDED
    return State.CLOCK_RUNNING if now < ends else State.OVERDUE


_RESULTS: Final = {
    FilingResult.FILED: State.FILED,
    FilingResult.PASSED: State.PASSED,
    FilingResult.FAILED: State.FAILED,
    FilingResult.SUSPENDED: State.SUSPENDED,
}


def _disagreement(first: int | None, noted: int | None, filed: tuple[Filing, ...]) -> str | None:
    if first is None or (filed and filed[0].date <= first):
        return None  # what is filed before the first transfer starts no clock
    if noted is None:
        return _NOT_NOTED
    if first < noted:
        return _EARLIER
    return None


def _day(at: int, calendar: Calendar) -> date:
    return _there(at, calendar.offset)


def _there(at: int, offset: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at, minutes=offset)).date()
