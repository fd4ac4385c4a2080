"""Copiers in; copies made in the background of the process that serves, one worker at a time per outbox, out.

The worker runs on the event loop that serves, where the connections of its sinks belong. Each outbox is worked off
under a lease in the same database, which ends by itself where a worker was killed. A loop that is not asyncio's has no
worker: `residency copies run` does it there.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from math import inf
from typing import Final

import anyio

from residency.errors import ResidencyError
from residency.storage.copies import Copier
from residency.storage.fitting import Fitting
from residency.storage.outbox import Deciding, Round, Standing, Target
from residency.storage.sent import Elsewhere
from residency.storage.still import still
from residency.storage.withdrawal import PAGE, Home, Homes, walk

__all__ = ["CopiesWorker", "StoreCopies", "work_off"]

_log = logging.getLogger("residency")
_LEASE: Final = 30.0  # seconds
_POLL: Final = 0.5
_TURN: Final = 2.0  # seconds after which an outbox that is never empty lets the next one come
_LOOK: Final = 10.0  # seconds between two looks at how outboxes stand
_WALK: Final = 3600.0  # seconds after which copies are looked through again: a permission may end by itself
_SHARE: Final = 5  # times as long as a look took it is waited where no permission ends: files are read for it
_AGAIN: Final = 10.0  # seconds until it is asked again whether another worker still looks through them
_PATIENCE: Final = 10.0  # seconds that an end waits for what is under way


@dataclass(slots=True)
class StoreCopies:
    """What one store's copies are made of: its copiers by home sink, its targets, and how each outbox stands."""

    store: str
    copiers: tuple[Copier, ...]
    targets: tuple[Target, ...]
    deciding: Deciding
    standing: dict[str, Standing] = field(default_factory=dict)
    lost: Callable[[str, int], object] = lambda sink, count: None
    """Is told of a home and of how many copies their records were lost there without a note."""

    @property
    def homes(self) -> Homes:
        """By place, the sinks that are homes there."""
        found: dict[str | None, list[Home]] = {}
        for copier in self.copiers:
            home = Home(copier.home, Elsewhere(copier.records, copier.outbox, copier.sent))
            found.setdefault(copier.home.place, []).append(home)
            if len(self.copiers) == 1 and not copier.others:
                found[None] = [home]
        return found


@dataclass(slots=True)
class _Walk:
    """How far the copies at one target are looked through: `after` whom it goes on, None = we do not; by what was
    decided when it was last begun; when it is `due` next, and before when it is not asked for; what came of it."""

    after: str | None = None
    version: object = None
    due: float = -inf
    asks: float = -inf
    begun: float = 0.0
    deleted: int = 0
    gone: int = 0
    fit: Fitting = field(default_factory=lambda: Fitting(PAGE))


async def work_off(
    copier: Copier, holder: str, told: Callable[[Round], object] = lambda done: None, *, turn: float = inf
) -> bool:
    """Work off what is due in one outbox, if no other worker has it: whether it was ours, or nothing was due. After
    `turn` seconds the rest is left for another time.

    Raises: Unavailable.
    """
    if not await copier.outbox.take(1):
        return True  # a look writes nothing
    if not await copier.outbox.lease(holder, _LEASE):
        return False
    try:
        copier.keep = lambda: copier.outbox.lease(holder, _LEASE)
        end = anyio.current_time() + turn
        while True:
            done = await copier.once()
            told(done)
            if done.notes == 0 or anyio.current_time() >= end or not await copier.outbox.lease(holder, _LEASE):
                return True
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_PATIENCE):
            await copier.outbox.leave(holder)


