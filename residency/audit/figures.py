"""Entries of a log in, one after the other, with what each tells of; what a period comes to, counted, out.

Coverage is counted beside everything else and stands first: a share of decisions says little where half of them were
taken by presumption, or were never made. Nothing here reads a clock: what a report says is a function of the log, of
the archive and of the two ends of its period.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from residency.audit.entry import Entry, parse_entry_id
from residency.audit.recall import Beside
from residency.policy.recorded import Recorded
from residency.policy.replay import Replayed

__all__ = ["PEOPLE_KEPT", "Figures", "InForce", "Told", "day_of"]

PEOPLE_KEPT: Final = 1 << 20
"""People who are told apart; beyond, their number is a lower bound."""
_SHOWN: Final = 20
_FACTS: Final = 200
_ALIKE: Final = 1 << 14
_A_DAY: Final = 86_400_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EFFECTS: Final = ("permit", "hold", "deny")
ROLES: Final = ("permit", "hold", "deny", "observed", "exempted", "outranked")
"""What a rule did in a decision: one of those that made it permit, hold or deny; spoke without binding; was lifted by
an exemption; gave way to another."""


@dataclass(slots=True)
class InForce:
    """One policy, by its digest: its version, the instants (microseconds) and numbers of its entries in the period."""

    version: int
    first: int
    last: int
    entries: int = 0
    decisions: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that is told one by one: its entry's number and id, the instant (microseconds), and what of it."""

    index: int
    id: str
    at: int
    what: str


