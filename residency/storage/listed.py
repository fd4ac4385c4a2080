"""What several sinks told in order in; the rows that count, merged, and how far each sink has been told, out.

While somebody is moved, and where copies are kept abroad, a row lies in two sinks. It counts where its subject's pin
says that their data lies: at home, or where it still lies while it is moved. Who has no pin, or a home where the store
has no sink, is told from where they are found.

Rows that do not count are passed like the others. So a row is told once too when its subject's pin turns between two
pages: both of its places have been passed by then, or neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import total_ordering
from heapq import merge
from operator import itemgetter
from typing import Any, Final, NamedTuple

import anyio

from residency.enforcement.point import EnforcementPoint
from residency.errors import Unavailable
from residency.model import Pin

__all__ = ["Found", "Lying", "SortKey", "Told", "Wanted", "rank"]

_AT_ONCE: Final = 32  # pins asked for at the same time
_LARGEST: Final = 10_001


class SortKey(NamedTuple):
    """How one column of the order sorts; rows without a value come last unless `nulls_first`."""

    descending: bool = False
    nulls_first: bool = False


class Found(NamedTuple):
    """One row of one sink, its values of the columns of the order, and the id of whose it is where that is told."""

    item: Any
    key: tuple[Any, ...]
    whose: str | None = None


class Wanted(NamedTuple):
    """Rows to be read of one sink: so many after those values; `anew` = in the place of what it told before."""

    after: tuple[Any, ...] | None
    size: int
    anew: bool = False


class Lying:
    """Where people's data lies, by their pins, each looked up once for a page."""

    __slots__ = ("_pins", "_places", "_point")

    def __init__(self, point: EnforcementPoint, places: Mapping[str, str]) -> None:
        """`places` are those of the store's sinks, by name."""
        self._point = point
        self._places = places
        self._pins: dict[str, Pin | None] = {}

    async def look(self, subjects: Iterable[str]) -> None:
        """Take in the pins of these (ids). Raises: PinsUnavailable."""
        homes, digest = self._point.homes, self._point.perception.digest
        away = []
        for each in subjects:
            if each not in self._pins:
                pin, known = homes.peek(digest(each))
                self._pins[each] = pin
                if not known:
                    away.append(each)
        left = iter(away)
        failed: list[Unavailable] = []

        async def fetch() -> None:
            for each in left:
                if failed:
                    return
                try:
                    self._pins[each] = await homes.fetch(digest(each))
                except Unavailable as error:
                    failed.append(error)

        if away:
            async with anyio.create_task_group() as tasks:
                for _ in range(min(_AT_ONCE, len(away))):
                    tasks.start_soon(fetch)
        if failed:
            raise failed[0]

    def counts(self, sink: str, found: Found) -> bool:
        """Whether a row that lies in `sink` is told from there."""
        if found.whose is None or (pin := self._pins.get(found.whose)) is None:
            return True
        place = pin.moving or pin.home
        return self._places[sink] == place or place not in self._places.values()

    def arrived(self, found: Found) -> tuple[str, ...]:
        """The sinks to which the data of a row's subject was moved; none where it was not."""
        pin = None if found.whose is None else self._pins.get(found.whose)
        if pin is None or pin.set_by != "move" or pin.moving is not None:
            return ()
        return tuple(name for name, place in self._places.items() if place == pin.home)


