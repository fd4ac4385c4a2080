"""One end of a store's move, and its other end, in; the same, whose locators know every key on the way, out.

What is put is noted at its new place before anybody says that it is there, and so before a pin turns. What is cleared
is forgotten at its old place before it goes, but only where the other end has it too and its locator says so: then a
crash at any step leaves each record's key with one locator at least, and no digest of somebody who has left behind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from residency.errors import RecordConflict, UsageError
from residency.storage.locator import Located, Locators, record_key
from residency.storage.parcels import NOTHING, Cargo, Owned, Parcel, Parcels

__all__ = ["LocatedParcels", "located_ends"]

_Sent = dict[str, tuple[str, list[Located]]]


class LocatedParcels:
    """The `Parcels` port over `inner`, at `place`; `other` is the end in `far`, another place, that records come from
    or go to. Both share `sent`: by subject the digest of what was put there, and what was noted of it."""

    __slots__ = ("_far", "_inner", "_locators", "_other", "_place", "_sent", "_store")

    def __init__(
        self, store: str, inner: Parcels, place: str, other: Parcels, far: str, locators: Locators, sent: _Sent
    ) -> None:
        self._sent = sent
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

    def located(self, cargo: Cargo) -> Sequence[Owned] | None:
        """As the port says."""
        return self._inner.located(cargo)

    async def put(self, cargo: Cargo) -> None:
        """As the port says; noted when it returns. Raises: as that, RecordConflict where a key is another's."""
        await self._inner.put(cargo)
        if self._place not in self._locators.by_place:
            return
        told = self._inner.located(cargo)
        noted = self._noting(_looked_up(await self._inner.keyed(cargo.digests)) if told is None else told)
        await self._locators.note_all(self._place, [each for those in noted.values() for each in those])
        self._sent.update({whose: (cargo.digest(whose), noted.get(whose, [])) for whose in cargo.digests})

    async def clear(self, wanted: Mapping[str, str]) -> frozenset[str]:
        """As the port says. Of those who stay all stays noted; of those who have gone nothing is noted here."""
        # What goes is what was put at the other end, byte for byte: then so are its keys, and noted there.
        sent = {each: told[1] for each in wanted if (told := self._sent.pop(each, None)) and told[0] == wanted[each]}
        if self._place not in self._locators.by_place:
            return await self._inner.clear(wanted)
        rest = {each: digest for each, digest in wanted.items() if each not in sent}
        gone = await self._clear_unknown(rest) if rest else frozenset()
        if sent:
            await self._locators.forget_all(self._place, [each for those in sent.values() for each in those])
            cleared = await self._inner.clear({each: wanted[each] for each in sent})
            stays = [each for whose, those in sent.items() if whose not in cleared for each in those]
            await self._locators.note_all(self._place, stays)
            gone |= cleared
        return gone

    async def _clear_unknown(self, wanted: Mapping[str, str]) -> frozenset[str]:
        """As `clear`, where a run before this one copied them, or the other end has no locator."""
        keyed = {whose for whose, digest in wanted.items() if digest != NOTHING}
        here = self._rows(await self._inner.keyed(keyed)) if keyed else set()
        if not here:
            return await self._inner.clear(wanted)
        there = self._rows(await self._other.keyed(keyed))
        sure = self._flat(here & there) if self._far in self._locators.by_place else []
        try:
            await self._locators.note_all(self._far, sure) if sure else None
        except RecordConflict:
            sure = []  # somebody must judge; until then nothing is forgotten
        await self._locators.forget_all(self._place, sure)
        gone = await self._inner.clear(wanted)
        await self._locators.forget_all(self._place, self._flat({each for each in here - there if each[0] in gone}))
        digests = {self._locators.subject(each) for each in gone}
        await self._locators.note_all(self._place, [each for each in sure if each.subject not in digests])
        return gone

    def _rows(self, keyed: Sequence[Owned]) -> set[Owned]:
        return set(_looked_up(keyed))

    def _noting(self, owned: Sequence[Owned]) -> dict[str, list[Located]]:
        """What is noted of each subject (id)."""
        digests = {whose: self._locators.subject(whose) for whose in {each[0] for each in owned}}
        located = self._locators.located(self._store, [(name, key, digests[whose]) for whose, name, key in owned])
        noted: dict[str, list[Located]] = {}
        for (whose, _, _), each in zip(owned, located, strict=True):
            noted.setdefault(whose, []).append(each)
        return noted

    def _flat(self, owned: Collection[Owned]) -> list[Located]:
        return [each for those in self._noting(list(owned)).values() for each in those]


def _looked_up(keyed: Sequence[Owned]) -> list[Owned]:
    """The same, keys as they are looked up. Of a date or a number with a point none is."""
    told = []
    for whose, record, key in keyed:
        with suppress(UsageError):
            told.append((whose, record, record_key(key)))
    return told


def located_ends(
    store: str, ends: tuple[Parcels, Parcels], places: tuple[str, str], locators: Locators | None
) -> tuple[Parcels, Parcels]:
    """Both ends of a move between two places; as they are where neither place has a locator."""
    if locators is None or not any(place in locators.by_place for place in places):
        return ends
    (source, target), (old, new) = ends, places
    sent: _Sent = {}
    return (
        LocatedParcels(store, source, old, target, new, locators, sent),
        LocatedParcels(store, target, new, source, old, locators, sent),
    )
