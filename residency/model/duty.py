"""What laws require, slot by slot, and how the duties of several laws become one.

Three kinds of join, and only these (ADR 0002): the union of sets, the meet of places, the maximum of an order.
Each is commutative, associative and idempotent, and joining never removes a duty or lowers an effect; so adding a
law never permits more.

| slot                                     | join                                                       |
|------------------------------------------|------------------------------------------------------------|
| copies, first_write                      | union of places                                            |
| only                                     | meet of places; None = anywhere; empty = conflict          |
| require, retain, protect, log, label     | union                                                      |
| deadlines                                | union                                                      |
| effect                                   | maximum of permit < hold < deny                            |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from itertools import combinations
from typing import Final

from residency.model.calendar import Term
from residency.model.place import meet, normal, within

__all__ = [
    "NEUTRAL",
    "Bound",
    "Clause",
    "Conflict",
    "Deadline",
    "Duty",
    "Effect",
    "Protection",
    "Retention",
    "join",
    "treatment",
]


class Effect(IntEnum):
    """What may happen; the higher value wins a join."""

    PERMIT = 0
    HOLD = 1
    DENY = 2

    @property
    def word(self) -> str:
        """The lower-case name used in policy files, entries and labels."""
        return self.name.lower()


class Bound(StrEnum):
    """Whether a retention is a floor or a ceiling."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"


# One clause holds when the evidence has any of its tokens ("identity:phone", "filing:vn.transfer_dossier").
# The empty clause is the empty any-of: nothing satisfies it, so it forbids.
Clause = frozenset[str]


@dataclass(frozen=True, slots=True, order=True)
class Retention:
    """Keep `category` for at least or at most `months` + `days` from an event such as `last_use`.

    Or for as long as the system lives (`lifetime`). `scope` names the copies meant (`backup` ...); "" = every copy.
    """

    category: str
    bound: Bound
    months: int
    days: int
    start: str
    lifetime: bool = False
    scope: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Protection:
    """Treat `field` in `direction` (in, out, rest) by `transform`; `effect` is its legal weight."""

    field: str
    direction: str
    transform: str
    effect: str


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """Do `task` (such as `subject.erase`) within `term` of `event`, on the working days of the law of `place`."""

    task: str
    term: Term
    event: str
    place: str


class Conflict(StrEnum):
    """Duties that cannot all be met."""

    FIRST_WRITE_TWICE = "first_write in two countries"
    ONLY_NOWHERE = "only: no region is left"
    COPY_OUTSIDE_ONLY = "a copy is required outside `only`"
    FIRST_WRITE_OUTSIDE_ONLY = "first_write is required outside `only`"
    TREATMENT = "no one treatment of a field is all that is asked"


# What each transform also achieves (ADR 0002): what is dropped or refused needs no other treatment, a token or a hash
# shows no more than a mask.
_ACHIEVES: Final[dict[str, frozenset[str]]] = {
    "drop": frozenset({"drop", "refuse", "tokenise", "hash", "encrypt", "mask"}),
    "refuse": frozenset({"drop", "refuse", "tokenise", "hash", "encrypt", "mask"}),
    "tokenise": frozenset({"tokenise", "mask"}),
    "hash": frozenset({"hash", "mask"}),
    "encrypt": frozenset({"encrypt"}),
    "mask": frozenset({"mask"}),
}
TRANSFORMS: Final = tuple(_ACHIEVES)


def treatment(asked: frozenset[str]) -> str | None:
    """The one of the transforms `asked` that achieves all of them, the mildest first; None where none does.

    A field that is to be both refused and dropped is refused: the request says why.
    """
    for transform in reversed(TRANSFORMS):
        if transform in asked and asked <= _ACHIEVES[transform]:
            return transform
    return None


@dataclass(frozen=True, slots=True)
class Duty:
    """The joined requirements of all rules that apply. `only` is None for anywhere, else a normal set of places."""

    copies: frozenset[str] = frozenset()
    first_write: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    require: frozenset[Clause] = frozenset()
    retain: frozenset[Retention] = frozenset()
    protect: frozenset[Protection] = frozenset()
    log: frozenset[str] = frozenset()
    label: frozenset[str] = frozenset()
    effect: Effect = Effect.PERMIT
    deadlines: frozenset[Deadline] = frozenset()
    conflicts: frozenset[Conflict] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.only is not None:
            object.__setattr__(self, "only", normal(self.only))
        object.__setattr__(self, "conflicts", _conflicts(self))


def join(a: Duty, b: Duty) -> Duty:
    """One duty that asks all that `a` and `b` ask."""
    only = b.only if a.only is None else a.only if b.only is None else meet(a.only, b.only)
    return Duty(
        copies=a.copies | b.copies,
        first_write=a.first_write | b.first_write,
        only=only,
        require=a.require | b.require,
        retain=a.retain | b.retain,
        protect=a.protect | b.protect,
        log=a.log | b.log,
        label=a.label | b.label,
        effect=max(a.effect, b.effect),
        deadlines=a.deadlines | b.deadlines,
    )


def _conflicts(duty: Duty) -> frozenset[Conflict]:
    found = set()
    if len(duty.first_write) > 1:
        found.add(Conflict.FIRST_WRITE_TWICE)
    if duty.only is not None:
        if not duty.only:
            found.add(Conflict.ONLY_NOWHERE)
        elif any(not any(within(place, o) for o in duty.only) for place in duty.copies):
            found.add(Conflict.COPY_OUTSIDE_ONLY)
        if duty.only and any(not any(within(place, o) for o in duty.only) for place in duty.first_write):
            found.add(Conflict.FIRST_WRITE_OUTSIDE_ONLY)
    # Pair by pair, so that a conflict never heals: a third law that asks to drop the field permits nothing more.
    for one, other in combinations(duty.protect, 2):
        alike = (one.field, one.direction) == (other.field, other.direction)
        if alike and treatment(frozenset({one.transform, other.transform})) is None:
            found.add(Conflict.TREATMENT)
            break
    return frozenset(found)


NEUTRAL: Final = Duty()
