"""Where it is noted whose each record of a store is: (store, record, key) in, the subject's digest out.

Two sinks that are both asked for a key may both have it, and one of them is another person's. So a locator beside the
pins answers, and a miss is a miss: nobody goes on to look in sink after sink. It holds digests under the key that pins
are digested with, and nothing personal; there is one for each country in which a store has sinks, and it lies there.

    key digest = digest("\\0residency: record\\0" | JSON of [store, record, key])

A NUL begins no subject's id, so a record never has the digest of a person.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Final, NamedTuple, Protocol, runtime_checkable

import anyio

from residency.enforcement.about import key_text
from residency.errors import RecordConflict, SinkUnavailable, Unavailable
from residency.storage.records import Record

__all__ = ["Located", "Locator", "LocatorMemory", "Locators", "record_key"]

_PURPOSE: Final = "\0residency: record\0"
_AT_ONCE: Final = 1000


class Located(NamedTuple):
    """Whose one record is: two digests, 64 hex digits each."""

    key: str
    subject: str


@runtime_checkable
class Locator(Protocol):
    """Whose records are, of the sinks in one country. Any method may block for its store's wait and raises
    SinkUnavailable, never a default; errors name the country and no key. `at_once` are the keys that it takes in one
    go without keeping others waiting."""

    at_once: int

    async def owners(self, keys: Sequence[str]) -> tuple[str | None, ...]:
        """The subject's digest for each key's, None where it is not noted."""

    async def note(self, located: Sequence[Located]) -> int:
        """Note these, all or none; how many were not noted before. One that is noted alike is left alone.

        Raises: RecordConflict where a key is noted as another subject's; then nothing was noted.
        """

    async def forget(self, keys: Sequence[str]) -> int:
        """Take these keys out; how many were noted."""

    async def forget_subject(self, subject: str) -> int:
        """Take out all that is noted of a subject (digest); how many keys. Nothing of it stays behind."""

    async def aclose(self) -> None:
        """Release what is held; idempotent."""


class LocatorMemory:
    """The `Locator` port in memory: for tests, and as the reference."""

    __slots__ = ("_known", "at_once", "place")

    def __init__(self, place: str = "") -> None:
        self.place = place
        self.at_once = _AT_ONCE
        self._known: dict[str, str] = {}

    async def owners(self, keys: Sequence[str]) -> tuple[str | None, ...]:
        """The subject's digest for each key's, None where it is not noted."""
        return tuple(map(self._known.get, keys))

    async def note(self, located: Sequence[Located]) -> int:
        """Note these, all or none; how many were not noted before. Raises: RecordConflict."""
        fresh = dict(self._known)
        for key, subject in located:
            if fresh.setdefault(key, subject) != subject:
                raise conflict(self.place)
        added = len(fresh) - len(self._known)
        self._known = fresh
        return added

    async def forget(self, keys: Sequence[str]) -> int:
        """Take these keys out; how many were noted."""
        return sum(self._known.pop(key, None) is not None for key in keys)

    async def forget_subject(self, subject: str) -> int:
        """Take out all that is noted of a subject; how many keys."""
        return await self.forget([key for key, whose in self._known.items() if whose == subject])

    async def aclose(self) -> None:
        """Nothing is held."""


class Locators:
    """Every locator of a deployment by the place of the sinks that it is for, and the digest that they share with pins.

    What the app's own code sees are stores, records and keys; what lies in a locator are digests.
    """

    __slots__ = ("_barred", "_digest", "behind", "by_place")

    def __init__(
        self,
        by_place: Mapping[str, Locator],
        digest: Callable[[str], str],
        *,
        barred: Callable[[str], bool] = lambda place: False,
    ) -> None:
        """`digest` answers the keyed digest (64 hex digits) of a text, as pins know subjects by; `barred` whether the
        locator of a place may not be used now, as it is not shown to lie there."""
        self.by_place = dict(by_place)
        self.behind: set[tuple[str, str]] = set()
        """(store, place) of rows that were written and not noted, by one that only observes."""
        self._digest = digest
        self._barred = barred

    def key(self, store: str, record: str, key: str) -> str:
        """The digest that a record is noted under; `key` as `record_key` or `key_text` answers it."""
        return self._digest(_PURPOSE + json.dumps([store, record, key], ensure_ascii=False, separators=(",", ":")))

    def subject(self, subject: str) -> str:
        """The digest that a subject (id) is noted by, which is the pins'."""
        return self._digest(subject)

    async def owners(
        self, store: str, rows: Sequence[tuple[str, str]], places: Sequence[str]
    ) -> tuple[str | None, ...]:
        """The digest of whose each (record, key) is, as the locators of `places` know it; None = none of them does.

        Raises: as `claimants`, RecordConflict where two say otherwise.
        """
        answers = []
        for owners in await self.claimants(store, rows, places):
            if len(owners) > 1:
                raise RecordConflict(f"a key of store {store!r} is noted as two subjects' in two places")
            answers.append(owners[0] if owners else None)
        return tuple(answers)

    async def claimants(
        self, store: str, rows: Sequence[tuple[str, str]], places: Sequence[str]
    ) -> tuple[tuple[str, ...], ...]:
        """The digests of whose each (record, key) is, as the locators of `places` know it, each once and in their
        order: none where none of them knows it, several where people in several places have rows of that key.

        Raises: SinkUnavailable where one that might know does not answer.
        """
        keys = [self.key(store, record, key) for record, key in rows]
        told: dict[str, tuple[str | None, ...]] = {}
        failed: list[Unavailable] = []

        async def ask(place: str) -> None:
            try:
                told[place] = await self._at(place).owners(keys)
            except Unavailable as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            for place in places:
                tasks.start_soon(ask, place)
        known = [told[place] for place in places if place in told]
        answers = []
        for at in range(len(keys)):
            owners = tuple(dict.fromkeys(owner for each in known if (owner := each[at]) is not None))
            if not owners and failed:  # one that does not answer may have it: unknown is not no
                raise failed[0]
            answers.append(owners)
        return tuple(answers)

    async def note(self, store: str, place: str, records: Iterable[tuple[str, str, str]]) -> int:
        """Note (record, key, subject's digest) of a sink in `place`; how many were not noted before.

        Raises: RecordConflict where a key is another's, SinkUnavailable; then nothing was noted.
        """
        return await self._at(place).note(self.located(store, records))

    def located(self, store: str, records: Iterable[tuple[str, str, str]]) -> list[Located]:
        """What is noted of each (record, key, subject's digest)."""
        begun: dict[str, str] = {}
        found = []
        digest = self._digest
        for record, key, subject in records:
            start = begun.get(record)
            if start is None:
                start = _PURPOSE + json.dumps([store, record], ensure_ascii=False, separators=(",", ":"))[:-1] + ","
                begun[record] = start
            # As `key` writes it.
            found.append(Located(digest(f"{start}{encode_basestring(key)}]"), subject))
        return found

    async def note_all(self, place: str, located: Sequence[Located]) -> None:
        """Note these of sinks in `place`, as many at once as its locator takes. Raises: RecordConflict (some are noted
        then), SinkUnavailable."""
        at = self._at(place)
        for start in range(0, len(located), at.at_once):
            await at.note(located[start : start + at.at_once])

    async def forget_all(self, place: str, located: Sequence[Located]) -> None:
        """Take those of these that are noted so in `place` out, as many at once. Raises: SinkUnavailable."""
        at = self._at(place)
        for start in range(0, len(located), at.at_once):
            part = located[start : start + at.at_once]
            owners = await at.owners([each.key for each in part])
            if ours := [each.key for each, owner in zip(part, owners, strict=True) if owner == each.subject]:
                await at.forget(ours)

    async def forget(self, store: str, place: str, rows: Iterable[tuple[str, str]]) -> int:
        """Take (record, key) of a sink in `place` out; how many were noted. Raises: SinkUnavailable."""
        return await self._at(place).forget([self.key(store, record, key) for record, key in rows])

    async def forget_subject(self, subject: str) -> int:
        """Take out all that is noted anywhere of a subject (digest); how many keys. Raises: SinkUnavailable."""
        return sum([await self._at(place).forget_subject(subject) for place in self.by_place])

    async def rebuild(
        self, store: str, place: str, records: AsyncIterator[Record], told: Callable[[int, int], object] | None = None
    ) -> tuple[int, int]:
        """Note every record of a sink in `place`; (how many there are, how many of these were not noted).

        `told(read, noted)` is called as it goes. What is noted and no longer there is not looked for: who asks for it
        finds its subject, and then no row. Records without a subject are nobody's and are left out.

        Raises: SinkUnavailable, RecordConflict; what was noted before stays, and may be done again.
        """
        read = noted = 0
        batch: list[tuple[str, str, str]] = []
        async for record in records:
            read += 1
            if record.subject is not None:
                batch.append((record.name, record_key(record.key), self._digest(record.subject)))
            if len(batch) >= _AT_ONCE:
                noted += await self.note(store, place, batch)
                batch.clear()
                if told is not None:
                    told(read, noted)
        noted += await self.note(store, place, batch) if batch else 0
        if told is not None:
            told(read, noted)
        return read, noted

    async def aclose(self) -> None:
        """Release every locator; idempotent."""
        for locator in self.by_place.values():
            await locator.aclose()

    def _at(self, place: str) -> Locator:
        if self._barred(place):
            raise SinkUnavailable(f"the locator of {place} is not used now: it is not shown to lie there")
        try:
            return self.by_place[place]
        except KeyError:
            raise SinkUnavailable(f"no locator is there for sinks in {place}") from None


def record_key(key: str) -> str:
    """The text that `about(row=…)` looks a record's canonical key up by. Raises: UsageError as `key_text`."""
    try:
        values = json.loads(key)
    except ValueError:
        return key_text(key)  # a path or a key of a cache is text as it stands
    if not isinstance(values, dict):
        return key_text(key)
    return key_text({name: _unboxed(value) for name, value in values.items()})


def _unboxed(value: object) -> object:
    """A UUID's text out of the box that stands for a value that JSON has no word for; all else as it is."""
    if isinstance(value, dict) and len(value) == 1:
        box = next(iter(value.values()))
        if isinstance(box, list) and len(box) == 2 and box[0] == "uuid":
            return box[1]
    return value


def conflict(place: str) -> RecordConflict:
    """What is raised where a key is noted as another's."""
    return RecordConflict(f"a key is noted as another subject's by the locator of {place or 'this place'}")
