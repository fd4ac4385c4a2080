"""A store of caches under one decision: values under keys in and out for a while, each call one act.

A cache is a convenience: where no sink may hold the data, or the one that may cannot be reached, it answers a miss and
keeps nothing. The refusal is recorded, once for a decision. That holds for stores whose sinks all have `scope: cache`;
what has another scope (sessions, queues) is the only copy of something, and its refusals and failures are errors.

What is kept is a copy and no first recording: `set` is an act of the word `process`, so that it gives nobody a home.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeVar, cast, runtime_checkable

from residency.enforcement.admission import CHANGES
from residency.enforcement.current import Current
from residency.enforcement.ports import SinkPort
from residency.errors import Refused, SinkUnavailable, SubjectMoving, SubjectUnknown, Unavailable, UsageError
from residency.model import Decision, Operation, SinkVerdict
from residency.storage.handle import SessionFactory, StoreHandle
from residency.storage.namespace import ANYBODY, Namespace, facet_of, namespace
from residency.storage.queues import QueueSink, check_queue, format_job, queue_key
from residency.storage.sessions import Session

__all__ = ["CacheHandle", "CacheSink"]

T = TypeVar("T")
_TTL: Final = 300.0  # seconds
_LONGEST: Final = 30 * 86_400  # seconds
_JOB: Final = 8 << 20  # bytes
_BY: Final = 1 << 31


@runtime_checkable
class CacheSink(SinkPort, Protocol):
    """A sink of small values under keys, each for a time. Keys and values are this layer's own; `ttl` is in
    milliseconds, at least 1. What is kept may be gone at any moment, and is never another key's.

    Each raises SinkUnavailable, within a bounded time; what changes something then has or has not done so.
    """

    async def fetch(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the order of the keys, None where there is none; one round trip to each server asked."""

    async def keep(self, values: Mapping[bytes, bytes], ttl: int) -> None:
        """Keep these, in the place of what was there."""

    async def add(self, key: bytes, value: bytes, ttl: int) -> bool:
        """Keep `value` unless there is one; whether it was kept. Of many at once one is."""

    async def remove(self, keys: Sequence[bytes]) -> int:
        """Remove these; how many there were."""

    async def touch(self, keys: Sequence[bytes], ttl: int) -> int:
        """Keep these for so long from now on; how many there are."""

    async def count(self, key: bytes, by: int, mark: bytes, ttl: int) -> int:
        """Add `by` to the decimal number behind the value's mark, and answer it; where there is none it begins at 0,
        under `mark`, for `ttl`. Raises: UsageError where what is there is no number."""

    async def wipe(self, prefix: bytes, among: Collection[bytes] | None = None) -> int:
        """Remove every key that starts with `prefix`, or, of those, each that goes on with one of `among` and its last
        colon; how many. For erasure and moves: it reads all keys there are."""


