"""A decision, a store and a sink in; the verdict under which an act may begin there, or a refusal, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from residency.enforcement.moving import FOLLOWED
from residency.enforcement.refusing import refuse, refuse_activity
from residency.enforcement.untreated import sending
from residency.errors import Refused, SubjectUnknown, UnknownStore
from residency.model import Effect, Operation, Reason, SinkVerdict

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["CHANGES", "MISPLACED", "check_sink", "check_store", "follows", "misplaced", "subject_unknown"]

CHANGES: Final = frozenset({Operation.WRITE, Operation.POST, Operation.ERASE})
"""Acts of these operations change data: their intent and outcome survive a power cut before the app goes on."""
MISPLACED: Final = "is not shown to lie where it must, or bears another's mark"
"""What is wrong with a sink that no act may use, in words that follow its name."""


def check_store(here: Current, store: str) -> None:
    """Raises: UnknownStore where the activity does not name `store`."""
    if store not in here.activity.stores:
        raise UnknownStore(f"activity {here.activity.name!r} names no store {store!r} in the deployment file")


def check_sink(here: Current, name: str, operation: Operation, verdict: SinkVerdict | None = None) -> SinkVerdict:
    """The verdict on sink `name` (`verdict`, if at hand); refuses, with a record, what the decision does not let.

    What may not be stored there, and lies there until it is moved, is read there all the same, as a transfer that is
    recorded: elsewhere a person would find an empty account. Orders and bans against a sink hold all the same.

    Raises: UnknownStore, Refused, JournalFull, JournalFailed.
    """
    decision = here.decision
    verdict = verdict or decision.sink(name)
    if verdict is None:
        raise UnknownStore(f"activity {here.activity.name!r} has no sink {name!r}")
    if operation is Operation.PROCESS and here.activity.operation is Operation.READ and verdict.duty.protect:
        verdict = sending(here, verdict)
    if decision.mode == "observe":
        return verdict
    permitted = verdict.effect is Effect.PERMIT
    if not permitted and not (verdict.reason in FOLLOWED and follows(here, verdict, operation)):
        rules, message = verdict.rules or decision.rules, f"sink {name!r} may not take this data"
        raise refuse(here, verdict.reason or Reason.INTERNAL, message, sink=name, rules=rules)
    if here.forbidden is not None:
        raise refuse_activity(here)
    if name in here.point.stores.misplaced:
        raise misplaced(here, name)
    return verdict


def follows(here: Current, verdict: SinkVerdict, operation: Operation) -> bool:
    """Whether an act only reads where the subject's data still lies while it is moved home."""
    pin = here.pin
    if pin is None or pin.moving is None or pin.moving != verdict.sink.place:
        return False
    return operation in here.point.stores.followed(verdict.sink.name)


def misplaced(here: Current, name: str) -> Refused:
    """The error to raise for an act on sink `name`, which is not where it must be. Raises: as `refuse`."""
    return refuse(here, Reason.SINK_MISPLACED, f"sink {name!r} {MISPLACED}", sink=name, rules=())


def subject_unknown(here: Current, store: str) -> None:
    """Refuse an act on `store` before it is known whose data it is; a deployment that only observes counts it.

    Raises: SubjectUnknown, JournalFull, JournalFailed.
    """
    if here.decision.mode == "observe":
        here.point.metrics.refusal(Reason.SUBJECT_UNKNOWN, observed=True)
        return
    refuse(here, Reason.SUBJECT_UNKNOWN, f"store {store!r} was opened before the subject was known", rules=())
    raise SubjectUnknown(
        f"store {store!r} was opened before identify() said whose data it is "
        f"(activity {here.activity.name!r} takes its subject from {here.activity.subject})"
    )
