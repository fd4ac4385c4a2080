"""One sink of objects in: the sink that notes each change before it is made, and its outbox, out.

A store of objects has no transactions. So a change is noted twice: before it is made, and again once it is known to be
made. A note of the first kind is left alone for a while, since its change may still be on its way, and is then worked
off like any other: a crash in between loses nothing. All of it lies under a prefix that no listing shows.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from residency.adapters.outbox_objects.beside import JSON, RESERVED
from residency.enforcement.ports import OCTETS, ObjectMeta, ObjectRead, ObjectSink, Upload
from residency.errors import UsageError
from residency.model import Region
from residency.storage.copied import Key
from residency.storage.outbox import WAITING, Note, Standing

__all__ = ["NotedObjects", "ObjectOutbox"]

_GRACE: Final = 900_000_000  # microseconds that a change may take from its first note on
_SECOND: Final = 1_000_000


def nothing() -> None:
    """What is called where nobody wants to be told."""


@dataclass(frozen=True, slots=True)
class _Marker:
    """One note as it lies there."""

    name: str
    key: str
    noted: int
    due: int
    tries: int = 0
    halted: str | None = None

    def text(self) -> bytes:
        return json.dumps([self.name, self.key, self.noted, self.due, self.tries, self.halted]).encode()


class NotedObjects:
    """A sink of objects that hides what is ours, and notes each change where copies are made from it."""

    __slots__ = ("_notes", "_now", "_token", "plain")

    def __init__(
        self,
        plain: ObjectSink,
        notes: Mapping[str, Callable[[str], str | None]],
        *,
        now: Callable[[], int],
        token: Callable[[int], bytes],
    ) -> None:
        """`notes` by store: what answers the name of the record that a key is, None = it is nobody's. `now` in
        microseconds."""
        self.plain = plain
        self._notes = dict(notes)
        self._now = now
        self._token = token

    @property
    def name(self) -> str:
        """The sink's name."""
        return self.plain.name

    @property
    def region(self) -> Region:
        """Where its bytes rest."""
        return self.plain.region

    async def start(self) -> None:
        """As the port says."""
        await self.plain.start()

    async def ping(self) -> None:
        """As the port says."""
        await self.plain.ping()

    async def aclose(self) -> None:
        """As the port says."""
        await self.plain.aclose()

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        """As the port says; noted before, and after."""
        made = await self._begin(key)
        meta = await self.plain.put(key, value, content_type, done=done)
        await self._end(made)
        return meta

    async def upload(self, key: str, content_type: str = OCTETS, size: int | None = None) -> Upload:
        """As the port says; noted before it is made visible, and after."""
        _check(key)
        return _NotedUpload(
            await self.plain.upload(key, content_type, size), lambda: self._begin(key), self._end
        )  # fmt: skip

    async def get(self, key: str) -> bytes | None:
        """As the port says."""
        return await self.plain.get(key)

    async def open(self, key: str, start: int = 0, end: int | None = None) -> ObjectRead | None:
        """As the port says."""
        return await self.plain.open(key, start, end)

    async def head(self, key: str) -> ObjectMeta | None:
        """As the port says."""
        return await self.plain.head(key)

    async def delete(self, key: str, *, done: Callable[[], object] = nothing) -> bool:
        """As the port says; noted before, and after."""
        made = await self._begin(key)
        there = await self.plain.delete(key, done=done)
        await self._end(made)
        return there

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """As the port says, without what is ours."""
        async for meta in self.plain.list(prefix, after):
            if not meta.key.startswith(RESERVED):
                yield meta

    async def _begin(self, key: str) -> Sequence[tuple[str, _Marker]]:
        _check(key)
        now, made = self._now(), []
        for store, name_of in self._notes.items():
            if (name := name_of(key)) is not None:
                where = f"{_folder(store)}{now:020d}-{self._token(8).hex()}"
                made.append((where, _Marker(name, key, now, now + _GRACE)))
        for where, marker in made:
            await self.plain.put(where, marker.text(), JSON)
        return made

    async def _end(self, made: Sequence[tuple[str, _Marker]]) -> None:
        for where, marker in made:
            await self.plain.put(where, _Marker(marker.name, marker.key, marker.noted, 0).text(), JSON)


class _NotedUpload:
    """A value on its way, noted when it arrives."""

    __slots__ = ("_begin", "_end", "_plain")

    def __init__(
        self,
        plain: Upload,
        begin: Callable[[], Awaitable[Sequence[tuple[str, _Marker]]]],
        end: Callable[[Sequence[tuple[str, _Marker]]], Awaitable[None]],
    ) -> None:
        self._plain = plain
        self._begin = begin
        self._end = end

    async def write(self, data: bytes) -> None:
        """As the port says."""
        await self._plain.write(data)

    async def commit(self, done: Callable[[], object] = nothing) -> ObjectMeta:
        """As the port says."""
        made = await self._begin()
        meta = await self._plain.commit(done)
        await self._end(made)
        return meta

    async def abort(self) -> None:
        """As the port says."""
        await self._plain.abort()


