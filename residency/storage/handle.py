"""A decision's `Current` and a store in, acts on the right sink out: what the handles of all kinds of store share.

Every call on a handle is one act: intent, confirmation, effect, outcome. A crash between effect and outcome leaves an
open intent, which is a finding; nothing here ever says "committed" of what it has not seen return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Final

from residency.enforcement.acts import Act
from residency.enforcement.admission import CHANGES
from residency.enforcement.context import current
from residency.enforcement.current import Current
from residency.enforcement.moving import WaitFirstError, until_home
from residency.enforcement.ports import SinkPort
from residency.enforcement.refusing import refuse
from residency.errors import PinsUnavailable, Unavailable, UnknownStore, UsageError
from residency.model import Operation, Reason, SinkVerdict
from residency.storage.homes_known import are_known, learned
from residency.storage.routing import READS, choose

__all__ = ["GATED", "SESSION", "WITHOUT_ACT", "SessionFactory", "StoreHandle", "backend_of"]

SESSION: Final = "residency.session"
"""Under this key a connection's info holds the routed session it works for; without it no request may commit."""

WITHOUT_ACT: Final = "residency_without_act"
"""An execution option of engines for what has no act: set-up, and our own workers. Others' serve sessions alone."""

GATED: Final = "residency_gated"
"""An attribute of engines whose connections ask the session under `SESSION` before each statement and each COMMIT, and
forget it when they go back to their pool. No session works on another engine."""

SessionFactory = Callable[[str], AbstractAsyncContextManager[Any]]


class StoreHandle:
    """One logical store under one request's newest decision."""

    __slots__ = ("_current", "_known", "_sinks", "name", "order", "sessions")
    followed: ClassVar[frozenset[Operation]] = READS
    """The operations that go on where a subject's data still lies while it is moved home; none = none lies there."""

    def __init__(
        self,
        current: Current,
        name: str,
        order: tuple[str, ...],
        sinks: Mapping[str, SinkPort],
        sessions: SessionFactory | None,
    ) -> None:
        self._current = current
        self._sinks = sinks
        self._known: bool | None = None  # whether everybody has a pin, where that was asked and waited for
        self.name = name
        self.order = order
        self.sessions = sessions

    @property
    def sink_name(self) -> str:
        """The sink that the activity's own operation would use now. Raises: Refused where there is none."""
        return self.route().sink.name

    def route(self, *, operation: Operation | None = None, sink: str | None = None) -> SinkVerdict:
        """The verdict on the sink that an act would use now. Raises: Refused (NO_SINK), UnknownStore."""
        here = self._current
        wanted = operation or here.activity.operation
        known = here.decision.mode == "observe" and bool(self._all_known())
        return choose(
            here.decision, here.pin, sink, order=self.order, operation=wanted, known=known, followed=self.followed
        )

    def begin(
        self,
        *,
        operation: Operation | None = None,
        sink: str | None = None,
        resumed: bool = False,
        patient: bool = False,
    ) -> Act:
        """Start one act on the routed sink (or on `sink`) and record its intent.

        `resumed` = `sink` is where this handle's user went before, not one that the app asked for by name. `patient` =
        where the subject's data is being moved, or it is not told here whether everybody has a pin, WaitFirstError is
        raised, nothing is recorded, and the caller begins again after its `wait`.

        Raises: Refused, SubjectUnknown, UnknownStore, PinsUnavailable, JournalFull, JournalFailed, NoDecision outside a
        request, UsageError under another decision than the one this handle is of; then nothing was done.
        """
        here = self._current
        if current() is not here:
            # Kept from one request for the next, it would put one person's data where another's belongs.
            raise UsageError(f"a handle of store {self.name!r} is of use in its own request only: ask current() anew")
        try:
            # Facts that moved since the last decision may move the route, so they are reread before it is taken.
            here.point.refresh(here)
            if sink is None and here.decision.mode == "observe" and self._all_known() is None:
                if patient:
                    raise WaitFirstError(self.learn)
                raise PinsUnavailable("it is not told here where people without a pin begin: ask again")
            verdict = self.route(operation=operation, sink=sink)  # a service has a way of its own
            if verdict.reason is Reason.NOT_HOME and here.decision.mode != "observe":
                # `Current.begin` knows what the decision says of the sink, but not that the pin points elsewhere.
                rules = verdict.rules or here.decision.rules
                message = f"this subject's data lies elsewhere than in sink {verdict.sink.name!r}"
                raise refuse(here, Reason.NOT_HOME, message, sink=verdict.sink.name, rules=rules)
            if verdict.reason is Reason.SUBJECT_MOVING:
                if patient:
                    raise WaitFirstError(lambda: until_home(here))
                # Whatever the mode: what is written now would be missed by those who copy, or be read by nobody.
                message = "this subject's data is being moved just now: try again in a few seconds"
                raise refuse(here, Reason.SUBJECT_MOVING, message, sink=verdict.sink.name, rules=())
            moved = resumed and sink is not None and here.pin is not None and here.pin.set_by == "move"
            if moved and self.followed and verdict.sink.place != self.route(operation=operation).sink.place:
                message = "this subject's data was moved since this session was opened: open another"
                raise refuse(here, Reason.FACTS_MOVED, message, sink=verdict.sink.name, rules=())
            named = sink is not None and not resumed
            return here.begin(self.name, verdict.sink.name, operation=operation, named=named, fresh=verdict)
        except Unavailable as error:
            here.trail.met(error)
            raise

    async def opened(
        self, *, operation: Operation | None = None, sink: str | None = None, resumed: bool = False
    ) -> Act:
        """As `begin`, after a wait where that is what it takes. Raises: as `begin`, PinsUnavailable."""
        try:
            return self.begin(operation=operation, sink=sink, resumed=resumed, patient=True)
        except WaitFirstError as first:
            with self._current.trail:
                await first.wait()
        return self.begin(operation=operation, sink=sink, resumed=resumed)

    async def learn(self) -> None:
        """Ask whether everybody who had data before has a pin, where that decides anything and is not told here: a copy
        of pins that lie elsewhere need not hold it. Raises: PinsUnavailable."""
        if self._all_known() is None:
            self._known = await learned(self._current.point.homes, self._current.point.perception.digest)

    def session(self) -> AbstractAsyncContextManager[Any]:
        """A context manager giving a `sqlalchemy.ext.asyncio.AsyncSession` on this store.

        Raises: UsageError where the package's `sql` extra is not part of this deployment.
        """
        if self.sessions is None:
            raise UsageError(f"store {self.name!r} is not a store of rows here")
        return self.sessions(self.name)

    def operation(self, wanted: Operation) -> Operation:
        """The word for an act: an activity that changes data keeps its own for it (post, write); one that does not is
        refused by `begin`."""
        own = self._current.operation
        return own if own in CHANGES and wanted is Operation.WRITE and own is not Operation.ERASE else wanted

    def _all_known(self) -> bool | None:
        """Whether everybody who had data before has a pin; False where that decides nothing, None = ask (`learn`)."""
        here = self._current
        if here.decision.mode != "observe" or (here.pin is not None and here.pin.set_by == "move"):
            return False
        if len(self.order) == 1:
            return False
        told = are_known(here.point.homes, here.point.perception.digest)
        return self._known if told is None else told


def backend_of(handle: StoreHandle, name: str) -> SinkPort:
    """The store's backend called `name`, for who has begun an act there: what is done past one leaves no record, so
    apps have no way to it. Raises: UnknownStore."""
    if name not in handle.order:
        raise UnknownStore(f"store {handle.name!r} has no sink {name!r}")
    return handle._sinks[name]
