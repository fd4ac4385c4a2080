"""Entries of the log in, in its order; the decisions they tell of, ready to be decided again, out.

What a decision was made on is told in two halves: the entry's own keys, its finding in words among them, which hold
nothing personal, and `Basis.words` in the regional detail. `Recall` reads both back.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from residency.audit.entry import Entry, parse_entry_id
from residency.errors import EntryError, VerificationError
from residency.jurisdiction.found import parse_finding
from residency.model import Signal
from residency.policy.recorded import Recorded, When

__all__ = ["OPERATOR", "Basis", "Beside", "Recall", "Told"]

_BOUND: Final = 1 << 16


class Basis(NamedTuple):
    """What a decision was made on and does not tell itself: the instant (microseconds, UTC), the signals that led to
    its finding, and all evidence of the person, that which no rule asks for too.

    `requested` is the request's own instant, None = `now`. `collected` is when the data was collected, None = not
    known: of one person and exact, so it stands in the detail; the entry has `collected_since`, an edge of the law.
    """

    now: int
    signals: tuple[Signal, ...] = ()
    evidence: frozenset[str] = frozenset()
    requested: int | None = None
    collected: int | None = None
    collected_since: int | None = None

    def words(self) -> dict[str, str | int]:
        """Signals ("anchor:place:trust:source") and evidence as a detail tells them, with spaces between; and when the
        data was collected, where that is known."""
        words: dict[str, str | int] = {
            "signals": " ".join(f"{s.anchor}:{s.place}:{s.trust.name.lower()}:{s.source}" for s in self.signals),
            "evidence": " ".join(sorted(self.evidence)),
        }
        return words if self.collected is None else {**words, "collected": self.collected}


class Told(NamedTuple):
    """What a regional detail tells of the evidence and of the time of collection (as in `Basis.words`), and what
    commits to that detail."""

    commitment: str
    evidence: str
    collected: int | None = None


OPERATOR: Final = "operator: "
"""What the note of an operator's act begins with, which no request's decision is behind."""


class Beside(StrEnum):
    """What an entry is that tells of no decision of a policy."""

    OUTCOME = "outcomes of acts"
    SYSTEM = "entries of the system"
    EXEMPT = "requests to exempt routes"
    PIN = "changes of pins"
    OPERATOR = "acts of operators"
    EARLY = "requests refused before a decision"
    UNDECIDED = "acts and permits that no decision is behind"


class Recall:
    """Takes in every entry of a log in order and answers what it tells of.

    `details` (by entry id) tell what regional details do, where they are at hand. Entries that tell the same get the
    very same `Recorded`, for as long as it is remembered.
    """

    def __init__(self, details: Mapping[str, Told] | None = None) -> None:
        self._details = details if details is not None else {}
        self._facts: dict[tuple[int, int], str] = {}  # (slot, epoch) -> the digest that the slot named last
        self._known: dict[tuple[object, ...], Recorded] = {}

    def take(self, entry: Entry) -> tuple[Recorded, When] | Beside:
        """The decision that an entry tells of and its instants, or what else the entry is.

        Raises: EntryError, VerificationError where a detail is not the one that the entry commits to.
        """
        if entry.kind == "system":
            if entry.facts is not None:
                self._facts[parse_entry_id(entry.id)[0], entry.epoch] = entry.facts
            return Beside.SYSTEM
        recorded = self.read(entry, self.facts(parse_entry_id(entry.id)[0], entry.epoch))
        if isinstance(recorded, Beside):
            return recorded
        if entry.decided is None:  # `read` says so
            return _undecided(entry)
        told = self._details.get(entry.id)
        exactly = None if told is None else told.collected
        return recorded, When(entry.decided, entry.requested, entry.collected, exactly)

    def facts(self, slot: int, epoch: int) -> str | None:
        """The digest of the facts that `slot` means by `epoch` by now; None where it named none."""
        return self._facts.get((slot, epoch))

    def read(self, entry: Entry, facts: str | None) -> Recorded | Beside:
        """As `take`, of an entry that is not the system's, were it made by the facts of that digest."""
        if entry.kind == "outcome":
            return Beside.OUTCOME
        if entry.decided is None:
            return _undecided(entry)
        told = self._told(entry)
        detail = None if told is None else told.evidence
        key = (
            entry.kind, entry.activity, entry.finding, entry.evidence, entry.sink, entry.policy, entry.policy_version,
            facts, entry.effect, entry.reason, entry.mode, entry.rules, entry.observed, entry.jurisdictions,
            entry.presumed, entry.outranked,
            entry.exempted, entry.exemptions, entry.running, detail, entry.store, entry.region, entry.operation,
            entry.strategy,
        )  # fmt: skip
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _BOUND:
                self._known.clear()
            known = self._known[key] = self._read(entry, facts, detail)
        return known

    def _told(self, entry: Entry) -> Told | None:
        told = self._details.get(entry.id)
        if told is None:
            return None
        if told.commitment != entry.detail:
            raise VerificationError(f"entry {entry.id} does not commit to the regional detail that names it")
        return told

    def _read(self, entry: Entry, facts: str | None, detail: str | None) -> Recorded:
        try:
            finding = parse_finding(entry.finding)
        except ValueError as error:
            raise EntryError(f"entry {entry.id}: {error}") from None
        return Recorded(
            of=entry.kind,
            activity=entry.activity,
            finding=finding,
            evidence=frozenset(entry.evidence),
            sink=entry.sink,
            policy=entry.policy or "",
            policy_version=entry.policy_version,
            facts=facts,
            effect=entry.effect or "",
            reason=entry.reason,
            mode=entry.mode,
            rules=entry.rules,
            observed=entry.observed,
            jurisdictions=entry.jurisdictions,
            presumed=entry.presumed,
            outranked=entry.outranked,
            exempted=entry.exempted,
            exemptions=entry.exemptions,
            running=entry.running,
            all_evidence=None if detail is None else frozenset(detail.split()),
            placed=(entry.store, entry.region),
            done=(entry.operation, entry.strategy),
        )


def _undecided(entry: Entry) -> Beside:
    """What an entry is that names no decision: it says so by its form, or what it tells of was never decided."""
    if entry.kind == "intent" and entry.operation != "pin" and (entry.note or "").startswith(OPERATOR):
        return Beside.OPERATOR
    if entry.sink is not None or entry.store is not None:
        return Beside.UNDECIDED
    if entry.kind == "intent":
        return Beside.PIN if entry.operation == "pin" else Beside.UNDECIDED
    if entry.kind == "decision" and entry.note == "exempt":
        return Beside.EXEMPT
    return Beside.EARLY if entry.effect == "deny" else Beside.UNDECIDED
