"""Coroutines that wait for the same blocking work in; the work, done in a thread for all of them at once, out.

Of those who wait in one event loop one leads: it has the work done, once all that is ready to run has had its turn, so
that who is about to ask comes along. The others sleep, wake together when it is done, and look whether it served
them; one that came too late for it leads the next. So one piece of work serves as many as there are, and nobody waits
for more than two.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

__all__ = ["Together"]


class _Turn:
    """Who works in one event loop. The thread is its own: handlers that wait in all the others must not hold it up."""

    __slots__ = ("done", "thread")

    def __init__(self) -> None:
        self.done: anyio.Event | None = None  # None: nobody leads
        self.thread = anyio.CapacityLimiter(1)


class Together:
    """`until` of whichever event loops are running: each leads for itself, so `work` must bear to be called at once."""

    __slots__ = ("_turns", "_work")

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._turns: RunVar[_Turn] = RunVar("residency_turn")

    async def until(self, served: Callable[[], bool]) -> None:
        """Return once `served` says so; until then have the work done. Raises: what the work raises."""
        turn = self._turn()
        while not served():
            if turn.done is not None:
                await turn.done.wait()
                continue
            turn.done = done = anyio.Event()
            try:
                # Before the thread begins, all that is ready has its turn (on asyncio; a test holds it to that).
                await anyio.to_thread.run_sync(self._work, limiter=turn.thread)
            finally:
                # Where the work failed, each of those who waited asks again: it may not fail for all of them.
                turn.done = None
                done.set()

    def _turn(self) -> _Turn:
        try:
            return self._turns.get()
        except LookupError:
            turn = _Turn()
            self._turns.set(turn)
            return turn
