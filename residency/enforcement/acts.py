"""An act: one unit of work on a sink, under a decision. It leaves an intent before and an outcome after; in between it
rereads the facts epoch and the subject's pin, and is decided again if they moved.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from residency.enforcement.admission import check_sink, misplaced
from residency.enforcement.moving import FOLLOWED, may_end, may_read
from residency.enforcement.refusing import refuse
from residency.errors import Unavailable, UsageError
from residency.model import Operation, Pin, Reason, SinkVerdict

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["Act"]


class Act:
    """One unit of work on one sink: confirm before its effect, tell the outcome after it."""

    __slots__ = (
        "_confirmed",
        "_current",
        "_decided",
        "_in_time",
        "_outcome_seq",
        "_pin",
        "_pinned",
        "_seq",
        "_subject",
        "_told",
        "_verdict",
        "changes",
        "opened",
        "operation",
        "sink",
    )

    def __init__(
        self, current: Current, seq: int, sink: str, operation: Operation, changes: bool, verdict: SinkVerdict
    ) -> None:
        """`seq` is the number of its intent, `verdict` what the decision in force says of its sink."""
        self._current = current
        self._seq = seq
        self._decided = current.decision  # held: another may not get its identity
        self._verdict = verdict
        self._subject = current.subject_digest
        self._pin = current.pin
        self._pinned: Pin | None = None
        self._told = False
        self._confirmed = False
        self._outcome_seq: int | None = None
        self._in_time = False  # its subject's data was moved meanwhile, and it may end all the same
        self.opened: int | None = None
        """Since when (microseconds) its transaction is open, where it has one and its user says so."""
        self.sink = sink
        self.operation = operation
        self.changes = changes
        """Whether it changes data."""

    @property
    def current(self) -> Current:
        """The decision this act runs under."""
        return self._current

    @property
    def id(self) -> str:
        """The id of its intent."""
        return self._current.point.recorder.id_of(self._seq)

    def confirm_now(self) -> bool:
        """As `confirm`, where all that it asks for is at hand; False = something is to be waited for, nothing is done,
        and `confirm` does it. Raises: as `confirm`."""
        here = self._current
        changes = self.changes
        remembers = changes and here.subject_digest is not None and self.operation is not Operation.ERASE
        try:
            if here.subject_digest != self._subject:
                self._check_subject()
            if changes and not here.point.recorder.is_durable(self._seq):
                return False
            if remembers and here.pin is None:
                return False
            if not here.point.refresh(here):
                return False
            decision = here.decision
            verdict = self._verdict if decision is self._decided else decision.sink(self.sink)
            if verdict is None or verdict.clocks or decision.clocks:
                return False
            if decision is not self._decided or (here.pin is not self._pin and here.pin != self._pin):
                self._check_moving()
                self._check_sink()
                self._check_home(verdict)
            elif decision.mode != "observe" and self.sink in here.point.stores.misplaced:
                # All that was asked as the act began was asked of this very decision and pin; but not this.
                raise misplaced(here, self.sink)
            if remembers and not here.point.homes.is_settled(here):
                return False
            if changes:
                self._counted()
        except BaseException:
            self._failed()
            raise
        return True

    async def confirm(self) -> None:
        """The last step before the effect: facts and pin reread, pin set, first events noted, intent durable.

        Raises: Refused, UsageError for another subject than it began for, PinsUnavailable, FactsUnavailable,
        JournalFailed; then the act must not happen, and its outcome is `failed`.
        """
        if self.confirm_now() or (self.changes and await self._wait_for_intent() and self.confirm_now()):
            return
        here = self._current
        try:
            await here.point.renew(here)
            self._check_subject()
            self._check_moving()
            verdict = self._check_sink()
            if self.changes and self.operation is not Operation.ERASE:
                await self._remember(verdict)
            self._check_home(verdict)
            # Where the act leans on a term whose event has not happened, it is the event.
            if (verdict.clocks or here.decision.clocks) and await here.point.begin_terms(here, verdict):
                check_sink(here, self.sink, self.operation)
            if self.changes:
                recorder = here.point.recorder
                if not recorder.is_durable(self._seq):
                    await recorder.durable(self._seq)
                self._counted()
        except BaseException:
            self._failed()
            raise

    async def _wait_for_intent(self) -> bool:
        """Have the intent survive a power cut: what is reread after that is newer; whether it was waited for."""
        recorder = self._current.point.recorder
        try:
            if recorder.is_durable(self._seq):
                return False
            await recorder.durable(self._seq)
        except BaseException:
            self._failed()
            raise
        return True

    def _counted(self) -> None:
        """Count the subject of a change that is about to happen, and let it happen."""
        here = self._current
        if self.operation is not Operation.ERASE and here.subject_digest is not None:
            here.point.keeper.count(here.decision, here.subject_digest, here.decided_at)
        if not self._confirmed:
            self._confirmed = True
            here._changing.append(self.sink)

    def _failed(self) -> None:
        self._current.trail.met(sys.exception())
        # Where not even this can be written the intent stays open, and the first error is the one to tell.
        with suppress(Unavailable):
            self.outcome("failed")

    async def _remember(self, verdict: SinkVerdict) -> None:
        """Set the subject's first pin, or have the one that there is tell of all under which this is written."""
        here = self._current
        homes = here.point.homes
        if here.pin is None and (pinned := await homes.pin_home(here, verdict.sink)) is not None:
            self._pinned = pinned
            return
        self._check_home(verdict)  # what is refused for another home is not written, and teaches nothing
        if await homes.strengthen(here):
            here.point.metrics.contradicted()

    def _check_subject(self) -> None:
        """Refuse where `identify` named another subject since: the intent tells of the one before."""
        here, before = self._current, self._subject
        if here.subject_digest != before and before is not None and here.decision.mode != "observe":
            raise UsageError(f"an act on sink {self.sink!r} began for one subject and would end for another")

    def _check_sink(self) -> SinkVerdict:
        here = self._current
        verdict = here.decision.sink(self.sink)
        if self._in_time and not self.changes and verdict is not None and verdict.reason in FOLLOWED:
            return verdict  # as while the data was moved: it lies here for a moment longer
        return check_sink(here, self.sink, self.operation)

    def _check_moving(self) -> None:
        """Refuse, whatever the mode, where the subject's data began to be moved, or was, since this sink was chosen:
        what is written here would be missed by those who copy, and what is read here may be gone. Who had begun in time
        may end what they began."""
        here, before = self._current, self._pin
        pin, verdict = here.pin, here.decision.sink(self.sink)
        self._in_time = False
        if pin is None or pin.set_by != "move" or verdict is None or before == pin:
            return
        if verdict.store is not None and len(here.point.policy.deployment.stores[verdict.store]) == 1:
            return  # all of the store lies in its one sink
        followed = here.point.stores.followed(self.sink)
        if not followed:
            return  # nobody's data lies there, whose ever it is
        now, place = here.point.clock.now(), verdict.sink.place
        if self.changes:
            self._in_time = may_end(before, pin, place, self.opened, now)
        else:
            self._in_time = self.operation in followed and may_read(before, pin, place, now)
        if self._in_time:
            return
        if pin.moving is not None and self.changes:
            message = "this subject's data is being moved just now: try again in a few seconds"
            raise refuse(here, Reason.SUBJECT_MOVING, message, sink=self.sink, rules=())
        if (pin.moving or pin.home) != place:
            message = "this subject's data was moved at the same time: try again"
            raise refuse(here, Reason.FACTS_MOVED, message, sink=self.sink, rules=())

    def _check_home(self, verdict: SinkVerdict) -> None:
        """Refuse where the subject got another home since this sink was chosen: nobody would look for data here, and
        what is not found here may be there."""
        here, before = self._current, self._pin
        pin = here.pin
        if pin is None or (before is not None and before.home == pin.home) or here.decision.mode == "observe":
            return
        if self._in_time:
            return
        if pin.home != verdict.sink.place:
            message = "the subject was given another home at the same time; try again"
            raise refuse(here, Reason.FACTS_MOVED, message, sink=self.sink, rules=())

    def outcome(self, how: str) -> None:
        """Record how the act ended: "committed", "failed", "rolled_back" or "unknown". The first word stands.

        Raises: JournalFull, JournalFailed; the intent then stays open, which is itself a finding.
        """
        here = self._current
        failing = None
        if how != "committed":
            failing = sys.exception()  # what its sink raised, on its way to the app
            here.trail.met(failing)
        if self._told:
            return
        if self._confirmed:
            self._confirmed = False
            here._changing.remove(self.sink)
        try:
            self._outcome_seq = here.point.recorder.outcome(
                here.decision, self.sink, self.operation._value_, self._seq, how, self._pinned
            )
        except Unavailable as error:
            if failing is None:
                here.trail.met(error)
            raise
        self._told = True
        if self.changes and failing is None:
            here.point.recorder.soon()  # `settled` waits for it

    def is_settled(self) -> bool:
        """Whether `settled` has nothing to wait for."""
        return not self.changes or self._outcome_seq is None

    async def settled(self) -> None:
        """Wait until the outcome survives a power cut, where the operation changes data. Raises: JournalFailed."""
        if self._outcome_seq is not None and self.changes:
            try:  # not `with`, which is three calls for nothing to note
                await self._current.point.recorder.durable(self._outcome_seq)
            except BaseException as error:
                self._current.trail.met(error)
                raise
