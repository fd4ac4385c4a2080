"""A joined duty and the tokens given in; effect, reason, what is unmet and which rules led to it, out.

The last third of the oracle: the questions in the order of their reasons (ADR 0002, 0014).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from residency.model import NEUTRAL, Activity, Clause, Conflict, Duty, Effect, Operation, Reason, Sink, join
from residency.model.place import within
from residency.policy.reference_evidence import kinds
from residency.policy.reference_rules import Ruling, own_purpose

__all__ = ["Because", "joined", "judge", "sorted_clauses"]

_OPERATORS = frozenset({"filing", "contract", "portal", "basis", "ai", "clock", "sink"})


class Because:
    """Which rules led to a refusal."""

    def __init__(
        self, reason: Reason | None, duty: Duty, clauses: frozenset[Clause], untreated: Collection[str]
    ) -> None:
        self.reason, self.duty, self.clauses, self.untreated = reason, duty, clauses, untreated

    def __call__(self, rulings: Sequence[Ruling], activity: Activity | None) -> list[Ruling]:
        """Those of `rulings` that led to it."""
        if self.reason is Reason.CANNOT_BE_TREATED:
            return [r for r in rulings if r[1].id in self.untreated]
        return [r for r in rulings if self._led(_read(r, activity))]

    def _led(self, duty: Duty) -> bool:
        places = bool(duty.copies | duty.first_write) or duty.only is not None
        match self.reason:
            case Reason.LAW_FORBIDS:
                return duty.effect is Effect.DENY or frozenset() in duty.require
            case Reason.CONFLICT:
                of_fields = Conflict.TREATMENT in self.duty.conflicts and bool(duty.protect)
                return of_fields or (places and bool(self.duty.conflicts - {Conflict.TREATMENT}))
            case Reason.ONLY_IN_COUNTRY:
                return duty.only is not None
            case Reason.NOT_HOME:
                return bool(duty.copies | duty.first_write)
            case Reason.HOLD:
                return duty.effect is Effect.HOLD
            case _:
                return bool(duty.require & self.clauses)


def judge(
    duty: Duty,
    clauses: frozenset[Clause],
    given: frozenset[str],
    at: tuple[Sink, Activity] | None,
    halted: bool,
    untreated: Collection[str] = (),
) -> tuple[Effect, Reason | None, tuple[Clause, ...], Because]:
    """Judge the activity, or a sink `at` which something is done; `clauses` are those of the duty to be judged,
    `untreated` the names of rules that want fields treated of what goes there."""
    unmet = frozenset(clause for clause in clauses if not clause & given)
    reason, because = None, frozenset[Clause]()
    if duty.effect is Effect.DENY or frozenset() in duty.require:
        reason = Reason.LAW_FORBIDS
    elif duty.conflicts:
        reason = Reason.CONFLICT
    elif halted:
        reason = Reason.STOP_ORDER
    elif at is not None:
        reason = _misplaced(duty, *at)
    if reason is None:
        for wanted in (Reason.FILING_MISSING, Reason.SINK_UNFIT, Reason.CONSENT_MISSING, Reason.IDENTITY_MISSING):
            because = frozenset(clause for clause in unmet if _lack(clause) is wanted)
            if because:
                reason = wanted
                break
    if reason is None and untreated:
        reason = Reason.CANNOT_BE_TREATED
    if reason is None and duty.effect is Effect.HOLD:
        reason = Reason.HOLD
    effect = Effect.PERMIT if reason is None else Effect.HOLD if reason is Reason.HOLD else Effect.DENY
    return effect, reason, sorted_clauses(unmet), Because(reason, duty, because, untreated)


def _misplaced(duty: Duty, sink: Sink, activity: Activity) -> Reason | None:
    if duty.only is not None and not any(within(sink.place, place) for place in duty.only):
        return Reason.ONLY_IN_COUNTRY
    # Nothing is written where it is only read.
    writes = activity.operation in (Operation.WRITE, Operation.POST) and sink.scope != "reader"
    if writes and not all(within(sink.place, place) for place in duty.copies | duty.first_write):
        return Reason.NOT_HOME
    return None


def _lack(clause: Clause) -> Reason:
    """What the lack of a clause is called."""
    found = kinds(clause) - {"clock"}
    if found == {"sink"}:
        return Reason.SINK_UNFIT
    if found <= _OPERATORS:
        return Reason.FILING_MISSING
    return Reason.CONSENT_MISSING if found - _OPERATORS == {"consent"} else Reason.IDENTITY_MISSING


def joined(rulings: Iterable[Ruling], activity: Activity | None) -> Duty:
    """One duty of all rules, read for the activity."""
    duty = NEUTRAL
    for ruling in rulings:
        duty = join(duty, _read(ruling, activity))
    return duty


def sorted_clauses(clauses: Iterable[Clause]) -> tuple[Clause, ...]:
    """Each clause once, in the order that decisions list them in."""
    return tuple(sorted(set(clauses), key=sorted))


def _read(ruling: Ruling, activity: Activity | None) -> Duty:
    """A rule's duty with its clauses read for the activity's purpose."""
    duty = ruling[1].duty
    return replace(duty, require=frozenset(own_purpose(clause, activity) for clause in duty.require))
