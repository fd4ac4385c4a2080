"""The enforcement point's counting, in cells bound once per distinct decision: decisions and reasons in."""

from __future__ import annotations

import logging
import time
from typing import Final

from residency.model import Anchor, Decision, Reason
from residency.observe import names
from residency.observe.cells import Metrics

__all__ = ["DecisionMeter"]

_BOUND: Final = 65_536
_AGAIN: Final = 60.0  # seconds
_log = logging.getLogger("residency")


class DecisionMeter:
    """The point's `Meter` over one process's `Metrics`."""

    __slots__ = ("_bound", "_late_again", "_told", "metrics", "overhead")

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.overhead = metrics.overhead
        # By identity: the policy memoises decisions. Holding each keeps its id from being given to another.
        self._told: set[Anchor] = set()
        self._late_again = 0.0  # of `time.monotonic()`
        self._bound: dict[int, tuple[Decision, tuple[int, ...]]] = {}

    def decided(self, decision: Decision) -> None:
        """Count one decision, its presumptions, and its refusal where it is one."""
        bound = self._bound.get(id(decision))
        if bound is None:
            if len(self._bound) >= _BOUND:
                self._bound.clear()
            bound = self._bound[id(decision)] = (decision, self.metrics.decision_cells(decision))
        self.metrics.count(bound[1])

    def refusal(self, reason: Reason, *, observed: bool = False) -> None:
        """Count one refusal of an act, or of a request that could not be decided."""
        self.metrics.refusal(reason, observed=observed)

    def exempt(self) -> None:
        """Count one request on an exempt route."""
        self.metrics.exempt()

    def exempted(self, numbers: tuple[str, ...]) -> None:
        """Count one act on a sink for which these exemptions lifted a rule there."""
        for number in numbers:
            self.metrics.add(names.EXEMPTIONS, number)

    def contradicted(self) -> None:
        """Count one act whose verified signals contradict what is remembered as verified: an operator should look."""
        self.metrics.add(names.PIN_EVENTS, "contradicted")

    def unread_claim(self, anchor: Anchor) -> None:
        """Count one caller of whom a claim was to say `anchor` and could not be read; the first is logged too."""
        self.metrics.add(names.UNREAD_CLAIMS, anchor.value)
        if anchor not in self._told:
            self._told.add(anchor)
            _log.warning(
                "a claim that says %s names no ISO 3166-1 code, so it was no signal; %s counts further ones",
                anchor.value,
                names.UNREAD_CLAIMS,
            )

    def unsafe_address(self) -> None:
        """Count one request whose client address any client could have forged."""
        self.metrics.add(names.UNSAFE_ADDRESS)

    def stale_pin(self) -> None:
        """Count one request whose pin came from a copy of a store that is not heard of."""
        self.metrics.add(names.PINS_STALE)

    def late(self) -> None:
        """Count one request or act that went on though the journal's disk was late; once a minute it is logged."""
        self.metrics.add(names.JOURNAL_LATE)
        now = time.monotonic()
        if now >= self._late_again:
            self._late_again = now + _AGAIN
            _log.warning("the journal's disk is late: what is observed now may be lost in a power cut")
