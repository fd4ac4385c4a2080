"""A set of rules (bits of the rulebook) in; the one duty that they join to, and whom to cite for each part of it, out.

A slot that joins by union has an element exactly where one of the rules that bring it is in the set, so joining a
thousand duties takes one look at each distinct element, not a thousand joins.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from residency.model import Clause, Conflict, Duty, Effect, Reason
from residency.model.place import meet
from residency.policy.parsed import RuleDoc
from residency.policy.tokens import Tokens

__all__ = ["Asked", "Duties", "Joined", "Places"]

_BOUND: Final = 65_536
_Element = TypeVar("_Element", bound=Hashable)
_Bits = int
# A clause that only the operator can meet, in one of these ways, is a matter of filings.
_OPERATOR: Final = frozenset({"filing", "contract", "portal", "basis", "ai", "sink"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One clause: its tokens and the rules that ask it as bits, what its failing is called, whether sinks are asked."""

    clause: Clause
    tokens: int
    reason: Reason
    at_sinks: bool
    rules: _Bits


@dataclass(frozen=True, slots=True)
class Joined:
    """What judging looks at, of a set of rules: the clauses they ask, and what their duties say of places together."""

    asked: tuple[Asked, ...]
    places: Places


@dataclass(frozen=True, slots=True)
class Places:
    """`only` and `conflicts` as of a duty. A write must go to all `homes`, the data best goes to one of `near`."""

    only: frozenset[str] | None
    conflicts: frozenset[Conflict]
    homes: frozenset[str]
    near: frozenset[str]


class Duties:
    """The duties of the rules of a policy, joined on demand; `purpose` is the consent to the purpose of an activity."""

    __slots__ = (
        "_asked", "_asking", "_copies", "_deadlines", "_duties", "_first_write", "_joined", "_label", "_log", "_only",
        "_places", "_protect", "_retain", "denying", "forbidding", "holding", "homing", "placing", "protecting",
        "restricting",
    )  # fmt: skip

    def __init__(self, rules: Iterable[RuleDoc], tokens: Tokens, purpose: str | None = None) -> None:
        duties = [rule.duty for rule in rules]
        self._copies = _elements(d.copies for d in duties)
        self._first_write = _elements(d.first_write for d in duties)
        self._only = _elements(() if d.only is None else (d.only,) for d in duties)
        self._retain = _elements(d.retain for d in duties)
        self._protect = _elements(d.protect for d in duties)
        self._log = _elements(d.log for d in duties)
        self._label = _elements(d.label for d in duties)
        self._deadlines = _elements(d.deadlines for d in duties)
        read = {clause: tokens.read(clause, purpose) for duty in duties for clause in duty.require}
        meeting: dict[Clause, int] = {}
        for clause, bits in read.values():
            meeting[clause] = meeting.get(clause, 0) | bits
        clauses = dict(_elements([read[clause][0] for clause in d.require] for d in duties))
        self._asked = tuple(
            Asked(clause, meeting[clause], _lack(clause), any(t.startswith("sink:") for t in clause), clauses[clause])
            for clause in sorted(clauses, key=sorted)
        )
        self._asking = _all(tuple(clauses.items()))
        self._joined: dict[_Bits, Joined] = {}
        self._places: dict[_Bits, Places] = {}
        self._duties: dict[_Bits, Duty] = {}
        effects = dict(_elements((d.effect,) for d in duties))
        self.denying: Final = effects.get(Effect.DENY, 0)
        self.holding: Final = effects.get(Effect.HOLD, 0)
        self.forbidding: Final = self.denying | clauses.get(frozenset(), 0)
        self.restricting: Final = _all(self._only)
        self.homing: Final = _all(self._copies) | _all(self._first_write)
        self.placing: Final = self.restricting | self.homing
        self.protecting: Final = _all(self._protect)

    def joined(self, rules: _Bits) -> Joined:
        """What judging looks at, of the duties of these rules together."""
        joined = self._joined.get(rules)
        if joined is None:
            if len(self._joined) >= _BOUND:
                self._joined = {}
            # Most sets of rules say the same of places: those that say anything are few.
            placed = rules & (self.placing | self.protecting)
            places = self._places.get(placed)
            if places is None:
                if len(self._places) >= _BOUND:
                    self._places = {}
                places = self._places[placed] = self._place(placed)
            asked = tuple([one for one in self._asked if one.rules & rules]) if rules & self._asking else ()
            joined = self._joined[rules] = Joined(asked, places)
        return joined

    def duty(self, rules: _Bits) -> Duty:
        """The join of the duties of these rules."""
        duty = self._duties.get(rules)
        if duty is None:
            if len(self._duties) >= _BOUND:
                self._duties = {}
            duty = self._duties[rules] = Duty(
                copies=_union(self._copies, rules),
                first_write=_union(self._first_write, rules),
                only=self.joined(rules).places.only,
                require=frozenset([one.clause for one in self.joined(rules).asked]),
                retain=_union(self._retain, rules),
                protect=_union(self._protect, rules),
                log=_union(self._log, rules),
                label=_union(self._label, rules),
                effect=self.effect(rules),
                deadlines=_union(self._deadlines, rules),
            )
        return duty

    def effect(self, rules: _Bits) -> Effect:
        """The highest effect of these rules."""
        return Effect.DENY if rules & self.denying else Effect.HOLD if rules & self.holding else Effect.PERMIT

    def _place(self, rules: _Bits) -> Places:
        only: frozenset[str] | None = None
        for places, bits in self._only:
            if bits & rules:
                only = places if only is None else meet(only, places)
        duty = Duty(
            copies=_union(self._copies, rules),
            first_write=_union(self._first_write, rules),
            only=only,
            protect=_union(self._protect, rules),
        )
        homes = duty.copies | duty.first_write
        return Places(duty.only, duty.conflicts, homes, homes | (duty.only or frozenset()))


def _elements(slots: Iterable[Iterable[_Element]]) -> tuple[tuple[_Element, _Bits], ...]:
    """Each distinct element of one slot, and the rules that bring it."""
    found: dict[_Element, int] = {}
    for number, slot in enumerate(slots):
        for element in slot:
            found[element] = found.get(element, 0) | 1 << number
    return tuple(found.items())


def _union(elements: tuple[tuple[_Element, _Bits], ...], rules: _Bits) -> frozenset[_Element]:
    return frozenset([element for element, bits in elements if bits & rules])


def _all(elements: tuple[tuple[_Element, _Bits], ...]) -> _Bits:
    found = 0
    for _, bits in elements:
        found |= bits
    return found


def _lack(clause: Clause) -> Reason:
    """What it is called where nothing meets a clause; running terms aside."""
    kinds = {token.partition(":")[0] for token in clause} - {"clock"}
    if kinds == {"sink"}:
        return Reason.SINK_UNFIT
    if kinds <= _OPERATOR:
        return Reason.FILING_MISSING
    return Reason.CONSENT_MISSING if kinds == {"consent"} else Reason.IDENTITY_MISSING
