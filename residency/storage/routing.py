"""A decision, a pin and a wish in, the verdict on one sink out: where this act goes, or why it may not.

The rule is *home or nowhere*. What comes back is always a verdict that the decision itself gave on that sink, or a
stricter one, never a milder one; so a refused sink cannot come back permitted.

| mode    | asked for a sink | pin            | goes to                                                               |
|---------|------------------|----------------|-----------------------------------------------------------------------|
| any     | yes / no         | moving         | reads to where the data still lies; all else is SUBJECT_MOVING (where |
|         |                  |                | nobody's data lies, at a service: as if it were not moved)            |
| observe | yes / no         | set by a move  | that sink / the sink at home: nobody reads where their data is not    |
| observe | yes / no         | any other      | that sink / the store's first sink: the app works as it did before    |
| observe | no               | homes known    | the sink at home; who has no pin is new, and begins where enforced    |
| enforce | yes              | any            | that sink, by its own verdict                                         |
| enforce | no               | none           | the decision's first sink                                             |
| enforce | no               | a sink is home | a sink at home; a write that may go elsewhere only is NOT_HOME        |
| enforce | no               | no sink is home| the only sink of a store that has one; else NOT_HOME: no guessing     |
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from typing import Final

from residency.enforcement.admission import CHANGES
from residency.errors import Refused, UnknownStore
from residency.model import Decision, Effect, Operation, Pin, Reason, SinkVerdict

__all__ = ["READS", "choose"]

READS: Final = frozenset({Operation.READ, Operation.PROCESS})
"""Operations that only read rows and objects."""


def choose(
    decision: Decision,
    pin: Pin | None,
    requested: str | None,
    *,
    order: tuple[str, ...],
    operation: Operation | None = None,
    known: bool = False,
    followed: Set[Operation] = READS,
) -> SinkVerdict:
    """The verdict on the sink that this act uses. `order` = the store's sinks as the deployment lists them.

    `operation` None = the activity's own. `known` = everybody who had data before has a pin (`storage.homes_known`).
    `followed` = the operations that go to where a subject's data still lies while it is moved; none = none lies there.

    Raises: Refused (NO_SINK) where the decision knows no sink, UnknownStore where the requested one is not the store's.
    """
    if requested is not None and requested not in order:
        raise UnknownStore(f"the activity's store has no sink {requested!r}")
    sinks = decision.sinks
    if len(sinks) != len(order):  # the activity uses other stores besides
        sinks = tuple([verdict for verdict in sinks if verdict.sink.name in order])
    if not sinks:
        raise Refused(Reason.NO_SINK.value, "the decision knows no sink for this activity")
    if pin is not None and pin.moving is not None and len(sinks) > 1 and followed:
        return _while_moving(decision, pin.moving, requested, sinks, operation, followed)
    if decision.mode == "observe":
        return _named(decision, _first(decision, pin, order, known) if requested is None else requested)
    if requested is not None:
        return _named(decision, requested)
    first = sinks[0]
    if pin is None or (first.effect is Effect.PERMIT and first.sink.place == pin.home):
        return first  # of most acts, without a look at the others
    home = [verdict for verdict in sinks if verdict.sink.place == pin.home]
    if not home:
        # One sink leaves nothing to guess: all of the store's data lies there. With several, the subject's data lay
        # at a home that this store no longer has, and another sink would answer empty.
        return sinks[0] if len(sinks) == 1 else _not_home(sinks[0])
    best = next((verdict for verdict in home if verdict.effect is Effect.PERMIT), home[0])
    if best.effect is Effect.PERMIT or not _changes(decision, operation):
        return best
    # Where no sink at all is permitted the cause is not the place, so the verdict keeps its own reason.
    elsewhere = any(verdict.effect is Effect.PERMIT for verdict in sinks)
    return _not_home(best) if elsewhere else best


def _while_moving(
    decision: Decision,
    place: str,
    requested: str | None,
    sinks: tuple[SinkVerdict, ...],
    operation: Operation | None,
    followed: Set[Operation],
) -> SinkVerdict:
    """The sink at `place`, where the data still lies, for who reads; there is none for who writes, or sends what
    is not there yet, for a moment."""
    there = [verdict for verdict in sinks if verdict.sink.place == place]
    if requested is not None:
        there = [verdict for verdict in there if verdict.sink.name == requested]
    wanted = operation if operation is not None or decision.activity is None else decision.activity.operation
    if there and wanted in followed:
        return next((verdict for verdict in there if verdict.effect is Effect.PERMIT), there[0])
    asked = sinks[0] if requested is None else _named(decision, requested)
    return replace(asked, effect=Effect.DENY, reason=Reason.SUBJECT_MOVING)


def _first(decision: Decision, pin: Pin | None, order: tuple[str, ...], known: bool) -> str:
    """Where an app that is only observed goes: to the store's first sink, but where a subject's data was moved away, or
    never lay there."""
    if pin is None and known:
        permitted = [verdict.sink.name for verdict in decision.sinks if verdict.effect is Effect.PERMIT]
        return next((name for name in permitted if name in order), order[0])
    if pin is None or (pin.set_by != "move" and not known):
        return order[0]
    return next((name for name in order if _named(decision, name).sink.place == pin.home), order[0])


def _changes(decision: Decision, operation: Operation | None) -> bool:
    if operation is None:
        return decision.activity is None or decision.activity.operation in CHANGES
    return operation in CHANGES


def _named(decision: Decision, name: str) -> SinkVerdict:
    verdict = decision.sink(name)
    if verdict is None:
        raise UnknownStore(f"the activity's store has no sink {name!r}")
    return verdict


def _not_home(verdict: SinkVerdict) -> SinkVerdict:
    return replace(verdict, effect=Effect.DENY, reason=Reason.NOT_HOME)
