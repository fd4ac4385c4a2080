"""Sinks of objects that are ways to the same values, in one place, in; one sink that goes from way to way, out.

A member that has not answered for a second is asked first, with a small read, before it is sent anything: so that what
changes values is as a rule not begun at a member that is away. Where such an act breaks off none the less, nobody knows
whether it arrived, and it is tried nowhere else. What only reads goes on to the next member.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

import anyio

from residency.enforcement.ports import OCTETS, ObjectMeta, ObjectRead, ObjectSink, Upload, nothing
from residency.errors import SinkUnavailable
from residency.model import Region
from residency.storage.failover import BOUNDS, Attempt, Bounds, Circuit, Told, check_places
from residency.storage.lasting import is_lasting, lasting

__all__ = ["ObjectMembers"]

_T = TypeVar("_T")
_FRESH: Final = 1_000_000  # microseconds for which an answer vouches for a member
_REACH: Final = 2.0  # seconds that a member is given to answer when it is asked whether it is there
_START: Final = 10.0
_ASKED: Final = ".residency-probe"


def _monotonic() -> int:
    return time.monotonic_ns() // 1000


class ObjectMembers:
    """The `ObjectSink` port over members, the first of them as long as it answers."""

    __slots__ = (
        "_bounds",
        "_circuits",
        "_heard",
        "_members",
        "_name",
        "_now",
        "_reach",
        "_region",
        "_started",
        "_stays",
    )

    def __init__(
        self,
        name: str,
        region: Region,
        members: Sequence[ObjectSink],
        *,
        now: Callable[[], int] = _monotonic,
        bounds: Bounds = BOUNDS,
        reach: float = _REACH,
    ) -> None:
        """`now` in microseconds, `reach` in seconds. Raises: UsageError where a member lies in another place."""
        check_places(name, region.place, [member.region.place for member in members])
        self._name = name
        self._region = region
        self._members = tuple(members)
        self._circuits = [Circuit()] * len(members)
        self._heard: list[int | None] = [None] * len(members)
        self._started = [False] * len(members)
        self._stays = [False] * len(members)  # whether no wait mends what keeps it from starting
        self._now = now
        self._bounds = bounds
        self._reach = reach

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where its bytes rest, by way of whichever member."""
        return self._region

    async def start(self) -> None:
        """Start every member; those that are away are started when they are needed. Raises: SinkUnavailable where none
        is there."""
        async with anyio.create_task_group() as group:
            for member in range(len(self._members)):
                group.start_soon(self._begin, member)
        if not any(self._started):
            raise self._away()

    async def ping(self) -> None:
        """Raise SinkUnavailable unless a member can take a write now."""
        await self._act(lambda sink: sink.ping(), changes=False)

    async def aclose(self) -> None:
        """Release what all members hold; idempotent."""
        for member in self._members:
            await member.aclose()

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        """Store `value` at one member, whole or not at all. Raises: UsageError, SinkUnavailable."""
        return await self._act(lambda sink: sink.put(key, value, content_type, done=done), changes=True)

    async def upload(self, key: str, content_type: str = OCTETS, size: int | None = None) -> Upload:
        """Begin to store a value piece by piece at one member, and go on there. Raises: UsageError, SinkUnavailable."""
        # Nothing is to be seen of it before its commit, so that one that could not begin may begin elsewhere.
        return await self._act(lambda sink: sink.upload(key, content_type, size), changes=False)

    async def get(self, key: str) -> bytes | None:
        """The value, None where the member that answers has none. Raises: UsageError, SinkUnavailable."""
        return await self._act(lambda sink: sink.get(key), changes=False)

    async def open(self, key: str, start: int = 0, end: int | None = None) -> ObjectRead | None:
        """The value in pieces, all of one member. Raises: UsageError, SinkUnavailable."""
        return await self._act(lambda sink: sink.open(key, start, end), changes=False)

    async def head(self, key: str) -> ObjectMeta | None:
        """What is told of the value. Raises: UsageError, SinkUnavailable."""
        return await self._act(lambda sink: sink.head(key), changes=False)

    async def delete(self, key: str, *, done: Callable[[], object] = nothing) -> bool:
        """Remove the value by way of one member. Raises: UsageError, SinkUnavailable."""
        return await self._act(lambda sink: sink.delete(key, done=done), changes=True)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """All values whose keys start with `prefix`, by way of one member. Raises: SinkUnavailable."""

        async def begin(sink: ObjectSink) -> tuple[AsyncIterator[ObjectMeta], ObjectMeta | None]:
            listing = aiter(sink.list(prefix, after))
            return listing, await anext(listing, None)

        listing, meta = await self._act(begin, changes=False)
        try:
            while meta is not None:
                yield meta
                meta = await anext(listing, None)
        finally:
            if isinstance(listing, AsyncGenerator):
                await listing.aclose()  # left early, it would otherwise wait for the garbage collector

    async def _act(self, call: Callable[[ObjectSink], Awaitable[_T]], *, changes: bool) -> _T:
        """What the first member answers that can. Raises: SinkUnavailable, and what `call` raises of its own."""
        attempt = Attempt(changes)
        problem: SinkUnavailable | None = None
        while (member := attempt.next(self._circuits, self._now())) is not None:
            self._circuits[member] = self._circuits[member].begun(self._now(), self._bounds)
            how = Told.UNREACHED
            try:
                await self._reached(member)
                how = Told.BROKE
                found = await call(self._members[member])
            except SinkUnavailable as error:
                self._told(member, how)
                attempt, problem = attempt.told(member, how), error
                if changes and how is Told.BROKE:
                    raise
                continue
            self._told(member, Told.ANSWERED)
            return found
        raise self._away() from problem

    async def _reached(self, member: int) -> None:
        """Return where `member` is there. Raises: SinkUnavailable."""
        heard = self._heard[member]
        if heard is not None and self._now() - heard < _FRESH:
            return
        if not self._started[member]:
            await self._begin(member)
            if not self._started[member]:
                raise self._away()
            return
        with anyio.move_on_after(self._reach):
            await self._members[member].head(_ASKED)
            self._heard[member] = self._now()
            return
        raise self._away()

    async def _begin(self, member: int) -> None:
        with anyio.move_on_after(_START):
            try:
                await self._members[member].start()
            except SinkUnavailable as error:
                self._stays[member] = is_lasting(error)
                return  # it is tried again when it is needed
            self._stays[member] = False
            self._started[member] = True
            self._heard[member] = self._now()

    def _told(self, member: int, how: Told) -> None:
        self._circuits[member] = self._circuits[member].told(how, self._now(), self._bounds)
        self._heard[member] = self._now() if how is Told.ANSWERED else None

    def _away(self) -> SinkUnavailable:
        away = SinkUnavailable(f"sink {self._name!r} cannot be reached: none of its {len(self._members)} ways answers")
        return lasting(away) if all(self._stays) else away