class CacheHandle(StoreHandle):
    """One store of caches, sessions or queues under one request's newest decision."""

    __slots__ = ("_absent", "_optional", "_spaces")
    # What is kept now would lie on where its subject's data was moved from.
    followed = frozenset({Operation.READ})

    def __init__(
        self,
        current: Current,
        name: str,
        order: tuple[str, ...],
        sinks: Mapping[str, SinkPort],
        sessions: SessionFactory | None,
    ) -> None:
        super().__init__(current, name, order, sinks, sessions)
        self._absent: Decision | None = None
        self._optional: bool | None = None
        self._spaces: dict[tuple[str, str, bool], tuple[Decision, str | None, Namespace]] = {}

    @property
    def optional(self) -> bool:
        """Whether every sink of the store is a cache, so that the app can do without it."""
        if self._optional is None:
            verdicts = [self._current.decision.sink(name) for name in self.order]
            self._optional = all(verdict is not None and verdict.sink.scope == "cache" for verdict in verdicts)
        return self._optional

    async def get(self, key: str, *, shared: bool = False) -> bytes | None:
        """The value under `key`, None where there is none that this decision may be handed. One act.

        `shared` = of everybody who has the same home, not of this request's subject.

        Raises: UsageError, SubjectUnknown, Unavailable where no act can be recorded; Refused and SinkUnavailable where
        the store is no cache.
        """
        return (await self.get_many([key], shared=shared)).get(key)

    async def get_many(self, keys: Sequence[str], *, shared: bool = False) -> dict[str, bytes]:
        """What there is under these keys. One act, one round trip. Raises: as `get`."""
        if not keys:
            return {}

        async def read(sink: CacheSink, act_sink: str) -> dict[str, bytes]:
            space = self._space("cache", act_sink, shared)
            places = [space.key(key) for key in keys]
            found: dict[str, bytes] = {}
            for key, (_, number), stored in zip(keys, places, await sink.fetch([at for at, _ in places]), strict=True):
                value = space.open(number, stored)
                if value is not None:
                    found[key] = value
            return found

        return await self._act(Operation.READ, read, {})

    async def set(self, key: str, value: bytes, ttl: float = _TTL, *, shared: bool = False) -> bool:
        """Keep `value` under `key` for `ttl` seconds (30 days at most); whether it is kept. One act.

        Raises: as `get`.
        """
        return await self.set_many({key: value}, ttl, shared=shared)

    async def set_many(self, values: Mapping[str, bytes], ttl: float = _TTL, *, shared: bool = False) -> bool:
        """Keep all of these for `ttl` seconds; whether they are kept. One act. Raises: as `get`."""
        milliseconds = _milliseconds(ttl)
        for value in values.values():
            _check_value(value)
        if not values:
            return True

        async def keep(sink: CacheSink, act_sink: str) -> bool:
            space = self._space("cache", act_sink, shared)
            sealed = {at: space.seal(number, values[key]) for key in values for at, number in (space.key(key),)}
            await sink.keep(sealed, milliseconds)
            return True

        return await self._act(Operation.PROCESS, keep, False)

    async def add(self, key: str, value: bytes, ttl: float = _TTL, *, shared: bool = False) -> bool:
        """Keep `value` unless something is there, whoever may be handed it; whether it was kept. One act.

        Raises: as `get`.
        """
        milliseconds = _milliseconds(ttl)
        _check_value(value)

        async def add(sink: CacheSink, act_sink: str) -> bool:
            space = self._space("cache", act_sink, shared)
            at, number = space.key(key)
            return await sink.add(at, space.seal(number, value), milliseconds)

        return await self._act(Operation.PROCESS, add, False)

    async def incr(self, key: str, by: int = 1, ttl: float = _TTL, *, shared: bool = False) -> int | None:
        """Add `by` to the number under `key` and answer it; a new one begins at 0 and lives for `ttl` seconds. One act.
        None = there is no cache. A counter counts on whatever the decision becomes, so that no limit starts anew.

        Raises: UsageError where what is there is no number; else as `get`.
        """
        milliseconds = _milliseconds(ttl)
        if not -_BY <= by <= _BY:
            raise UsageError("a counter is counted on by at most 2^31 at once")

        async def count(sink: CacheSink, act_sink: str) -> int | None:
            space = self._space("cache", act_sink, shared)
            at, number = space.key(key)
            return await sink.count(at, by, space.mark(number, ANYBODY), milliseconds)

        return await self._act(Operation.PROCESS, count, None)

    async def touch(self, key: str, ttl: float = _TTL, *, shared: bool = False) -> bool:
        """Keep what is under `key` for `ttl` seconds from now; whether there is something. One act.

        Raises: as `get`.
        """
        milliseconds = _milliseconds(ttl)

        async def touch(sink: CacheSink, act_sink: str) -> bool:
            at, _ = self._space("cache", act_sink, shared).key(key)
            return await sink.touch([at], milliseconds) > 0

        return await self._act(Operation.PROCESS, touch, False)

    async def delete(self, *keys: str, shared: bool = False) -> int:
        """Remove what is under these keys, under whichever decision it was kept; how many there were. One act.

        Raises: as `get`.
        """
        if not keys:
            return 0

        async def remove(sink: CacheSink, act_sink: str) -> int:
            space = self._space("cache", act_sink, shared)
            return await sink.remove([space.key(key)[0] for key in keys])

        return await self._act(self._erasing(), remove, 0)

    async def forget(self) -> int:
        """Remove all that the store's sink at home keeps of this request's subject; how many keys. It reads every key
        of the sink: for erasure, not for each request. One act.

        Raises: UsageError where the request has no subject; else as `get`.
        """
        if self._current.subject_digest is None:
            raise UsageError("only of a subject is everything forgotten")

        async def wipe(sink: CacheSink, act_sink: str) -> int:
            gone = await sink.wipe(self._space("cache", act_sink, False).prefix)
            return gone + await sink.wipe(self._space("session", act_sink, False).prefix)

        return await self._act(self._erasing(), wipe, 0)

    def session(self, known: str | None = None, ttl: float = 14 * 86_400.0) -> Session:
        """This subject's session of that id, to be entered by `async with`; one that is not there begins anew under an
        id of its own. Reading it is one act, and storing it, where it was changed, another.

        Raises: UsageError.
        """
        milliseconds = _milliseconds(ttl)
        homes = self._current.point.homes

        async def read(number: str) -> bytes | None:
            async def fetch(sink: CacheSink, act_sink: str) -> bytes | None:
                space = self._space("session", act_sink, False)
                at, digest = space.key(number)
                value = space.open(digest, (await sink.fetch([at]))[0])
                if value is not None:
                    await sink.touch([at], milliseconds)
                return value

            return await self._act(Operation.READ, fetch, None)

        async def write(number: str, value: bytes | None) -> None:
            async def keep(sink: CacheSink, act_sink: str) -> None:
                space = self._space("session", act_sink, False)
                at, digest = space.key(number)
                if value is None:
                    await sink.remove([at])
                else:
                    await sink.keep({at: space.seal(digest, value, ANYBODY)}, milliseconds)

            await self._act(self._erasing() if value is None else self._keeping(), keep, None)

        return Session(known, read, write, lambda: homes.new_alias() + homes.new_alias())

    async def push(self, queue: str, payload: bytes) -> str:
        """Put a job into `queue` (a word) at the subject's home, and answer its id. One act.

        The job says which store, home, activity and subject it is of; a worker of that place takes it, no other.

        Raises: UsageError for a bad queue or payload, or where the store is a cache, which may lose it; else as `get`.
        """
        check_queue(queue)
        _check_value(payload)
        if len(payload) > _JOB:
            raise UsageError("a job has at most 8 MiB; put more into a store of objects")
        if self.optional:
            raise UsageError(f"store {self.name!r} is a cache, which may lose what it holds: jobs need another scope")

        async def push(sink: CacheSink, act_sink: str) -> str:
            if not isinstance(sink, QueueSink):
                raise UsageError(f"sink {sink.name!r} has no queues")
            here = self._current
            home = self._home(act_sink)
            subject = None if here.subject is None else here.subject.value
            job = format_job(self.name, home, here.activity.name, subject, payload)
            return await sink.push(queue_key(self._deployment, self.name, home, queue), job)

        return await self._act(self._keeping(), push, "")

    # -- inside ------------------------------------------------------------------------------------------------

    async def _act(self, word: Operation, effect: Callable[[CacheSink, str], Awaitable[T]], otherwise: T) -> T:
        """What `effect` answers on the sink of this act; `otherwise` where the app can do without."""
        here, optional = self._current, self.optional
        if optional and self._absent is not None:
            here.point.refresh(here)
            if self._absent is here.decision:  # refused and recorded already
                return otherwise
        before = here.trail.refusal
        try:
            if optional:
                await self.learn()
            act = self.begin(operation=word) if optional else await self.opened(operation=word)
            await act.confirm()
        except (Refused, SubjectMoving) as error:
            if not optional:
                raise
            if isinstance(error, Refused):
                self._absent = here.decision
            here.trail.refusal = before  # the request itself is not refused for want of a cache
            return otherwise
        try:
            # `Stores` gives this handle to stores whose sinks are all of this kind.
            value = await effect(cast(CacheSink, self._sinks[act.sink]), act.sink)
        except BaseException as error:
            with suppress(Unavailable):  # the intent then stays open, and the first error is the one to tell
                act.outcome("failed" if word is Operation.READ or isinstance(error, UsageError) else "unknown")
            if optional and isinstance(error, SinkUnavailable | SubjectUnknown):
                here.trail.refusal = before
                return otherwise
            raise
        act.outcome("committed")
        await act.settled()
        return value

    def _space(self, what: str, sink: str, shared: bool) -> Namespace:
        here = self._current
        subject = None if shared else here.subject_digest
        if what == "cache" and subject is None and not shared and here.activity.subject.kind != "none":
            # Observing, the act is let through; under nobody's name one person's value would be the next one's. (The
            # id of a session is nobody else's.)
            raise SubjectUnknown(f"store {self.name!r} was asked before identify() said whose value it is")
        held = self._spaces.get((what, sink, shared))
        if held is not None and held[0] is here.decision and held[1] == subject:
            return held[2]
        made = namespace(what, self._deployment, self.name, self._home(sink), subject, self._facet(sink))
        self._spaces[what, sink, shared] = (here.decision, subject, made)
        return made

    def _facet(self, sink: str) -> int:
        here = self._current
        verdict = cast(SinkVerdict, here.decision.sink(sink))  # the act went there by it
        return facet_of(here.decision, verdict, 0 if here.pin is None else here.pin.version)

    def _home(self, sink: str) -> str:
        pin = self._current.pin
        return self._sinks[sink].region.place if pin is None else pin.moving or pin.home

    @property
    def _deployment(self) -> str:
        return self._current.point.policy.deployment.name

    def _keeping(self) -> Operation:
        """The word for what is kept for its own sake: the activity's own where it changes data."""
        own = self._current.operation
        return own if own in CHANGES and own is not Operation.ERASE else Operation.PROCESS

    def _erasing(self) -> Operation:
        return Operation.ERASE if self._current.operation is Operation.ERASE else Operation.PROCESS


def _milliseconds(ttl: float) -> int:
    if not 0 < ttl <= _LONGEST:  # NaN is neither
        raise UsageError("what a cache keeps it keeps for more than 0 seconds and at most 30 days")
    return max(1, round(ttl * 1000))


def _check_value(value: object) -> None:
    if not isinstance(value, bytes):
        raise UsageError("a cache keeps bytes: how values become bytes is the app's choice")
