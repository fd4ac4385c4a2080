"""Records and the policy in; how long each stays in each copy, by which rules, and who deletes what is past, out.

1. How long a record stays in a sink is asked of the decision for its subject, store and sink. No activity is behind a
   record that rests, so each operation is asked about: what any of them would ask for counts.
2. Terms end on the clocks of the law that sets them, and count from the record's own `times`, from the events of the
   operator under that law (`order` …), and from what else is known of the subject (`erasure_request`).
3. A floor wins. A ceiling of a rule that evidence could lift (`unless`) is left to a request, for nobody asks here.
4. A record is deleted as it was read: one that changes meanwhile stays, and is looked at by the next run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from residency.errors import SinkUnavailable
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
from residency.policy.compiler import Policy
from residency.storage.parcels import StreamedRecords
from residency.storage.records import Record, Records

__all__ = ["Act", "Begin", "Copy", "Done", "Judged", "Person", "Swept", "Terms", "leading", "remove", "sweep"]

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
    events: Mapping[str, int]
    floors: tuple[Retention, ...]
    ceilings: tuple[Retention, ...]
    rules: Mapping[Retention, tuple[str, ...]]


class Terms:
    """The terms of records under one policy and its facts, as at one instant (microseconds)."""

    __slots__ = ("_asked", "_calendars", "_events", "_owners", "_table", "now")

    def __init__(self, policy: Policy, facts: FactSet, now: int) -> None:
        self.now = now
        self._table = policy.table(facts, now)
        self._asked: dict[tuple[str, str, frozenset[str], Finding], tuple[_Asked, ...]] = {}
        self._calendars = {law.jurisdiction: law.calendar for law in policy.laws}
        self._events: dict[str, dict[str, int]] = {}
        for event in facts.events:
            if event.at <= now:  # one that a register expects has not happened
                self._events.setdefault(event.place, {})[event.kind] = event.at
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
            events = {**asked.events, **person.events, **record.times}
            kept = retained_until(asked.floors, record.data, events, scope=sink.scope, calendar=asked.calendar)
            if kept.until is not None and (until is None or kept.until >= until):
                if kept.until != until:
                    held, floors = set(), []
                until = kept.until
                floors += kept.floors
                held.update(rule for r in kept.floors for rule in asked.rules[r])
            limit = retained_until(asked.ceilings, record.data, events, scope=sink.scope, calendar=asked.calendar)
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
        retain: set[Retention] = set()
        covering: set[str] = set()
        for operation in Operation:
            rests = Activity("records", "ANY", "/", _NOBODY, data, operation, stores=(store,))
            decision = self._table.decide(rests, finding, frozenset())
            verdict = decision.sink(sink.name)
            covering.update(decision.jurisdictions)
            retain |= decision.duty.retain
            if verdict is not None:
                retain |= verdict.duty.retain
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
                self._events.get(place, {}),
                tuple(r for r in rules if r.bound is Bound.AT_LEAST),
                tuple(r for r in rules if r.bound is Bound.AT_MOST),
                rules,
            )


@dataclass(slots=True)
class Swept:
    """What a run over one copy has come to so far; numbers of records, by their names where `dict`.

    `past` are beyond a ceiling and held by no floor; `held` beyond a ceiling, and a floor keeps them, or other records
    that stay are known by them; `deleted` of `past` are gone, the others had changed when they were to be deleted. `by`
    counts the rules whose ceilings did it.
    """

    store: str
    sink: str
    subjects: int = 0
    records: int = 0
    past: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    deleted: int = 0
    by: dict[str, int] = field(default_factory=dict)


class Act(Protocol):
    """An act that has begun (`enforcement.upkeep`)."""

    async def ended(self, act: str, told: str) -> str: ...
    async def broke(self, error: BaseException) -> None: ...


Begin = Callable[[Copy, str, tuple[str, ...]], Awaitable[Act]]
"""Records the intent to delete from a copy: why, and the rules that ask for it. Raises: JournalFull, JournalFailed."""


class Done(Protocol):
    """Which subjects this run has been through in a copy, so that one that was broken off goes on where it was."""

    def left(self, copy: str, digests: Collection[str]) -> frozenset[str]:
        """Those of these digests that it has not been through."""

    def add(self, copy: str, digests: Collection[str]) -> None:
        """Note that it has been through these."""


async def sweep(
    copy: Copy,
    terms: Terms,
    people: Callable[[Sequence[str]], Awaitable[Mapping[str, Person]]],
    *,
    begin: Begin | None = None,
    done: Done | None = None,
    throttle: Callable[[int], Awaitable[None]] | None = None,
    page: int = 500,
) -> AsyncIterator[Swept]:
    """Go through every subject of a copy, `page` at a time, and answer what was found by then after each page.

    `people` tells what is known of these subjects. `begin` None = nothing is deleted. `throttle` is awaited with the
    number of records of each page that was deleted from. Raises: SinkUnavailable, and what `begin` raises.
    """
    found = Swept(copy.store, copy.sink.name)
    name = f"{copy.store}/{copy.sink.name}"
    after = ""
    while subjects := await copy.records.subjects(after=after, limit=page):
        after = subjects[-1]
        known = await people(subjects)
        if done is not None:
            left = done.left(name, [known[each].digest for each in subjects])
            subjects = tuple(each for each in subjects if known[each].digest in left)
        past = await _look(copy, terms, known, subjects, found) if subjects else []
        if past and begin is not None:
            found.deleted += await _delete(copy, past, begin)
            if throttle is not None:
                await throttle(len(past))
        if done is not None and subjects:
            done.add(name, [known[each].digest for each in subjects])
        yield found


async def _look(
    copy: Copy, terms: Terms, known: Mapping[str, Person], subjects: Sequence[str], found: Swept
) -> list[tuple[Record, Judged]]:
    past: list[tuple[Record, Judged]] = []
    staying: set[tuple[str, str]] = set()
    found.subjects += len(subjects)
    async for record in copy.records.read(subjects):
        found.records += 1
        if record.subject is None:
            continue  # of nobody: no law asks anything for it
        judged = terms.judge(record, copy.store, copy.sink, known[record.subject])
        if judged.retained.must_erase(terms.now):
            past.append((record, judged))
            continue
        staying.add((record.subject, record.name))
        if judged.limit is not None and judged.limit <= terms.now:
            found.held[record.name] = found.held.get(record.name, 0) + 1
    needed = leading(copy.via, staying)
    going = []
    for record, judged in past:
        if (record.subject, record.name) in needed:
            found.held[record.name] = found.held.get(record.name, 0) + 1
            continue
        going.append((record, judged))
        found.past[record.name] = found.past.get(record.name, 0) + 1
        for rule in judged.ceilings:
            found.by[rule] = found.by.get(rule, 0) + 1
    return going


def leading(via: Mapping[str, str], staying: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The (subject, record name) by which those that stay are known to be a subject's, step by step."""
    needed: set[tuple[str, str]] = set()
    for subject, name in staying:
        at = via.get(name)
        while at is not None and (subject, at) not in needed:
            needed.add((subject, at))
            at = via.get(at)
    return needed


