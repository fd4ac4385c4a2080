"""Laws and the operator in; for each thing that a rule may test, the rules that pass it, as the bits of integers, out.

Bit n stands for the n-th rule of all laws, in the order of laws and of the rules in them. One test over all rules is
one look-up, several are joined by `&`, so a thousand rules cost little more than ten. What a law's rules come to under
one answer to all tests (a cell of its table) is its part of such an integer; cells are never stored, only met.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from residency.model import Activity, Calendar, FactSet, Operation, Operator, Sink
from residency.model.data import expand
from residency.model.place import within
from residency.policy.bits import bits_of, bits_where
from residency.policy.coverage import Coverage
from residency.policy.detect import detected
from residency.policy.parsed import DeploymentDoc, LawDoc, OperatorTest, RuleDoc, SinkTest, Span, Transition, Trigger
from residency.policy.untreated import coming, takes_in, untreated_at_rest

__all__ = ["Rulebook", "holds_for"]

Bits = int
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Words:
    """The rules that ask for one of some words: those that ask nothing, and those that would take each word."""

    anyhow: Bits
    by_word: Mapping[str, Bits]

    def of(self, words: Iterable[str]) -> Bits:
        """The rules that pass with these words."""
        found = self.anyhow
        for word in words:
            found |= self.by_word.get(word, 0)
        return found


class Rulebook:
    """The rules of the laws of one deployment."""

    __slots__ = (
        "_about", "_actions", "_ai", "_bases", "_coming", "_data", "_detecting", "_operations", "_operator",
        "_purposes", "_removes", "_tests", "coverage", "dated", "deployment", "general", "laws", "modes", "numbers",
        "overriding", "rules", "spans", "there", "transitions", "triggers", "unless",
    )  # fmt: skip

    def __init__(self, deployment: DeploymentDoc, laws: tuple[LawDoc, ...]) -> None:
        self.deployment = deployment
        self.laws = laws
        self.rules: Final = tuple((law, rule) for law in laws for rule in law.rules)
        self.numbers: Final = {rule.id: number for number, (_, rule) in enumerate(self.rules)}
        self.coverage: Final = Coverage(
            {law.jurisdiction for law in laws},
            {rule.excluded_by for _, rule in self.rules if rule.excluded_by is not None},
        )
        self.general: Final = self._where(lambda law, rule: rule.sink is None)
        self.there: Final = self._where(lambda law, rule: _read(law, rule, deployment))
        self._operator = self._where(lambda law, rule: _operates(rule.operator, deployment.operator))
        self._data = self._words(lambda rule: rule.data)
        self._operations = self._words(lambda rule: rule.operations)
        self._actions = self._words(lambda rule: rule.actions)
        self._purposes = self._words(lambda rule: rule.purposes)
        self._bases = self._words(lambda rule: rule.bases)
        self._ai = self._groups(lambda law, rule: rule.ai)
        self._about = self._groups(lambda law, rule: None if rule.sink is None else (rule.sink, law.jurisdiction))
        self._detecting = tuple((law, self.of_law(law)) for law in laws if law.detectors)
        self.spans: Final[Mapping[tuple[Span, Span, str], Bits]] = self._groups(
            lambda law, rule: (law.span, rule.span, rule.clock)
        )
        self.triggers: Final[Mapping[tuple[Trigger, Calendar], Bits]] = self._groups(
            lambda law, rule: None if rule.trigger is None else (rule.trigger, law.calendar)
        )
        self.transitions: Final[Mapping[tuple[tuple[Transition, ...], str], Bits]] = self._groups(
            lambda law, rule: (rule.transitions, rule.clock) if rule.transitions else None
        )
        self.dated: Final = tuple(n for n, (_, rule) in enumerate(self.rules) if _dated(rule, deployment))
        self.modes: Final = self._groups(
            lambda law, rule: None if _dated(rule, deployment) else deployment.mode_of(rule, 0)
        )
        self._tests = tuple(self._groups_of(lambda law, rule: _tests(self.coverage, law, rule)).items())
        self.unless: Final[Mapping[str, Bits]] = self._groups_of(lambda law, rule: rule.unless)
        self._removes = {
            1 << number: sum(1 << self.numbers[name] for name in rule.overrides if name in self.numbers)
            for number, (_, rule) in enumerate(self.rules)
            if rule.overrides
        }
        self.overriding: Final = sum(self._removes)
        self._coming = tuple(
            (1 << number, fields) for number, (_, rule) in enumerate(self.rules) if (fields := coming(rule.duty))
        )

    # -- what an activity fixes ----------------------------------------------------------------------------------

    def data(self, activity: Activity) -> Bits:
        """The rules on data of the activity, what detectors of their law find among it."""
        found = self._data.of(expand(activity.data))
        for law, bits in self._detecting:
            found |= self._data.of(expand(_found(law, activity))) & bits
        return found

    def escalated(self, activity: Activity, facts: FactSet, now: int) -> Bits:
        """The rules that come in addition because escalations stand, of laws in force at `now` (microseconds)."""
        found = 0
        if facts.escalated:
            for law in self.laws:
                if law.escalations and law.span.holds(now):
                    there = expand(activity.data.union(_found(law, activity)))
                    more = [e.becomes for e in law.escalations if e.id in facts.escalated and e.data & there]
                    if more:
                        found |= self._data.of(expand(more)) & self.of_place(law.jurisdiction)
        return found

    def concerning(self, activity: Activity) -> Bits:
        """The rules that speak of what the activity does, all but its data, for this operator."""
        found = self._operator & self._operations.of((activity.operation,)) & self._actions.of(activity.actions)
        if activity.purpose is not None:
            found &= self._purposes.of((activity.purpose,))
        if activity.basis is not None:
            found &= self._bases.of((activity.basis,))
        for tests, bits in self._ai.items():
            if not _has(dict(activity.ai), tests):
                found &= ~bits
        return found

    def about(self, sink: Sink) -> Bits:
        """The rules about sinks that are about this one."""
        return sum(bits for (test, place), bits in self._about.items() if holds_for(test, sink, place))

    def of_place(self, place: str) -> Bits:
        """The rules of the laws of one jurisdiction."""
        return self._where(lambda law, rule: law.jurisdiction == place)

    def of_law(self, law: LawDoc) -> Bits:
        """The rules of one law."""
        return self._where(lambda of, rule: of is law)

    # -- what a person and the others' presence fix ------------------------------------------------------------------

    def person(self, covered: int) -> Bits:
        """The rules under which somebody with these bits of coverage comes."""
        found = 0
        for test, bits in self._tests:
            if covered & test:
                found |= bits
        return found

    def asked(self, rules: Bits) -> int:
        """The bits of coverage that these rules ask for."""
        return sum(test for test, bits in self._tests if bits & rules)

    def treating(self, place: str) -> Bits:
        """The rules that let data go to `place`, outside the country of their law, only with fields of it treated."""
        return self._where(
            lambda law, rule: (
                not within(place, law.jurisdiction) and any(each.direction == "out" for each in rule.duty.protect)
            )
        )

    def coming(self, activity: Activity) -> Bits:
        """The rules that want a field treated where it comes in, and that the activity may take in."""
        return sum(bit for bit, fields in self._coming if takes_in(activity, fields))

    def resting(self, sink: Sink) -> Bits:
        """The rules that want a field treated where it rests, and that this sink does not satisfy by itself."""
        return self._where(lambda law, rule: untreated_at_rest(rule.duty, sink))

    def removed(self, applying: Bits) -> Bits:
        """The rules that those which apply override by name."""
        removed = 0
        left = applying & self.overriding
        while left:
            lowest = left & -left
            removed |= self._removes[lowest]
            left ^= lowest
        return removed

    def named(self, ids: Iterable[str]) -> Bits:
        """The bits of rules by their ids; unknown ids have none."""
        return sum(1 << self.numbers[name] for name in set(ids) if name in self.numbers)

    # -- building ----------------------------------------------------------------------------------------------------

    def _where(self, test: Callable[[LawDoc, RuleDoc], bool]) -> Bits:
        return bits_where(test(law, rule) for law, rule in self.rules)

    def _words(self, asked: Callable[[RuleDoc], frozenset[str] | frozenset[Operation] | None]) -> _Words:
        return _Words(
            self._where(lambda law, rule: asked(rule) is None), self._groups_of(lambda law, rule: asked(rule) or ())
        )

    def _groups(self, key: Callable[[LawDoc, RuleDoc], _Key | None]) -> dict[_Key, Bits]:
        """The rules by what they ask; those for which it is None are in no group."""

        def keys(law: LawDoc, rule: RuleDoc) -> Iterable[_Key]:
            one = key(law, rule)
            return () if one is None else (one,)

        return self._groups_of(keys)

    def _groups_of(self, keys: Callable[[LawDoc, RuleDoc], Iterable[_Key]]) -> dict[_Key, Bits]:
        members: dict[_Key, list[int]] = {}
        for number, (law, rule) in enumerate(self.rules):
            for each in keys(law, rule):
                members.setdefault(each, []).append(number)
        return {each: bits_of(numbers) for each, numbers in members.items()}


def _found(law: LawDoc, activity: Activity) -> list[str]:
    """The categories that a law's detectors find in an activity."""
    return [d.data for d in law.detectors if detected(d.fields, d.media, activity.fields, activity.media)]


