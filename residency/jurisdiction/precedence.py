"""Which signal outranks which, per anchor: the whole of it on one screen.

| anchor      | who may speak                                  | the subject's pin                               |
|-------------|------------------------------------------------|-------------------------------------------------|
| territory   | verified > pinned > declared > network > hint  | beside the rest: its places are established too |
| collection  | verified > pinned > declared > network > hint  | beside the rest: its places are established too |
| residence   | verified > pinned > declared > network > hint  | in the ranking, as `pinned`                     |
| citizenship | verified > pinned > declared                   | in the ranking, as `pinned`                     |

1. Signals that may not speak for the anchor are discarded: where a cable ends says nothing of a passport.
2. Of the rest the highest trust speaks and the lower is silent.
3. What speaks names one place, or places of which one lies within the other: established. Several places: all of
   them contested, so that each of their laws covers (`presume: {conflicts: as_silent}`: presumed, as if none spoke).
4. Hints alone leave the places they name contested, so that their laws cover, and exclude nobody: every other place
   is presumed as without them. So a hint can only add coverage (ADR 0006).

A pin ranks as `pinned`, but for what a person only declared: remembered, that stays `declared`, so that a later word of
theirs contests it and both laws cover. And but for its hints: places under whose law something was written, which the
rest of the pin does not tell of. For any anchor they add their laws, nothing outranks them, and they exclude nobody
(ADR 0026).

A person uses a service in two countries over time, and both laws stay: so a pin stands beside what is seen today for
territory and collection. One has a citizenship and a residence at a time: so there it is ranked.
"""

from __future__ import annotations

from typing import Final

from residency.model.finding import Anchor, Trust

__all__ = ["BESIDE", "SPEAKS"]

SPEAKS: Final[dict[Anchor, Trust]] = {
    Anchor.TERRITORY: Trust.HINT,
    Anchor.COLLECTION: Trust.HINT,
    Anchor.RESIDENCE: Trust.HINT,
    Anchor.CITIZENSHIP: Trust.DECLARED,
}
"""The least trust that may speak for an anchor."""

BESIDE: Final = frozenset({Anchor.TERRITORY, Anchor.COLLECTION})
"""Anchors where the pin's places are established beside the present signals, not ranked against them."""
