"""A recorded decision and the same decided again in; what the record has wrong, or what a candidate would change, out.

An entry tells of a decision: its effect, reason and rules, those of one sink where an act was meant. `wrong` says which
of that the decision does not give; `compare` holds two decisions against each other, whatever their entries would say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from residency.model import Clock, Decision, Effect, Finding, Operation, Reason, SinkVerdict
from residency.policy.terms import term_word

__all__ = ["CHANGES", "Change", "Recorded", "When", "compare", "exempted", "wrong"]

CHANGES: Final = ("mode", "effect", "reason", "sinks", "missing", "duty", "terms", "rules")
"""In what a decision may change. `terms` are running terms and exemptions that it leans on. `rules` alone is no change
of what happens, but of what is cited for it."""
_CITED: Final = frozenset({"rules"})
_OPERATIONS: Final = frozenset(Operation)
_CHANGING: Final = frozenset({Operation.WRITE, Operation.POST, Operation.ERASE})
# Refusals at the act by what the log does not hold: the pin, another request of the same moment, an app that did not
# say whose data it is. They refuse what the decision permits; nothing here permits.
_OF_THE_MOMENT: Final = frozenset(
    {
        Reason.NOT_HOME,
        Reason.DETAIL_ABROAD,
        Reason.CANNOT_BE_TREATED,
        Reason.NO_SINK,
        Reason.SUBJECT_UNKNOWN,
        Reason.FACTS_MOVED,
        Reason.SINK_MISPLACED,
        Reason.SUBJECT_MOVING,
        Reason.INTERNAL,
    }
)


class When(NamedTuple):
    """The instants (microseconds) of one recorded decision: when it was made, when its request came (None = then), and
    the last edge of collection of its policy before the data was collected (None = not known, and so not said).

    `exactly` is when the data was collected, where the regional detail was at hand.
    """

    now: int
    requested: int | None = None
    collected: int | None = None
    exactly: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision as the log tells it, but for its instants. `policy` and `facts` are the digests of
    what it was made by.

    `finding` has no presumptions: these are the policy's. `evidence` is what rules of the recorded policy asked for,
    `all_evidence` the whole, where the regional detail was at hand. `of` tells what kind of entry it is.
    """

    of: str
    activity: str | None
    finding: Finding
    evidence: frozenset[str]
    sink: str | None
    policy: str
    facts: str | None
    effect: str
    reason: str | None
    mode: str
    rules: tuple[str, ...]
    observed: tuple[str, ...]
    jurisdictions: tuple[str, ...]
    presumed: tuple[str, ...]
    outranked: tuple[str, ...] = ()
    exempted: tuple[str, ...] = ()
    exemptions: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    all_evidence: frozenset[str] | None = None
    policy_version: int = 0
    placed: tuple[str | None, str | None] | None = None
    """Store, and region of the sink, as the entry names them; None = not at hand."""
    done: tuple[str | None, str | None] | None = None
    """Operation, and the strategy by which the client's address was looked for; None = not at hand."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a candidate decides otherwise. `what` are words of CHANGES in their order; an outcome is (effect, reason).

    `gained` are rules that decide now and did not, `lost` those that did and do not.
    """

    activity: str
    what: tuple[str, ...]
    before: tuple[str, str | None]
    after: tuple[str, str | None]
    sink: str | None
    sinks_before: tuple[str, ...]
    sinks_after: tuple[str, ...]
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def only_cited(self) -> bool:
        """Whether nothing changes but what is cited."""
        return _CITED.issuperset(self.what)


def wrong(recorded: Recorded, decision: Decision) -> dict[str, object]:
    """The fields of an entry that `decision` does not give, each with what it gives."""
    verdict = None if recorded.sink is None else decision.sink(recorded.sink)
    clocks, exemptions = _leans_on(decision, verdict)
    found: dict[str, object] = {
        name: given
        for name, given in (
            ("mode", decision.mode),
            ("jurisdictions", decision.jurisdictions),
            ("presumed", decision.presumed),
            ("observed", tuple(rule.id for rule in decision.observed)),
            ("outranked", tuple(rule.id for rule in decision.outranked)),
            ("exempted", tuple(rule.id for rule in decision.exempted)),
            ("exemptions", exemptions),
            ("running", tuple(dict.fromkeys(map(term_word, clocks)))),
        )
        if getattr(recorded, name) != given
    }
    if recorded.placed is not None:
        store = None if decision.activity is None else decision.activity.store
        own = (store, None) if verdict is None else (verdict.store, verdict.sink.region)
        words = zip(("store", "region"), recorded.placed, own, strict=True)
        found |= {name: right for name, given, right in words if given != right}
    if recorded.done is not None and not _may_be_done(recorded, decision):
        found["operation"] = None if decision.activity is None else decision.activity.operation.value
    told = (recorded.effect, recorded.reason, recorded.rules)
    tellings = _tellings(recorded, decision)
    if told in tellings or _of_the_moment(recorded, decision):
        return found
    names = zip(("effect", "reason", "rules"), told, tellings[0], strict=True)
    return found | {name: right for name, given, right in names if given != right}


