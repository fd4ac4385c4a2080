"""Something that may not go on under a decision in; the refusal's record, and the error to raise, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from residency.enforcement.handing import home_for, note_of
from residency.enforcement.request import Refusal
from residency.enforcement.untreated import BARRED
from residency.errors import Refused
from residency.model import Reason, RuleRef

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["refuse", "refuse_activity", "refuse_as"]


def refuse(
    here: Current,
    reason: Reason,
    message: str,
    *,
    sink: str | None = None,
    rules: tuple[RuleRef, ...] | None = None,
    counted: bool = False,
) -> Refused:
    """Record that something under the decision of `here` was refused, and return the error to raise.

    `message` is without personal data; `rules` None = those that decided; `counted` = the metrics have it already.
    Raises: JournalFull, JournalFailed.
    """
    point, decision = here.point, here.decision
    cited = rules if rules is not None else decision.rules
    if not counted:
        point.metrics.refusal(reason)
    home = home_for(point.policy.deployment.hand_over, decision, here.pin, reason)
    note = here.note if home is None else note_of(home)
    seq, _ = point.recorder.refusal(decision, reason, here.alias, here.detail, here.basis, sink, cited, note)
    here.trail.refusal = Refusal(reason, cited, seq, message, home)
    here.trail.records += 1  # a refusal is a record of its own: the request needs no further entry
    citations = tuple(dict.fromkeys(rule.citation for rule in cited))
    return Refused(reason.value, message, citations, tuple(rule.id for rule in cited))


def refuse_activity(here: Current, *, counted: bool = False) -> Refused:
    """As `refuse`, where the activity itself may not go on (`Current.forbidden`)."""
    reason, permitted = here.forbidden or Reason.INTERNAL, here.decision.permitted
    message = BARRED.get(reason, "the decision forbids this activity")
    return refuse(here, reason, message, counted=counted and not permitted)


def refuse_as(here: Current, reason: str) -> Refusal:
    """Record a refusal that was raised without a record, as routing does. Raises: JournalFull, JournalFailed."""
    known = next((each for each in Reason if each.value == reason), Reason.INTERNAL)
    refuse(here, known, "this act is not permitted now", rules=())
    return here.trail.refusal or Refusal(known)
