"""Pins in; that one mover alone is at work among all machines that share them, out: a mark that its holder renews.

Two movers with a journal each would copy what the other has deleted, and delete what the other has copied. So the mark
names who moves, and its version rises every few seconds while they live. Whoever finds it watches: a version that
rises is somebody's who lives, and the second is refused; one that does not for `_DEAD` seconds, by the watcher's own
clock, is taken over. A mover that could not renew it begins nothing more well before that.

Who erases takes it too: what a mover holds in its hands it would put down again after it was erased. A move takes
hours, and an erasure has a day by which the law wants it. So who waits says so by a mark of its own, whose version
rises; a mover that sees it rise lets go between two batches, with nothing in hand, and goes on by what it reads then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Final

import anyio

from residency.enforcement.ports import Pins
from residency.errors import PinsUnavailable, StaleVersion, UsageError
from residency.model import Pin

__all__ = ["MoverLease"]

_MARK: Final = "\0residency: who moves people"
_WAITS: Final = "\0residency: who waits for a move"
_BEAT: Final = 5.0
_STALE: Final = 15.0
_DEAD: Final = 30.0
_LOOK: Final = 1.0
_WAY: Final = 10.0
_ON: Final = " on "


class MoverLease:
    """The mark, as one mover takes and holds it. `holder` (32 hex digits) is this machine's journal's, so that a run
    which was killed is taken over by the next one with that journal at once; `name` is what others are told."""

    def __init__(
        self,
        pins: Pins,
        digest: Callable[[str], str],
        holder: str,
        name: str,
        place: str,
        *,
        what: str = "move",
        patience: float = 0.0,
    ) -> None:
        """`digest` is that which `pins` know subjects by, `place` any of a sink, `what` is done; somebody else who
        lives is waited for `patience` seconds, and asked to let go."""
        self._pins = pins
        self._mark = digest(_MARK)
        self._waits = digest(_WAITS)
        self._asking: Pin | None = None
        self.asked = False
        """Whether somebody waits, and lives; with nothing in hand who moves calls `give_way` then."""
        self._holder = holder
        self._by = f"{what}{_ON}{name}"
        self._patience = patience
        self._place = place
        self._held: Pin | None = None
        self._renewed = 0.0
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def held(self, told: Callable[[str], object] = lambda text: None) -> AsyncIterator[None]:
        """While inside nobody else moves. Raises: UsageError where somebody else does, and inside where they took over;
        PinsUnavailable."""
        await self._take(told)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._beat)
                try:
                    yield
                finally:
                    group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            with anyio.CancelScope(shield=True), suppress(StaleVersion, PinsUnavailable):
                await self._leave()

    async def hold(self) -> None:
        """Return if the mark is ours, which is sure for the next seconds. Raises: UsageError, PinsUnavailable."""
        if anyio.current_time() - self._renewed > _STALE:
            await self._renew()

    async def give_way(self, told: Callable[[str], object] = lambda text: None) -> None:
        """Let who waits have the mark, and take it again when they have ended. What was read before is not so any more.

        Raises: UsageError where another move came in between, PinsUnavailable.
        """
        async with self._turn:
            told("somebody is to be erased: the move lets that in, and goes on afterwards")
            await self._leave()
            self._held = None
            end = anyio.current_time() + _WAY
            while await self._pins.get(self._mark) is None and anyio.current_time() < end:  # noqa: ASYNC110 - elsewhere
                await anyio.sleep(_LOOK / 2)
            await self._take(lambda text: None, gave_way=True)
            self.asked, self._asking = False, None

    async def _take(self, told: Callable[[str], object], *, gave_way: bool = False) -> None:
        seen = found = await self._pins.get(self._mark)
        begun = since = anyio.current_time()
        if found is not None and found.alias != self._holder:
            what, _, name = found.set_by.partition(_ON)
            told(f"another {what} was begun: {name}; looking whether it is on")
        try:
            while found is not None and seen is not None and found.alias != self._holder:
                now = anyio.current_time()
                if (found.alias, found.version) != (seen.alias, seen.version):
                    if now - begun >= (_patience_for(found) if gave_way else self._patience):
                        raise _refusal(found)
                    seen, since = found, now
                elif now - since >= _DEAD:
                    told("it has ended without a word; how far it came its own journal knows")
                    break
                if self._patience > 0:
                    await self._ask()
                await anyio.sleep(_LOOK)
                found = await self._pins.get(self._mark)
            await self._put(found)
        finally:
            if self._patience > 0 and self._asking is not None:
                with anyio.CancelScope(shield=True), suppress(StaleVersion, PinsUnavailable):
                    await self._pins.forget(self._waits, self._asking.version)

    async def _ask(self) -> None:
        """Say that somebody waits. Of many that wait at once it is enough that one says so."""
        found = await self._pins.get(self._waits)
        version = 1 if found is None else found.version + 1
        self._asking = Pin(self._waits, self._place, (), self._holder, self._by, "", 0, version)
        with suppress(StaleVersion):
            await self._pins.put(self._asking)

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(_BEAT)
            with suppress(PinsUnavailable):  # who begins something meanwhile is told by `hold`
                await self._renew()
                await self._hear()

    async def _hear(self) -> None:
        """Hear whether somebody waits: one who was killed waits no more, and their mark stays as it is."""
        async with self._turn:
            before, self._asking = self._asking, await self._pins.get(self._waits)
            self.asked = before is not None and self._asking not in (None, before)

    async def _renew(self) -> None:
        async with self._turn:
            await self._put(self._held)

    async def _put(self, old: Pin | None) -> None:
        version = 1 if old is None else old.version + 1
        pin = Pin(self._mark, self._place, (), self._holder, self._by, "", 0, version)
        begun = anyio.current_time()
        try:
            await self._pins.put(pin)
        except StaleVersion:
            now = await self._pins.get(self._mark)
            if now is None or now.alias != self._holder:
                raise _refusal(now) from None
            pin = now  # ours, by a call whose answer was lost
        self._held, self._renewed = pin, begun

    async def _leave(self) -> None:
        if self._held is not None:
            await self._pins.forget(self._mark, self._held.version)


def _patience_for(by: Pin) -> float:
    """Seconds for which who gave way waits: for erasures to their end, for another move not at all."""
    return 0.0 if by.set_by.startswith("move" + _ON) else inf


def _refusal(by: Pin | None) -> UsageError:
    what, _, name = ("move" + _ON + "somebody else" if by is None else by.set_by).partition(_ON)
    return UsageError(f"another {what} is on: {name}; one at a time. Wait until it has ended, or end it there")
