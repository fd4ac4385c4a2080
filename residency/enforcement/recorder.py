"""Decisions and acts in, journal entries out: the one place where such an entry's fields are filled in.

A plain request leaves one `decision` entry, a refusal one `refusal` entry, an act an `intent` before and an `outcome`
after. Personal and statutory detail goes to the subject's country first, and the entry commits to it; a crash between
the two leaves a detail that no entry mentions, never an entry whose detail is missing. The same holds of a power cut
for all that waits for `durable`: details are made durable before the entries that commit to them.
"""

from __future__ import annotations

from collections.abc import Mapping

from residency.audit.detail_terms import Keeping
from residency.audit.entry import EntryTemplate, entry_id
from residency.audit.recall import Basis
from residency.enforcement.bare import BareRecorder
from residency.enforcement.details import Details
from residency.enforcement.plans import Plan, Plans
from residency.enforcement.ports import Clock, Entropy, Journal
from residency.enforcement.slot import DetailStore, Slot
from residency.errors import JournalLate
from residency.model import Decision, Pin, Reason, RuleRef

__all__ = ["DetailStore", "Recorder"]


class Recorder(BareRecorder):
    """Writes what is decided, and all else that is recorded. Safe to call from several threads of one process."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
        policy: str,
        details: DetailStore | None = None,
        detail_countries: frozenset[str] = frozenset(),
        *,
        version: int = 0,
        origin: str = "",
        keeping: Keeping | None = None,
    ) -> None:
        """`policy` is the digest (hex) of what its entries are decided by, `version` that of its bundle.

        `keeping` says where details lie and for how long, None = in each of `detail_countries` itself, as nobody asks;
        `origin` is the log's name.
        """
        super().__init__(Slot(journal, details), clock, policy, version)
        self._entropy = entropy
        self._details: Details | None = None
        if details is not None:
            keeping = keeping or Keeping({country: country for country in detail_countries})
            self._details = Details(details, keeping, origin, entropy, self._slot)
        self._plans = Plans()

    def under(self, policy: str, version: int = 0, keeping: Keeping | None = None) -> Recorder:
        """A recorder into the same slot for decisions by the policy of that digest (hex); both may go on at once.

        `keeping` None = details are kept as before.
        """
        other = Recorder(self._journal, self._clock, self._entropy, policy, version=version)
        other._slot = self._slot
        other._lock = self._slot.lock
        other._details = None if self._details is None else self._details.under(keeping)
        return other

    def ready(self) -> None:
        """Raise JournalFull or JournalFailed now if an act's entries might not find room, JournalLate where all that is
        recorded is to be waited for first (`caught_up`)."""
        try:
            self._journal.ready()
        except JournalLate:
            if self._details is not None:
                self._details.ready()  # a full one is the worse news
            raise
        if self._details is not None:
            self._details.ready()

    def barred(self, decision: Decision) -> Reason | None:
        """Why nothing may be done under `decision` though it permits: what is to be recorded of the person may not lie
        where it would. None = nothing stands against it."""
        return None if self._details is None else self._details.barred(decision)

    def decision(
        self,
        decision: Decision,
        subject: str | None,
        detail: Mapping[str, str | int | None],
        basis: Basis,
        note: str | None = None,
        reason: Reason | None = None,
    ) -> int:
        """Record a plain request, or a decision made anew by `identify`; its sequence number.

        `reason` = why the request would be refused if the deployment enforced, where that is not the decision's own.
        """
        plan = self._plans.known(id(decision)) or self._plans.of(decision)
        if note is None and reason is None:
            decided, _, _, requested, _, collected = basis
            if self._details is not None or collected is not None or not (requested is None or requested == decided):
                return self._record(plan, plan.plain, subject, detail, basis)
            # Most requests, without a further call. Not `with`, which takes twice as long.
            journal = self._journal
            self._lock.acquire()
            try:
                return journal.append(plan.plain.brief(self._number, journal.next_seq, self._now(), decided, subject))
            finally:
                self._lock.release()
        why = reason or decision.reason
        return self._record(plan, self._plans.template(plan, "decision", reason=why, note=note), subject, detail, basis)

    def refusal(
        self,
        decision: Decision,
        reason: Reason,
        subject: str | None,
        detail: Mapping[str, str | int | None],
        basis: Basis,
        sink: str | None = None,
        rules: tuple[RuleRef, ...] | None = None,
        note: str | None = None,
    ) -> tuple[int, str]:
        """Record that something was refused; (sequence number, entry id)."""
        plan = self._plans.of(decision)
        template = self._plans.template(plan, "refusal", reason=reason, sink=sink, note=note, rules=rules)
        seq = self._record(plan, template, subject, detail, basis, sink)
        return seq, entry_id(self._number, seq)

    def intent(
        self,
        decision: Decision,
        sink: str,
        operation: str,
        subject: str | None,
        detail: Mapping[str, str | int | None],
        basis: Basis,
        reason: Reason | None = None,
        note: str | None = None,
    ) -> int:
        """Record that an act on `sink` is about to happen; its sequence number.

        `reason` and `note` tell what would have become of it if the deployment enforced.
        """
        plan = self._plans.known(id(decision)) or self._plans.of(decision)
        opening = None if reason is not None else plan.intents.get((sink, operation, note, None))
        opening = opening or self._plans.intent(plan, sink, operation, note, reason)
        decided, _, _, requested, _, collected = basis
        if self._details is not None or collected is not None:
            return self._record(plan, opening.template, subject, detail, basis, sink, opens=True)
        # Most acts, without a further call.
        if requested == decided:
            requested = None
        journal = self._journal
        self._lock.acquire()
        try:
            now = self._now()
            seq = journal.append(opening.brief(self._number, journal.next_seq, now, decided, requested, subject))
            self._slot.opened[seq] = now
            return seq
        finally:
            self._lock.release()

    def outcome(self, decision: Decision, sink: str, operation: str, of: int, act: str, pin: Pin | None = None) -> int:
        """Record how the act of intent number `of` ended; its sequence number. `pin` = the first pin, set by the
        act."""
        plan = self._plans.known(id(decision)) or self._plans.of(decision)
        ending = plan.endings.get((sink, operation, act)) or self._plans.ending(plan, sink, operation, act)
        if pin is not None:
            return self._outcome(ending.template, self.id_of(of), pin, decision.jurisdictions, decision.duty.only)
        # Most acts, without a further call.
        journal = self._journal
        self._lock.acquire()
        try:
            seq = journal.append(ending.brief(self._number, journal.next_seq, self._now(), of))
            self._slot.opened.pop(of, None)
            return seq
        finally:
            self._lock.release()

    def pin_intent(self, pin: Pin, why: str) -> tuple[int, str]:
        """Record that `pin` is about to replace its forerunner; (sequence number, entry id)."""
        template = self._changed("intent", pin.home, why, None)
        with self._lock:
            entry, now = entry_id(self._number, self._journal.next_seq), self._now()
            seq = self._journal.append(template.fill(id=entry, at=now, subject=pin.alias))
            self._slot.opened[seq] = now
        return seq, entry

    def pin_outcome(self, of: str, act: str, pin: Pin | None, decision: Decision | None = None) -> int:
        """Record how the change of intent `of` ended; `pin` is what stands now, None where it does not. `decision` =
        that under which it was changed, None = an operator's act, under none."""
        template = self._changed("outcome", pin.home if pin is not None else None, None, act)
        if decision is not None:
            return self._outcome(template, of, pin, decision.jurisdictions, decision.duty.only)
        only = None if pin is None or self._details is None else self._details.only_home(pin)
        return self._outcome(template, of, pin, (), only)

    def _changed(self, kind: str, home: str | None, note: str | None, act: str | None) -> EntryTemplate:
        """The constant part of an entry about a pin that changes, which no request's decision is behind."""
        key = ("pin", kind, home, note, act)
        return self._templates.get(key) or self._kept(
            key, self.entry(kind, effect="permit", act=act, operation="pin", region=home, note=note)
        )

    def _outcome(
        self,
        template: EntryTemplate,
        of: str,
        pin: Pin | None,
        covering: tuple[str, ...],
        only: frozenset[str] | None,
    ) -> int:
        with self._lock:
            journal = self._journal
            entry, now = entry_id(self._number, journal.next_seq), self._now()
            commitment = None
            if pin is not None and self._details is not None:
                commitment = self._details.keep_pin(pin, entry, now, covering, only)
            seq = journal.append(template.fill(id=entry, at=now, of=of, detail=commitment))
            self._slot.closed(of)
            return seq

    def _record(
        self,
        plan: Plan,
        template: EntryTemplate,
        subject: str | None,
        detail: Mapping[str, str | int | None],
        basis: Basis,
        sink: str | None = None,
        *,
        opens: bool = False,
    ) -> int:
        """Record an entry that a decision is behind; `opens` an act. Its sequence number."""
        decided, _, _, requested, _, collected = basis
        if requested == decided:
            requested = None
        details, journal = self._details, self._journal
        # Not `with`, which takes twice as long: every request comes here.
        self._lock.acquire()
        try:
            number, now = journal.next_seq, self._now()
            kept = () if details is None else details.places(plan.decision, sink, now)
            if not kept and requested is None and collected is None:
                entry = template.brief(self._number, number, now, decided, subject)
            else:
                own = entry_id(self._number, number)
                commitment = None
                if details is not None and kept:
                    commitment = details.keep(kept, own, now, subject, {**detail, **basis.words()})
                entry = template.fill(
                    id=own,
                    at=now,
                    decided=decided,
                    requested=requested,
                    collected=collected,
                    subject=subject,
                    detail=commitment,
                )
            seq = journal.append(entry)
            if opens:
                self._slot.opened[seq] = now
            return seq
        finally:
            self._lock.release()
