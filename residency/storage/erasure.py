"""A subject and every copy of their records in; what was erased, what a floor keeps and until when, out.

1. Copies first, caches last: what is read meanwhile can fill a cache again only from what is still there.
2. A record that a floor holds stays as it is, and is told with the day and the rules. Nothing in it is blanked: which
   fields a floor needs is the law's to say, and no law in the packs does.
3. A record that changes while it is erased is read anew, a few times. What stays all the same, because it changes again
   or a record that a floor keeps refers to it, is counted as left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from residency.model import OPEN
from residency.storage.receipts import instant
from residency.storage.records import Record
from residency.storage.retention import Copy, Person, Terms
from residency.storage.sweep import Begin, leading, remove

__all__ = ["Erasure", "Part", "Trace", "erase"]

_TRIES: Final = 3
_LATEST: Final = 253_402_300_799_000_000  # the end of year 9999: past it an instant has no date


class Trace(Protocol):
    """What else holds something of a subject: a cache, a locator, an outbox. Errors name it, and nobody."""

    @property
    def name(self) -> str:
        """What it is called in a receipt."""

    async def forget(self, subject: str, digest: str) -> int:
        """Remove all that it holds of a subject (id, keyed digest); how many. Raises: Unavailable of any kind."""


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one name in one copy that met one fate: erased (`until` and `rules` empty), or kept until an instant
    (microseconds; `OPEN` = no end is known) by the floors of rules. `act` is the entry that tells of it."""

    store: str
    sink: str
    region: str
    record: str
    count: int
    until: int | None = None
    rules: tuple[str, ...] = ()
    act: str | None = None

    def document(self) -> dict[str, Any]:
        """This part as a receipt tells it."""
        told: dict[str, Any] = {
            "store": self.store, "sink": self.sink, "region": self.region, "record": self.record, "count": self.count,
        }  # fmt: skip
        if self.until is not None:
            told["retained_until"] = None if self.until >= min(OPEN, _LATEST) else instant(self.until)
            told["rules"] = list(self.rules)
        if self.act is not None:
            told["act"] = self.act
        return told


@dataclass(slots=True)
class Erasure:
    """What became of one subject's records. `traces` counts what was removed elsewhere, by name; `left` are records
    that could not be erased: they changed each time, or records that stay refer to them."""

    erased: list[Part] = field(default_factory=list)
    kept: list[Part] = field(default_factory=list)
    traces: dict[str, int] = field(default_factory=dict)
    left: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing of the subject is left in any copy."""
        return not self.kept and not self.left


async def erase(
    copies: Sequence[Copy],
    terms: Terms,
    subject: str,
    person: Person,
    *,
    begin: Begin | None,
    traces: Sequence[Trace] = (),
) -> Erasure:
    """Erase what no floor holds of a subject (id) in every copy; `begin` None = only tell what would become of it.

    Raises: SinkUnavailable, Unavailable, and what `begin` raises; what was done by then stays done, and doing it again
    does no harm.
    """
    done = Erasure()
    for copy in sorted(copies, key=lambda each: each.sink.scope == "cache"):
        await _erase(copy, terms, subject, person, begin, done)
    if begin is not None:
        for trace in traces:
            done.traces[trace.name] = done.traces.get(trace.name, 0) + await trace.forget(subject, person.digest)
    return done


async def _erase(copy: Copy, terms: Terms, subject: str, person: Person, begin: Begin | None, done: Erasure) -> None:
    free, kept, _ = await _sorted(copy, terms, subject, person)
    erased = _counted(free) if begin is None else {}
    acted = None
    if begin is not None and free:
        act = await begin(copy, "erasure", ())
        try:
            for _ in range(_TRIES):
                meant = free
                await remove(copy.records, meant)
                # Read again: a receipt tells what is so, and not what was asked for.
                free, kept, there = await _sorted(copy, terms, subject, person)
                _add(erased, _counted([record for record in meant if (record.name, record.key) not in there]))
                if not free:
                    break
        except BaseException as error:
            await act.broke(error)
            raise
        word = "failed" if free else "committed"
        acted = await act.ended(word, f"erasure, {sum(erased.values())} records erased, {len(free)} left")
        done.left += len(free)
    done.erased += [
        Part(copy.store, copy.sink.name, copy.sink.region, name, count, act=acted)
        for name, count in sorted(erased.items())
    ]
    done.kept += [
        Part(copy.store, copy.sink.name, copy.sink.region, name, count, until, rules)
        for (name, until, rules), count in sorted(kept.items())
    ]


async def _sorted(
    copy: Copy, terms: Terms, subject: str, person: Person
) -> tuple[list[Record], dict[tuple[str, int, tuple[str, ...]], int], set[tuple[str, str]]]:
    """What may go now, how many stay by name, day and rules, and the name and key of all that is there."""
    free: list[Record] = []
    kept: dict[tuple[str, int, tuple[str, ...]], int] = {}
    there: set[tuple[str, str]] = set()
    async for record in copy.records.read((subject,)):
        there.add((record.name, record.key))
        judged = terms.judge(record, copy.store, copy.sink, person)
        until = judged.retained.until
        if until is None or judged.retained.may_erase(terms.now):
            free.append(record)
        else:
            key = (record.name, until, judged.floors)
            kept[key] = kept.get(key, 0) + 1
    # Without the records that others are known by, nobody knew whose those are: they stay as long, for the same reason.
    needed = {name for _, name in leading(copy.via, ((subject, name) for name, _, _ in kept))}
    if needed:
        longest = max(until for _, until, _ in kept)
        rules = tuple(sorted({rule for _, until, each in kept if until == longest for rule in each}))
        for name, count in _counted([record for record in free if record.name in needed]).items():
            kept[name, longest, rules] = kept.get((name, longest, rules), 0) + count
        free = [record for record in free if record.name not in needed]
    return free, kept, there


def _counted(records: Sequence[Record]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in records:
        counts[record.name] = counts.get(record.name, 0) + 1
    return counts


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
