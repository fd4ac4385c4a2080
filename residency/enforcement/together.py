"""Coroutines that wait for the same blocking work in; the work, done in a thread for all of them at once, out.

Of those who wait in one event loop one leads: it has the work done, once all that is ready to run has had its turn, so
that who is about to ask comes along. The others sleep, wake together when it is done, and look whether it served
them; one that came too late for it leads the next. So one piece of work serves as many as there are, and nobody waits
for more than two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

__all__ = ["Together"]


class _Turn:
    """Who works in one event loop. The thread is its own: handlers that wait in all the others must not hold it up."""

    __slots__ = ("_done", "led", "thread")

    def __init__(self) -> None:
        self.led = False
        self.thread = anyio.CapacityLimiter(1)
        self._done = anyio.Event()

    def wait(self) -> Awaitable[object]:
        """What to await until the work that is under way is done."""
        return self._done.wait()

    def wake(self) -> None:
        """All who wait."""
        self._done.set()
        self._done = anyio.Event()


class _AsyncioTurn(_Turn):
    """The same on asyncio: a future for each, which costs a third of what an event and its coroutines do."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._waiting: list[asyncio.Future[None]] = []

    def wait(self) -> Awaitable[object]:
        """What to await until the work that is under way is done."""
        future = self._loop.create_future()
        self._waiting.append(future)
        return future

    def wake(self) -> None:
        """All who wait."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():  # cancelled, with the task that waited
                future.set_result(None)


class Together:
    """`until` of whichever event loops are running: each leads for itself, so `work` must bear to be called at once."""

    __slots__ = ("_known", "_turns", "_work")

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._turns: RunVar[_Turn] = RunVar("residency_turn")
        self._known: tuple[asyncio.AbstractEventLoop, _Turn] | None = None  # the turn asked for last, on asyncio

    async def until(self, served: Callable[[], bool]) -> None:
        """Return once `served` says so; until then have the work done. Raises: what the work raises."""
        if served():
            return
        turn = self._turn()
        while not served():
            if turn.led:
                await turn.wait()
                continue
            turn.led = True
            try:
                # Before the thread begins, all that is ready has its turn (on asyncio; a test holds it to that).
                await anyio.to_thread.run_sync(self._work, limiter=turn.thread)
            finally:
                # Where the work failed, each of those who waited asks again: it may not fail for all of them.
                turn.led = False
                turn.wake()

    def _turn(self) -> _Turn:
        # A request that waits asks for it, and there is one loop as a rule: a RunVar takes ten times as long.
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio
            return self._turn_of_run(None)
        known = self._known
        if known is None or known[0] is not loop:
            self._known = known = (loop, self._turn_of_run(loop))
        return known[1]

    def _turn_of_run(self, loop: asyncio.AbstractEventLoop | None) -> _Turn:
        try:
            return self._turns.get()
        except LookupError:
            turn = _Turn() if loop is None else _AsyncioTurn(loop)
            self._turns.set(turn)
            return turn