async def _delete(copy: Copy, past: Sequence[tuple[Record, Judged]], begin: Begin) -> int:
    rules = tuple(sorted({rule for _, judged in past for rule in judged.ceilings}))
    act = await begin(copy, f"retention, {len(past)} records past their ceilings", rules)
    try:
        gone, refused = await remove(copy.records, [record for record, _ in past])
    except BaseException as error:
        await act.broke(error)
        raise
    word = "failed" if refused and not gone else "committed"
    await act.ended(word, f"retention, {gone} records deleted")
    return gone


async def remove(records: Records, meant: Sequence[Record]) -> tuple[int, int]:
    """Delete these, and where a sink refuses some (others that stay refer to them) the rest, name by name: how many are
    gone, how many were refused. Raises: SinkUnavailable where the sink cannot be reached at all."""
    gone = refused = 0
    if isinstance(records, StreamedRecords):
        for record in meant:
            if record.value is None:
                await records.remove(record, await records.fingerprint(record))
                gone += 1
        meant = [record for record in meant if record.value is not None]
    try:
        return gone + await records.delete(meant), 0
    except SinkUnavailable:
        await records.subjects(limit=1)  # it answers, so that it refuses something
    for name in reversed(dict.fromkeys(record.name for record in meant)):  # what refers to others was read after them
        part = [record for record in meant if record.name == name]
        try:
            gone += await records.delete(part)
        except SinkUnavailable:
            await records.subjects(limit=1)
            refused += len(part)
    return gone, refused
