"""The enforcement point: one request in, a `Current` or a refusal out. The order of the stages is written here only.

    path -> activity -> signals -> pin -> finding -> decision -> record -> the app (or a refusal)

A stage never calls the next; this module calls each in turn. Everything of the outside world comes in as a port.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from residency.audit.recall import Basis
from residency.enforcement.about import judge_many, judge_row, judge_subject, whereabouts
from residency.enforcement.asking import Unasked, Who, ask
from residency.enforcement.current import Current
from residency.enforcement.decider import Decider
from residency.enforcement.facts import FactKeeper
from residency.enforcement.handing import home_for, note_of
from residency.enforcement.homes import Homes
from residency.enforcement.metering import Meter
from residency.enforcement.observing import goes_on
from residency.enforcement.perception import Perception, Seen
from residency.enforcement.ports import Clock, Entropy, Facts, Pins
from residency.enforcement.recorder import Recorder
from residency.enforcement.refusing import refuse_activity
from residency.enforcement.request import (
    Identifying,
    Refusal,
    Request,
    TokenVerifier,
    statutory_detail,
)
from residency.enforcement.trail import StoreFactory
from residency.errors import (
    AddressDataUnavailable,
    FactsUnavailable,
    JournalLate,
    KeysUnavailable,
    PathError,
    PinsUnavailable,
    Unavailable,
    UsageError,
)
from residency.model import Activity, Reason, SubjectId
from residency.policy.activities import Match
from residency.policy.compiler import Policy
from residency.signals.identity import OWN_NAMES, OWN_WORDS, Identity, identity
from residency.signals.network import NetworkSource
from residency.signals.peer import Strategy

__all__ = [
    "EnforcementPoint",
    "Identifying",
    "Meter",
    "Refusal",
    "Request",
    "StoreFactory",
    "TokenVerifier",
    "Unasked",
]

_PROBLEMS: Final = {
    Reason.PEER_REWRITTEN: "the server rewrote the peer address",
    Reason.DEV_NOT_LOOPBACK: "dev.assume is for loopback only",
}


class EnforcementPoint(Decider):
    """Built once per process by the composition root; pure of I/O but for its ports."""

    def __init__(
        self,
        *,
        policy: Policy,
        strategy: Strategy,
        network: NetworkSource,
        identifying: Identifying,
        pins: Pins,
        facts: Facts,
        keeper: FactKeeper,
        recorder: Recorder,
        stores: StoreFactory,
        metrics: Meter,
        clock: Clock,
        entropy: Entropy,
        digest: Callable[[str], str],
        trusted_peer: Callable[[str], bool],
        who: Who | None = None,
    ) -> None:
        perception = Perception(
            strategy=strategy,
            network=network,
            identifying=identifying,
            pins=pins,
            digest=digest,
            trusted_peer=trusted_peer,
            presume=policy.deployment.presume,
            assume=policy.deployment.assume,
            conflicts_presumed=policy.deployment.conflicts_presumed,
        )
        homes = Homes(pins, recorder, clock, entropy, policy.digest)
        super().__init__(policy, perception, homes, facts, keeper, recorder, metrics, clock)
        self.identifying = identifying
        self.stores = stores
        self._who = who
        region = policy.deployment.regions.get(policy.deployment.audit.region or "")
        self.readers: tuple[str, ...] = () if region is None else (region.place,)
        """Where this instance runs, as far as the deployment says so: what it reads goes there."""
        self._unsafe = strategy.name.startswith("unsafe_")

    # -- one request -------------------------------------------------------------------------------------------

    def admit(self, request: Request) -> Current | Refusal | Unasked | None:
        """Decide one request as far as that needs no waiting. None = let pass undecided, already recorded.

        Where the returned Current's pin is not held locally its decision is not made yet: `settle` makes it. Where the
        app is to say first who asks, `ask` goes on from what is returned.
        Raises: Unavailable where not even the refusal can be recorded, which the edge answers with 503.
        """
        # 0. Room for a record, beyond what is kept for the outcomes of acts that are under way.
        try:
            self.recorder.ready()
        except JournalLate:
            if not goes_on(self._mode, self.metrics):
                raise
        # 1. What the route does. Nothing is folded: what routers could read two ways is refused.
        try:
            match = self._match(request)
        except PathError as error:
            if self._mode != "observe":
                return self._refuse_early(None, Reason.PATH_AMBIGUOUS, str(error))
            # A dark launch binds nothing that the app itself would have served.
            self.recorder.unread_request(self._mode, Reason.PATH_AMBIGUOUS)
            self.metrics.refusal(Reason.PATH_AMBIGUOUS, observed=True)
            match = self._match(request, lenient=True)
            if match.activity is None:
                return None  # one finding is enough: enforced, the request would have been refused once
        if match.exempt is not None:
            self.recorder.exempt(match.exempt, self._mode)
            self.metrics.exempt()
            return None
        requested = self.clock.now()
        if self._who is not None:
            return Unasked(match, request, requested)
        return self._admitted(match, request, None, requested)

    async def ask(self, unasked: Unasked, scope: Mapping[str, Any]) -> Current | Refusal | None:
        """Let the app say who asks, then go on as `admit`. Raises: as `admit`."""
        said = None
        try:
            if self._who is not None:
                said = await ask(self._who, scope)
        except Unavailable as error:
            return self._refuse_early(unasked.match.activity, Reason.IDENTITY_UNAVAILABLE, str(error))
        return self._admitted(unasked.match, unasked.request, said, unasked.requested)

    def _match(self, request: Request, *, lenient: bool = False) -> Match:
        return self.policy.activities.match(
            request.method, request.path, request.raw_path, routing=request.routing, also=request.also, lenient=lenient
        )

    def _admitted(
        self, match: Match, request: Request, said: Identity | None, requested: int
    ) -> Current | Refusal | None:
        try:
            return self._admit(match, request, said, requested)
        except AddressDataUnavailable as error:
            return self._refuse_early(match.activity, Reason.ADDRESS_DATA_UNAVAILABLE, str(error))
        except PinsUnavailable as error:
            return self._refuse_early(match.activity, Reason.PINS_UNAVAILABLE, str(error))
        except FactsUnavailable as error:
            return self._refuse_early(match.activity, Reason.FACTS_UNAVAILABLE, str(error))
        except KeysUnavailable as error:
            # Not a token that does not hold, but one that cannot be judged now: with it might go a law that covers.
            return self._refuse_early(match.activity, Reason.KEYS_UNAVAILABLE, str(error))

    def _admit(self, match: Match, request: Request, said: Identity | None, requested: int) -> Current | Refusal | None:
        seen = self.perception.perceive(match, request, said)
        activity = match.activity
        if seen.problem is not None:
            return self._refuse_early(activity, seen.problem, _PROBLEMS[seen.problem])
        if self._unsafe:
            self.metrics.unsafe_address()
        if seen.caller is not None and seen.caller.unread:
            self._unread(seen.caller)
        if activity is None:
            return self._unclassified(seen)
        client, caller, subject = seen.client, seen.caller, seen.subject
        detail = statutory_detail(subject, client, request.peer, requested)
        here = Current(
            self, activity, match.params, subject, seen.signals, seen.evidence, detail,
            caller=caller, requested=requested,
        )  # fmt: skip
        here.client = client
        if activity.subject.kind in ("path", "header") and caller is not None and caller.subject not in (None, subject):
            here.readers = whereabouts(here)
        if not seen.known:
            return here
        self.remember(here, seen.pin)
        self.decide(here, requested)
        if here.decision.clocks and self._begins(here):
            here.begins = True  # it must wait until that is noted
            return here
        return self._conclude(here)

    async def settle(self, here: Current) -> Current | Refusal | None:
        """Finish an admission that had to wait: for a pin, or for a term's event to be noted. Raises: as `admit`."""
        try:
            self.remember(here, await self.homes.fetch(here.subject_digest))
            if here.of_unknown_caller:
                here.signals = self.perception.of_unknown(here.signals, here.pin)
            self.decide(here)
            await self.begin(here)
        except PinsUnavailable as error:
            return self._refuse_early(here.activity, Reason.PINS_UNAVAILABLE, str(error))
        except FactsUnavailable as error:
            return self._refuse_early(here.activity, Reason.FACTS_UNAVAILABLE, str(error))
        return self._conclude(here)

    def _conclude(self, here: Current) -> Current | Refusal:
        """Bind the decision just made: record it, count it, refuse where it says so."""
        decision = here.decision
        if self._later(here):
            return here
        self.metrics.decided(decision)
        reason = here.forbidden
        if reason is not None:
            if decision.permitted:
                self.metrics.refusal(reason)
            home = home_for(self.policy.deployment.hand_over, decision, here.pin, reason)
            note = here.note if home is None else note_of(home)
            seq, _ = self.recorder.refusal(decision, reason, here.alias, here.detail, here.basis, note=note)
            return Refusal(reason, decision.rules, seq, home=home)
        if not here.activity.stores:
            # No act can follow, so this is the request's one entry, recorded before the app answers.
            self.recorder.decision(decision, here.alias, here.detail, here.basis, here.note)
            here.recorded()
        return here

    def refuse_scope(self) -> None:
        """Record that the server brought a scope of a type that is not known. Raises: JournalFull, JournalFailed."""
        self._refuse_early(None, Reason.UNKNOWN_SCOPE, "")

    def close(self, here: Current) -> None:
        """The end of a request: it leaves one entry if it left none. Raises: JournalFull, JournalFailed."""
        if here.trail.records == 0:
            self.recorder.decision(here.decision, here.alias, here.detail, here.basis, here.note)

    # -- inside a request --------------------------------------------------------------------------------------

    async def identify(
        self,
        here: Current,
        subject: SubjectId,
        claims: Mapping[str, object],
        *,
        verified: bool,
        collected: int | None = None,
    ) -> None:
        """Decide `here` again for `subject`, and for data collected at `collected` (microseconds) where it is said.

        Raises: UsageError, Refused, Unavailable of any kind.
        """
        unknown = sorted(set(claims) - OWN_WORDS)
        if unknown:
            # A claim under a wrong name would be lost, and with it perhaps the law that covers the person.
            raise UsageError(f"identify() knows no claim {unknown[0]!r}; claims: {', '.join(sorted(OWN_WORDS))}")
        said = identity(claims, OWN_NAMES, verified=verified, source="app")
        self._unread(said)
        digest = self.digest(subject)
        # Fetched before anything changes: a subject whose pin cannot be read must not pass for one without a pin.
        pin = await self.homes.fetch(digest)
        here.become(subject, digest, pin, said, collected)
        self.remember(here, pin)
        self.decide(here)
        await self.begin(here)
        self.metrics.decided(here.decision)
        if here.forbidden is not None:
            raise refuse_activity(here, counted=True)
        self.recorder.decision(here.decision, here.alias, here.detail, here.basis, here.note or "identified")
        here.recorded()

    about = staticmethod(judge_subject)
    about_row = staticmethod(judge_row)
    about_many = staticmethod(judge_many)

    # -- steps -------------------------------------------------------------------------------------------------

    def _unread(self, said: Identity) -> None:
        for anchor in said.unread:
            self.metrics.unread_claim(anchor)

    def _later(self, here: Current) -> bool:
        """Whether the verdict waits for `identify`: the subject comes from the app, and no store opens before.

        It is counted then; a request that ends without `identify` leaves its entry and touched no store.
        """
        return here.activity.subject.kind == "app" and here.subject is None and bool(here.activity.stores)

    def _unclassified(self, seen: Seen) -> Refusal | None:
        finding = self.perception.finding(seen.signals, None)
        now = self.clock.now()
        decision = self.policy.decide(None, finding, frozenset(), self.facts.current(), now)
        self.metrics.decided(decision)
        if not decision.permitted:
            reason = decision.reason or Reason.UNCLASSIFIED_ROUTE
            seq, _ = self.recorder.refusal(decision, reason, None, {}, Basis(now, seen.signals))
            return Refusal(reason, decision.rules, seq)
        self.recorder.decision(decision, None, {}, Basis(now, seen.signals))
        return None

    def _refuse_early(self, activity: Activity | None, reason: Reason, message: str) -> Refusal:
        self.metrics.refusal(reason)
        name = activity.name if activity is not None else None
        return Refusal(reason, (), self.recorder.refused_request(name, self._mode, reason), message)
