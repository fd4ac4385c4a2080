"""When a subject's remembered home is set and how it may move: a finding and a pin in, the next pin out.

Thin on purpose: a pin is created once, and moved by an operator's act alone. Signals never move it; they can only be
strong enough that an operator ought to be asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from residency.errors import StaleVersion
from residency.jurisdiction.precedence import BESIDE
from residency.model.finding import Anchor, Finding, Signal, Trust
from residency.model.place import within
from residency.model.subject import Pin

__all__ = ["first_pin", "may_move", "moved", "remember"]


def remember(finding: Finding) -> tuple[tuple[Anchor, str, Trust], ...]:
    """What of a finding a pin keeps: every established or contested place and its trust, sorted."""
    kept = []
    for anchor in Anchor:
        found = finding.anchor(anchor)
        if found.trust is not None:
            kept += [(anchor, place, found.trust) for place in sorted(found.established | found.contested)]
    return tuple(kept)


def first_pin(subject: str, home: str, finding: Finding, *, alias: str, set_by: str, policy: str, at: int) -> Pin:
    """The first pin of a subject (keyed digest, hex) whose data lies at place `home`; `at` in microseconds, UTC."""
    return Pin(subject, home, remember(finding), alias, set_by, policy, at)


def may_move(old: Pin, signals: Iterable[Signal]) -> bool:
    """Whether verified signals contradict what the pin remembers of citizenship or residence.

    True is a reason to ask an operator, never a move in itself.
    """
    for signal in signals:
        if signal.trust is Trust.VERIFIED and signal.anchor not in BESIDE:
            places = [place for anchor, place, _ in old.anchors if anchor is signal.anchor]
            if not any(within(place, signal.place) or within(signal.place, place) for place in places):
                return True
    return False


def moved(old: Pin, home: str, finding: Finding, *, operator: str, policy: str, at: int) -> Pin:
    """The pin after an operator's act: a new home, what is known now, the next version, the same alias.

    `at` in microseconds, UTC. Raises StaleVersion where `at` lies before the old pin's time.
    """
    if at < old.at:
        raise StaleVersion("a pin cannot move to a time before it was set")
    return replace(
        old, home=home, anchors=remember(finding), set_by=operator, policy=policy, at=at, version=old.version + 1
    )
