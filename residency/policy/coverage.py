"""A finding in; which laws' places cover the person under which anchor, as the bits of integers, out.

The same answers as `Finding.covered_how` and `Finding.state` give one by one, for all places of a policy at once. One
anchor divides the places into those that it covers, those of which it is silent, and the rest, which it excludes;
presumption is then arithmetic on sets. A row of bits is one anchor, a block is one row for each anchor:

    block 0        the finding covers (place, anchor)
    block 1, 2 …   no signal of this very anchor excludes it with a trust of `excluded_by` or more
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from residency.model import Anchor, AnchorFinding, Finding, Presume, Trust
from residency.model.place import within

__all__ = ["Coverage", "Covered"]

_ANCHORS: Final = tuple(Anchor)
_NUMBER: Final = {anchor: number for number, anchor in enumerate(_ANCHORS)}
_BOUND: Final = 65_536
_FINDINGS: Final = 8_192
_Presumption = tuple[tuple[Anchor, Presume], ...]
_Chain = tuple[tuple[int, ...], bool]
_Heard = tuple[int, int, int, Trust | None]


@dataclass(frozen=True, slots=True)
class Covered:
    """What a finding comes to: `bits` by block and row; which of block 0 a presumption decided; what is known for sure.

    `known` are the (place, anchor) that are established, or excluded by signals.
    """

    bits: int
    presumed: int
    known: int


class Coverage:
    """Which of `places` cover a person; `trusts` are those that some rule's `excluded_by` names."""

    __slots__ = ("_all", "_chains", "_heard", "_held", "_near", "by_place", "places", "trusts")

    def __init__(self, places: Iterable[str], trusts: Iterable[Trust] = ()) -> None:
        self.places: Final[Sequence[str]] = tuple(sorted(set(places)))
        self.trusts: Final[Sequence[Trust]] = tuple(sorted(set(trusts)))
        self._all = (1 << len(self.places)) - 1
        rows = range(len(_ANCHORS) * (1 + len(self.trusts)))
        self.by_place: Final = tuple(
            (place, sum(1 << (row * len(self.places) + number) for row in rows))
            for number, place in enumerate(self.places)
        )
        """(place, all bits of it)."""
        self._near: dict[str, tuple[int, int]] = {}
        self._heard: dict[tuple[AnchorFinding, bool], _Heard] = {}
        self._chains: dict[int, tuple[_Presumption, tuple[_Chain, ...]]] = {}
        self._held: dict[int, tuple[Finding, Covered]] = {}

    def bit(self, place: str, anchor: Anchor, excluded_by: Trust | None = None) -> int:
        """The bit of one question; without `excluded_by` also of `presumed` and `known`."""
        block = 0 if excluded_by is None else 1 + self.trusts.index(excluded_by)
        row = block * len(_ANCHORS) + _NUMBER[anchor]
        return 1 << (row * len(self.places) + self.places.index(place))

    def plain(self, bits: int) -> int:
        """The bits of block 0 for questions of any block."""
        block = len(_ANCHORS) * len(self.places)
        found = bits
        for number in range(1, 1 + len(self.trusts)):
            found |= bits >> (number * block)
        return found & ((1 << block) - 1)

    def named(self, bits: int) -> Iterator[tuple[str, Anchor]]:
        """The (place, anchor) of the set bits, in the order of their rows."""
        while bits:
            lowest = bits & -bits
            bits ^= lowest
            row, number = divmod(lowest.bit_length() - 1, len(self.places))
            yield self.places[number], _ANCHORS[row % len(_ANCHORS)]

    def of(self, finding: Finding) -> Covered:
        """What a finding comes to: of neither time nor facts, so that new ones need not ask again."""
        held = self._held.get(id(finding))
        # The entry keeps its finding alive, so an equal id is the same object.
        if held is not None and held[0] is finding:
            return held[1]
        covered = self._of(finding)
        if len(self._held) >= _FINDINGS:
            self._held = {}
        self._held[id(finding)] = finding, covered
        return covered

    def _of(self, finding: Finding) -> Covered:
        conflicts = finding.conflicts_presumed
        heard = (
            self._hear(finding.territory, conflicts),
            self._hear(finding.citizenship, conflicts),
            self._hear(finding.residence, conflicts),
            self._hear(finding.collection, conflicts),
        )
        covered = presumed = known = shift = 0
        blocks = [0] * len(self.trusts)
        for own, (chain, otherwise) in zip(heard, self._chain(finding.presume), strict=True):
            spoken, silent, established, trust = own
            excluded = self._all & ~spoken & ~silent
            known |= (established | excluded) << shift
            for number, least in enumerate(self.trusts):
                stays = trust is None or trust < least
                blocks[number] |= (self._all if stays else self._all & ~excluded) << shift
            taken = 0
            for at in chain:
                if not silent:
                    break
                taken |= silent & heard[at][0]
                silent &= heard[at][1]
            if otherwise:
                taken |= silent
            covered |= (spoken | taken) << shift
            presumed |= taken << shift
            shift += len(self.places)
        for number, block in enumerate(blocks, start=1):
            covered |= block << (number * shift)
        return Covered(covered, presumed, known)

    def _hear(self, found: AnchorFinding, conflicts_presumed: bool) -> _Heard:
        """(places covered, places of which it is silent, places established, trust): `AnchorFinding.state` of all."""
        heard = self._heard.get((found, conflicts_presumed))
        if heard is None:
            if conflicts_presumed and found.contested and not found.established and found.trust is not Trust.HINT:
                heard = 0, self._all, 0, found.trust
            else:
                spoken = established = 0
                for place in found.established:
                    inside, around = self._around(place)
                    established |= inside
                    spoken |= around
                for place in found.contested:
                    spoken |= self._around(place)[1]
                silent = self._all & ~spoken if found.silent or found.trust is Trust.HINT else 0
                heard = spoken, silent, established, found.trust
            if len(self._heard) >= _BOUND:
                self._heard.clear()
            self._heard[found, conflicts_presumed] = heard
        return heard

    def _around(self, place: str) -> tuple[int, int]:
        """(the laws' places that `place` lies within, those and the ones that lie within it)."""
        near = self._near.get(place)
        if near is None:
            inside = sum(1 << n for n, law in enumerate(self.places) if within(place, law))
            near = inside, inside | sum(1 << n for n, law in enumerate(self.places) if within(law, place))
            if len(self._near) >= _BOUND:
                self._near.clear()
            self._near[place] = near
        return near

    def _chain(self, presume: _Presumption) -> tuple[_Chain, ...]:
        """Of each anchor: the anchors that speak for it where it is silent, in turn, and what holds where none does."""
        known = self._chains.get(id(presume))
        if known is not None and known[0] is presume:
            return known[1]
        chains = tuple(_presumption(anchor, dict(presume)) for anchor in _ANCHORS)
        if len(self._chains) >= _BOUND:
            self._chains.clear()
        self._chains[id(presume)] = presume, chains  # held, so that its id stays its own
        return chains


def _presumption(anchor: Anchor, said: dict[Anchor, Presume]) -> _Chain:
    chain: list[int] = []
    seen, at = {anchor}, anchor
    while True:
        how = said.get(at, Presume.COVERED)
        if how is Presume.COVERED or how is Presume.NOT_COVERED:
            return tuple(chain), how is Presume.COVERED
        at = Anchor.RESIDENCE if how is Presume.AS_RESIDENCE else Anchor.TERRITORY
        if at in seen:
            return tuple(chain), True  # a circle of presumptions decides nothing: covered
        seen.add(at)
        chain.append(_NUMBER[at])
