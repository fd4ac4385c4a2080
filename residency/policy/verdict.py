"""Rules that apply, sinks, evidence and facts in; effect, reason, sink verdicts and the rules that decided, out.

The second half of `decide`, after the tables have said which rules apply. The order of the questions is the order of
the reasons (ADR 0007): what no one can mend first, what the operator must mend next, what the person can mend last.

1. a clause that nothing satisfies, or effect deny        LAW_FORBIDS
2. duties that cannot all be met                          CONFLICT
3. (sink) a stop order                                    STOP_ORDER
4. (sink) outside `only`                                  ONLY_IN_COUNTRY
5. (sink) a write that is not at home                     NOT_HOME
6. an unmet clause of filings alone                       FILING_MISSING
7. another unmet clause                                   IDENTITY_MISSING
8. effect hold                                            HOLD
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from residency.model import NEUTRAL, Clause, Duty, Effect, Operation, Reason, RuleRef, Sink, SinkVerdict, join
from residency.model.place import within

__all__ = ["Applied", "Outcome", "judge", "order_sinks"]

_WRITES: Final = frozenset({Operation.WRITE, Operation.POST})


@dataclass(frozen=True, slots=True)
class Applied:
    """A binding rule that applies: how it is cited, what it asks."""

    ref: RuleRef
    duty: Duty
    overrides: frozenset[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `judge` found of an activity or of one sink. `duty` is the join of all rules that apply."""

    effect: Effect
    reason: Reason | None
    duty: Duty
    rules: tuple[RuleRef, ...]
    unmet: tuple[Clause, ...]


def survivors(rules: Sequence[Applied], also: frozenset[str] = frozenset()) -> list[Applied]:
    """The rules that no other rule which applies overrides by name; `also` names further rules to remove."""
    removed = also.union(*(rule.overrides for rule in rules))
    return [rule for rule in rules if rule.ref.id not in removed]


def joined(rules: Sequence[Applied], start: Duty = NEUTRAL) -> Duty:
    """One duty of all rules."""
    for rule in rules:
        start = join(start, rule.duty)
    return start


def judge(
    rules: Sequence[Applied],
    evidence: frozenset[str],
    *,
    fallback: Sequence[Applied],
    sink: Sink | None = None,
    operation: Operation = Operation.READ,
    stopped: bool = False,
) -> Outcome:
    """Judge an activity (`sink` None) or one sink. `fallback` are the rules to cite where none refused."""
    duty = joined(rules)
    unmet = tuple(sorted((c for c in duty.require if not c & evidence), key=sorted))

    def refused(reason: Reason, because: Callable[[Duty], bool]) -> Outcome:
        effect = Effect.HOLD if reason is Reason.HOLD else Effect.DENY
        cited = tuple(r.ref for r in rules if because(r.duty)) or tuple(r.ref for r in fallback)
        return Outcome(effect, reason, duty, cited, unmet)

    if duty.effect is Effect.DENY or frozenset() in duty.require:
        return refused(Reason.LAW_FORBIDS, lambda d: d.effect is Effect.DENY or frozenset() in d.require)
    if duty.conflicts:
        return refused(Reason.CONFLICT, lambda d: d.only is not None or bool(d.copies) or bool(d.first_write))
    if sink is not None:
        if stopped:
            return refused(Reason.STOP_ORDER, lambda d: False)
        if duty.only is not None and not any(within(sink.place, o) for o in duty.only):
            return refused(Reason.ONLY_IN_COUNTRY, lambda d: d.only is not None)
        home = duty.copies | duty.first_write
        # One write reaches one sink, so where two countries want a copy each no sink is home: refused, not half kept.
        if operation in _WRITES and not all(within(sink.place, h) for h in home):
            return refused(Reason.NOT_HOME, lambda d: bool(d.copies) or bool(d.first_write))
    filings = [c for c in unmet if all(token.startswith("filing:") for token in c)]
    if filings:
        return refused(Reason.FILING_MISSING, lambda d: any(c in d.require for c in filings))
    if unmet:
        return refused(Reason.IDENTITY_MISSING, lambda d: any(c in d.require for c in unmet))
    if duty.effect is Effect.HOLD:
        return refused(Reason.HOLD, lambda d: d.effect is Effect.HOLD)
    return Outcome(Effect.PERMIT, None, duty, tuple(r.ref for r in fallback), ())


def order_sinks(outcomes: Sequence[tuple[Sink, Outcome]]) -> tuple[SinkVerdict, ...]:
    """Permitted sinks first; among them those that lie where the data must go; then the store's order."""

    def rank(item: tuple[Sink, Outcome]) -> tuple[bool, bool]:
        sink, outcome = item
        duty = outcome.duty
        homes = duty.copies | duty.first_write | (duty.only or frozenset())
        return outcome.effect is not Effect.PERMIT, not any(within(sink.place, h) for h in homes)

    # `sorted` is stable: equal ranks keep the store's order.
    return tuple(SinkVerdict(s, o.effect, o.reason, o.rules, o.unmet) for s, o in sorted(outcomes, key=rank))
