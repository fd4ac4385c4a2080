"""One end of a store's move, and its other end, in; the same, whose locators know every key on the way, out.

What is put is noted at its new place before anybody says that it is there, and so before a pin turns. What is cleared
is forgotten at its old place before it goes, but only where the other end has it too and its locator says so: then a
crash at any step leaves each record's key with one locator at least, and no digest of somebody who has left behind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from residency.errors import RecordConflict, UsageError
from residency.storage.locator import Locators, record_key
from residency.storage.parcels import Cargo, Owned, Parcel, Parcels

__all__ = ["LocatedParcels", "located_ends"]

_AT_ONCE: Final = 1000  # keys in one go: scripts of a Redis take a few thousand
_Row = tuple[str, str]
_Rows = Mapping[_Row, str]


class LocatedParcels:
    """The `Parcels` port over `inner`, at `place`; `other` is the end in `far`, another place, that records come from
    or go to."""

    __slots__ = ("_far", "_inner", "_locators", "_other", "_place", "_store")

    def __init__(self, store: str, inner: Parcels, place: str, other: Parcels, far: str, locators: Locators) -> None:
        self._store = store
        self._inner = inner
        self._place = place
        self._other = other
        self._far = far
        self._locators = locators

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._inner.sink

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """As the port says."""
        return await self._inner.subjects(after=after, limit=limit)

    async def settled(self, within: float) -> bool:
        """As the port says."""
        return await self._inner.settled(within)

    async def tally(self, subjects: Collection[str]) -> Mapping[str, str]:
        """As the port says."""
        return await self._inner.tally(subjects)

    async def load(self, subjects: Collection[str]) -> Cargo:
        """As the port says."""
        return await self._inner.load(subjects)

    async def take(self, subjects: Collection[str]) -> Parcel:
        """As the port says."""
        return await self._inner.take(subjects)

    async def keyed(self, subjects: Collection[str]) -> Sequence[Owned]:
        """As the port says."""
        return await self._inner.keyed(subjects)

    async def put(self, cargo: Cargo) -> None:
        """As the port says; noted when it returns. Raises: as that, RecordConflict where a key is another's."""
        await self._inner.put(cargo)
        await self._note(self._place, self._rows(await self._inner.keyed(cargo.digests)))

    async def clear(self, wanted: Mapping[str, str]) -> frozenset[str]:
        """As the port says. Of those who stay all stays noted; of those who have gone nothing is noted here."""
        if self._place not in self._locators.by_place:
            return await self._inner.clear(wanted)
        here = self._rows(await self._inner.keyed(wanted))
        if not here:
            return await self._inner.clear(wanted)
        there = self._rows(await self._other.keyed(wanted))
        both = {row: subject for row, subject in here.items() if there.get(row) == subject}
        if sure := await self._noted(both):
            await self._forget(sure)
        gone = await self._inner.clear(wanted)
        digests = {self._locators.subject(each) for each in gone}
        await self._forget({row: subject for row, subject in here.items() if subject in digests and row not in there})
        stays = {row: subject for row, subject in sure.items() if subject not in digests}
        if stays:
            await self._note(self._place, stays)
        return gone

    async def _noted(self, rows: _Rows) -> _Rows:
        """Those of these that the other end's locator has now."""
        if not rows or self._far not in self._locators.by_place:
            return {}
        try:
            await self._note(self._far, rows)
        except RecordConflict:
            return {}  # somebody must judge; until then nothing is forgotten
        return rows

    def _rows(self, owned: Sequence[Owned]) -> _Rows:
        """(record, key as it is looked up): the digest of whose it is. Of a date or a number with a point none is."""
        rows: dict[_Row, str] = {}
        for whose, record, key in owned:
            with suppress(UsageError):
                rows[record, record_key(key)] = self._locators.subject(whose)
        return rows

    async def _note(self, place: str, rows: _Rows) -> None:
        if place in self._locators.by_place:
            for part in _parts(rows):
                await self._locators.note(self._store, place, part)

    async def _forget(self, rows: _Rows) -> None:
        for part in _parts(rows):
            await self._locators.forget_owned(self._store, self._place, part)


def located_ends(
    store: str, ends: tuple[Parcels, Parcels], places: tuple[str, str], locators: Locators | None
) -> tuple[Parcels, Parcels]:
    """Both ends of a move between two places; as they are where neither place has a locator."""
    if locators is None or not any(place in locators.by_place for place in places):
        return ends
    (source, target), (old, new) = ends, places
    return (
        LocatedParcels(store, source, old, target, new, locators),
        LocatedParcels(store, target, new, source, old, locators),
    )


def _parts(rows: _Rows) -> list[list[tuple[str, str, str]]]:
    listed = [(record, key, subject) for (record, key), subject in rows.items()]
    return [listed[at : at + _AT_ONCE] for at in range(0, len(listed), _AT_ONCE)]
