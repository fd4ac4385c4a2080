"""A record, its copy, its subject and the policy in; how long it stays there, and by which rules, out.

1. How long a record stays in a sink is asked of the decision for its subject, store and sink. No activity is behind a
   record that rests, so each operation is asked about: what any of them would ask for counts. A floor counts that any
   purpose has for which the deployment's activities hold such data there, a ceiling that all of them have: what one
   purpose no longer needs stays for another.
2. Terms end on the clocks of the law that sets them, and count from the record's own `times`, from the events of the
   operator under that law (`order` …), and from what else is known of the subject (`erasure_request`).
   Of an event that came to pass more than once the last one holds a floor, and the first one begins a ceiling.
3. A floor wins. A ceiling of a rule that evidence could lift (`unless`) is left to a request, for nobody asks here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from residency.model import (
    PLAIN,
    Activity,
    Bound,
    Calendar,
    FactSet,
    Finding,
    Operation,
    Retained,
    Retention,
    Sink,
    SubjectSource,
    retained_until,
)
from residency.model.data import category_within
from residency.policy.compiler import Policy
from residency.storage.records import Record, Records

__all__ = ["Copy", "Judged", "Person", "Terms"]

_NOBODY: Final = SubjectSource("none")
_BOUND: Final = 65_536


class Copy(NamedTuple):
    """One copy of a store's records: in which sink, and what reads it.

    `via` names the records by which others are known to be of a subject (`letters` -> `people`): these stay while such
    others of the subject do, for else nobody knew whose they are.
    """

    store: str
    sink: Sink
    records: Records
    via: Mapping[str, str] = {}  # read only


class Person(NamedTuple):
    """What is known of a subject: the keyed digest (hex), the alias in the log, whose law covers, what has happened."""

    digest: str
    alias: str | None
    finding: Finding
    events: Mapping[str, int]


class Judged(NamedTuple):
    """How long one record stays, the ids of the rules whose floors and whose ceilings count, and when the earliest
    ceiling is reached (microseconds; None = none limits), whether or not a floor outlasts it."""

    retained: Retained
    floors: tuple[str, ...]
    ceilings: tuple[str, ...]
    limit: int | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one jurisdiction asks of records of some categories in one sink."""

    calendar: Calendar
    first: Mapping[str, int]
    last: Mapping[str, int]
    floors: tuple[Retention, ...]
    ceilings: tuple[Retention, ...]
    rules: Mapping[Retention, tuple[str, ...]]


class Terms:
    """The terms of records under one policy and its facts, as at one instant (microseconds)."""

    __slots__ = ("_activities", "_asked", "_calendars", "_first", "_last", "_owners", "_table", "now")

    def __init__(self, policy: Policy, facts: FactSet, now: int) -> None:
        self.now = now
        self._table = policy.table(facts, now)
        self._activities = policy.deployment.activities
        self._asked: dict[tuple[str, str, frozenset[str], Finding], tuple[_Asked, ...]] = {}
        self._calendars = {law.jurisdiction: law.calendar for law in policy.laws}
        self._first: dict[str, dict[str, int]] = {}
        self._last: dict[str, dict[str, int]] = {}
        for event in sorted(facts.events, key=lambda event: event.at):
            if event.at <= now:  # one that a register expects has not happened
                self._first.setdefault(event.place, {}).setdefault(event.kind, event.at)
                self._last.setdefault(event.place, {})[event.kind] = event.at
        self._owners: dict[Retention, list[tuple[str, str]]] = {}
        for law in policy.laws:
            for rule in law.rules:
                for retention in rule.duty.retain:
                    if retention.bound is Bound.AT_LEAST or not rule.unless:
                        self._owners.setdefault(retention, []).append((law.jurisdiction, rule.id))

    def judge(self, record: Record, store: str, sink: Sink, person: Person) -> Judged:
        """How long `record` stays in `sink`."""
        until: int | None = None
        by: int | None = None
        held: set[str] = set()
        ends: set[str] = set()
        floors: list[Retention] = []
        ceilings: list[Retention] = []
        for asked in self._of(store, sink, record.data, person.finding):
            own = {**person.events, **record.times}
            last, first = {**asked.last, **own}, {**asked.first, **own}
            kept = retained_until(asked.floors, record.data, last, scope=sink.scope, calendar=asked.calendar)
            if kept.until is not None and (until is None or kept.until >= until):
                if kept.until != until:
                    held, floors = set(), []
                until = kept.until
                floors += kept.floors
                held.update(rule for r in kept.floors for rule in asked.rules[r])
            limit = retained_until(asked.ceilings, record.data, first, scope=sink.scope, calendar=asked.calendar)
            if limit.erase_by is not None and (by is None or limit.erase_by <= by):
                if limit.erase_by != by:
                    ends, ceilings = set(), []
                by = limit.erase_by
                ceilings += limit.ceilings
                ends.update(rule for r in limit.ceilings for rule in asked.rules[r])
        outlasted = by is not None and until is not None and by < until
        retained = Retained(
            until,
            None if outlasted else by,
            tuple(floors),
            tuple(ceilings),
            tuple(ceilings) if outlasted else (),
        )
        return Judged(retained, tuple(sorted(held)), tuple(sorted(ends)), by)

    def _of(self, store: str, sink: Sink, data: frozenset[str], finding: Finding) -> tuple[_Asked, ...]:
        key = (store, sink.name, data, finding)
        asked = self._asked.get(key)
        if asked is None:
            if len(self._asked) >= _BOUND:
                self._asked.clear()
            asked = self._asked[key] = tuple(self._ask(store, sink, data, finding))
        return asked

    def _ask(self, store: str, sink: Sink, data: frozenset[str], finding: Finding) -> Iterable[_Asked]:
        covering: set[str] = set()
        told: list[set[Retention]] = []
        for purpose in self._purposes(store, data):
            of_purpose: set[Retention] = set()
            for operation in Operation:
                rests = Activity("records", "ANY", "/", _NOBODY, data, operation, purpose, stores=(store,))
                decision = self._table.decide(rests, finding, frozenset())
                verdict = decision.sink(sink.name)
                covering.update(decision.jurisdictions)
                of_purpose |= decision.duty.retain
                if verdict is not None:
                    of_purpose |= verdict.duty.retain
            told.append(of_purpose)
        of_all = set.intersection(*told)
        retain = {r for each in told for r in each if r.bound is Bound.AT_LEAST or r in of_all}
        by_place: dict[str, dict[Retention, tuple[str, ...]]] = {}
        for retention in retain:
            owners = self._owners.get(retention, ())
            for place, rule in owners:
                # The same words may stand in a law that does not cover this person: it is not the one that asks.
                if place in covering or not any(own in covering for own, _ in owners):
                    of = by_place.setdefault(place, {})
                    of[retention] = (*of.get(retention, ()), rule)
        for place, rules in sorted(by_place.items()):
            yield _Asked(
                self._calendars.get(place, PLAIN),
                self._first.get(place, {}),
                self._last.get(place, {}),
                tuple(r for r in rules if r.bound is Bound.AT_LEAST),
                tuple(r for r in rules if r.bound is Bound.AT_MOST),
                rules,
            )

    def _purposes(self, store: str, data: frozenset[str]) -> set[str | None]:
        """The purposes for which such data lies in the store; None = not said, which may be any."""
        found = {a.purpose for a in self._activities if store in a.stores and _meet(a.data, data)}
        return found or {None}


def _meet(some: frozenset[str], others: frozenset[str]) -> bool:
    """Whether one of the categories is, or lies under, one of the others."""
    return any(category_within(a, b) or category_within(b, a) for a in some for b in others)
