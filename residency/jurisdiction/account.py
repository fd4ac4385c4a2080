"""What became of each signal: the signals and the pin in, for each whether it spoke, and if not why not, out.

For people who ask why (`residency explain`). It follows the rules of `precedence`, as `resolve` does, and a property
holds the two together: what this module says was heard, and nothing else, makes the finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from residency.jurisdiction.precedence import BESIDE, SPEAKS
from residency.jurisdiction.resolve import nested
from residency.model.finding import Anchor, Signal, Trust
from residency.model.subject import Pin

__all__ = ["Heard", "Voice", "account"]

_ALSO: Final = "something was written under this place's law, which covers it since, and excludes no other"


class Voice(StrEnum):
    """What became of a signal."""

    SPOKE = "spoke"
    CONFLICTS = "conflicts"
    HINTS = "hints"
    OUTRANKED = "outranked"
    MAY_NOT_SPEAK = "may_not_speak"


@dataclass(frozen=True, slots=True)
class Heard:
    """One signal and what became of it; `because` is a sentence without personal data."""

    signal: Signal
    voice: Voice
    because: str

    @property
    def discarded(self) -> bool:
        """Whether the signal changed nothing."""
        return self.voice in (Voice.OUTRANKED, Voice.MAY_NOT_SPEAK)


def account(signals: Iterable[Signal], pin: Pin | None) -> tuple[Heard, ...]:
    """Every signal once, those of the pin included (their source is "pin"), by anchor and falling trust."""
    said = list(dict.fromkeys(signals))
    beside: list[Signal] = []
    also: list[Signal] = []
    if pin is not None:
        for anchor, place, trust in pin.anchors:
            if trust is Trust.HINT:
                also.append(Signal(anchor, place, trust, "pin"))
                continue
            weak = trust < SPEAKS[anchor]
            held = trust if weak or (trust is Trust.DECLARED and anchor not in BESIDE) else Trust.PINNED
            signal = Signal(anchor, place, held, "pin")
            (beside if anchor in BESIDE and held is Trust.PINNED else said).append(signal)
    told: list[Heard] = []
    for anchor in Anchor:
        here = sorted((s for s in said if s.anchor is anchor), key=lambda s: (-s.trust, s.place, s.source))
        told += [
            Heard(s, Voice.SPOKE, "a pinned place stands beside what is seen today")
            for s in beside
            if s.anchor is anchor
        ]
        told += [Heard(s, Voice.HINTS, _ALSO) for s in also if s.anchor is anchor]
        told += _ranked(here)
    return tuple(told)


def _ranked(here: Sequence[Signal]) -> Iterable[Heard]:
    top = max((s.trust for s in here if s.trust >= SPEAKS[s.anchor]), default=None)
    places = frozenset(s.place for s in here if s.trust is top)
    for signal in here:
        if signal.trust < SPEAKS[signal.anchor]:
            what = f"a signal of trust `{_word(signal.trust)}` says nothing of {signal.anchor}"
            yield Heard(signal, Voice.MAY_NOT_SPEAK, what)
        elif signal.trust is not top:
            yield Heard(signal, Voice.OUTRANKED, f"`{_word(top or signal.trust)}` outranks `{_word(signal.trust)}`")
        elif top is Trust.HINT:
            yield Heard(signal, Voice.HINTS, "a hint lets its place's law cover, and excludes no other")
        elif nested(places):
            yield Heard(signal, Voice.SPOKE, f"nothing outranks `{_word(signal.trust)}` here")
        else:
            others = ", ".join(sorted(places - {signal.place}))
            yield Heard(signal, Voice.CONFLICTS, f"as much trusted as what says {others}: the laws of each cover")


def _word(trust: Trust) -> str:
    return trust.name.lower()