class CopiesWorker:
    """Works for the stores of one process. `holder` is a name that no other worker has."""

    def __init__(self, stores: Sequence[StoreCopies], holder: str) -> None:
        self.stores = tuple(stores)
        self._holder = holder
        self._task: asyncio.Task[None] | None = None
        self._stop: asyncio.Event | None = None
        self._walks: dict[tuple[str, str], _Walk] = {}
        self._versions: dict[str, object] = {}
        self._looked: dict[str, float] = {}
        self._failing: set[str] = set()

    def start(self) -> None:
        """Begin to work, where an event loop of asyncio's runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            _log.warning("copies: no event loop of asyncio's runs here, so that `residency copies run` is to make them")
            return
        self._stop = asyncio.Event()
        # In a context of its own: a request that starts the process has nothing to do with what is copied.
        self._task = loop.create_task(self.run(self._stop), name="residency-copies", context=contextvars.Context())

    async def stop(self) -> None:
        """End once what is under way is done, or after a while in the middle of it. Idempotent."""
        task, self._task = self._task, None
        if task is None or self._stop is None:
            return
        if task.get_loop() is not asyncio.get_running_loop():
            task.get_loop().call_soon_threadsafe(task.cancel)
            return
        self._stop.set()
        await asyncio.wait((task,), timeout=_PATIENCE)
        task.cancel()
        await asyncio.wait((task,), timeout=_PATIENCE)

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Work until `stop` is set, or for ever. A store waits for no other: objects take longer than rows."""
        stop = stop or asyncio.Event()
        await asyncio.gather(*(self._run(store, stop) for store in self.stores))

    async def _run(self, store: StoreCopies, stop: asyncio.Event) -> None:
        looked = -_LOOK
        while not stop.is_set():
            for copier in store.copiers:
                await self._guarded(f"{store.store}/{copier.home.name}", self._work(store, copier))
                if stop.is_set():
                    return
            for target in store.targets:
                await self._guarded(f"{store.store} in {target.sink.name}", self._walk(store, target))
                if stop.is_set():
                    return
            if anyio.current_time() - looked >= _LOOK:
                looked = anyio.current_time()
                await self._guarded(store.store + "/", self.look(store))
            with anyio.move_on_after(_POLL):
                await stop.wait()

    async def look(self, store: StoreCopies) -> None:
        """See how the outboxes of a store stand. Raises: SinkUnavailable."""
        for copier in store.copiers:
            store.standing[copier.home.name] = await copier.outbox.standing()

    async def _work(self, store: StoreCopies, copier: Copier) -> None:
        version = store.deciding.version()
        key = f"{store.store}/{copier.home.name}"
        if self._versions.get(key) != version:
            if key in self._versions:
                await copier.outbox.release()  # what was refused may be permitted now
            self._versions[key] = version
        now = anyio.current_time()
        if now - self._looked.get(key, float("-inf")) >= getattr(copier.outbox, "every", 0.0):
            self._looked[key] = now
            await work_off(copier, self._holder, turn=_TURN)

    async def _walk(self, store: StoreCopies, target: Target) -> None:
        """Look on through the copies at one target for a while: one worker of all at a time, whenever policy or facts
        have changed, and every so often. What home has no more goes, and what may no more be there."""
        if not store.copiers:
            return
        where = (store.store, target.sink.name)
        outbox, ended = store.copiers[0].outbox, target.withdraw
        looks, looked = f"walk-{target.sink.name}", f"walked-{target.sink.name}"
        on, now = self._walks.setdefault(where, _Walk()), anyio.current_time()
        if on.after is None:
            version = store.deciding.version()
            changed = ended and on.version != version
            if now < on.asks or not (changed or now >= on.due):
                return
            on.asks = now + _AGAIN
            if not changed and not await outbox.lease(self._holder, _AGAIN, looked):
                return  # another worker has looked through them since
            if not await outbox.lease(self._holder, _LEASE, looks):
                return
            on.after, on.version, on.begun, on.deleted, on.gone = "", version, now, 0, 0
        end = now + _TURN
        while on.after is not None:
            if not await outbox.lease(self._holder, _LEASE, looks):
                del self._walks[where]  # it is begun anew
                return
            done = Round()
            on.after = await walk(
                target, store.homes, store.deciding, done, on.after, ended=ended, fit=on.fit, alone=self._alone
            )
            for sink, count in done.gone.items():
                store.lost(sink, count)
                on.gone += count
            on.deleted += done.deleted
            if on.after is not None and anyio.current_time() >= end:
                return
        now = anyio.current_time()
        pause = _WALK if ended else max(_WALK, _SHARE * (now - on.begun))
        on.due = now + pause
        await outbox.lease(self._holder, pause, looked)
        await outbox.leave(self._holder, looks)
        if on.deleted:
            _log.warning("copies: %d records of store %s withdrawn from %s", on.deleted, *where)
        if on.gone:
            _log.warning("copies: home lost %d records of store %s without a note; their copies in %s go", on.gone,
                         *where)  # fmt: skip

    def _alone(self, home: Home) -> AbstractAsyncContextManager[None]:
        return still([(home.sink.name, home.kept.outbox)], self._holder)

    async def _guarded(self, what: str, work: Awaitable[None]) -> None:
        """Whatever goes wrong, the next look comes; it is told once."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the worker goes on; what went wrong is told
            if what not in self._failing:
                self._failing.add(what)
                why = str(error) if isinstance(error, ResidencyError) else type(error).__name__
                _log.warning("copies: %s: %s; notes are kept, and it is tried again", what, why)
        else:
            self._failing.discard(what)
