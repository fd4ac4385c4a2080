"""Records that clauses refer to: dossiers, approvals, attestations, stop orders. Never the documents themselves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["ATTESTATION", "Event", "Exemption", "FactSet", "Filing", "FilingResult", "Order", "StopOrder"]

ATTESTATION: Final = "location"
"""The kind of filing that says where a sink lies which nobody can look at: no rule asks for it, looks do."""


class FilingResult(StrEnum):
    """How far a filing got (LAW.md section 2, L 20.2)."""

    FILED = "filed"
    PASSED = "passed"
    FAILED = "failed"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Filing:
    """One filing in the register. Times are microseconds since the epoch, UTC; `expires` None = no expiry.

    `changes` are later results in order of their dates. `sinks` bounds it to these (None = all); `next_update` is when
    it must be renewed; `sha256` (hex) names the document, which is kept elsewhere.
    """

    kind: str
    number: str
    date: int
    result: FilingResult
    expires: int | None = None
    changes: tuple[tuple[int, FilingResult], ...] = ()
    sinks: frozenset[str] | None = None
    next_update: int | None = None
    sha256: str = ""

    def result_at(self, now: int) -> FilingResult:
        """The result that stands at `now` (microseconds)."""
        result = self.result
        for date, later in self.changes:
            if date <= now:
                result = later
        return result

    def stands(self, now: int) -> bool:
        """Whether a clause may rely on it at `now` (microseconds)."""
        return (
            self.date <= now
            and (self.expires is None or now < self.expires)
            and self.result_at(now) in (FilingResult.FILED, FilingResult.PASSED)
        )


@dataclass(frozen=True, slots=True)
class Order:
    """An authority's decision that puts rules in force (`trigger:`), from `date` until `lifted` (microseconds)."""

    kind: str
    number: str
    date: int
    lifted: int | None = None


@dataclass(frozen=True, slots=True)
class Exemption:
    """A waiver of named rules: who approved it, on which ground, for what, from when until when (microseconds).

    `activities` and `sinks` None = all. One that is bounded to sinks lifts its rules for these alone.
    """

    number: str
    rules: frozenset[str]
    approved_by: str
    ground: str
    start: int
    end: int
    activities: frozenset[str] | None = None
    sinks: frozenset[str] | None = None

    def holds(self, now: int) -> bool:
        """Whether it may be relied on at `now` (microseconds)."""
        return self.start <= now < self.end


@dataclass(frozen=True, slots=True)
class Event:
    """When a term's event happened first (microseconds), as `first_transfer` under the law of `place`."""

    kind: str
    place: str
    at: int


@dataclass(frozen=True, slots=True)
class StopOrder:
    """An authority's order to stop using `sink` ("*" = any sink abroad) from `since` until `lifted` (microseconds)."""

    number: str
    sink: str
    since: int
    lifted: int | None = None

    def binds(self, now: int) -> bool:
        """Whether the order is in force at `now` (microseconds)."""
        return self.since <= now and (self.lifted is None or now < self.lifted)


@dataclass(frozen=True, slots=True)
class FactSet:
    """What is true of the operator now, and the epoch that moves whenever any of it does.

    `escalated` names the escalations of the laws that are up now: a class of data that has become a higher one by its
    number of subjects.
    """

    epoch: int
    filings: tuple[Filing, ...] = ()
    stop_orders: tuple[StopOrder, ...] = ()
    orders: tuple[Order, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    events: tuple[Event, ...] = ()
    escalated: frozenset[str] = frozenset()

    def tokens(self, now: int) -> frozenset[str]:
        """The evidence that standing filings give for everything: one "filing:<kind>" each."""
        return frozenset(f"filing:{f.kind}" for f in self.filings if f.sinks is None and f.stands(now))

    def sink_tokens(self, sink: str, now: int) -> frozenset[str]:
        """The evidence of standing filings that are bounded to sinks, this one among them."""
        return frozenset(
            f"filing:{f.kind}" for f in self.filings if f.sinks is not None and sink in f.sinks and f.stands(now)
        )

    def event(self, kind: str, place: str) -> int | None:
        """When an event first happened under the law of `place` (microseconds), None = never."""
        return min((e.at for e in self.events if e.kind == kind and e.place == place), default=None)

    def stopped(self, now: int) -> frozenset[str]:
        """Names of sinks under a stop order; "*" = every sink abroad."""
        return frozenset(o.sink for o in self.stop_orders if o.binds(now))
