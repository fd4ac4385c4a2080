"""Copies of records and their terms in; what is past its time told, and deleted where that is begun, out.

A record is deleted as it was read: one that changes meanwhile stays, and is looked at by the next run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from residency.errors import SinkUnavailable
from residency.storage.parcels import StreamedRecords
from residency.storage.records import Record, Records
from residency.storage.retention import Copy, Judged, Person, Terms

__all__ = ["Act", "Begin", "Done", "Swept", "leading", "remove", "sweep"]


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
    """Delete these, and where a sink refuses some (others that stay refer to them) the rest, name by name and ever
    fewer at a time: how many are gone, how many were refused.

    Raises: SinkUnavailable where the sink cannot be reached at all.
    """
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
        parts = [[record for record in meant if record.name == name]]
        while parts:
            part = parts.pop()
            try:
                gone += await records.delete(part)
            except SinkUnavailable:
                await records.subjects(limit=1)
                half = len(part) // 2
                parts += [part[:half], part[half:]] if half else []
                refused += not half
    return gone, refused
