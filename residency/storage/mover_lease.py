"""Pins in; that one mover alone is at work among all machines that share them, out: a mark that its holder renews.

Two movers with a journal each would copy what the other has deleted, and delete what the other has copied. So the mark
names who moves, and its version rises every few seconds while they live. Whoever finds it watches: a version that
rises is somebody's who lives, and the second is refused; one that does not for `_DEAD` seconds, by the watcher's own
clock, is taken over. A mover that could not renew it begins nothing more well before that.

Who erases takes it too: what a mover holds in its hands it would put down again after it was erased.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio

from residency.enforcement.ports import Pins
from residency.errors import PinsUnavailable, StaleVersion, UsageError
from residency.model import Pin

__all__ = ["MoverLease"]

_MARK: Final = "\0residency: who moves people"
_BEAT: Final = 5.0
_STALE: Final = 15.0
_DEAD: Final = 30.0
_LOOK: Final = 1.0
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
        lives is waited for `patience` seconds."""
        self._pins = pins
        self._mark = digest(_MARK)
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

    async def _take(self, told: Callable[[str], object]) -> None:
        seen = found = await self._pins.get(self._mark)
        begun = since = anyio.current_time()
        if found is not None and found.alias != self._holder:
            what, _, name = found.set_by.partition(_ON)
            told(f"another {what} was begun: {name}; looking whether it is on")
        while found is not None and seen is not None and found.alias != self._holder:
            now = anyio.current_time()
            if (found.alias, found.version) != (seen.alias, seen.version):
                if now - begun >= self._patience:
                    raise _refusal(found)
                seen, since = found, now
            elif now - since >= _DEAD:
                told("it has ended without a word; how far it came its own journal knows")
                break
            await anyio.sleep(_LOOK)
            found = await self._pins.get(self._mark)
        await self._put(found)

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(_BEAT)
            with suppress(PinsUnavailable):  # who begins something meanwhile is told by `hold`
                await self._renew()

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


def _refusal(by: Pin | None) -> UsageError:
    what, _, name = ("move" + _ON + "somebody else" if by is None else by.set_by).partition(_ON)
    return UsageError(f"another {what} is on: {name}; one at a time. Wait until it has ended, or end it there")
