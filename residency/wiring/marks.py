"""Sinks in; stores whose sinks are asked, at the start and every few minutes, whether they are the ones that are meant.

A start meets another's database: it fails. One that comes later (a name that leads elsewhere, a server restored from
another's backup) stops acts on that sink, as one that lies elsewhere does, until its mark is its own again. One that
bore its own mark, in this life of the process or an earlier one, and bears none any more is told of, and stops acts
where the deployment says that drift does. A sink that never had a mark, or one that does not tell, is as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from contextvars import Context
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from residency.adapters.log_files import LogFiles
from residency.enforcement.ports import SinkPort
from residency.errors import SinkUnavailable, Unavailable, UsageError
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.parsed import DeploymentDoc
from residency.storage.barred import Barred
from residency.storage.handle import SessionFactory
from residency.storage.location import Which
from residency.storage.marks import Itself, differs, mark_of, misled, read_marks
from residency.storage.marks_seen import LOST, SeenMarks, State
from residency.storage.stores import Stores

__all__ = ["STANDINGS", "MarkWatch", "MarkedStores", "meter_marks", "seen_marks", "tell_marks", "told_which"]

_log = logging.getLogger("residency")
_EVERY: Final = 300.0  # seconds between two looks at the marks of a process that serves
_NOTE: Final = 200  # characters of an entry's note
_PATIENCE: Final = 10.0  # seconds for one mark
_UNSEEN: Final = State()
STANDINGS: Final = ("own", "none", "lost", "another")
"""What a sink's marks say of it: it is the one, nothing, it was emptied or is another, it is another."""


class MarkWatch(Barred):
    """The marks of the sinks of one process: the set of the names of those that no act may use, since their mark is
    another's, or since they are `elsewhere`."""

    def __init__(self, sinks: Mapping[str, SinkPort]) -> None:
        super().__init__()
        self._elsewhere: frozenset[str] | Barred = frozenset()
        self.wrong: dict[str, str] = {}
        """Sinks whose mark is not their own, with what is wrong."""
        self.lost: set[str] = set()
        """Sinks that bore their own mark and bear none any more."""
        self.standing: dict[str, str] = {}
        """What the marks of each sink said when they were last read, a word of `STANDINGS`."""
        self.seen: SeenMarks | None = None
        """What was seen before this process began; None = nothing is remembered."""
        self.refuse = False
        """Whether no act may use a sink whose mark is lost."""
        self.tell: Callable[[str], object] = lambda note: None
        """Records a note of what changes while it serves; raises Unavailable where it cannot."""
        self.sinks = sinks
        self.which: dict[str, Which] = {}
        """What the servers of each sink last said of themselves."""
        self._states: dict[str, State] = {}
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
        self.bar(lambda: {*self.wrong, *(self.lost if self.refuse else ()), *self._elsewhere})

    async def look(self) -> dict[str, str]:
        """Look at each mark once; `wrong`. A sink that does not tell stays as it was. What changed is told, and at the
        first look what is wrong."""
        for name, sink in self.sinks.items():
            await self._ask(name, sink)
            try:
                with anyio.fail_after(_PATIENCE):
                    found = await read_marks(sink)
            except (SinkUnavailable, TimeoutError):
                if name not in self._silent:
                    self._silent.add(name)
                    _log.warning("sink %r does not say which sink it is: it is taken for what it was", name)
                continue
            self._silent.discard(name)
            if found is None:
                continue
            first = name not in self._states
            before = await anyio.to_thread.run_sync(self._recall, name) if first else self._states[name]
            now = self._found(name, differs(mark_of(sink), found), marked=bool(found), before=before)
            if now.problem != before.problem or (first and now.problem):
                self._say(name, now.problem)
            if now != before and self.seen is not None:
                await anyio.to_thread.run_sync(self._keep, name, now)
            self._states[name] = now
        return self.wrong

    async def _ask(self, name: str, sink: SinkPort) -> None:
        """Have a sink's servers tell which they are, where they do; that they do not is no news."""
        if isinstance(sink, Itself):
            with suppress(SinkUnavailable, TimeoutError), anyio.fail_after(_PATIENCE):
                self.which[name] = await sink.which()

    def _found(self, name: str, wrong: str | None, *, marked: bool = True, before: State = _UNSEEN) -> State:
        """Take in what is wrong with a sink's marks, None = nothing, or it has none; how it stands from now on."""
        own = marked and wrong is None
        lost = not marked and before.borne
        self.standing[name] = "another" if wrong is not None else "own" if own else "lost" if lost else "none"
        if wrong is not None:
            self.wrong[name] = wrong
        else:
            self.wrong.pop(name, None)
        self.lost = self.lost | {name} if lost else self.lost - {name}
        self._join()  # first of all: what cannot be recorded is refused all the same
        return State(before.borne or own, wrong or (LOST if lost else ""))

    def _recall(self, name: str) -> State:
        try:
            return _UNSEEN if self.seen is None else self.seen.of(name)
        except (OSError, ValueError) as error:
            _log.error("what was seen of the mark of sink %r cannot be read (%s)", name, type(error).__name__)
            return _UNSEEN

    def _keep(self, name: str, state: State) -> None:
        try:
            if self.seen is not None:
                self.seen.keep(name, state)
        except OSError as error:
            _log.error("what was seen of the mark of sink %r cannot be kept (%s)", name, type(error).__name__)

    def _say(self, name: str, why: str) -> None:
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


def tell_marks(
    stores: Stores, tell: Callable[[str], object], seen: SeenMarks | None = None, *, refuse: bool = False
) -> None:
    """Have `tell` record a note of each mark of these stores' sinks that changes. It raises Unavailable where it
    cannot, which lets nothing go on. `seen` = what was seen before; `refuse` = a sink whose mark is lost takes no act.
    """
    if isinstance(stores.misplaced, MarkWatch):
        stores.misplaced.tell, stores.misplaced.seen, stores.misplaced.refuse = tell, seen, refuse


def told_which(stores: Stores) -> Mapping[str, Which]:
    """What the servers of these stores' sinks say of themselves, by sink, as far as they have told."""
    return dict(stores.misplaced.which) if isinstance(stores.misplaced, MarkWatch) else {}


def seen_marks(deployment: DeploymentDoc, path: Callable[[str], Path]) -> SeenMarks:
    """What an instance of this deployment has seen of its sinks' marks; `path` reads a path of the file."""
    return SeenMarks(LogFiles(path(deployment.audit.folder), mode=0o600))


def meter_marks(metrics: Metrics, stores: Stores) -> None:
    """Show what the marks of these stores' sinks say of each; a sink whose kind can bear none shows nothing."""
    watch = stores.misplaced
    if not isinstance(watch, MarkWatch):
        return

    def is_so(sink: str, word: str) -> float | None:
        standing = watch.standing.get(sink)
        return None if standing is None else float(standing == word)

    for sink in watch.sinks:
        for word in STANDINGS:
            metrics.gauge(names.SINK_MARK, partial(is_so, sink, word), sink, word)


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
