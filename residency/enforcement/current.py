"""One request's newest decision, and the door to its stores. It decides nothing: the enforcement point does, each time
it is asked; what it begins are acts (`enforcement.acts`), where they may begin (`enforcement.admission`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from residency.audit.recall import Basis
from residency.enforcement.acts import Act
from residency.enforcement.admission import CHANGES, check_sink, check_store, follows, subject_unknown
from residency.enforcement.observing import goes_on, observed
from residency.enforcement.request import collected_at, subject_id
from residency.enforcement.trail import Trail
from residency.errors import JournalLate, UsageError
from residency.model import (
    Activity,
    Decision,
    Effect,
    Operation,
    Pin,
    Reason,
    Signal,
    SinkVerdict,
    SubjectId,
    Trust,
)
from residency.model.place import within
from residency.policy.parsed_reading import reading
from residency.signals.identity import Identity
from residency.signals.network import beside
from residency.signals.peer import ClientAddress

if TYPE_CHECKING:
    from residency.enforcement.about import Many
    from residency.enforcement.point import EnforcementPoint

__all__ = ["READ_FROM", "Current"]

READ_FROM: Final = "read_from:"
"""Begins the word of a note that names the places outside a law that covers the person where their data goes by being
read: this instance's, and that of a caller who is somebody else. `ZZ` = nobody knows."""


_tuple: Final = tuple.__new__

MOVING: Final = "moving"
"""The note of an act that reads where a subject's data still lies while it is moved."""


