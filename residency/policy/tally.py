"""The answers on all decisions of a log in, one by one; coverage, wrong records and changes, counted and told, out.

Coverage comes first: a share of changes says little where half of the decisions could not be decided again. People are
counted by their aliases, and shown by the beginning of one; an alias that was destroyed links to nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from residency.model import RuleRef
from residency.policy.recorded import Change
from residency.policy.replay import Gap, Replayed

__all__ = ["Tally"]

_SHOWN: Final = 20  # wrong records that are named one by one
_EXAMPLES: Final = 3
Outcome = tuple[str, str | None]


@dataclass(slots=True)
class _Group:
    """Decisions that change alike."""

    decisions: int = 0
    subjects: set[str] = field(default_factory=set)
    examples: list[tuple[int, str | None]] = field(default_factory=list)


class Tally:
    """Counts the answers. Memory grows with the kinds of changes and the people they concern, not with the log."""

    def __init__(self) -> None:
        self.replayed = 0
        """Decisions that were decided again, and by their own policy came out as recorded."""
        self.gaps: Counter[Gap] = Counter()
        self.beside: Counter[str] = Counter()
        """Entries that tell of no decision, by what they are."""
        self.wrong: list[tuple[int, tuple[str, ...]]] = []
        """(number in the log, fields) of records that their own policy does not give; the first of them."""
        self.wrongs = 0
        self.unrecorded: set[str] = set()
        """Tokens of evidence that the candidate asks for and entries do not tell."""
        self.policies: Counter[str] = Counter()
        """Decisions by the digest of the policy that made them."""
        self._groups: dict[Change, _Group] = {}

    def add(self, index: int, alias: str | None, policy: str, answer: Replayed) -> None:
        """Take in the answer on entry `index` of the log, about the person of that alias."""
        self.policies[policy] += 1
        if answer.gap is not None:
            self.gaps[answer.gap] += 1
            self.unrecorded.update(answer.unrecorded)
            return
        if answer.wrong:
            self.wrongs += 1
            if len(self.wrong) < _SHOWN:
                self.wrong.append((index, answer.wrong))
            return
        self.replayed += 1
        if answer.change is not None:
            group = self._groups.setdefault(answer.change, _Group())
            group.decisions += 1
            if alias is not None:
                group.subjects.add(alias)
            if len(group.examples) < _EXAMPLES:
                group.examples.append((index, alias))

    @property
    def decisions(self) -> int:
        """Recorded decisions of policies, replayed or not."""
        return self.replayed + self.wrongs + sum(self.gaps.values())

    @property
    def coverage(self) -> Fraction:
        """The share of the decisions that could be decided again; 0 where there are none."""
        return Fraction(self.replayed + self.wrongs, self.decisions) if self.decisions else Fraction(0)

    @property
    def changed(self) -> int:
        """Decisions of which more changes than what is cited for them."""
        return sum(group.decisions for change, group in self._groups.items() if not change.only_cited)

    @property
    def share(self) -> Fraction:
        """The share of the replayed decisions that change; 0 where there are none."""
        return Fraction(self.changed, self.replayed) if self.replayed else Fraction(0)

    def _ordered(self, *, only_cited: bool) -> list[tuple[Change, _Group]]:
        found = [(c, g) for c, g in self._groups.items() if c.only_cited is only_cited]
        return sorted(found, key=lambda pair: (-pair[1].decisions, pair[1].examples[0][0]))

    def data(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        changes = self._ordered(only_cited=False)
        subjects = {alias for _, group in changes for alias in group.subjects}
        return {
            "coverage": {
                "decisions": self.decisions,
                "replayed": self.replayed + self.wrongs,
                "share": float(self.coverage),
                "not_replayed": {gap.name.lower(): count for gap, count in sorted(self.gaps.items())},
                "unrecorded_evidence": sorted(self.unrecorded),
                "not_decisions": dict(sorted(self.beside.items())),
                "policies": dict(sorted(self.policies.items())),
            },
            "verified": {
                "as_recorded": self.replayed,
                "wrong": self.wrongs,
                "first": [{"index": index, "fields": list(fields)} for index, fields in self.wrong],
            },
            "changed": {
                "decisions": self.changed,
                "share": float(self.share),
                "subjects": len(subjects),
                "by_activity": dict(self._by_activity(changes)),
                "by_rule": {rule: {"decides": a, "no_longer": b} for rule, a, b in self._by_rule(changes)},
                "changes": [_told(change, group) for change, group in changes],
            },
            "cited_otherwise": sum(group.decisions for _, group in self._ordered(only_cited=True)),
        }

    @staticmethod
    def _by_activity(changes: list[tuple[Change, _Group]]) -> list[tuple[str, int]]:
        counts: Counter[str] = Counter()
        for change, group in changes:
            counts[change.activity] += group.decisions
        return counts.most_common()

    @staticmethod
    def _by_rule(changes: list[tuple[Change, _Group]]) -> list[tuple[str, int, int]]:
        """(rule, decisions in which it decides and did not, decisions in which it did and does not)."""
        gained, lost = Counter[str](), Counter[str]()
        for change, group in changes:
            for rule in change.gained:
                gained[rule] += group.decisions
            for rule in change.lost:
                lost[rule] += group.decisions
        rules = sorted({*gained, *lost}, key=lambda rule: (-gained[rule] - lost[rule], rule))
        return [(rule, gained[rule], lost[rule]) for rule in rules]

    def lines(self, rules: Mapping[str, RuleRef], *, candidate: str | None) -> Iterator[str]:
        """All of it as lines for people. `rules` cites rules by id; `candidate` names the policy that was tried."""
        yield f"Coverage: {_of(self.replayed + self.wrongs, self.decisions)} recorded decisions can be decided again"
        for gap, count in self.gaps.most_common():
            yield f"  {count:,} cannot: {gap.value}"
        if self.unrecorded:
            yield f"  evidence that was not recorded: {', '.join(sorted(self.unrecorded))}"
        if self.beside:
            others = ", ".join(f"{count:,} {what}" for what, count in self.beside.most_common())
            yield f"  beside them the log holds {others}"
        if self.wrongs:
            yield f"Verified: {self.wrongs:,} records tell another decision than the policy that they name gives"
            yield from (f"  entry {index}: {', '.join(fields)}" for index, fields in self.wrong)
            if self.wrongs > len(self.wrong):
                yield f"  and {self.wrongs - len(self.wrong):,} more"
        elif self.replayed:
            yield "Verified: each of them is what the policy that it names decides"
        if candidate is None:
            return
        changes = self._ordered(only_cited=False)
        subjects = {alias for _, group in changes for alias in group.subjects}
        yield f"Changed under {candidate}: {_of(self.changed, self.replayed)} decisions, of {len(subjects):,} people"
        cited = sum(group.decisions for _, group in self._ordered(only_cited=True))
        if cited:
            yield f"  {cited:,} more come to the same by other rules"
        if not changes:
            return
        yield "By activity"
        yield from (f"  {count:>8,}  {activity}" for activity, count in self._by_activity(changes))
        yield "By rule"
        for rule, gained, lost in self._by_rule(changes):
            told = [f"decides in {gained:,}"] if gained else []
            told += [f"no longer in {lost:,}"] if lost else []
            ref = rules.get(rule)
            yield f"  {rule}: {', '.join(told)}" + ("" if ref is None else f" [{ref.citation}]")
        yield "What changes"
        for change, group in changes:
            yield from _group_lines(change, group)


def _group_lines(change: Change, group: _Group) -> Iterator[str]:
    at = "" if change.sink is None else f" on {change.sink}"
    outcome = f"{_word(change.before)} -> {_word(change.after)}"
    if change.before == change.after:
        outcome = f"{_word(change.before)} as before, but {', '.join(w for w in change.what if w != 'rules')}"
    yield f"  {group.decisions:>8,}  {change.activity}{at}: {outcome}"
    if change.sinks_before != change.sinks_after:
        before, after = (" or ".join(sinks) or "no sink" for sinks in (change.sinks_before, change.sinks_after))
        yield f"            data may go to {after}; before, to {before}"
    if change.gained or change.lost:
        yield "            by " + ", ".join([*(f"+ {r}" for r in change.gained), *(f"- {r}" for r in change.lost)])
    who = ", ".join(f"entry {index}" + ("" if alias is None else f" ({alias[:8]}…)") for index, alias in group.examples)
    yield f"            {len(group.subjects):,} people, e.g. {who}"


def _told(change: Change, group: _Group) -> dict[str, Any]:
    return {
        "activity": change.activity,
        "sink": change.sink,
        "what": list(change.what),
        "before": {"effect": change.before[0], "reason": change.before[1], "sinks": list(change.sinks_before)},
        "after": {"effect": change.after[0], "reason": change.after[1], "sinks": list(change.sinks_after)},
        "gained": list(change.gained),
        "lost": list(change.lost),
        "decisions": group.decisions,
        "subjects": len(group.subjects),
        "examples": [{"index": index, "subject": alias} for index, alias in group.examples],
    }


def _of(part: int, whole: int) -> str:
    share = f" ({part / whole:.2%})" if whole else ""
    return f"{part:,} of {whole:,}{share}"


def _word(outcome: Outcome) -> str:
    effect, reason = outcome
    return effect if reason is None else f"{effect} ({reason})"
