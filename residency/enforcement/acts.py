"""One request's decision and the acts done under it.

An act is one unit of work on a sink. It leaves an intent before and an outcome after; in between it rereads the facts
epoch and is decided again if that moved. Nothing here decides: the enforcement point does, each time it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from residency.errors import Refused, SubjectUnknown, UnknownStore, UsageError
from residency.model import Activity, Decision, Effect, Operation, Pin, Reason, RuleRef, Signal, SinkVerdict, SubjectId

if TYPE_CHECKING:
    from residency.enforcement.point import EnforcementPoint

__all__ = ["Act", "Current"]

# Acts of these operations change data: their intent and outcome survive a power cut before the app goes on.
_CHANGES = frozenset({Operation.WRITE, Operation.POST, Operation.ERASE})


class Current:
    """The newest decision of one request, and the door to its stores. Made by the enforcement point only."""

    __slots__ = (
        "_alias",
        "_stores",
        "activity",
        "acts",
        "decision",
        "detail",
        "evidence",
        "params",
        "pin",
        "point",
        "refusal",
        "refused_rules",
        "signals",
        "subject",
        "subject_digest",
    )

    def __init__(
        self,
        point: EnforcementPoint,
        activity: Activity,
        params: Mapping[str, str],
        subject: SubjectId | None,
        signals: tuple[Signal, ...],
        evidence: frozenset[str],
        detail: dict[str, str | int | None],
    ) -> None:
        self.point = point
        self.activity = activity
        self.params = params
        self.subject = subject
        self.subject_digest = point.digest(subject) if subject is not None else None
        self.signals = signals
        self.evidence = evidence
        self.detail = detail
        self.pin: Pin | None = None
        self.decision: Decision  # set by the point before anybody sees this object
        self.refusal: tuple[Reason, tuple[str, ...], str] | None = None
        self.refused_rules: tuple[RuleRef, ...] = ()
        self.acts = 0
        self._alias: str | None = None
        self._stores: dict[str, Any] = {}

    @property
    def decided(self) -> bool:
        """False only between an admission that must wait for a pin and its `settle`."""
        return hasattr(self, "decision")

    @property
    def operation(self) -> Operation:
        """What the activity does with data."""
        return self.activity.operation

    @property
    def alias(self) -> str | None:
        """The random stand-in for the subject in entries; None while no subject is known."""
        if self.pin is not None:
            return self.pin.alias
        if self._alias is None and self.subject is not None:
            self._alias = self.point.new_alias()
        return self._alias

    def store(self, name: str) -> Any:
        """The app's logical store `name`, bound to this subject and decision.

        Raises: UnknownStore where the activity does not name the store.
        """
        handle = self._stores.get(name)
        if handle is None:
            self._check_store(name)
            handle = self._stores[name] = self.point.stores.handle(self, name)
        return handle

    async def identify(self, subject: str, claims: Mapping[str, object], *, verified: bool) -> None:
        """Take in who the subject is and decide again. Raises: Refused, PinsUnavailable."""
        await self.point.identify(self, SubjectId(subject), claims, verified=verified)

    async def about(self, subject: str) -> Current:
        """A decision on another subject's data under the same activity. Raises: Refused, PinsUnavailable."""
        return await self.point.about(self, SubjectId(subject))

    def begin(self, store: str, sink: str, *, operation: Operation | None = None) -> Act:
        """Start one act on `sink` of `store`: check it against the decision and record the intent.

        Raises: UnknownStore, SubjectUnknown, Refused, JournalFull, JournalFailed; then nothing was done.
        """
        self._check_store(store)
        wanted = operation or self.operation
        if wanted in _CHANGES and self.operation not in _CHANGES:
            raise UsageError(f"activity {self.activity.name!r} is declared `{self.operation}` and may not change data")
        if self.subject is None and self.activity.subject.kind != "none":
            self._note(Reason.SUBJECT_UNKNOWN, (), f"store {store!r} was opened before the subject was known")
            raise SubjectUnknown(
                f"store {store!r} was opened before identify() said whose data it is "
                f"(activity {self.activity.name!r} takes its subject from {self.activity.subject})"
            )
        self.point.refresh(self)
        self._check_sink(sink)
        recorder = self.point.recorder
        recorder.ready()
        seq, entry = recorder.intent(self.decision, sink, wanted.value, self.alias, self.detail)
        self.acts += 1
        return Act(self, entry, seq, sink, wanted)

    def _check_store(self, store: str) -> None:
        if self.activity.store != store:
            raise UnknownStore(f"activity {self.activity.name!r} names no store {store!r} in the deployment file")

    def _check_sink(self, name: str) -> SinkVerdict:
        """The verdict on sink `name`; refuses, with a record, what the decision does not permit."""
        verdict = self.decision.sink(name)
        if verdict is None:
            raise UnknownStore(f"store {self.activity.store!r} has no sink {name!r}")
        if verdict.effect is not Effect.PERMIT:
            if self.decision.mode == "observe":
                self.point.metrics.refusal(verdict.reason or Reason.INTERNAL, observed=True)
            else:
                rules = verdict.rules or self.decision.rules
                reason = verdict.reason or Reason.INTERNAL
                raise self._refuse(reason, f"sink {name!r} may not take this data", sink=name, rules=rules)
        elif not self.decision.permitted:
            raise self._refuse(self.decision.reason or Reason.INTERNAL, "the decision forbids this activity")
        return verdict

    def refused(self, *, counted: bool = False) -> Refused:
        """Record that the decision itself forbids the activity, and return the error to raise."""
        reason = self.decision.reason or Reason.INTERNAL
        return self._refuse(reason, "the decision forbids this activity", counted=counted)

    def _refuse(
        self,
        reason: Reason,
        message: str,
        *,
        sink: str | None = None,
        rules: tuple[RuleRef, ...] | None = None,
        counted: bool = False,
    ) -> Refused:
        cited = rules if rules is not None else self.decision.rules
        self.point.recorder.refusal(self.decision, reason, self.alias, self.detail, sink, cited)
        if not counted:
            self.point.metrics.refusal(reason)
        self.acts += 1  # a refusal is a record of its own: the request needs no further entry
        citations = tuple(dict.fromkeys(rule.citation for rule in cited))
        self._note(reason, citations, message)
        self.refused_rules = cited
        return Refused(reason.value, message, citations, tuple(rule.id for rule in cited))

    def _note(self, reason: Reason, citations: tuple[str, ...], message: str) -> None:
        self.refusal = (reason, citations, message)


