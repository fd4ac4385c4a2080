"""What was observed about a person and whose law it points to: Anchor, Trust, Signal, Finding.

A `Finding` answers, for any law's place and any anchor, one of four states. It keeps anchors apart because laws do:
localisation looks at use on the territory, the personal-data law at citizenship (LAW.md section 0.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from typing import Final

from residency.model.place import within

__all__ = ["SILENT", "Anchor", "AnchorFinding", "Finding", "Presume", "Signal", "State", "Trust"]


class Anchor(StrEnum):
    """Why a law covers someone."""

    TERRITORY = "territory"
    CITIZENSHIP = "citizenship"
    RESIDENCE = "residence"
    COLLECTION = "collection"


class Trust(IntEnum):
    """How far an observation is to be trusted; a higher value outranks a lower one."""

    HINT = 1
    NETWORK = 2
    DECLARED = 3
    PINNED = 4
    VERIFIED = 5


class State(StrEnum):
    """What is known of one law's place and one anchor. `UNDETERMINED` counts as covered; `SILENT` is presumed."""

    ESTABLISHED = "established"
    EXCLUDED = "excluded"
    UNDETERMINED = "undetermined"
    SILENT = "silent"


class Presume(Enum):
    """What a silent anchor is taken for (the deployment's `presume:`)."""

    COVERED = "covered"
    NOT_COVERED = "not_covered"
    AS_RESIDENCE = "as_residence"
    AS_TERRITORY = "as_territory"


@dataclass(frozen=True, slots=True)
class Signal:
    """One observation: this anchor points to this place, says that source, so far to be trusted."""

    anchor: Anchor
    place: str
    trust: Trust
    source: str


@dataclass(frozen=True, slots=True)
class AnchorFinding:
    """One anchor resolved: places it established, places it leaves contested, and the trust that carried it.

    Both empty = silent. A place in neither set is excluded as soon as one of the sets speaks.
    """

    established: frozenset[str] = frozenset()
    contested: frozenset[str] = frozenset()
    trust: Trust | None = None

    @property
    def silent(self) -> bool:
        """Whether no signal speaks for this anchor."""
        return not self.established and not self.contested

    @property
    def places(self) -> frozenset[str]:
        """Every place that this anchor names."""
        return self.established | self.contested

    def presumed(self, *, conflicts_presumed: bool) -> bool:
        """Whether signals speak and decide nothing: they conflict at equal trust, and `conflicts_presumed`."""
        return conflicts_presumed and bool(self.contested) and not self.established and self.trust is not Trust.HINT

    def state(self, place: str, *, conflicts_presumed: bool = False) -> State:
        """The state of `place` (a law's territory: country, sub-national unit or bloc) under this anchor.

        `conflicts_presumed` = signals that conflict at equal trust decide nothing, as if none had spoken.
        """
        if self.presumed(conflicts_presumed=conflicts_presumed):
            return State.SILENT
        if any(within(p, place) for p in self.established):
            return State.ESTABLISHED
        # A country is known where the law speaks of a part of it: the part is possible, so it is not excluded.
        if any(within(place, p) for p in self.established) or any(
            within(p, place) or within(place, p) for p in self.contested
        ):
            return State.UNDETERMINED
        # A hint is too weak to exclude anybody: where only hints speak, other places are as if nobody had spoken. Were
        # they undetermined instead, losing the hint could lift coverage (ADR 0006).
        return State.SILENT if self.silent or self.trust is Trust.HINT else State.EXCLUDED


SILENT: Final = AnchorFinding()


@dataclass(frozen=True, slots=True)
class Finding:
    """All anchors of one person at one request. Hashable, so that findings are interned and decisions memoised."""

    territory: AnchorFinding = SILENT
    citizenship: AnchorFinding = SILENT
    residence: AnchorFinding = SILENT
    collection: AnchorFinding = SILENT
    presume: tuple[tuple[Anchor, Presume], ...] = field(
        default=(
            (Anchor.TERRITORY, Presume.COVERED),
            (Anchor.CITIZENSHIP, Presume.AS_RESIDENCE),
            (Anchor.RESIDENCE, Presume.AS_TERRITORY),
            (Anchor.COLLECTION, Presume.AS_TERRITORY),
        )
    )
    conflicts_presumed: bool = False
    """Whether an anchor that signals of equal trust contest is presumed, instead of covered by each of their laws."""
    strategy: str | None = None
    """The strategy by which the client's address was looked for; None where no request is behind the finding."""

    def anchor(self, anchor: Anchor) -> AnchorFinding:
        """The finding of one anchor."""
        match anchor:
            case Anchor.TERRITORY:
                return self.territory
            case Anchor.CITIZENSHIP:
                return self.citizenship
            case Anchor.RESIDENCE:
                return self.residence
            case Anchor.COLLECTION:
                return self.collection

    def state(self, place: str, anchor: Anchor) -> State:
        """One of the four states for a law's place and an anchor, before presumption."""
        return self.anchor(anchor).state(place, conflicts_presumed=self.conflicts_presumed)

    def covered(self, place: str, anchor: Anchor) -> bool:
        """Whether the law of `place` counts this person as covered under `anchor`, presumption included."""
        return self.covered_how(place, anchor)[0]

    def covered_how(self, place: str, anchor: Anchor) -> tuple[bool, bool]:
        """(covered, presumed): `presumed` is true where no signal of this anchor spoke and `presume:` decided."""
        state = self.state(place, anchor)
        if state is not State.SILENT:
            return state is not State.EXCLUDED, False
        presumptions = dict(self.presume)
        seen = {anchor}
        at = anchor
        while True:
            how = presumptions[at]
            if how is Presume.COVERED or how is Presume.NOT_COVERED:
                return how is Presume.COVERED, True
            at = Anchor.RESIDENCE if how is Presume.AS_RESIDENCE else Anchor.TERRITORY
            if at in seen:
                return True, True  # a circle of presumptions decides nothing: covered
            seen.add(at)
            state = self.state(place, at)
            if state is not State.SILENT:
                return state is not State.EXCLUDED, True
