"""A decision and where its data goes by being read in; whether it may go there only as we cannot make it, out.

A law may let data be read abroad once a field is dropped, masked or replaced (`protect`, direction `out`). What an app
reads are its own rows, objects and answers, by expressions, joins and filters which nobody sees through. So nothing is
treated, and what must be is refused: to give it as it is would be to give what the law keeps back.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from residency.model import Operation, Reason
from residency.model.place import within
from residency.policy.compiler import Policy

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["BARRED", "untreated"]

BARRED: Final = {
    Reason.DETAIL_ABROAD: "what must be recorded of this person may not be recorded here",
    Reason.CANNOT_BE_TREATED: "this data may be read abroad only with fields treated, and they are not",
}
"""What is told where a decision permits and the activity may not go on all the same."""


def untreated(here: Current) -> Reason | None:
    """Why data may not be read where it goes by being read under `here`: fields of it were to be treated first."""
    if not here.readers:
        return None
    decision = here.decision
    treating = _treating(here.point.policy)
    if not treating or decision.mode == "observe" or here.operation is Operation.ERASE:
        return None
    if all(within(place, law) for place in here.readers for law in decision.jurisdictions):
        return None
    # It cites the rules about reading there too, whose duties stand in no sink's verdict.
    asked = any(rule.id in treating for rule in decision.rules)
    return Reason.CANNOT_BE_TREATED if asked else None


@lru_cache(maxsize=16)
def _treating(policy: Policy) -> frozenset[str]:
    """The rules that ask for a field to be treated before it goes out; none where reading asks for nothing."""
    if policy.deployment.readers == "record":
        return frozenset()
    rules = (rule for law in policy.laws for rule in law.rules)
    return frozenset(rule.id for rule in rules if any(each.direction == "out" for each in rule.duty.protect))