class Act:
    """One unit of work on one sink: confirm before its effect, tell the outcome after it."""

    __slots__ = ("_current", "_outcome_seq", "_seq", "_told", "id", "operation", "sink")

    def __init__(self, current: Current, entry: str, seq: int, sink: str, operation: Operation) -> None:
        self._current = current
        self._seq = seq
        self._told = False
        self._outcome_seq: int | None = None
        self.id = entry
        self.sink = sink
        self.operation = operation

    @property
    def current(self) -> Current:
        """The decision this act runs under."""
        return self._current

    async def confirm(self) -> None:
        """The last step before the effect: facts reread, pin set, intent durable.

        Raises: Refused, PinsUnavailable, JournalFailed; then the act must not happen, and its outcome is `failed`.
        """
        here = self._current
        try:
            here.point.refresh(here)
            here._check_sink(self.sink)
            if self.operation in _CHANGES:
                await here.point.pin_home(here, self.sink)
                await here.point.recorder.durable(self._seq)
        except BaseException:
            self.outcome("failed")
            raise

    def outcome(self, how: str) -> None:
        """Record how the act ended: "committed", "failed", "rolled_back" or "unknown". The first word stands.

        Raises: JournalFull, JournalFailed; the intent then stays open, which is itself a finding.
        """
        if self._told:
            return
        here = self._current
        self._outcome_seq = here.point.recorder.outcome(here.decision, self.sink, self.operation.value, self.id, how)
        self._told = True

    async def settled(self) -> None:
        """Wait until the outcome survives a power cut, where the operation changes data. Raises: JournalFailed."""
        if self._outcome_seq is not None and self.operation in _CHANGES:
            await self._current.point.recorder.durable(self._outcome_seq)
