"""What several sinks told in order in; the rows that count, merged, and how far each sink has been told, out.

While somebody is moved, and where copies are kept abroad, a row lies in two sinks. It counts where its subject's pin
says that their data lies: at home, or where it still lies while it is moved. Who has no pin, or a home where the store
has no sink, is told from where they are found, once. What may not be told of a row's subject is left out, and counted.

Rows that do not count are passed like the others. So a row is told once too when its subject's pin turns between two
pages: both of its places have been passed by then, or neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import total_ordering
from heapq import merge
from itertools import chain, islice, repeat
from operator import attrgetter, itemgetter, ne
from typing import Any, Final, NamedTuple

from residency.enforcement.current import Current
from residency.model import Reason
from residency.storage.judged import Found, Lying

__all__ = ["Found", "SortKey", "Told", "Wanted", "Withheld", "rank"]

_LARGEST: Final = 10_001
_key: Final = attrgetter("key")


class SortKey(NamedTuple):
    """How one column of the order sorts; rows without a value come last unless `nulls_first`."""

    descending: bool = False
    nulls_first: bool = False


class Wanted(NamedTuple):
    """Rows to be read of one sink: so many after those values; `anew` = in the place of what it told before."""

    after: tuple[Any, ...] | None
    size: int
    anew: bool = False


class Withheld(NamedTuple):
    """Rows of one sink that were left out for one reason: the decision that says so, and how many."""

    sink: str
    reason: Reason
    here: Current
    rows: int


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
    withheld: dict[tuple[str, Reason], Withheld] = field(default_factory=dict)
    """What `page` left out of the page."""
    floors: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """By sink, the key up to which pages before this one have told the list, where its own rows do not reach so far.
    It may be the key of a row of another sink, so that it is compared here and never sent."""

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
        """Take in the pins of all whose rows were told. Raises: as `Lying.look`."""
        if self.lying is not None:
            await self.lying.look((sink, found) for sink, rows in self.rows.items() for found in rows)

    def short(self, after: Mapping[str, tuple[Any, ...]]) -> dict[str, Wanted]:
        """What is to be read besides before a page can be made, by sink; `after` is where each began.

        Raises: TypeError for values that cannot be sorted.
        """
        lying = self.lying
        if lying is None or lying.clear:
            return {}
        # Whose pin turned after their new home was read is there by now.
        late = (self._late(lying) if lying.twice else set()) - self.anew
        if late:
            self.anew |= late
            return {sink: Wanted(after.get(sink), len(self.rows[sink]) + self.limit + 1, True) for sink in late}
        frontier = self._frontier()
        if frontier is None:
            return {}
        ready = 0
        once: set[tuple[Any, str]] = set()
        for sink, rows in self.rows.items():
            for found in rows:
                at = rank(found.key, self.order)
                if at <= frontier and not self._was_told(sink, at) and lying.counts(sink, found):
                    ready += lying.against(sink, found) is None and self._is_first(at, found, once)
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
        there is another page); `after` as in `short`. `floors` is the next page's then.

        Raises: TypeError for values that cannot be sorted.
        """
        order, lying = self.order, self.lying
        if lying is not None and lying.clear:
            lying = None
        if lying is None and not self.floors:
            return self._all(sinks)
        streams = [[(rank(f.key, order), name, f) for f in self.rows[name]] for name in sinks if name in self.rows]
        frontier = None if lying is None else self._frontier()
        taken: list[Found] = []
        passed: dict[str, tuple[Any, ...]] = {}
        held: set[str] = set()  # sinks of which something is left for later
        left_out: list[tuple[str, Current, Reason]] = []
        more = bool(self.open)
        last: Any = None
        once: set[tuple[Any, str]] = set()
        for at, name, found in merge(*streams, key=itemgetter(0)):
            if self._was_told(name, at):
                passed[name] = found.key
                continue
            counts = lying is None or lying.counts(name, found)
            barred = lying.against(name, found) if lying is not None and counts else None
            counts = counts and barred is None and self._is_first(at, found, once)
            behind = frontier is not None and at > frontier
            if behind or name in held or (len(taken) == self.limit and (counts or at != last)):
                held.add(name)
                more = more or counts  # what does not count keeps no list going
                if barred is not None:
                    left_out.append((name, barred.here, barred.reason))
                continue
            if counts:
                taken.append(found)
                last = at
            elif barred is not None:
                self._withhold(name, barred.here, barred.reason)
            passed[name] = found.key
        for each in left_out if not more else ():
            self._withhold(*each)  # there is no page behind this one that could say so
        if lying is None or not lying.twice:
            return taken, passed, self.rows.keys() - held - self.open, more
        # Somebody whose rows were told may arrive at another sink by the next page, and one who was not yet too: so of
        # no sink counts what comes before what was told, and none is done before all are.
        if taken:
            floors = dict(self.floors)
            for name, stream in zip([name for name in sinks if name in self.rows], streams, strict=True):
                at_or_before = [each for each in stream if each[0] <= last]
                began = after.get(name)
                if all(name in passed and rank(passed[name], order) >= each[0] for each in at_or_before) and (
                    began is None or rank(began, order) < last
                ):
                    floors[name] = taken[-1].key
            self.floors = floors
        return taken, passed, set(), more

    def _all(self, sinks: Sequence[str]) -> tuple[list[Found], dict[str, tuple[Any, ...]], set[str], bool]:
        """As `page`, where every row counts: what stands behind the page need not be looked at."""
        names = [name for name in sinks if name in self.rows]
        # Keys that all have values and sort one way are compared as they are; NaN is not what it is.
        every = [*chain.from_iterable(map(_key, chain.from_iterable(self.rows.values())))]
        plain = (
            len({how.descending for how in self.order}) == 1 and None not in every and not any(map(ne, every, every))
        )
        down = plain and self.order[0].descending
        ranked: Callable[[Found], Any] = _key if plain else lambda found: rank(found.key, self.order)
        # Among equal keys that of the first sink comes first, either way.
        numbers = range(0, -len(names), -1) if down else range(len(names))
        streams = [
            zip(map(ranked, self.rows[name]), repeat(number), self.rows[name])
            for number, name in zip(numbers, names, strict=True)
        ]
        taken: list[Found] = []
        passed: dict[str, tuple[Any, ...]] = {}
        left = {name: len(self.rows[name]) for name in names}
        for _, number, found in islice(merge(*streams, reverse=down), self.limit):
            name = names[abs(number)]
            taken.append(found)
            passed[name] = found.key
            left[name] -= 1
        held = {name for name in names if left[name]}
        return taken, passed, self.rows.keys() - held - self.open, bool(held or self.open)

    def _was_told(self, sink: str, at: Any) -> bool:
        """Whether the list has been told beyond this place of a sink, from wherever it lay then."""
        floor = self.floors.get(sink)
        return floor is not None and at <= rank(floor, self.order)

    def _is_first(self, at: Any, found: Found, once: set[tuple[Any, str]]) -> bool:
        """Whether a row that counts was not found in another sink already: people without a pin are copied ahead."""
        if self.lying is None or not self.lying.twice or found.whose is None:
            return True
        before = len(once)
        once.add((at, found.whose))
        return len(once) > before

    def _withhold(self, sink: str, here: Current, reason: Reason) -> None:
        before = self.withheld.get((sink, reason))
        self.withheld[sink, reason] = Withheld(sink, reason, here, 1 if before is None else before.rows + 1)

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
    """What Python sorts a row by as its sink does: NaN, which Python cannot sort, after numbers, as PostgreSQL."""
    ranks: list[Any] = []
    for value, how in zip(key, order, strict=True):
        if value is None:
            ranks += (-1 if how.nulls_first else 1, 0)
        elif value != value:
            ranks += (-0.5 if how.descending else 0.5, 0)
        else:
            ranks += (0, _Down(value) if how.descending else value)
    return tuple(ranks)
