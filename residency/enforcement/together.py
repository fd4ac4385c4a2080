"""Who waits for the same blocking work in; the work, done in a thread for all of them at once, out.

Coroutines of asyncio that wait are handed over together, once all that is ready to run has had its turn, so that who is
about to ask comes along. The first of them does that: it lets the others have their turn, hands them over, and where
the work was begun before (`soon`) it may find itself served, and goes on at once. One thread does the work over and
over for as long as anybody asks. After each run those that it served are woken, by one call into each loop; who came
too late for it stays for the next. So one piece of work serves as many as there are, nobody waits for more than two,
and nobody is woken for nothing.

The thread goes when nobody has asked for a while, and comes back when somebody does.
"""

from __future__ import annotations

import asyncio
import os
import threading
import types
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Final

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

__all__ = ["Together"]

_IDLE: Final = 0.5  # seconds that the thread waits for somebody to ask
Served = Callable[[], bool]
_Waiter = tuple[Served, asyncio.Future[None], asyncio.AbstractEventLoop]


class _Gathered:
    """Those of one event loop who began to wait in this turn of it: one leads, the others wait in the list."""

    __slots__ = ("led", "loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.led = False
        self.waiting: list[_Waiter] = []


class _Turn:
    """Who works in one event loop of trio. The thread is its own: handlers that wait in all the others must not hold it
    up."""

    __slots__ = ("done", "led", "thread")

    def __init__(self) -> None:
        self.led = False
        self.thread = anyio.CapacityLimiter(1)
        self.done = anyio.Event()


class Together:
    """`until` of whichever event loops are running. On trio each leads for itself, so `work` must bear to be called at
    once."""

    __slots__ = ("_asked", "_bell", "_busy", "_known", "_lock", "_process", "_soon", "_thread", "_turns", "_work")

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._turns: RunVar[_Turn] = RunVar("residency_turn")
        self._known: _Gathered | None = None  # of the loop that asked last
        self._lock = threading.Lock()
        self._bell = threading.Lock()  # held but for the moment between a ring and its being heard
        self._asked: list[_Waiter] = []
        self._soon = False  # whether a run is wanted that nobody waits for
        self._busy = False  # whether the thread will look again before it waits for the bell
        self._thread: threading.Thread | None = None
        self._process = os.getpid()  # whose thread it is

    def soon(self) -> None:
        """Have the work done, from any thread, for who may ask later. An error is told to those who do, if it stands
        by then."""
        self._ask((), soon=True)

    async def until(self, served: Served) -> None:
        """Return once `served` says so, which any thread may ask; until then have the work done.

        Raises: what the work raises.
        """
        if served():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio
            await self._until_led(served)
            return
        while True:
            known = self._known
            if known is None or known.loop is not loop:
                self._known = known = _Gathered(loop)
            future: asyncio.Future[None]
            if known.led:
                future = loop.create_future()
                known.waiting.append((served, future, loop))
            else:
                known.led = True
                try:
                    await _turn()
                    if served():
                        return
                    # With the others: one who asked after them might find their run just over, and cost another.
                    future = loop.create_future()
                    known.waiting.append((served, future, loop))
                finally:  # also where the first of them is cancelled
                    known.led = False
                    if known.waiting:
                        self._hand_over(known)
            await future
            if served():
                return

    def _hand_over(self, known: _Gathered) -> None:
        waiting, known.waiting = known.waiting, []
        late: list[_Waiter] = []
        done: list[asyncio.Future[None]] = []
        for each in waiting:
            if each[0]():  # by a run that was under way when it began to wait
                done.append(each[1])
            else:
                late.append(each)
        _tell(done, None)
        if late:
            try:
                self._ask(late)
            except RuntimeError as error:  # no thread can be started: told to one, and each of the others asks again
                _tell([each[1] for each in late], error)

    def _ask(self, waiting: list[_Waiter] | tuple[()], *, soon: bool = False) -> None:
        with self._lock:
            if self._process != os.getpid():  # a child of a fork has neither the thread nor those who waited
                self._process, self._thread, self._busy, self._asked = os.getpid(), None, False, []
            busy, new = self._busy, self._thread is None
            if new:
                bell = threading.Lock()
                bell.acquire()
                thread = threading.Thread(target=self._serve, args=(bell,), name="residency-flush", daemon=True)
                thread.start()  # where none can be, nobody has asked
                self._thread, self._bell = thread, bell
            self._asked += waiting
            self._soon = self._soon or soon
            self._busy = True
        if not busy and not new:
            self._bell.release()

    # -- in the thread -----------------------------------------------------------------------------------------------

    def _serve(self, bell: threading.Lock) -> None:
        try:
            while True:
                while self._run():
                    pass
                if not bell.acquire(timeout=_IDLE):
                    with self._lock:
                        if not self._busy:
                            self._thread = None
                            return
                    bell.acquire()  # somebody asked in this very moment, and rings
        except BaseException:  # no memory: the next who asks has another thread
            with self._lock:
                self._thread, self._busy = None, False
            raise

    def _run(self) -> bool:
        """One run, if anybody wants it; whether it did."""
        with self._lock:
            if not self._asked and not self._soon:
                self._busy = False
                return False
            before, self._asked, self._soon = self._asked, [], False
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - told to who waits
            # To one of each loop: it may not fail for all of them, and each of the others asks again.
            _wake(before, error)
            return True
        with self._lock:
            waiting, self._asked = before + self._asked, []
        served: list[_Waiter] = []
        late: list[_Waiter] = []
        for each in waiting:
            (served if each[0]() else late).append(each)
        with self._lock:
            self._asked = late + self._asked
        _wake(served, None)
        return True

    # -- on trio -----------------------------------------------------------------------------------------------------

    async def _until_led(self, served: Served) -> None:
        """Of those who wait one leads: it has the work done. The others sleep, wake together when it is done, and look
        whether it served them; one that came too late for it leads the next."""
        try:
            turn = self._turns.get()
        except LookupError:
            turn = _Turn()
            self._turns.set(turn)
        while not served():
            if turn.led:
                await turn.done.wait()
                continue
            turn.led = True
            try:
                await anyio.to_thread.run_sync(self._work, limiter=turn.thread)
            finally:
                # Where the work failed, each of those who waited asks again: it may not fail for all of them.
                turn.led = False
                turn.done.set()
                turn.done = anyio.Event()


@types.coroutine
def _turn() -> Generator[None, None, None]:
    """Let all that is ready to run on asyncio have its turn. No future, which takes another turn to wake who waits."""
    yield


def _wake(waiters: list[_Waiter], error: BaseException | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for _, future, loop in waiters:
        by_loop.setdefault(loop, []).append(future)
    for loop, futures in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, and nobody waits in it any more
            loop.call_soon_threadsafe(_tell, futures, error)


def _tell(futures: list[asyncio.Future[None]], error: BaseException | None) -> None:
    for future in futures:
        if future.done():  # cancelled, with the task that waited
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            error = None
