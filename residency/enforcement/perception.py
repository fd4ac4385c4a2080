"""The first half of the pipeline: one request's headers in, what is seen of the person and the finding out.

    client address -> network signals -> who asks, whose data -> the remembered home -> finding

Every step is a look at what lies in this process: nothing waits, nothing is written. What came before is one probe of
a bounded cache; what never came is computed anew, at a bounded cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from residency.enforcement.ports import Pins
from residency.enforcement.request import Identifying, Request, asker, from_this_machine, subject_of
from residency.jurisdiction.resolve import Presumption, resolve
from residency.model import Anchor, Finding, Pin, Reason, Signal, SubjectId, Trust
from residency.policy.activities import Match
from residency.signals.identity import Identity, joined
from residency.signals.network import NetworkSource, beside
from residency.signals.peer import ClientAddress, Strategy

__all__ = ["Perception", "Seen"]

_BOUND: Final = 65_536
# What is larger is computed anew: it is no common case, and would let a client fill memory.
_KEPT_PLACES: Final = 16  # of signals and pin
_KEPT_TEXT: Final = 128  # characters
_tuple: Final = tuple.__new__
_NOTHING: Final = frozenset[str]()

Remembered = tuple[tuple[Anchor, str, Trust], ...]


class Seen(NamedTuple):
    """One request from its headers to the finding. `finding` is None where the pin must be fetched first (not `known`)
    or where there is a `problem`."""

    client: ClientAddress
    problem: Reason | None
    caller: Identity | None
    subject: SubjectId | None
    digest: str | None
    signals: tuple[Signal, ...]
    evidence: frozenset[str]
    pin: Pin | None
    known: bool
    finding: Finding | None


class Perception:
    """What of a request can be told before any policy is asked. `digest` makes of a subject's id what pins know."""

    def __init__(
        self,
        *,
        strategy: Strategy,
        network: NetworkSource,
        identifying: Identifying,
        pins: Pins,
        digest: Callable[[str], str],
        trusted_peer: Callable[[str], bool],
        presume: Presumption,
        assume: str | None,
        conflicts_presumed: bool = False,
    ) -> None:
        self.strategy = strategy
        self.network = network
        self._identifying = identifying
        self._asks = identifying != Identifying(None, identifying.names, header=identifying.header)
        self._peek = pins.peek
        self._digest = digest
        self._trusted_peer = trusted_peer
        self._presume = presume
        self._conflicts_presumed = conflicts_presumed
        self._assumed: tuple[Signal, ...] | None = None
        if assume is not None:
            self._assumed = tuple(
                Signal(anchor, assume, Trust.DECLARED, "dev.assume") for anchor in (Anchor.TERRITORY, Anchor.COLLECTION)
            )
        self._findings: dict[tuple[tuple[Signal, ...], Remembered | None], Finding] = {}
        self._digests: dict[str, str] = {}
        self._hints: dict[int, tuple[tuple[Signal, ...], tuple[Signal, ...]]] = {}
        self._peers: dict[str, bool] = {}
        self._held: dict[tuple[int, int], tuple[tuple[Signal, ...], Remembered | None, Finding]] = {}

    def perceive(self, match: Match, request: Request, said: Identity | None = None) -> Seen:
        """The first half, from headers to finding: pure but for a look at pins held here.

        Raises: AddressDataUnavailable, PinsUnavailable, KeysUnavailable.
        """
        # 2. Where the request came from.
        client = self.strategy.client(request.peer, request.headers)
        if client.problem is not None:
            return Seen(client, client.problem, None, None, None, (), _NOTHING, None, True, None)
        if self._assumed is None:
            signals = self.network.signals_of(client)
        elif from_this_machine(request):
            signals = self._assumed
        else:
            return Seen(client, Reason.DEV_NOT_LOOPBACK, None, None, None, (), _NOTHING, None, True, None)
        # 3. Who asks, and whose data it is.
        caller = asker(request, self._identifying) if self._asks else None
        if said is not None:
            caller = joined(caller, said)
        activity, subject, evidence = match.activity, None, _NOTHING
        another = unknown = False
        if activity is not None:
            kind = activity.subject.kind
            if kind != "none" and kind != "app":
                gateway = kind == "header" and request.peer is not None and self._is_ours(request.peer[0])
                subject = subject_of(activity, match.params, caller, request, gateway=gateway)
                # Subject and caller may be two (DESIGN section 3).
                if kind == "path" or kind == "header":
                    asking = None if caller is None else caller.subject
                    unknown, another = asking is None, asking is not None and asking != subject
        if another:
            signals = ()  # the caller's address and claims say nothing of somebody else
        elif caller is not None:
            signals = beside(client, (*signals, *caller.signals))
            evidence = caller.evidence
        # 4. The remembered home.
        digest = pin = None
        known = True
        if subject is not None:
            digest = self.digest(subject.value)
            pin, known = self._peek(digest)
        if unknown:
            signals, evidence = self.of_unknown(signals, pin), _NOTHING
        # 5. The finding.
        finding = self.finding(signals, pin) if known else None
        # A named tuple's own constructor is a third of this function's cost.
        return _tuple(Seen, (client, None, caller, subject, digest, signals, evidence, pin, known, finding))

    def of_unknown(self, signals: tuple[Signal, ...], pin: Pin | None) -> tuple[Signal, ...]:
        """What an unknown caller's signals say of the subject, who may be the caller or not.

        Of a subject with a pin, nothing: the pin speaks. Of one without, hints: dropped, a law could be shaken off by
        leaving a token out; whole, a stranger's address would exclude the subject's law. The same tuple answers the
        same tuple, so that its finding is known too.
        """
        if pin is not None:
            return ()
        held = self._hints.get(id(signals))
        if held is not None and held[0] is signals:
            return held[1]
        hinted = tuple(replace(signal, trust=Trust.HINT) for signal in signals)
        if len(self._hints) >= _BOUND:
            self._hints.clear()
        self._hints[id(signals)] = (signals, hinted)  # held, so that its id stays its own
        return hinted

    def digest(self, subject: str) -> str:
        """The keyed digest (hex) under which a subject's id is known to pins."""
        digest = self._digests.get(subject)
        if digest is None:
            if len(self._digests) >= _BOUND:
                self._digests.clear()
            digest = self._digest(subject)
            if len(subject) <= _KEPT_TEXT:
                self._digests[subject] = digest
        return digest

    def _is_ours(self, host: str) -> bool:
        known = self._peers.get(host)
        if known is None:
            if len(self._peers) >= _BOUND:
                self._peers.clear()
            known = self._trusted_peer(host)
            if len(host) <= _KEPT_TEXT:  # a server may have taken it from a header
                self._peers[host] = known
        return known

    def finding(self, signals: tuple[Signal, ...], pin: Pin | None) -> Finding:
        """The finding of these signals and this pin; the same object for as long as it is remembered."""
        # Of a pin only the anchors speak, and subjects share them. The network says the same of all addresses of a kind
        # with the very same tuple, and so do stores of pins: most are known by their identity, without hashing them.
        anchors = None if pin is None else pin.anchors
        held = self._held.get((id(signals), id(anchors)))
        if held is not None and held[0] is signals and held[1] is anchors:
            return held[2]
        if len(signals) + (0 if anchors is None else len(anchors)) > _KEPT_PLACES:
            return self._resolve(signals, pin)
        finding = self._findings.get((signals, anchors))
        if finding is None:
            if len(self._findings) >= _BOUND:
                self._findings.clear()
            finding = self._findings[signals, anchors] = self._resolve(signals, pin)
        if len(self._held) >= _BOUND:
            self._held.clear()
        self._held[id(signals), id(anchors)] = (signals, anchors, finding)  # held, so that their ids stay their own
        return finding

    def _resolve(self, signals: tuple[Signal, ...], pin: Pin | None) -> Finding:
        return resolve(
            signals,
            pin,
            self._presume,
            conflicts_presumed=self._conflicts_presumed,
            strategy=self.strategy.name,
        )
