"""The enforcement point: one request in, a `Current` or a refusal out. The order of the stages is written here only.

    path -> activity -> signals -> pin -> finding -> decision -> record -> the app (or a refusal)

A stage never calls the next; this module calls each in turn. Everything of the outside world comes in as a port.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from residency.enforcement.acts import Current
from residency.enforcement.ports import Clock, Entropy, Facts, Pins
from residency.enforcement.recorder import Recorder
from residency.errors import PathError, Refused, StaleVersion, TokenError
from residency.jurisdiction.pins import first_pin
from residency.jurisdiction.resolve import resolve
from residency.model import (
    Activity,
    Anchor,
    Decision,
    Finding,
    Pin,
    Presume,
    Reason,
    Signal,
    SubjectId,
    Trust,
)
from residency.policy.compiler import Policy
from residency.signals.address import Strategy
from residency.signals.country import CountryTable, network_signals
from residency.signals.identity import ClaimMap, Identity, identity, user_identity

__all__ = ["EnforcementPoint", "Identifying", "Meter", "Refusal", "Request", "StoreFactory", "TokenVerifier"]

_BOUND: Final = 65_536
_LOOPBACK: Final = ("127.", "::1")
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """What the edge hands over of one request, all as the server gave it.

    `path` is decoded once and relative to the framework's root; `peer` is (host, port) of the socket or None.
    """

    method: str
    path: str
    raw_path: bytes | None
    headers: Headers
    peer: tuple[str, int] | None
    user: object | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that goes no further: why, the rules that say so, and the entry's sequence number to wait for."""

    reason: Reason
    decision: Decision | None
    seq: int | None
    message: str = ""


class TokenVerifier(Protocol):
    """Verifies an identity token; raises TokenError."""

    def verify(self, token: bytes) -> Mapping[str, object]: ...


class StoreFactory(Protocol):
    """Makes the handle that `current().store(name)` answers."""

    def handle(self, current: Current, name: str) -> object: ...


