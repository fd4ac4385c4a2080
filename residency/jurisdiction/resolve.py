"""Signals, a pin and the deployment's presumptions in, one Finding out. The rules are in `precedence`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from residency.jurisdiction.precedence import BESIDE, SPEAKS
from residency.model.finding import SILENT, Anchor, AnchorFinding, Finding, Presume, Signal, Trust
from residency.model.place import within
from residency.model.subject import Pin

__all__ = ["nested", "presumption", "resolve"]

Presumption = tuple[tuple[Anchor, Presume], ...]

_DEFAULT: Final[Presumption] = Finding().presume


def presumption(given: Presumption) -> Presumption:
    """`given` completed by the defaults, in the order of the anchors: equal meanings compare equal."""
    named = dict(_DEFAULT) | dict(given)
    return tuple((anchor, named[anchor]) for anchor in Anchor)


def resolve(
    signals: Iterable[Signal],
    pin: Pin | None,
    presume: Presumption,
    *,
    conflicts_presumed: bool = False,
    strategy: str | None = None,
) -> Finding:
    """The finding of one person at one request. `conflicts_presumed` = the deployment says that signals which conflict
    at equal trust are not to bring each of their laws. `strategy` found the client's address: named, and nothing else.

    Order and repetition of signals change nothing. Losing a signal against a place's law, or gaining one for it,
    never turns `covered` from true to false (tests/properties/test_finding_monotone.py). Where conflicts are presumed,
    an anchor that is in conflict, and of which a pin holds hints, names these alone.
    """
    spoken: dict[Anchor, list[tuple[Trust, str]]] = {}
    also: dict[Anchor, set[str]] = {}
    for signal in signals:
        if signal.trust >= SPEAKS[signal.anchor]:
            spoken.setdefault(signal.anchor, []).append((signal.trust, signal.place))
    remembered: dict[Anchor, set[str]] = {}
    if pin is not None:
        for anchor, place, trust in pin.anchors:
            if trust is Trust.HINT:  # something was written under this place's law: it is not outranked
                also.setdefault(anchor, set()).add(place)
            elif trust < SPEAKS[anchor]:
                continue  # what could not speak when it was seen does not speak because it was remembered
            elif anchor in BESIDE:
                remembered.setdefault(anchor, set()).add(place)
            else:
                # A person's own word gains nothing by being remembered: a later one contests it.
                held = trust if trust is Trust.DECLARED else Trust.PINNED
                spoken.setdefault(anchor, []).append((held, place))
    if len(presume) != len(Anchor):
        presume = presumption(presume)

    def found(anchor: Anchor) -> AnchorFinding:
        present = _beside(_ranked(spoken.get(anchor, ())), remembered.get(anchor))
        return present if anchor not in also else _with(present, also[anchor], conflicts_presumed=conflicts_presumed)

    return Finding(
        territory=found(Anchor.TERRITORY),
        citizenship=found(Anchor.CITIZENSHIP),
        residence=found(Anchor.RESIDENCE),
        collection=found(Anchor.COLLECTION),
        presume=presume,
        conflicts_presumed=conflicts_presumed,
        strategy=strategy,
    )


def _ranked(spoken: Iterable[tuple[Trust, str]]) -> AnchorFinding:
    """The highest trust speaks: places that lie within one another are established, others are contested, and so is
    what hints alone name."""
    top = max((trust for trust, _ in spoken), default=None)
    if top is None:
        return SILENT
    places = frozenset(place for trust, place in spoken if trust is top)
    if top is not Trust.HINT and nested(places):
        return AnchorFinding(established=places, trust=top)
    return AnchorFinding(contested=places, trust=top)


def nested(places: frozenset[str]) -> bool:
    """Whether of any two places one lies within the other ("CA" and "CA-QC" agree, "CA" and "US" do not)."""
    return len(places) == 1 or all(within(a, b) or within(b, a) for a in places for b in places)


def _beside(present: AnchorFinding, remembered: set[str] | None) -> AnchorFinding:
    if not remembered:
        return present
    trust = Trust.PINNED if present.trust is None else max(present.trust, Trust.PINNED)
    return AnchorFinding(present.established | remembered, present.contested, trust)


def _with(present: AnchorFinding, also: set[str], *, conflicts_presumed: bool) -> AnchorFinding:
    """`present`, and the places of a pin's hints: their laws cover, and for every other place nothing changes."""
    if present.presumed(conflicts_presumed=conflicts_presumed):
        return AnchorFinding(contested=frozenset(also), trust=Trust.HINT)
    return AnchorFinding(
        present.established, present.contested | (also - present.established), present.trust or Trust.HINT
    )
