"""A refusal in; the place whose own instance may serve the person instead, out.

An instance abroad that may not do something with a person's data is not the end of it: the one at home may. Only where
the place is what stands against it, its sinks' or the one where it is read: what the law forbids everywhere it forbids
at home, too.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from residency.model import Decision, Effect, Pin, Reason
from residency.model.place import within
from residency.policy.parsed_reading import READER

__all__ = ["home_for", "note_of"]

_OF_PLACES: Final = frozenset(
    {
        Reason.ONLY_IN_COUNTRY,
        Reason.NOT_HOME,
        Reason.DETAIL_ABROAD,
        Reason.CANNOT_BE_TREATED,
        Reason.NO_SINK,
        Reason.STOP_ORDER,
    }
)


def home_for(places: Collection[str], decision: Decision, pin: Pin | None, reason: Reason) -> str | None:
    """Which of `places`, those with an instance of their own, is this person's; None where none is, or none helps.

    Their home, where they have one, else where alone the data may lie, else the first whose law covers them.
    """
    if not places or decision.mode == "observe" or not (reason in _OF_PLACES or _is_of_reading(decision, reason)):
        return None
    homes = [pin.home] if pin is not None else [*sorted(decision.duty.only or ()), *decision.jurisdictions]
    for home in homes:
        for place in places:
            if within(home, place):
                return place
    return None


def _is_of_reading(decision: Decision, reason: Reason) -> bool:
    """Whether reading abroad is all that stands against it: the data may rest where it does."""
    return (
        reason is decision.reason
        and any(token.startswith(READER) for token in decision.evidence)
        and any(verdict.effect is Effect.PERMIT for verdict in decision.sinks)
    )


def note_of(place: str) -> str:
    """What the refusal's entry says of where the person was sent."""
    return f"handed_over:{place}"