class Current:
    """The newest decision of one request, and the door to its stores. Made by the enforcement point only."""

    of_many = False
    """Whether this is about data of several people at once, so that no one of them is its subject."""
    __slots__ = (
        "_alias", "_caller", "_changing", "_recorded", "_start", "_stores", "activity", "begins", "client", "collected",
        "decided_at", "decision", "detail", "evidence", "note", "params", "pin", "point", "readers", "requested",
        "signals", "subject", "subject_digest", "trail",
    )  # fmt: skip

    def __init__(
        self,
        point: EnforcementPoint,
        activity: Activity,
        params: Mapping[str, str],
        subject: SubjectId | None,
        signals: tuple[Signal, ...],
        evidence: frozenset[str],
        detail: dict[str, str | int | None],
        trail: Trail | None = None,
        *,
        caller: Identity | None = None,
        requested: int,
        collected: int | None = None,
        digest: str | None = None,
    ) -> None:
        """`digest` is the subject's where its id is not known.

        `requested` is when the request came, `collected` when the data was collected, in microseconds; the latter
        None = not known, and rules that are read at it speak as if it might be of their time."""
        self.point = point
        self.activity = activity
        self.params = params
        self.subject = subject
        self.subject_digest = point.digest(subject) if subject is not None else digest
        self.signals = signals
        self.evidence = evidence
        self.requested = requested
        self.collected = collected
        self.detail = detail
        self.trail = trail if trail is not None else Trail()
        self.pin: Pin | None = None
        self.client: ClientAddress | None = None
        self.begins = False  # whether the request itself is the event of a term, which must be noted first
        self.note: str | None = None  # what every entry about this decision is to say besides
        self.readers = point.readers  # places that the data goes to by being read, as far as they are known
        self.decision: Decision  # set by the point before anybody sees this object
        self.decided_at = 0  # the instant (microseconds) that the decision was made on
        self._recorded: Decision | None = None
        self._start = (signals, evidence)
        self._caller = caller
        self._alias: str | None = None
        self._changing: list[str] = []
        self._stores: dict[str, Any] = {}

    @property
    def decided(self) -> bool:
        """False only between an admission that must wait (for a pin, for a term to be noted) and its `settle`."""
        return hasattr(self, "decision") and not self.begins

    @property
    def of_unknown_caller(self) -> bool:
        """Whether the subject was named by the request itself, and who makes it is not known."""
        return self.activity.subject.kind in ("path", "header") and (
            self._caller is None or self._caller.subject is None
        )

    @property
    def of_another(self) -> bool:
        """Whether it is about somebody else than who makes the request, or may be: it is about nobody, so that all data
        is of others, or it names somebody, and nobody knows who makes it."""
        kind = self.activity.subject.kind
        if self.client is None or kind == "none":
            return True
        return kind in ("path", "header") and (self._caller is None or self._caller.subject != self.subject)

    @property
    def who(self) -> str | None:
        """The keyed digest (hex) of who makes the request, where that is known."""
        if self._caller is None or self._caller.subject is None:
            return self.subject_digest
        return self.point.digest(self._caller.subject)

    @property
    def basis(self) -> Basis:
        """What the decision in force was made on."""
        if self.collected is None and not self.readers:  # of most requests, without a further call
            # A named tuple's own constructor is a call of Python's.
            return _tuple(Basis, (self.decided_at, self.signals, self.evidence, self.requested, None, None))
        since = self.point.policy.collected_since(self.collected)
        return Basis(self.decided_at, self.signals, self.shown, self.requested, self.collected, since)

    @property
    def shown(self) -> frozenset[str]:
        """All evidence, and by `reader:` where the data goes by being read."""
        return reading(self.evidence, self.readers) if self.readers else self.evidence

    @property
    def operation(self) -> Operation:
        """What the activity does with data."""
        return self.activity.operation

    @property
    def alias(self) -> str | None:
        """The random stand-in for the subject in entries; None while no subject is known."""
        if self.pin is not None:
            return self.pin.alias
        if self._alias is None and self.subject_digest is not None:
            self._alias = self.point.homes.new_alias()
        return self._alias

    @property
    def forbidden(self) -> Reason | None:
        """Why the activity itself may not go on: the decision says so, or what must be recorded of the person would lie
        where it may not. None = it may."""
        decision = self.decision
        if decision.effect is not Effect.PERMIT and not decision.permitted:
            return decision.reason or Reason.INTERNAL
        # Where no law says in which countries alone, a detail may lie in any: not asked.
        return None if decision.duty.only is None else self.point.recorder.barred(decision)

    def store(self, name: str) -> Any:
        """The app's logical store `name`, bound to this subject and decision.

        Raises: UnknownStore where the activity does not name the store.
        """
        handle = self._stores.get(name)
        if handle is None:
            check_store(self, name)
            handle = self._stores[name] = self.point.stores.handle(self, name)
        return handle

    def http(self, name: str) -> Any:
        """The service `name` that the activity calls: a store whose sinks are endpoints. Raises: as `store`."""
        return self.store(name)

    def noted(self, note: str | None, operation: Operation | None = None) -> str | None:
        """What an entry is to say besides: `note` or what each does, and where the data goes by being read abroad."""
        words = note or self.note
        if operation is Operation.ERASE:
            return words
        covering = self.decision.jurisdictions
        abroad = [place for place in self.readers if any(not within(place, law) for law in covering)]
        if not abroad:
            return words
        said = f"{READ_FROM}{','.join(dict.fromkeys(abroad))}"
        return said if words is None else f"{words} {said}"

    def changes(self, sink: str) -> bool:
        """Whether an act that changes data on `sink` is confirmed and has not told its outcome yet."""
        return sink in self._changing

    async def identify(
        self, subject: str, claims: Mapping[str, object], *, verified: bool, collected: datetime | None = None
    ) -> None:
        """Take in who the subject is, and when the data was collected where that is known, and decide again.

        Raises: UsageError, Refused, PinsUnavailable, JournalFull.
        """
        known = collected_at(collected, self.point.clock.now())
        await self.point.identify(self, _given(subject), claims, verified=verified, collected=known)

    async def about(self, subject: str, *, collected: datetime | None = None) -> Current:
        """A decision on another subject's data under the same activity. Raises: as `identify`."""
        return await self.point.about(self, _given(subject), collected_at(collected, self.point.clock.now()))

    async def about_row(self, row: object, store: str | None, *, collected: datetime | None = None) -> Current:
        """As `about`, of whoever's `row` of `store` is. Raises: as `about`, NotFound, SinkUnavailable."""
        return await self.point.about_row(self, row, store, collected_at(collected, self.point.clock.now()))

    async def about_many(
        self, subjects: Iterable[str], rows: Iterable[object], store: str | None, *, collected: datetime | None = None
    ) -> Many:
        """As `about` and `about_row`, of many at once. Raises: as these, but for who is refused or not known."""
        if isinstance(subjects, str):
            raise UsageError("about_many() takes several subjects: for one there is about()")
        known = collected_at(collected, self.point.clock.now())
        return await self.point.about_many(self, tuple(map(_given, subjects)), tuple(rows), store, known)

    def become(
        self, subject: SubjectId, digest: str, pin: Pin | None, said: Identity, collected: int | None = None
    ) -> None:
        """Take `subject` for the person this request is about, with what the app says of them, and of when their data
        was collected; what it said of that before holds for the same subject alone.

        What was proven of another subject before proves nothing of this one. Where the app alone says who the subject
        is, the request's own signals speak of whoever it names; elsewhere they spoke of the one named first. What a
        token proves of its own subject is of somebody else no more than declared: dropped, it would no longer speak for
        a law that covers; verified, it would outweigh what is known of the person.
        """
        if self.subject != subject:
            begun = self.subject is None or self.activity.subject.kind == "app"
            self.signals, self.evidence = self._start if begun else ((), frozenset())
            if self._caller is None or self._caller.speaks_of != subject:
                self.signals = tuple(replace(s, trust=min(s.trust, Trust.DECLARED)) for s in self.signals)
                self.evidence = frozenset()
            self._alias = None  # two people under one alias would be linked for ever
            self.collected = None
        if collected is not None:
            self.collected = collected
        self.subject = subject
        self.subject_digest = digest
        self.pin = pin
        self.signals = tuple(dict.fromkeys((*self.signals, *said.signals)))
        if self.client is not None:
            self.signals = beside(self.client, self.signals)
        self.evidence = self.evidence | said.evidence
        self.detail["account"] = subject.value

    def begin(
        self, store: str, sink: str, *, operation: Operation | None = None, named: bool = False,
        fresh: SinkVerdict | None = None,
    ) -> Act:  # fmt: skip
        """Start one act on `sink` of `store`: check it against the decision and record the intent.

        `named` = the app asked for this very sink, so no other would be used in its place; `fresh` = the decision's own
        verdict on that sink, where it was made anew this very moment.

        Raises: UnknownStore, SubjectUnknown, Refused, PinsUnavailable, JournalFull, JournalFailed; then nothing was
        done.
        """
        if fresh is None:
            check_store(self, store)
        point, own = self.point, self.activity.operation
        wanted = operation or own
        changes = wanted in CHANGES
        if changes and own not in CHANGES:
            raise UsageError(f"activity {self.activity.name!r} is declared `{own}` and may not change data")
        unknown = self.subject_digest is None and self.activity.subject.kind != "none" and not self.of_many
        if unknown:
            subject_unknown(self, store)
        if fresh is None:
            point.refresh(self)
        verdict = check_sink(self, sink, wanted, fresh)
        recorder = point.recorder
        try:
            recorder.ready()
        except JournalLate:
            # An act that changes something waits for its record anyway; no other may be lost later than is said.
            if not changes and not goes_on(self.decision.mode, point.metrics):
                raise
        reason = note = None
        if unknown:
            reason = Reason.SUBJECT_UNKNOWN
        elif verdict.effect is not Effect.PERMIT:
            reason, note = observed(self, verdict, named)
        pin = self.pin
        if pin is not None and pin.moving is not None and follows(self, verdict, wanted):
            reason, note = None, MOVING  # so it would if the deployment enforced
        seq = recorder.intent(
            self.decision, sink, wanted._value_, self.alias if pin is None else pin.alias, self.detail, self.basis,
            reason, self.noted(note, wanted) if self.readers else note or self.note,
        )  # fmt: skip
        self.trail.records += 1
        if verdict.duty.label:
            self.trail.labels |= verdict.duty.label
        if verdict.exemptions:
            point.metrics.exempted(verdict.exemptions)
        if changes:
            recorder.soon()  # what the act does meanwhile need not wait for the disk
        return Act(self, seq, sink, wanted, changes, verdict)

    def recorded(self) -> None:
        """Note that the decision now in force stands in an entry of its own."""
        self._recorded = self.decision
        self.trail.records += 1


def _given(subject: str) -> SubjectId:
    known = subject_id(subject)
    if known is None:
        raise UsageError("a subject's id is 1 to 512 characters of Unicode text, and begins with no NUL")
    return known