def _may_be_done(recorded: Recorded, decision: Decision) -> bool:
    """Whether the activity does what the entry tells. An act of it may do less: read where it writes, and among what
    changes data another thing."""
    operation = None if recorded.done is None else recorded.done[0]
    own = None if decision.activity is None else decision.activity.operation
    if own is None or recorded.of != "intent":
        return operation == (None if own is None else own.value)
    return operation in _OPERATIONS and (operation not in _CHANGING or own in _CHANGING)


def _tellings(recorded: Recorded, decision: Decision) -> list[tuple[str, str | None, tuple[str, ...]]]:
    """How an entry of this kind may tell the decision, as (effect, reason, rules)."""
    own = tuple(rule.id for rule in decision.rules)
    whole = (decision.effect.word, _word(decision.reason), own)
    verdict = None if recorded.sink is None else decision.sink(recorded.sink)
    if verdict is None:
        return [whole]
    at_sink = tuple(rule.id for rule in verdict.rules)
    if recorded.of == "refusal":
        return [(verdict.effect.word, _word(verdict.reason), at_sink or own), whole]
    both = tuple(dict.fromkeys((*own, *at_sink)))
    tellings = [(verdict.effect.word, _word(verdict.reason), both)]
    if decision.mode == "observe":
        # The act went on; why it would have been refused is told here or in the entry of the decision itself.
        refused = verdict.effect if verdict.effect is not Effect.PERMIT else Effect.DENY
        tellings += [(verdict.effect.word, None, both), (refused.word, Reason.SUBJECT_UNKNOWN.value, both)]
        if verdict.duty.protect and recorded.done is not None and recorded.done[0] == Operation.PROCESS.value:
            tellings += [(refused.word, Reason.CANNOT_BE_TREATED.value, both)]  # sent by an activity that reads
    return tellings


def _of_the_moment(recorded: Recorded, decision: Decision) -> bool:
    cited = {rule.id for rule in decision.rules} | {rule.id for v in decision.sinks for rule in v.rules}
    return (
        recorded.of == "refusal"
        and recorded.effect != Effect.PERMIT.word
        and recorded.reason in _OF_THE_MOMENT
        and cited.issuperset(recorded.rules)
    )


def _word(reason: Reason | None) -> str | None:
    return None if reason is None else reason.value


def _permitted(decision: Decision) -> tuple[str, ...]:
    return tuple(v.sink.name for v in decision.sinks if v.effect is Effect.PERMIT)


def _outcome(decision: Decision, verdict: SinkVerdict | None) -> tuple[str, str | None]:
    judged = decision if verdict is None or decision.effect is not Effect.PERMIT else verdict
    return judged.effect.word, _word(judged.reason)


def _cited(decision: Decision, verdict: SinkVerdict | None) -> tuple[str, ...]:
    rules = decision.rules if verdict is None else (*decision.rules, *verdict.rules)
    return tuple(dict.fromkeys(rule.id for rule in rules))


def _unmet(decision: Decision, verdict: SinkVerdict | None) -> set[frozenset[str]]:
    return {*decision.unmet, *(verdict.unmet if verdict is not None else ())}


def _leans_on(decision: Decision, verdict: SinkVerdict | None) -> tuple[tuple[Clock, ...], tuple[str, ...]]:
    """The terms and exemptions that a decision leans on, and an act on that sink too."""
    if verdict is None:
        return tuple(dict.fromkeys(decision.clocks)), tuple(dict.fromkeys(decision.exemptions))
    clocks = dict.fromkeys((*decision.clocks, *verdict.clocks))
    return tuple(clocks), tuple(dict.fromkeys((*decision.exemptions, *verdict.exemptions)))


def compare(before: Decision, after: Decision, sink: str | None) -> Change | None:
    """In what `after` differs from `before`, of the activity and, where an act was meant, of its sink."""
    old = None if sink is None else before.sink(sink)
    new = None if sink is None else after.sink(sink)
    was, becomes = _outcome(before, old), _outcome(after, new)
    if sink is not None and new is None:
        becomes = (Effect.DENY.word, Reason.NO_SINK.value)  # the candidate's store has no such sink
    rules, rules_now = _cited(before, old), _cited(after, new)
    what = tuple(
        word
        for word, differs in (
            ("mode", before.mode != after.mode),
            ("effect", was[0] != becomes[0]),
            ("reason", was[1] != becomes[1]),
            ("sinks", _permitted(before) != _permitted(after)),
            ("missing", _unmet(before, old) != _unmet(after, new)),
            ("duty", before.duty != after.duty),
            ("terms", _leans_on(before, old) != _leans_on(after, new)),
            ("rules", rules != rules_now),
        )
        if differs
    )
    if not what:
        return None
    return Change(
        activity=_name(before),
        what=what,
        before=was,
        after=becomes,
        sink=sink,
        sinks_before=_permitted(before),
        sinks_after=_permitted(after),
        gained=tuple(rule for rule in rules_now if rule not in rules),
        lost=tuple(rule for rule in rules if rule not in rules_now),
    )


def exempted(before: Decision, sink: str | None) -> Change:
    """The change where the candidate takes the route for exempt, and decides nothing."""
    verdict = None if sink is None else before.sink(sink)
    was = _outcome(before, verdict)
    return Change(
        _name(before), ("effect",), was, ("exempt", None), sink, _permitted(before), (), (), _cited(before, verdict)
    )


def _name(decision: Decision) -> str:
    return "(no activity)" if decision.activity is None else decision.activity.name