class Meter(Protocol):
    """What the point counts; `decided` counts the decision's own refusal too, `refusal` all others."""

    def decided(self, decision: Decision) -> None: ...
    def refusal(self, reason: Reason, *, observed: bool = False) -> None: ...
    def exempt(self) -> None: ...
    def overhead(self, microseconds: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Identifying:
    """Where identity comes from: a token verifier, the names of claims, and whether `scope["user"]` is believed.

    `user` is None (not looked at), "declared" or "verified".
    """

    verifier: TokenVerifier | None
    names: ClaimMap
    user: str | None = None


class EnforcementPoint:
    """Built once per process by the composition root; pure of I/O but for its ports."""

    def __init__(
        self,
        *,
        policy: Policy,
        strategy: Strategy,
        countries: CountryTable,
        identifying: Identifying,
        pins: Pins,
        facts: Facts,
        recorder: Recorder,
        stores: StoreFactory,
        metrics: Meter,
        clock: Clock,
        entropy: Entropy,
        digest: Callable[[str], str],
        trusted_peer: Callable[[str], bool],
    ) -> None:
        self.policy = policy
        self.strategy = strategy
        self.countries = countries
        self.identifying = identifying
        self.pins = pins
        self.facts = facts
        self.recorder = recorder
        self.stores = stores
        self.metrics = metrics
        self.clock = clock
        self._entropy = entropy
        self._digest = digest
        self._trusted_peer = trusted_peer
        self._presume: tuple[tuple[Anchor, Presume], ...] = policy.deployment.presume
        self._mode: str = policy.deployment.mode
        self._assume: str | None = policy.deployment.assume
        self._network: dict[str, tuple[Signal, ...]] = {}
        self._findings: dict[tuple[tuple[Signal, ...], Pin | None], Finding] = {}

    # -- one request -------------------------------------------------------------------------------------------

    def admit(self, request: Request) -> Current | Refusal | None:
        """Decide one request as far as that needs no waiting. None = an exempt route, already recorded.

        Where the returned Current's pin is not held locally its decision is not made yet: `settle` makes it.
        Raises: Unavailable (journal, address data, pins), which the edge answers with 503.
        """
        # 1. What the route does. Nothing is folded: what routers could read two ways is refused.
        try:
            match = self.policy.activities.match(request.method, request.path, request.raw_path)
        except PathError as error:
            return self._refuse_early(None, Reason.PATH_AMBIGUOUS, str(error))
        if match.exempt:
            self.recorder.exempt(f"{request.method} exempt", self._mode)
            self.metrics.exempt()
            return None
        activity = match.activity
        # 2. Where the request came from.
        client = self.strategy.client(request.peer, request.headers)
        if client.problem is not None:
            return self._refuse_early(activity, client.problem, "the server rewrote the peer address")
        signals = self._network_signals(client.address)
        if self._assume is not None:
            if request.peer is None or not request.peer[0].startswith(_LOOPBACK):
                return self._refuse_early(activity, Reason.DEV_NOT_LOOPBACK, "dev.assume is for loopback only")
            signals = (
                Signal(Anchor.TERRITORY, self._assume, Trust.DECLARED, "dev.assume"),
                Signal(Anchor.COLLECTION, self._assume, Trust.DECLARED, "dev.assume"),
            )
        # 3. Who asks, and whose data it is.
        caller = self._identity(request)
        if activity is None:
            return self._unclassified(signals, caller)
        subject = self._subject(activity, match.params, caller, request)
        speaks = activity.subject.kind in ("none", "app") or _same(subject, caller)
        here = Current(
            self,
            activity,
            match.params,
            subject,
            # The caller's address and claims say nothing of somebody else (DESIGN section 3: Subject and Caller).
            (*signals, *(caller.signals if caller is not None else ())) if speaks else (),
            caller.evidence if caller is not None and speaks else frozenset(),
            _detail(subject, client.address, request.peer, self.clock.now()),
        )
        # 4. The remembered home.
        if here.subject_digest is not None:
            pin, known = self.pins.peek(here.subject_digest)
            if not known:
                return here
            here.pin = pin
        # 5. Finding, decision, record.
        self._decide(here)
        return self.conclude(here)

    async def settle(self, here: Current) -> Current | Refusal:
        """Finish an admission whose pin had to be fetched. Raises: PinsUnavailable."""
        if here.subject_digest is not None:
            here.pin = await self.pins.get(here.subject_digest)
        self._decide(here)
        return self.conclude(here)

    def conclude(self, here: Current) -> Current | Refusal:
        """Bind the decision just made: record it, count it, refuse where it says so."""
        decision = here.decision
        if self._later(here):
            self.recorder.ready()
            return here
        self.metrics.decided(decision)
        if not decision.permitted:
            reason = decision.reason or Reason.INTERNAL
            seq, _ = self.recorder.refusal(decision, reason, here.alias, here.detail)
            return Refusal(reason, decision, seq)
        if here.activity.store is None:
            # No act can follow, so this is the request's one entry, recorded before the app answers.
            self.recorder.decision(decision, here.alias, here.detail)
            here.acts += 1
        else:
            self.recorder.ready()
        return here

    def close(self, here: Current) -> None:
        """The end of a request on a store: it leaves one entry if it performed no act."""
        if here.acts == 0:
            self.recorder.decision(here.decision, here.alias, here.detail)

    # -- inside a request --------------------------------------------------------------------------------------

    async def identify(
        self, here: Current, subject: SubjectId, claims: Mapping[str, object], *, verified: bool
    ) -> None:
        """Decide `here` again for `subject`. Raises: Refused, PinsUnavailable."""
        # The app's keywords are our own words, whatever a token's claims are called.
        said = identity(claims, _OWN_NAMES, verified=verified, source="app")
        if here.subject is not None and here.subject != subject:
            here.pin = None
        here.subject = subject
        here.subject_digest = self.digest(subject)
        here.signals = tuple(dict.fromkeys((*here.signals, *said.signals)))
        here.evidence = here.evidence | said.evidence
        here.detail["account"] = subject.value
        pin, known = self.pins.peek(here.subject_digest)
        here.pin = pin if known else await self.pins.get(here.subject_digest)
        self._decide(here)
        self.metrics.decided(here.decision)
        if not here.decision.permitted:
            raise here.refused(counted=True)
        self.recorder.decision(here.decision, here.alias, here.detail, note="identified")
        here.acts += 1

    async def about(self, here: Current, subject: SubjectId) -> Current:
        """A Current for another subject under the same activity, judged by that subject's pin alone."""
        other = Current(self, here.activity, here.params, subject, (), frozenset(), dict(here.detail))
        other.detail["account"] = subject.value
        pin, known = self.pins.peek(other.subject_digest or "")
        other.pin = pin if known else await self.pins.get(other.subject_digest or "")
        self._decide(other)
        if not other.decision.permitted:
            raise other.refused()
        self.recorder.decision(other.decision, other.alias, other.detail, note="about")
        other.acts += 1
        return other

    def refresh(self, here: Current) -> None:
        """Decide again on the facts and the date of now: an act is judged by what holds when it happens.

        Costs a memo lookup where neither the facts epoch nor a dated rule moved.
        """
        self._decide(here)

    async def pin_home(self, here: Current, sink: str) -> None:
        """Remember where the subject's data lies, at its first write.

        Raises: Refused where another request pinned the subject elsewhere in between, PinsUnavailable.
        """
        digest = here.subject_digest
        verdict = here.decision.sink(sink)
        if digest is None or verdict is None or here.pin is not None:
            return
        pin = first_pin(
            subject=digest,
            home=verdict.sink.place,
            finding=here.decision.finding,
            alias=here.alias or self.new_alias(),
            set_by="first_write",
            policy=self.policy.digest,
            at=self.clock.now(),
        )
        try:
            await self.pins.put(pin)
        except StaleVersion:
            theirs = await self.pins.get(digest)
            if theirs is None or theirs.home != pin.home:
                raise Refused(
                    Reason.FACTS_MOVED.value, "the subject was given another home at the same time; try again"
                ) from None
            pin = theirs
        here.pin = pin

    def digest(self, subject: SubjectId) -> str:
        """The keyed digest (hex) under which a subject is known to pins."""
        return self._digest(subject.value)

    def new_alias(self) -> str:
        """A random stand-in for a subject, 16 bytes in hex."""
        return self._entropy.token(16).hex()

    # -- steps -------------------------------------------------------------------------------------------------

    def _decide(self, here: Current) -> None:
        key = (here.signals, here.pin)
        finding = self._findings.get(key)
        if finding is None:
            if len(self._findings) >= _BOUND:
                self._findings.clear()
            finding = self._findings[key] = resolve(here.signals, here.pin, self._presume)
        here.decision = self.policy.decide(
            here.activity, finding, here.evidence, self.facts.current(), self.clock.now()
        )

    def _later(self, here: Current) -> bool:
        """Whether the verdict waits for `identify`: the subject comes from the app, and no store opens before.

        It is counted then; a request that ends without `identify` leaves its entry and touched no store.
        """
        return here.activity.subject.kind == "app" and here.subject is None and here.activity.store is not None

    def _network_signals(self, address: str | None) -> tuple[Signal, ...]:
        if address is None:
            return ()
        signals = self._network.get(address)
        if signals is None:
            if len(self._network) >= _BOUND:
                self._network.clear()
            signals = self._network[address] = network_signals(address, self.countries)
        return signals

    def _identity(self, request: Request) -> Identity | None:
        how = self.identifying
        if how.verifier is not None:
            token = _bearer(request.headers)
            if token is not None:
                try:
                    return identity(how.verifier.verify(token), how.names, verified=True, source="jwt")
                except TokenError:
                    return None  # a token that does not verify is no signal
        if how.user is not None and request.user is not None:
            return user_identity(request.user, how.names, verified=how.user == "verified")
        return None

    def _subject(
        self, activity: Activity, params: Mapping[str, str], caller: Identity | None, request: Request
    ) -> SubjectId | None:
        source = activity.subject
        match source.kind:
            case "jwt" | "user":
                return caller.subject if caller is not None else None
            case "path":
                value = params.get(source.name, "")
                return SubjectId(value) if 0 < len(value) <= 512 else None
            case "header":
                # Anybody can send a header; only a gateway that the deployment trusts may name the subject by one.
                if request.peer is None or not self._trusted_peer(request.peer[0]):
                    return None
                wanted = source.name.lower().encode("latin-1")
                values = [v for k, v in request.headers if k == wanted]
                text = values[0].decode("latin-1").strip() if len(values) == 1 else ""
                return SubjectId(text) if 0 < len(text) <= 512 else None
            case _:
                return None

    def _unclassified(self, signals: tuple[Signal, ...], caller: Identity | None) -> Refusal | None:
        said = (*signals, *(caller.signals if caller is not None else ()))
        finding = resolve(said, None, self._presume)
        decision = self.policy.decide(None, finding, frozenset(), self.facts.current(), self.clock.now())
        self.metrics.decided(decision)
        reason = decision.reason or Reason.UNCLASSIFIED_ROUTE
        if not decision.permitted:
            seq, _ = self.recorder.refusal(decision, reason, None, {})
            return Refusal(reason, decision, seq)
        self.recorder.decision(decision, None, {})
        return None

    def _refuse_early(self, activity: Activity | None, reason: Reason, message: str) -> Refusal | None:
        name = activity.name if activity is not None else None
        seq = self.recorder.refused_request(name, self._mode, reason)
        if self._mode == "observe" and reason is Reason.PATH_AMBIGUOUS:
            self.metrics.refusal(reason, observed=True)
            return None  # a dark launch binds nothing that the app itself would have served
        self.metrics.refusal(reason)
        return Refusal(reason, None, seq, message)


_OWN_NAMES: Final = ClaimMap(
    subject="subject", citizenship="citizenship", residence="residence", verified_by="verified_by"
)


def _same(subject: SubjectId | None, caller: Identity | None) -> bool:
    return subject is not None and caller is not None and caller.subject == subject


def _bearer(headers: Headers) -> bytes | None:
    for name, value in headers:
        if name == b"authorization":
            return value[7:].strip() if value[:7].lower() == b"bearer " else None
    return None


def _detail(
    subject: SubjectId | None, address: str | None, peer: tuple[str, int] | None, now: int
) -> dict[str, str | int | None]:
    """The statutory log fields known here (Decree 333/2026 art. 16.6, 20.3): account, address, source port, time."""
    direct = peer is not None and peer[0] == address
    return {
        "account": subject.value if subject is not None else None,
        "address": address,
        "port": peer[1] if peer is not None and direct else None,
        "at": now,
    }
