"""When a subject's remembered home is set and how it may move: a finding and a pin in, the next pin out.

A pin is created once. Its home is moved by an operator's act alone, for the data lies there. What it remembers of
citizenship and residence moves by itself on stronger signals only: verified ones, where nothing verified is remembered.
Two verified signals that contradict each other over time are a reason to ask an operator, never a move.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from residency.errors import StaleVersion
from residency.jurisdiction.precedence import BESIDE
from residency.model.finding import Anchor, Finding, Signal, Trust
from residency.model.place import within
from residency.model.subject import Pin

__all__ = ["arrived", "first_pin", "leaving", "may_move", "moved", "remember", "strengthened"]

Remembered = tuple[tuple[Anchor, str, Trust], ...]


def remember(finding: Finding) -> Remembered:
    """What of a finding a pin keeps: every established or contested place and its trust, sorted, and no hint."""
    kept = []
    for anchor in Anchor:
        found = finding.anchor(anchor)
        if found.trust is not None and found.trust is not Trust.HINT:
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


def strengthened(old: Pin, signals: Collection[Signal], *, policy: str, at: int) -> Pin | None:
    """The pin after stronger signals: the same home and alias, the next version; None where nothing is stronger.

    Only verified signals are stronger than a pin, and only of citizenship and residence: of territory and place of
    collection a pin keeps what it was made from. `at` in microseconds, UTC; a clock that stepped back does not matter.
    """
    anchors = list(old.anchors)
    for anchor in Anchor:
        places = sorted({s.place for s in signals if s.anchor is anchor and s.trust is Trust.VERIFIED})
        known = any(a is anchor and trust is Trust.VERIFIED for a, _, trust in old.anchors)
        if anchor in BESIDE or not places or known:
            continue
        anchors = [kept for kept in anchors if kept[0] is not anchor]
        anchors += [(anchor, place, Trust.VERIFIED) for place in places]
    order = list(Anchor)
    found = tuple(sorted(anchors, key=lambda kept: (order.index(kept[0]), kept[1])))
    if set(found) == set(old.anchors):
        return None
    # That the data was moved here stays to be seen: a deployment that only observes goes where it lies by that.
    by = old.set_by if old.set_by == "move" else "stronger_signal"
    return replace(old, anchors=found, set_by=by, policy=policy, at=max(at, old.at), version=old.version + 1)


def moved(old: Pin, home: str, *, operator: str, policy: str, at: int) -> Pin:
    """The pin after an operator's act: a new home, the next version, the same alias and all that is remembered.

    `at` in microseconds, UTC. Raises StaleVersion where `at` lies before the old pin's time.
    """
    if at < old.at:
        raise StaleVersion("a pin cannot move to a time before it was set")
    return replace(old, home=home, moving=None, set_by=operator, policy=policy, at=at, version=old.version + 1)


def leaving(old: Pin, home: str, place: str, *, policy: str, at: int) -> Pin:
    """The pin while its data is moved from `place`, where it still lies, to `home`. `at` as in `strengthened`."""
    return replace(
        old, home=home, moving=place, set_by="move", policy=policy, at=max(at, old.at), version=old.version + 1
    )


def arrived(old: Pin, *, policy: str, at: int) -> Pin:
    """The pin once all of its data lies at its home. `at` as in `strengthened`."""
    return replace(old, moving=None, set_by="move", policy=policy, at=max(at, old.at), version=old.version + 1)