def _tests(coverage: Coverage, law: LawDoc, rule: RuleDoc) -> list[int]:
    return [coverage.bit(law.jurisdiction, anchor, rule.excluded_by) for anchor in rule.anchors]


def _read(law: LawDoc, rule: RuleDoc, deployment: DeploymentDoc) -> bool:
    """Whether the rule is there under the readings that hold."""
    for question, answer in rule.reading:
        declared = law.readings.get(question)
        if deployment.readings.get(question, None if declared is None else declared.default) != answer:
            return False
    return True


def _dated(rule: RuleDoc, deployment: DeploymentDoc) -> bool:
    return bool(rule.id in deployment.modes_from or (rule.mode_from and rule.id not in deployment.modes))


def _operates(test: OperatorTest, operator: Operator) -> bool:
    def established(places: frozenset[str]) -> bool:
        return any(within(e, p) for e in operator.established_in for p in places)

    return (
        (test.established_in is None or established(test.established_in))
        and (test.not_established_in is None or not established(test.not_established_in))
        and (test.role is None or not test.role.isdisjoint(operator.roles))
        and (test.service_line is None or not test.service_line.isdisjoint(operator.service_lines))
        and (test.public_body is None or test.public_body == operator.public_body)
        and (test.sector is None or not test.sector.isdisjoint(operator.sectors))
        and (test.size is None or operator.size is None or operator.size in test.size)
        and (test.critical is None or test.critical == operator.critical)
    )


def _has(system: Mapping[str, str], tests: tuple[tuple[str, frozenset[str]], ...]) -> bool:
    """Whether an activity has an AI system, and one that passes."""
    if not system:
        return False
    for key, answers in tests:
        value = system.get(key)
        if value is None:
            # What nobody stated might be meant; a truth value that nobody stated is false.
            if not answers <= {"true", "false"}:
                continue
            value = "false"
        if value not in answers:
            return False
    return True


def holds_for(test: SinkTest, sink: Sink, place: str) -> bool:
    """Whether a rule of a law of `place` with this test is about the sink."""
    for kind in (test.kind, *test.also):
        match kind:
            case "abroad":
                holds = not within(sink.place, place)
            case "provider_abroad":
                holds = not within(sink.provider, place)
            case "keys_abroad":
                holds = not within(sink.keys, place)
            case "in":
                holds = within(sink.place, test.place)
            case _:
                holds = True
        if not holds:
            return False
    return (
        (test.places is None or any(within(sink.place, p) for p in test.places))
        and (test.outside is None or not any(within(sink.place, p) for p in test.outside))
        and (test.scopes is None or sink.scope in test.scopes)
        and (test.encrypted is None or test.encrypted == sink.encrypted)
    )
