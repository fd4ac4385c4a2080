"""When a subject's remembered home is set and how it may move: a finding and a pin in, the next pin out.

A pin is created once. Its home is moved by an operator's act alone, for the data lies there. What it remembers of
citizenship and residence moves by itself on stronger signals only: verified ones, where nothing verified is remembered.
Two verified signals that contradict each other over time are a reason to ask an operator, never a move.

What was once written under the law of a place stays covered by it: whatever the rest of a pin does not tell of (any
more) is kept as a hint, which adds that place's law and takes no other away (ADR 0026).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from residency.errors import StaleVersion
from residency.jurisdiction.precedence import BESIDE, SPEAKS
from residency.jurisdiction.resolve import resolve
from residency.model.finding import Anchor, Finding, Signal, Trust
from residency.model.place import within
from residency.model.subject import Pin

__all__ = ["Remembered", "arrived", "first_pin", "leaving", "may_move", "moved", "remember", "strengthened", "widened"]

Remembered = tuple[tuple[Anchor, str, Trust], ...]

_FINE: Final = 32  # places that a pin keeps as hints before it keeps whole countries instead of their parts


def remember(finding: Finding) -> Remembered:
    """What of a finding a pin keeps: every established or contested place and its trust, sorted."""
    kept = []
    for anchor in Anchor:
        found = finding.anchor(anchor)
        if found.trust is not None:
            kept += [(anchor, place, found.trust) for place in sorted(found.places)]
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
            places = [p for anchor, p, trust in old.anchors if anchor is signal.anchor and trust is not Trust.HINT]
            if not any(within(place, signal.place) or within(signal.place, place) for place in places):
                return True
    return False


def strengthened(old: Pin, signals: Collection[Signal], *, policy: str, at: int) -> Pin | None:
    """The pin after stronger signals: the same home and alias, the next version; None where nothing is stronger.

    Only verified signals are stronger than a pin, and only of citizenship and residence: of territory and place of
    collection a pin keeps what it was made from. `at` in microseconds, UTC; a clock that stepped back does not matter.
    """
    anchors = set(old.anchors)
    for anchor in Anchor:
        places = {s.place for s in signals if s.anchor is anchor and s.trust is Trust.VERIFIED}
        known = any(a is anchor and trust is Trust.VERIFIED for a, _, trust in old.anchors)
        if anchor in BESIDE or not places or known:
            continue
        # What was told before covered what was written then.
        told = {p for a, p, trust in old.anchors if a is anchor and (trust is Trust.HINT or trust >= SPEAKS[anchor])}
        anchors = {kept for kept in anchors if kept[0] is not anchor}
        anchors |= {(anchor, place, Trust.VERIFIED) for place in places}
        anchors |= {(anchor, place, Trust.HINT) for place in told - places}
    if anchors == set(old.anchors):
        return None
    return _taught(old, anchors, "stronger_signal", policy, at)


def widened(old: Pin, finding: Finding, *, policy: str, at: int) -> Pin | None:
    """The pin after a write that was decided on `finding`: it also tells, as hints, of every place that the finding
    names and the pin alone would not. The same home and alias, the next version; None where it tells of all.

    `at` as in `strengthened`.
    """
    alone = resolve((), old, finding.presume, conflicts_presumed=finding.conflicts_presumed)
    more = set()
    for anchor in Anchor:
        told = _covering(alone, anchor)
        # Whose country is told of is covered by the laws of all its parts.
        more |= {(anchor, p, Trust.HINT) for p in _covering(finding, anchor) if not {p, p[:2]} & told}
    if not more:
        return None
    hints = more | {kept for kept in old.anchors if kept[2] is Trust.HINT}
    if len(hints) > _FINE:  # else whoever names ever other parts of countries makes their pin as long as they like
        hints = {(anchor, place[:2], trust) for anchor, place, trust in hints}
    anchors = hints | {kept for kept in old.anchors if kept[2] is not Trust.HINT}
    return _taught(old, anchors, "also_covered", policy, at)


def _covering(finding: Finding, anchor: Anchor) -> frozenset[str]:
    """The places of an anchor whose laws cover, not by presumption."""
    found = finding.anchor(anchor)
    return frozenset() if found.presumed(conflicts_presumed=finding.conflicts_presumed) else found.places


def _taught(old: Pin, anchors: Iterable[tuple[Anchor, str, Trust]], by: str, policy: str, at: int) -> Pin:
    """`old` in its next version, remembering `anchors`."""
    order = list(Anchor)
    found = tuple(sorted(anchors, key=lambda kept: (order.index(kept[0]), kept[1], -kept[2])))
    if old.set_by == "move":
        # That the data was moved here stays to be seen: a deployment that only observes goes where it lies by that. So
        # does when: until then who began before may end there, and the mover waits for them no longer.
        by, at = old.set_by, old.at
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
    return _by_move(old, home, place, policy, at)


def arrived(old: Pin, *, policy: str, at: int) -> Pin:
    """The pin once all of its data lies at its home. `at` as in `strengthened`."""
    return _by_move(old, old.home, None, policy, at)


def _by_move(old: Pin, home: str, moving: str | None, policy: str, at: int) -> Pin:
    # Not `replace`, which takes four times as long: a move changes a hundred thousand, twice.
    return Pin(
        old.subject, home, old.anchors, old.alias, "move", policy, max(at, old.at), old.version + 1, moving=moving
    )
