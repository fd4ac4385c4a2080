"""Records that clauses refer to: dossiers, approvals, attestations, stop orders. Never the documents themselves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["FactSet", "Filing", "FilingResult", "StopOrder"]


class FilingResult(StrEnum):
    """How far a filing got (LAW.md section 2, L 20.2)."""

    FILED = "filed"
    PASSED = "passed"
    FAILED = "failed"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Filing:
    """One filing in the register. Times are microseconds since the epoch, UTC; `expires` None = no expiry."""

    kind: str
    number: str
    date: int
    result: FilingResult
    expires: int | None = None

    def stands(self, now: int) -> bool:
        """Whether a clause may rely on it at `now` (microseconds)."""
        return (
            self.result in (FilingResult.FILED, FilingResult.PASSED)
            and self.date <= now
            and (self.expires is None or now < self.expires)
        )


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
    """What is true of the operator now, and the epoch that moves whenever any of it does."""

    epoch: int
    filings: tuple[Filing, ...] = ()
    stop_orders: tuple[StopOrder, ...] = ()

    def tokens(self, now: int) -> frozenset[str]:
        """The evidence that standing filings give: one "filing:<kind>" each."""
        return frozenset(f"filing:{f.kind}" for f in self.filings if f.stands(now))

    def stopped(self, now: int) -> frozenset[str]:
        """Names of sinks under a stop order; "*" = every sink abroad."""
        return frozenset(o.sink for o in self.stop_orders if o.binds(now))
