"""People whose data lies in one sink and who share a decision in; one act for all of them, an intent each, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Token
from types import TracebackType
from typing import Any

from residency.enforcement.acts import Act
from residency.enforcement.context import check_holder, enter, leave
from residency.enforcement.current import Current
from residency.enforcement.refusing import refuse
from residency.errors import Unavailable, UsageError
from residency.model import Operation, Reason, SinkVerdict

__all__ = ["Group", "home_of"]


def home_of(other: Current) -> str | None:
    """The place where the subject's pin says that their data lies, None without a pin."""
    return None if other.pin is None else other.pin.home


class Group(Current):
    """People whose data lies in one sink and who share a decision. Within `async with group:` it is what `current()`
    answers, and each act on its store is one act for every member: each leaves an intent and an outcome."""

    of_many = True
    __slots__ = ("_homes", "_tokens", "asked", "members", "sink")

    def __init__(self, sink: str, members: Sequence[Current], asked: dict[str, list[object]]) -> None:
        first = members[0]
        super().__init__(
            first.point, first.activity, first.params, None, (), frozenset(), {}, first.trail,
            requested=first.requested, collected=first.collected,
        )  # fmt: skip
        self.sink = sink
        self.members = tuple(members)
        self.asked = tuple(each for member in members for each in asked[member.subject_digest or ""])
        """What was asked about and lies here: subjects' ids, and rows as they were given."""
        self.decision, self.decided_at = first.decision, first.decided_at
        self.pin, self.note, self.readers = first.pin, first.note, first.readers
        self._homes = tuple(map(home_of, members))
        self._tokens: list[Token[Current | None]] = []

    async def __aenter__(self) -> Group:
        check_holder()
        self._tokens.append(enter(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._tokens.pop())

    async def identify(self, *_: Any, **__: Any) -> None:
        """Raises: UsageError: a group is of several people."""
        raise UsageError("a group is of several people: identify() is for the one that a request is about")

    def changes(self, sink: str) -> bool:
        """Whether an act that changes data on `sink` is confirmed and has not told its outcome yet."""
        return any(member.changes(sink) for member in self.members)

    def begin(
        self,
        store: str,
        sink: str,
        *,
        operation: Operation | None = None,
        named: bool = False,
        fresh: SinkVerdict | None = None,
    ) -> Act:
        """Start one act for every member, each decided anew. Raises: as `Current.begin`, for the first of them that
        may not; then nothing was done, and the intents of those before end as `failed`."""
        acts: list[Act] = []
        try:
            for member, home in zip(self.members, self._homes, strict=True):
                act = member.begin(store, sink, operation=operation, named=named)
                acts.append(act)
                verdict = member.decision.sink(sink)
                # A home that they got here meanwhile, by the group's own first write, is this one.
                here = (home, None if verdict is None else verdict.sink.place)
                if home_of(member) not in here and self.decision.mode != "observe":
                    message = "a subject was given another home at the same time; try again"
                    raise refuse(member, Reason.FACTS_MOVED, message, sink=sink, rules=())
        except BaseException:
            _each(acts, lambda act: act.outcome("failed"))
            raise
        return _Together(self, acts)


class _Together(Act):
    """One unit of work on one sink for several people: theirs are confirmed and told as one."""

    __slots__ = ("_acts",)

    def __init__(self, group: Group, acts: Sequence[Act]) -> None:
        last = acts[-1]  # once its intent is durable so are those before it
        super().__init__(group, last._seq, last.sink, last.operation, last.changes, last._verdict)
        self._acts = tuple(acts)

    def confirm_now(self) -> bool:
        """As `Act.confirm_now`, of all or of none."""
        try:
            return all(act.confirm_now() for act in self._acts)
        except BaseException:
            _each(self._acts, lambda act: act.outcome("failed"))
            raise

    async def confirm(self) -> None:
        """As `Act.confirm`, of all or of none."""
        try:
            for act in self._acts:
                await act.confirm()
        except BaseException:
            _each(self._acts, lambda act: act.outcome("failed"))
            raise

    def outcome(self, how: str) -> None:
        """As `Act.outcome`, of each."""
        for act in self._acts:
            act.outcome(how)

    def is_settled(self) -> bool:
        """As `Act.is_settled`, of all."""
        return all(act.is_settled() for act in self._acts)

    async def settled(self) -> None:
        """As `Act.settled`, of all."""
        for act in self._acts:
            await act.settled()


def _each(acts: Sequence[Act], tell: Callable[[Act], None]) -> None:
    # Where not even this can be written intents stay open, and the first error is the one to tell.
    with suppress(Unavailable):
        for act in acts:
            tell(act)
