"""Decisions in; the constant part of the entries that they leave, encoded once for each, out.

Decisions are memoised by the policy, so the same object comes back for the same case. A plan holds its decision, which
keeps the object's identity from being given to another for as long as the plan is found under it.
"""

from __future__ import annotations

from typing import Final

from residency.audit.entry import ENTRY_LIMIT, Entry, EntryTemplate, entry_pieces
from residency.errors import EntryError
from residency.jurisdiction.found import finding_words
from residency.model import Decision, Effect, Finding, Reason, RuleRef
from residency.policy.terms import term_word

__all__ = ["PLACEHOLDER_ID", "Ending", "Opening", "Plan", "Plans"]

PLACEHOLDER_ID: Final = "0.0"
"""An id for a template, where a real one will be filled in."""
_BOUND: Final = 4096  # plans, templates and finding texts kept at most; cleared when full

_Key = tuple[str, str | None, str | None, str | None, str | None, str | None, tuple[str, ...] | None]


class Opening:
    """The intent of an act that commits to no detail, encoded once; `brief` writes what differs from one to the next.
    `template` is the same for all others."""

    __slots__ = ("_pattern", "template")

    def __init__(self, entry: Entry) -> None:
        """Of `entry` the times, the id and the alias are left open. Raises: EntryError."""
        self.template = EntryTemplate(entry)
        self._pattern = _pattern(entry, (b"%d", b"null", b"%d", b"null", b'"%d.%d"', b"null", b"%b", b"%b", b""))

    def brief(self, slot: int, seq: int, at: int, decided: int, requested: int | None, subject: str | None) -> bytes:
        """Canonical bytes of the intent. Raises: EntryError."""
        alias, asked = b"null", b"null"
        if subject is not None:
            alias = subject.encode("ascii", "replace")
            if not alias.isalnum():
                raise EntryError("`subject` is not an alias in hex")
            alias = b'"%b"' % alias
        if requested is not None:
            asked = b"%d" % requested
        data = self._pattern % (at, decided, slot, seq, asked, alias)
        if len(data) > ENTRY_LIMIT:
            raise EntryError("an entry is too long")
        return data


class Ending:
    """The outcome of an act that commits to no detail, encoded once; `brief` writes what differs from one to the next.
    `template` is the same for all others."""

    __slots__ = ("_pattern", "template")

    def __init__(self, entry: Entry) -> None:
        """Of `entry` the time and both ids are left open. Raises: EntryError."""
        self.template = EntryTemplate(entry)
        self._pattern = _pattern(
            entry, (b"%d", b"null", b"null", b"null", b'"%d.%d"', b'"%d.%d"', b"null", b"null", b"")
        )

    def brief(self, slot: int, seq: int, at: int, of: int) -> bytes:
        """Canonical bytes of the outcome of the slot's intent number `of`. Raises: EntryError."""
        data = self._pattern % (at, slot, seq, slot, of)
        if len(data) > ENTRY_LIMIT:
            raise EntryError("an entry is too long")
        return data


def _pattern(entry: Entry, holes: tuple[bytes, ...]) -> bytes:
    """An entry's bytes with `holes` for the values that are left open."""
    pieces = [piece.replace(b"%", b"%%") for piece in entry_pieces(entry)]
    return b"".join(piece + hole for piece, hole in zip(pieces, holes, strict=True))


class Plan:
    """What one decision leaves in the trail. `plain` is the entry of a request without an act; `intents` and `endings`
    are those of acts, by what tells them apart."""

    __slots__ = ("decision", "endings", "intents", "plain", "templates")

    def __init__(self, decision: Decision, plain: EntryTemplate) -> None:
        self.decision = decision
        self.plain = plain
        self.templates: dict[_Key, EntryTemplate] = {}
        self.intents: dict[tuple[str, str, str | None, str | None], Opening] = {}
        self.endings: dict[tuple[str, str, str], Ending] = {}


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
        entry = self._entry(decision, "decision", decision.reason, None, None, None, None, None)
        plan = Plan(decision, EntryTemplate(entry))
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
            found = EntryTemplate(self._entry(plan.decision, kind, reason, sink, note, operation, act, rules))
            self._room()
            plan.templates[key] = found
        return found

    def intent(self, plan: Plan, sink: str, operation: str, note: str | None, reason: Reason | None) -> Opening:
        """The template of an intent under a plan's decision."""
        key = (sink, operation, note, None if reason is None else reason._value_)
        found = plan.intents.get(key)
        if found is None:
            found = Opening(self._entry(plan.decision, "intent", reason, sink, note, operation, None, None))
            self._room()
            plan.intents[key] = found
        return found

    def ending(self, plan: Plan, sink: str, operation: str, act: str) -> Ending:
        """The template of an outcome under a plan's decision; `act` is the word for how it ended."""
        found = plan.endings.get((sink, operation, act))
        if found is None:
            found = Ending(self._entry(plan.decision, "outcome", None, sink, None, operation, act, None))
            self._room()
            plan.endings[sink, operation, act] = found
        return found

    def _room(self) -> None:
        if self._count >= _BOUND:
            for plan in self._plans.values():
                for kept in (plan.templates, plan.intents, plan.endings):
                    kept.clear()  # who holds a plan still goes on with it
            self._plans.clear()
            self._count = 0
        self._count += 1

    def _entry(
        self,
        decision: Decision,
        kind: str,
        reason: Reason | None,
        sink: str | None,
        note: str | None,
        operation: str | None,
        act: str | None,
        rules: tuple[RuleRef, ...] | None,
    ) -> Entry:
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
        return Entry(
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

    def _finding(self, finding: Finding) -> tuple[str, ...]:
        words = self._words.get(finding)
        if words is None:
            if len(self._words) >= _BOUND:
                self._words.clear()
            words = self._words[finding] = finding_words(finding)
        return words
