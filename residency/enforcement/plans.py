"""Decisions in; the constant part of the entries that they leave, encoded once for each, out.

Decisions are memoised by the policy, so the same object comes back for the same case. A plan holds its decision, which
keeps the object's identity from being given to another for as long as the plan is found under it.
"""

from __future__ import annotations

from typing import Final

from residency.audit.entry import Entry, EntryTemplate
from residency.jurisdiction.found import finding_words
from residency.model import Decision, Effect, Finding, Reason, RuleRef
from residency.policy.terms import term_word

__all__ = ["PLACEHOLDER_ID", "Plan", "Plans"]

PLACEHOLDER_ID: Final = "0.0"
"""An id for a template, where a real one will be filled in."""
_BOUND: Final = 4096  # plans, templates and finding texts kept at most; cleared when full

_Key = tuple[str, str | None, str | None, str | None, str | None, str | None, tuple[str, ...] | None]


class Plan:
    """What one decision leaves in the trail. `plain` is the entry of a request without an act."""

    __slots__ = ("decision", "plain", "templates")

    def __init__(self, decision: Decision, plain: EntryTemplate) -> None:
        self.decision = decision
        self.plain = plain
        self.templates: dict[_Key, EntryTemplate] = {}


class Plans:
    """The plans of decisions that were recorded lately. Memory is bounded; threads may share it."""

    __slots__ = ("_count", "_plans", "_words", "known")

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}
        self.known = self._plans.get
        """The plan under the identity of a decision, where `of` was asked for it lately: without a call of its own."""
        self._words: dict[Finding, tuple[str, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many templates are kept."""
        return self._count

    def of(self, decision: Decision) -> Plan:
        """The plan of `decision`."""
        return self._plans.get(id(decision)) or self._first(decision)

    def _first(self, decision: Decision) -> Plan:
        plan = Plan(decision, self._encode(decision, "decision", decision.reason, None, None, None, None, None))
        self._room()
        self._plans[id(decision)] = plan
        return plan

    def template(
        self,
        plan: Plan,
        kind: str,
        *,
        reason: Reason | None = None,
        sink: str | None = None,
        note: str | None = None,
        operation: str | None = None,
        act: str | None = None,
        rules: tuple[RuleRef, ...] | None = None,
    ) -> EntryTemplate:
        """The template of an entry of `kind` under a plan's decision; `rules` are cited instead of the decision's."""
        # Cited rules differ by their ids. A reason is told by its value: members of an enum are slow to look up.
        cited = None if rules is None else tuple(rule.id for rule in rules)
        key = (kind, None if reason is None else reason._value_, sink, note, operation, act, cited)
        found = plan.templates.get(key)
        if found is None:
            found = self._encode(plan.decision, kind, reason, sink, note, operation, act, rules)
            self._room()
            plan.templates[key] = found
        return found

    def _room(self) -> None:
        if self._count >= _BOUND:
            for plan in self._plans.values():
                plan.templates.clear()  # who holds a plan still goes on with it
            self._plans.clear()
            self._count = 0
        self._count += 1

    def _encode(
        self,
        decision: Decision,
        kind: str,
        reason: Reason | None,
        sink: str | None,
        note: str | None,
        operation: str | None,
        act: str | None,
        rules: tuple[RuleRef, ...] | None,
    ) -> EntryTemplate:
        verdict = decision.sink(sink) if sink is not None else None
        activity = decision.activity
        effect = decision.effect if verdict is None else verdict.effect
        if reason is not None and effect is Effect.PERMIT:
            effect = Effect.DENY
        cited = rules if rules is not None else decision.rules
        if verdict is not None and rules is None:
            cited = tuple(dict.fromkeys((*decision.rules, *verdict.rules)))
        clocks, exemptions = decision.clocks, decision.exemptions
        if verdict is not None:
            clocks, exemptions = (*clocks, *verdict.clocks), (*exemptions, *verdict.exemptions)
        outcome = kind == "outcome"
        return EntryTemplate(
            Entry(
                id=PLACEHOLDER_ID,
                kind=kind,
                at=0,
                mode=decision.mode,
                effect=effect.word,
                policy=decision.policy,
                policy_version=decision.policy_version,
                epoch=decision.epoch,
                act=act,
                of=PLACEHOLDER_ID if outcome else None,
                activity=activity.name if activity is not None else None,
                operation=operation or (activity.operation.value if activity is not None else None),
                store=verdict.store if verdict is not None else activity.store if activity is not None else None,
                sink=sink,
                region=verdict.sink.region if verdict is not None else None,
                reason=reason.value if reason is not None else None,
                strategy=decision.strategy,
                note=note,
                jurisdictions=decision.jurisdictions,
                finding=self._finding(decision.finding),
                presumed=decision.presumed,
                # The evidence of an outcome stands in its intent.
                evidence=() if outcome else tuple(sorted(decision.evidence)),
                rules=tuple(rule.id for rule in cited),
                observed=tuple(rule.id for rule in decision.observed),
                exempted=tuple(rule.id for rule in decision.exempted),
                exemptions=tuple(dict.fromkeys(exemptions)),
                outranked=tuple(rule.id for rule in decision.outranked),
                running=tuple(dict.fromkeys(map(term_word, clocks))),
            )
        )

    def _finding(self, finding: Finding) -> tuple[str, ...]:
        words = self._words.get(finding)
        if words is None:
            if len(self._words) >= _BOUND:
                self._words.clear()
            words = self._words[finding] = finding_words(finding)
        return words