@dataclass(slots=True)
class Figures:
    """Feed it every entry of a log in order, then call `finish`. Counted: since <= at < until (microseconds).

    Memory grows with days, rules, routes and, bounded, with people; not with entries.
    """

    since: int
    until: int
    before: int = 0
    after: int = 0
    entries: int = 0
    first: Told | None = None
    last: Told | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)
    exempt: Counter[str] = field(default_factory=Counter)
    early: Counter[str] = field(default_factory=Counter)
    decisions: int = 0
    observing: int = 0
    presumed: int = 0
    presumptions: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    uncovered: int = 0
    replayed: int = 0
    wrongs: int = 0
    wrong: list[Told] = field(default_factory=list)
    gaps: Counter[str] = field(default_factory=Counter)
    policies: dict[str, InForce] = field(default_factory=dict)
    facts: list[Told] = field(default_factory=list)
    facts_changes: int = 0
    rules: dict[str, Counter[str]] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    days: dict[str, Counter[str]] = field(default_factory=dict)
    activities: dict[str, Counter[str]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    refused_by_rule: Counter[str] = field(default_factory=Counter)
    refused_routes: Counter[str] = field(default_factory=Counter)
    would_refuse: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    exemptions: Counter[str] = field(default_factory=Counter)
    detailed: int = 0
    oldest_detail: int | None = None
    newest_detail: int | None = None
    steps_back: int = 0
    largest_step: Told | None = None
    _step: int = 0
    people: set[int] = field(default_factory=set)
    people_exact: bool = True
    _clocks: dict[int, int] = field(default_factory=dict)
    _alike: dict[int, list[Any]] = field(default_factory=dict)

    def add(self, index: int, entry: Entry, taken: Recorded | Beside, answer: Replayed | None) -> None:
        """Take in entry number `index` of the log, what it tells of, and the answer where it was decided again."""
        self._clock(index, entry)
        if not self.since <= entry.at < self.until:
            if entry.at < self.since:
                self.before += 1
            else:
                self.after += 1
            return
        self.entries += 1
        self.first = self.first or Told(index, entry.id, entry.at, "")
        self.last = Told(index, entry.id, entry.at, "")
        self.kinds[entry.kind] += 1
        if entry.policy is not None:
            self._in_force(entry, isinstance(taken, Recorded))
        if entry.detail is not None:
            self.detailed += 1
            self.oldest_detail = entry.at if self.oldest_detail is None else min(self.oldest_detail, entry.at)
            self.newest_detail = entry.at if self.newest_detail is None else max(self.newest_detail, entry.at)
        if isinstance(taken, Beside):
            self._beside(index, entry, taken)
        else:
            self._decision(index, entry, taken, answer)

    # -- inside ------------------------------------------------------------------------------------------------

    def _beside(self, index: int, entry: Entry, what: Beside) -> None:
        self.beside[what.value] += 1
        if what is Beside.EXEMPT:
            self.exempt[entry.activity or ""] += 1
        elif what is Beside.EARLY:
            self.early[entry.reason or ""] += 1
            if entry.kind == "refusal":
                self._refusal(entry.reason, entry.rules, entry.activity, 1)
        elif what is Beside.OUTCOME:
            self.acts[entry.act or ""] += 1
        elif entry.facts is not None:
            self.facts_changes += 1
            if len(self.facts) < _FACTS:
                self.facts.append(Told(index, entry.id, entry.at, f"{entry.note or ''} ({entry.facts})"))

    def finish(self) -> None:
        """Say that the log ends here; what is read before may lack the newest entries."""
        for recorded, count in self._alike.values():
            self._counted(recorded, count)
        self._alike.clear()

    def _decision(self, index: int, entry: Entry, recorded: Recorded, answer: Replayed | None) -> None:
        self.decisions += 1
        day = day_of(entry.at)
        counts = self.days.get(day)
        if counts is None:
            counts = self.days[day] = Counter()
        counts[recorded.effect] += 1
        # Entries that tell the same share one object, which is held here, so that its id stays its own.
        alike = self._alike.get(id(recorded))
        if alike is None:
            if len(self._alike) >= _ALIKE:
                self.finish()
            alike = self._alike[id(recorded)] = [recorded, 0]
        alike[1] += 1
        self._person(entry.subject)
        if answer is None:
            return
        if answer.gap is not None:
            self.gaps[answer.gap.value] += 1
        elif answer.wrong:
            self.wrongs += 1
            if len(self.wrong) < _SHOWN:
                self.wrong.append(Told(index, entry.id, entry.at, ", ".join(answer.wrong)))
        else:
            self.replayed += 1

    def _counted(self, told: Recorded, count: int) -> None:
        """Count `count` decisions that tell the same."""
        self.effects[told.effect] += count
        self.activities.setdefault(told.activity or "", Counter())[told.effect] += count
        self.observing += count if told.mode == "observe" else 0
        self.presumed += count if told.presumed else 0
        self.uncovered += 0 if told.jurisdictions else count
        for counter, names in (
            (self.presumptions, told.presumed), (self.covered, told.jurisdictions),
            (self.exemptions, told.exemptions),
        ):  # fmt: skip
            for name in names:
                counter[name] += count
        for role, rules in (
            (told.effect, told.rules), ("observed", told.observed), ("exempted", told.exempted),
            ("outranked", told.outranked),
        ):  # fmt: skip
            for rule in rules:
                self.rules.setdefault(rule, Counter())[role] += count
        if told.of == "refusal":
            self._refusal(told.reason, told.rules, told.activity, count)
        elif told.mode == "observe" and told.effect != "permit" and told.reason is not None:
            self.would_refuse[told.reason] += count

    def _refusal(self, reason: str | None, rules: Iterable[str], activity: str | None, count: int) -> None:
        self.refused[reason or ""] += count
        self.refused_routes[activity or ""] += count
        for rule in rules:
            self.refused_by_rule[rule] += count

    def _in_force(self, entry: Entry, decides: bool) -> None:
        known = self.policies.get(entry.policy or "")
        if known is None:
            known = self.policies[entry.policy or ""] = InForce(entry.policy_version, entry.at, entry.at)
        known.first, known.last = min(known.first, entry.at), max(known.last, entry.at)
        known.entries += 1
        known.decisions += decides

    def _person(self, alias: str | None) -> None:
        number = None if alias is None else int(alias[:16], 16)
        if number is None or number in self.people:
            return
        if len(self.people) >= PEOPLE_KEPT:
            self.people_exact = False
            return
        self.people.add(number)

    def _clock(self, index: int, entry: Entry) -> None:
        slot = parse_entry_id(entry.id)[0]
        newest = self._clocks.get(slot, entry.at)
        self._clocks[slot] = entry.at
        back = newest - entry.at
        if back <= 0 or not self.since <= entry.at < self.until:
            return
        self.steps_back += 1
        if back > self._step:
            self._step = back
            self.largest_step = Told(index, entry.id, entry.at, f"{back / 1e6:.6f} s")

    # -- out ---------------------------------------------------------------------------------------------------

    def coverage(self) -> dict[str, Any]:
        """What was not observed, and how surely the rest was: as plain JSON values."""
        return {
            "entries": self.entries,
            "entries_before": self.before,
            "entries_after": self.after,
            "decisions": self.decisions,
            "decided_by_presumption": self.presumed,
            "share_by_presumption": _share(self.presumed, self.decisions),
            "presumptions": dict(sorted(self.presumptions.items())),
            "decisions_that_only_observe": self.observing,
            "covered_by_no_law": self.uncovered,
            "exempt_requests": sum(self.exempt.values()),
            "exempt_by_route": dict(self.exempt.most_common()),
            "refused_before_a_decision": sum(self.early.values()),
            "refused_early_by_reason": dict(self.early.most_common()),
            "replayed": self.replayed + self.wrongs,
            "share_replayed": _share(self.replayed + self.wrongs, self.decisions),
            "not_replayable": dict(self.gaps.most_common()),
            "beside_decisions": dict(sorted(self.beside.items())),
            "people": len(self.people),
            "people_exact": self.people_exact,
        }


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    try:
        return (_EPOCH + timedelta(days=number)).date().isoformat()
    except OverflowError:
        return "beyond the calendar"


def day_of(at: int) -> str:
    """The day (UTC) of an instant (microseconds), as 2026-09-01."""
    return _day(at // _A_DAY)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
