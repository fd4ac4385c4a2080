"""Sinks in; stores whose sinks are asked, at the start and every few minutes, whether they are the ones that are meant.

A start meets another's database: it fails. One that comes later (a name that leads elsewhere, a server restored from
another's backup) stops acts on that sink, as one that lies elsewhere does, until its mark is its own again. A sink
without a mark, or one that does not tell, is as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping
from contextvars import Context
from operator import attrgetter
from typing import Any, Final

import anyio

from residency.enforcement.ports import SinkPort
from residency.errors import SinkUnavailable, Unavailable, UsageError
from residency.storage.barred import Barred
from residency.storage.handle import SessionFactory
from residency.storage.marks import differs, mark_of, misled, read_marks
from residency.storage.stores import Stores

__all__ = ["MarkWatch", "MarkedStores", "tell_marks"]

_log = logging.getLogger("residency")
_EVERY: Final = 300.0  # seconds between two looks at the marks of a process that serves
_NOTE: Final = 200  # characters of an entry's note
_PATIENCE: Final = 10.0  # seconds for one mark


class MarkWatch(Barred):
    """The marks of the sinks of one process: the set of the names of those that no act may use, since their mark is
    another's, or since they are `elsewhere`."""

    def __init__(self, sinks: Mapping[str, SinkPort]) -> None:
        super().__init__()
        self._elsewhere: frozenset[str] | Barred = frozenset()
        self.wrong: dict[str, str] = {}
        """Sinks whose mark is not their own, with what is wrong."""
        self.tell: Callable[[str], object] = lambda note: None
        """Records a note of what changes while it serves; raises Unavailable where it cannot."""
        self._sinks = sinks
        self._silent: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def elsewhere(self) -> frozenset[str] | Barred:
        """Sinks that are not where they must be, by other evidence."""
        return self._elsewhere

    @elsewhere.setter
    def elsewhere(self, value: frozenset[str] | Barred) -> None:
        """Raises: UsageError for a set that may change without telling."""
        if not isinstance(value, frozenset | Barred):
            raise UsageError("sinks that are barred by other evidence come as a frozenset, or as a `Barred`")
        self._elsewhere = value
        if isinstance(value, Barred):
            value.follow(self._join)
        else:
            self._join()

    def _join(self) -> None:
        self.bar(lambda: {*self.wrong, *self._elsewhere})

    async def look(self) -> dict[str, str]:
        """Look at each mark once; `wrong`. A sink that does not tell stays as it was."""
        for name, sink in self._sinks.items():
            try:
                with anyio.fail_after(_PATIENCE):
                    found = await read_marks(sink)
            except (SinkUnavailable, TimeoutError):
                if name not in self._silent:
                    self._silent.add(name)
                    _log.warning("sink %r does not say which sink it is: it is taken for what it was", name)
                continue
            self._silent.discard(name)
            why = None if found is None else differs(mark_of(sink), found)
            self._found(name, why)
        return self.wrong

    def _found(self, name: str, why: str | None) -> None:
        before = self.wrong.get(name)
        if why is not None:
            self.wrong[name] = why
        else:
            self.wrong.pop(name, None)
        self._join()  # first of all: what cannot be recorded is refused all the same
        if why == before:
            return
        told = why or "bears its own mark again"
        _log.log(logging.ERROR if why else logging.WARNING, "sink %r %s", name, told)
        try:
            self.tell(f"mark {name}: {told}"[:_NOTE])
        except Unavailable as error:
            _log.error("what became of the mark of sink %r could not be recorded: %s", name, error)

    def watch(self, every: Callable[[], float] = lambda: _EVERY) -> None:
        """Look again and again, `every` seconds, until the event loop ends or `stop`. Without asyncio nobody looks."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._task is not None and not self._task.done() and self._task.get_loop() is loop:
            return

        async def again() -> None:
            while True:
                await asyncio.sleep(every())
                try:
                    await self.look()
                except Exception as error:  # noqa: BLE001 - whatever went wrong, the next look comes
                    _log.warning("the marks of sinks could not be read (%s)", type(error).__name__)

        # Of no request: who is served when this starts has nothing to do with it.
        self._task = Context().run(loop.create_task, again())

    async def stop(self) -> None:
        """Look no more. Idempotent."""
        task, self._task = self._task, None
        if task is None or task.done():
            return
        try:
            if task.get_loop() is not asyncio.get_running_loop():
                return  # its loop has ended, or a parent's process has it
        except RuntimeError:
            return
        task.cancel()
        await asyncio.wait({task})


def tell_marks(stores: Stores, tell: Callable[[str], object]) -> None:
    """Have `tell` record a note of each mark of these stores' sinks that changes. It raises Unavailable where it
    cannot, which lets nothing go on."""
    if isinstance(stores.misplaced, MarkWatch):
        stores.misplaced.tell = tell


class MarkedStores(Stores):
    """Stores that start on the sinks they mean, and on no others."""

    __slots__ = ("_marks",)

    def __init__(
        self,
        sinks: Mapping[str, SinkPort],
        stores: Mapping[str, tuple[str, ...]],
        *,
        sessions: SessionFactory | None = None,
    ) -> None:
        """Raises: UsageError, as `Stores`."""
        self._marks = MarkWatch(sinks)
        super().__init__(sinks, stores, sessions=sessions)

    def _bar(self, value: Any) -> None:
        if isinstance(value, MarkWatch):
            self._marks = value  # of the stores of the policy before, over the same sinks
        else:
            self._marks.elsewhere = value

    # Read twice by each act, so by no function of ours.
    misplaced: Container[str] = property(  # type: ignore[assignment]  # a variable there
        attrgetter("_marks"), _bar, doc="Sinks that no act may use now. Raises: UsageError, as `MarkWatch.elsewhere`."
    )

    async def start(self) -> None:
        """As `Stores`; and see that no sink bears another's mark. Raises: SinkUnavailable."""
        await super().start()
        try:
            wrong = await self._marks.look()
        except BaseException:
            await self._close_sinks()
            raise
        if wrong:
            await self._close_sinks()
            raise misled(wrong)
        self._marks.watch()

    async def aclose(self) -> None:
        """As `Stores`."""
        await self._marks.stop()
        await super().aclose()
