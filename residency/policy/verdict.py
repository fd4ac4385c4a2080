"""Rules that apply, sinks and tokens in; effect, reason, sink verdicts and the rules that decided, out.

The second half of `decide`, after it is known which rules apply. The order of the questions is the order of the
reasons (ADR 0002, 0014): what no one can mend first, what the operator must mend next, what the person can mend last.

1. a clause that nothing satisfies, or effect deny        LAW_FORBIDS
2. duties that cannot all be met                          CONFLICT
3. (sink) a stop order                                    STOP_ORDER
4. (sink) outside `only`                                  ONLY_IN_COUNTRY
5. (sink) a write that is not at home                     NOT_HOME
6. an unmet clause that is the operator's                 FILING_MISSING
7. an unmet clause about the sink alone                   SINK_UNFIT
8. an unmet clause: of the person, consents alone         CONSENT_MISSING
9. another unmet clause                                   IDENTITY_MISSING
10. fields to be treated: in; (sink) out, at rest         CANNOT_BE_TREATED
11. effect hold                                           HOLD

The tenth stands behind all that a filing or a person mends: whoever treats what goes out, as a copier does, has nothing
else against it but a hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from residency.model import Clause, Conflict, Effect, Reason, Sink
from residency.model.place import within
from residency.policy.duties import LACKS, Asked, Duties

__all__ = ["Outcome", "Place", "combined", "judge", "missing", "rank"]

_TREATMENT: Final = frozenset({Conflict.TREATMENT})


@dataclass(frozen=True, slots=True)
class Place:
    """A sink that is judged, whether something is written there, and whether a stop order binds it; `treating` are the
    rules (bits) that let go there only what they want treated."""

    sink: Sink
    writes: bool
    stopped: bool
    treating: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `judge` found. `near` is where the data best goes, `rules` are bits of those to cite, `leaning` those of the
    terms that the outcome leans on."""

    effect: Effect
    reason: Reason | None
    near: frozenset[str]
    rules: int
    unmet: tuple[Clause, ...]
    leaning: int


def judge(
    duties: Duties, rules: int, fallback: int, given: int, running: int, place: Place | None = None, treating: int = 0
) -> Outcome:
    """Judge an activity (`place` None) or one sink, by bits of rules and of tokens.

    `fallback` are the rules to cite where none refused, `running` the tokens of terms that still run, `treating` those
    that want treated what an activity takes in.
    """
    joined = duties.joined(rules)
    places = joined.places
    unmet: list[Asked] = []
    leaning = 0
    for one in joined.asked:
        if (one.at_sinks and place is None) or one.tokens & given:
            continue
        if (clocks := one.tokens & running) != 0:
            leaning |= clocks
        else:
            unmet.append(one)
    clauses = tuple([one.clause for one in unmet])

    def refused(reason: Reason, because: int) -> Outcome:
        effect = Effect.HOLD if reason is Reason.HOLD else Effect.DENY
        return Outcome(effect, reason, places.near, rules & because or fallback, clauses, leaning)

    if rules & duties.forbidding:
        return refused(Reason.LAW_FORBIDS, duties.forbidding)
    if places.conflicts:
        because = duties.placing if places.conflicts - _TREATMENT else 0
        return refused(Reason.CONFLICT, because | (duties.protecting if places.conflicts & _TREATMENT else 0))
    if place is not None:
        where = place.sink.place
        if place.stopped:
            return refused(Reason.STOP_ORDER, 0)
        if places.only is not None and not any(within(where, o) for o in places.only):
            return refused(Reason.ONLY_IN_COUNTRY, duties.restricting)
        # One write reaches one sink, so where two countries want a copy each no sink is home: refused, not half kept.
        if place.writes and not all(within(where, h) for h in places.homes):
            return refused(Reason.NOT_HOME, duties.homing)
    if unmet:
        worst = min([one.lack for one in unmet])
        because = 0
        for one in unmet:
            if one.lack == worst:
                because |= one.rules
        return refused(LACKS[worst], because)
    # What an app takes in, writes, sends or reads is its own statements, bytes and answers, into which nobody sees.
    if rules & (wanted := treating if place is None else place.treating):
        return refused(Reason.CANNOT_BE_TREATED, wanted)
    if rules & duties.holding:
        return refused(Reason.HOLD, duties.holding)
    return Outcome(Effect.PERMIT, None, places.near, fallback, (), leaning)


def rank(sink: Sink, outcome: Outcome) -> int:
    """Where a sink stands: permitted ones first; among them those that lie where the data must go."""
    refused = outcome.effect is not Effect.PERMIT
    return 2 * refused + (not any(within(sink.place, place) for place in outcome.near))


def missing(
    outcome: Outcome, sinks: Sequence[tuple[Sink, Outcome]], needs: tuple[frozenset[str], ...]
) -> list[Outcome]:
    """What stands against an activity at the sinks of the stores that it `needs` and that none of their own `sinks`
    (the best first) is permitted to; empty = each has one."""
    if outcome.effect is Effect.DENY or not sinks:
        return []
    if len(needs) == 1 and len(needs[0]) == len(sinks):
        return [] if sinks[0][1].effect is Effect.PERMIT else [verdict for _, verdict in sinks]
    permitted = {sink.name for sink, verdict in sinks if verdict.effect is Effect.PERMIT}
    lacking = frozenset[str]().union(*[names for names in needs if permitted.isdisjoint(names)])
    return [verdict for sink, verdict in sinks if sink.name in lacking]


def combined(refused: Sequence[Outcome]) -> tuple[Effect, Reason | None]:
    """(effect, reason) of an activity that these verdicts stand against."""
    if all(sink.reason is refused[0].reason for sink in refused):
        return refused[0].effect, refused[0].reason
    return Effect.DENY, Reason.NO_SINK
