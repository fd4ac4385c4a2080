"""What holds now in: a `Current` decided on it, out, as often as an act asks.

A request is admitted once (`residency.enforcement.point`); whatever happens under it is decided again here.
"""

from __future__ import annotations

from typing import Final

from residency.enforcement.current import Current
from residency.enforcement.facts import FactKeeper
from residency.enforcement.homes import Homes
from residency.enforcement.metering import Meter
from residency.enforcement.perception import Perception
from residency.enforcement.ports import Clock, Facts
from residency.enforcement.recorder import Recorder
from residency.errors import FactsUnavailable
from residency.model import Pin, SinkVerdict, SubjectId
from residency.policy.compiler import Policy
from residency.policy.terms import unbegun

__all__ = ["Decider"]

_STALE_PIN: Final = "stale_pin"  # the note of an entry whose pin came from a copy while its store was not heard of


class Decider:
    """Decides by the policy of this process, the pins and the facts of the moment."""

    def __init__(
        self,
        policy: Policy,
        perception: Perception,
        homes: Homes,
        facts: Facts,
        keeper: FactKeeper,
        recorder: Recorder,
        metrics: Meter,
        clock: Clock,
    ) -> None:
        self.policy = policy
        self.perception = perception
        self.homes = homes
        self.facts = facts
        self.keeper = keeper
        self.recorder = recorder
        self.metrics = metrics
        self.clock = clock
        self._mode: str = policy.deployment.mode

    def refresh(self, here: Current) -> bool:
        """Decide again on the facts, the pin and the date of now: an act is judged by what holds when it happens. False
        where the pin is not held here: it is then decided by the one before.

        Costs a local read of the pin, and a memo lookup where nothing moved. Raises: PinsUnavailable, FactsUnavailable.
        """
        known = True
        if here.subject_digest is not None:
            pin, known = self.homes.peek(here.subject_digest)
            if known:
                if pin is None or not self.homes.is_stale():  # as `remember`, without a further call
                    here.pin, here.note = pin, None
                else:
                    self.remember(here, pin)
        self.decide(here)
        return known

    async def renew(self, here: Current) -> None:
        """As `refresh`, and a pin that is not held here is asked for: it may be missing because it was just changed.

        Raises: PinsUnavailable.
        """
        if here.subject_digest is not None:
            self.remember(here, await self.homes.fetch(here.subject_digest))
        self.decide(here)

    async def begin_terms(self, here: Current, verdict: SinkVerdict | None) -> bool:
        """Note the events that what is about to happen under `here` is the first of; whether there were any, so that
        it was decided again.

        Raises: as `renew`, FactsUnavailable, JournalFull, JournalFailed; then it must not happen. A deployment that
        only observes goes on, for nothing binds there.
        """
        terms = unbegun(here.decision, verdict)
        if not terms:
            return False
        try:
            seq = await self.keeper.begin(terms)
        except FactsUnavailable:
            if self._mode != "observe":
                raise
            return False
        if seq is not None:
            await self.recorder.durable(seq)
        await self.renew(here)
        return True

    def remember(self, here: Current, pin: Pin | None) -> None:
        """Take in the pin as it is read now, and say so where it came from a copy whose store is not heard of."""
        here.pin = pin
        stale = pin is not None and self.homes.is_stale()
        if stale and here.note is None:
            self.metrics.stale_pin()
        here.note = _STALE_PIN if stale else None

    async def begin(self, here: Current) -> None:
        """Note the events that the request itself is the first of. Raises: as `begin_terms`."""
        here.begins = False
        if here.decision.clocks and self._begins(here):
            await self.begin_terms(here, None)

    def decide(self, here: Current, now: int | None = None) -> None:
        """Make `here`'s decision anew, by its signals and its pin. Raises: FactsUnavailable."""
        if self.keeper.failing_since is not None and self._mode != "observe":
            self.keeper.ready(here.activity)
        finding = self.perception.finding(here.signals, here.pin)
        now = self.clock.now() if now is None else now
        here.decided_at = now
        policy = self.policy
        # An act of a WebSocket may come hours after its request. Neither time is told where nothing is read at it.
        requested = here.requested if policy.reads_requests and here.requested != now else None
        collected = here.collected if policy.collection_edges else None
        facts = self.facts.current()
        shown = here.shown if here.readers else here.evidence
        here.decision = policy.decide(here.activity, finding, shown, facts, now, requested, collected)

    def digest(self, subject: SubjectId) -> str:
        """The keyed digest (hex) under which a subject is known to pins."""
        return self.perception.digest(subject.value)

    def _begins(self, here: Current) -> bool:
        """Whether the request itself is the event of a term: no act can follow, so what it does begins here."""
        return not here.activity.stores and here.decision.permitted and bool(unbegun(here.decision, None))