class ObjectOutbox:
    """The `Outbox` port of one store over one sink of objects.

    The lease is not a lock: a store of objects has none. It keeps two workers apart but for those that take it in the
    same moment, and then both make the same copies.
    """

    def __init__(
        self, store: str, sink: ObjectSink, name_of: Callable[[str], str | None], *, now: Callable[[], int]
    ) -> None:
        """`name_of` answers the name of the record that a key is. `now` in microseconds."""
        self._plain: ObjectSink = getattr(sink, "plain", sink)
        self._folder = _folder(store)
        self._store = store
        self._prepared = f"{RESERVED}prepared/{store}"
        self._name_of = name_of
        self._now = now
        self._read: dict[str, tuple[str, _Marker]] = {}
        self.every = 2.0
        """Seconds between two looks in the background: each lists objects, which clouds are paid for."""

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._plain.name

    async def missing(self) -> list[str]:
        """What says that all that was there before is noted, where it is not there. Raises: SinkUnavailable."""
        return [] if await self._plain.head(self._prepared) is not None else ["outbox"]

    async def prepare(self, *, fill: bool = False) -> tuple[list[str], int]:
        """Note all that is there, the first time or where it is asked for: (what was made, how many were noted).

        Raises: SinkUnavailable.
        """
        made = await self.missing()
        noted = await self.fill() if made or fill else 0
        await self._plain.put(self._prepared, b"{}", JSON)
        return made, noted

    async def take(self, limit: int) -> Sequence[Note]:
        """Those whose time has come. Raises: SinkUnavailable."""
        now = self._now()
        due = [(where, marker) for where, marker in (await self._markers()).items() if marker.due <= now]
        return [
            Note((where, marker), marker.name, marker.key, marker.noted, marker.tries)
            for where, marker in sorted(due, key=lambda each: (each[1].due, each[0]))[:limit]
        ]

    async def done(self, notes: Sequence[Note]) -> None:
        """Delete exactly these, as they were read: one that was written again meanwhile stays.

        Raises: SinkUnavailable.
        """
        for note in notes:
            where, marker = note.id
            if await self._plain.get(where) == marker.text():
                await self._plain.delete(where)

    async def hold(self, notes: Sequence[Note], reason: str, seconds: float) -> None:
        """Keep these for so long. Raises: SinkUnavailable."""
        due = self._now() + int(seconds * _SECOND)
        for note in notes:
            where, marker = note.id
            held = _Marker(marker.name, marker.key, marker.noted, due, marker.tries + 1, reason)
            await self._plain.put(where, held.text(), JSON)

    async def note(self, keys: Collection[Key]) -> None:
        """Note that these changed. Raises: SinkUnavailable."""
        now = self._now()
        for name, key in keys:
            # Whoever notes another key in the same moment does not write over this one.
            which = hashlib.sha256(f"{name}\0{key}".encode()).hexdigest()[:16]
            await self._plain.put(f"{self._folder}{now:020d}-{which}", _Marker(name, key, now, 0).text(), JSON)

    async def forget(self, keys: Collection[Key]) -> int:
        """Delete every note of these; how many. Raises: SinkUnavailable."""
        gone = [where for where, marker in (await self._markers()).items() if (marker.name, marker.key) in keys]
        for where in gone:
            await self._plain.delete(where)
        return len(gone)

    async def release(self) -> None:
        """The time of all that are held has come. Raises: SinkUnavailable."""
        for where, marker in (await self._markers()).items():
            if marker.halted is not None and marker.due > 0:
                back = _Marker(marker.name, marker.key, marker.noted, 0, marker.tries, marker.halted)
                await self._plain.put(where, back.text(), JSON)

    async def fill(self) -> int:
        """Note every object that is a record; how many. Raises: SinkUnavailable."""
        keys = []
        async for meta in self._plain.list():
            name = None if meta.key.startswith(RESERVED) else self._name_of(meta.key)
            if name is not None:
                keys.append((name, meta.key))
        await self.note(keys)
        return len(keys)

    async def standing(self) -> Standing:
        """How it stands. Raises: SinkUnavailable."""
        markers = (await self._markers()).values()
        held = Counter(marker.halted for marker in markers if marker.halted is not None)
        waiting = [marker.noted for marker in markers if marker.halted is None or marker.halted in WAITING]
        return Standing(len(markers) - held.total(), held, min(waiting, default=None))

    async def lease(self, holder: str, seconds: float, what: str = "lease") -> bool:
        """Take it, or keep it. Raises: SinkUnavailable."""
        where = f"{RESERVED}{what}/{self._store}"
        there = _lease(await self._plain.get(where))
        if there[0] not in ("", holder) and there[1] >= self._now():
            return False
        if there[0] == holder and there[1] - self._now() > seconds * _SECOND / 2:
            return True
        await self._plain.put(where, json.dumps([holder, self._now() + int(seconds * _SECOND)]).encode(), JSON)
        return _lease(await self._plain.get(where))[0] == holder

    async def leave(self, holder: str, what: str = "lease") -> None:
        """Give it back. Raises: SinkUnavailable."""
        where = f"{RESERVED}{what}/{self._store}"
        if _lease(await self._plain.get(where))[0] == holder:
            await self._plain.delete(where)

    async def _markers(self) -> dict[str, _Marker]:
        """Every note; what has not changed since it was last read is not read again."""
        found: dict[str, tuple[str, _Marker]] = {}
        async for meta in self._plain.list(self._folder):
            known = self._read.get(meta.key)
            if known is None or known[0] != meta.etag:
                value = await self._plain.get(meta.key)
                if value is None:
                    continue
                known = (meta.etag, _Marker(*json.loads(value)))
            found[meta.key] = known
        self._read = found
        return {where: marker for where, (_, marker) in found.items()}


def _folder(store: str) -> str:
    return f"{RESERVED}outbox/{store}/"


def _lease(value: bytes | None) -> tuple[str, int]:
    if value is None:
        return "", 0
    holder, until = json.loads(value)
    return str(holder), int(until)


def _check(key: str) -> None:
    if key.startswith(RESERVED):
        raise UsageError(f"keys that begin with {RESERVED} are this package's own")