@dataclass(slots=True)
class Told:
    """What sinks told for one page of `limit` rows in one order. `open` are those that have more behind it."""

    order: Sequence[SortKey]
    limit: int
    lying: Lying | None = None
    rows: dict[str, list[Found]] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    anew: set[str] = field(default_factory=set)

    def take(self, sink: str, wanted: Wanted, rows: Sequence[Found]) -> None:
        """A sink has told what was wanted of it."""
        self.rows[sink] = [*rows] if wanted.anew else [*self.rows.get(sink, ()), *rows]
        self.sizes[sink] = wanted.size
        self.open.discard(sink)
        if len(rows) >= wanted.size:
            self.open.add(sink)

    def drop(self, sink: str) -> None:
        """A sink does not answer any more: nothing of it is told."""
        self.rows.pop(sink, None)
        self.open.discard(sink)

    async def look(self) -> None:
        """Take in the pins of all whose rows were told. Raises: PinsUnavailable."""
        if self.lying is not None:
            whose = {found.whose for rows in self.rows.values() for found in rows}
            await self.lying.look(each for each in whose if each is not None)

    def short(self, after: Mapping[str, tuple[Any, ...]]) -> dict[str, Wanted]:
        """What is to be read besides before a page can be made, by sink; `after` is where each began.

        Raises: TypeError for values that cannot be sorted.
        """
        lying = self.lying
        if lying is None:
            return {}
        # Whose pin turned after their new home was read is there by now.
        late = self._late(lying) - self.anew
        if late:
            self.anew |= late
            return {sink: Wanted(after.get(sink), len(self.rows[sink]) + self.limit + 1, True) for sink in late}
        frontier = self._frontier()
        if frontier is None:
            return {}
        ready = sum(
            lying.counts(sink, found) and rank(found.key, self.order) <= frontier
            for sink, rows in self.rows.items()
            for found in rows
        )
        if ready > self.limit:
            return {}
        return {
            sink: Wanted(self.rows[sink][-1].key, min(2 * self.sizes[sink], _LARGEST))
            for sink in self.open
            if rank(self.rows[sink][-1].key, self.order) == frontier
        }

    def page(
        self, sinks: Sequence[str], after: Mapping[str, tuple[Any, ...]]
    ) -> tuple[list[Found], dict[str, tuple[Any, ...]], set[str], bool]:
        """(rows of the page, the key of the last row that was passed of each sink, sinks that have no more, whether
        there is another page); `after` as in `short`. Raises: TypeError for values that cannot be sorted."""
        order, lying = self.order, self.lying
        streams = [[(rank(f.key, order), name, f) for f in self.rows[name]] for name in sinks if name in self.rows]
        frontier = None if lying is None else self._frontier()
        taken: list[Found] = []
        passed: dict[str, tuple[Any, ...]] = {}
        held: set[str] = set()  # sinks of which something is left for later
        more = bool(self.open)
        last: Any = None
        for at, name, found in merge(*streams, key=itemgetter(0)):
            counts = lying is None or lying.counts(name, found)
            behind = frontier is not None and at > frontier
            if behind or name in held or (len(taken) == self.limit and (counts or at != last)):
                held.add(name)
                more = more or counts  # what does not count keeps no list going
                continue
            if counts:
                taken.append(found)
                last = at
            passed[name] = found.key
        if lying is None:
            return taken, passed, self.rows.keys() - held - self.open, more
        # Somebody whose rows were told may arrive at another sink by the next page, and one who was not yet too: so no
        # sink begins before what was told, and none is done before all are.
        if taken:
            for name, stream in zip([name for name in sinks if name in self.rows], streams, strict=True):
                at_or_before = [each for each in stream if each[0] <= last]
                began = after.get(name)
                if all(name in passed and rank(passed[name], order) >= each[0] for each in at_or_before) and (
                    began is None or rank(began, order) < last
                ):
                    passed[name] = taken[-1].key
        return taken, passed, set(), more

    def _frontier(self) -> Any:
        """How far the list is known: the first of the places up to which sinks have told; None = to its end."""
        return min((rank(self.rows[sink][-1].key, self.order) for sink in self.open), default=None)

    def _late(self, lying: Lying) -> set[str]:
        late: set[str] = set()
        keys: dict[str, set[tuple[Any, ...]]] = {}
        for name, rows in self.rows.items():
            for found in rows:
                if lying.counts(name, found):
                    continue
                for home in lying.arrived(found):
                    if home not in self.rows:
                        continue
                    if home not in keys:
                        keys[home] = {each.key for each in self.rows[home]}
                    if found.key not in keys[home] and (home not in self.open or self._told(home, found)):
                        late.add(home)
        return late

    def _told(self, sink: str, found: Found) -> bool:
        """Whether `sink` would have told this row by now."""
        return rank(found.key, self.order) <= rank(self.rows[sink][-1].key, self.order)


@total_ordering
class _Down:
    """A value that sorts the other way."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and bool(self.value == other.value)

    def __lt__(self, other: _Down) -> bool:
        return bool(other.value < self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def rank(key: tuple[Any, ...], order: Sequence[SortKey]) -> tuple[Any, ...]:
    """What Python sorts a row by as its sink does."""
    ranks: list[Any] = []
    for value, how in zip(key, order, strict=True):
        if value is None:
            ranks += (-1 if how.nulls_first else 1, 0)
        else:
            ranks += (0, _Down(value) if how.descending else value)
    return tuple(ranks)
