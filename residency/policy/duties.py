"""A set of rules (bits of the rulebook) in; the one duty that they join to, and whom to cite for each part of it, out.

A slot that joins by union has an element exactly where one of the rules that bring it is in the set. So many duties
are joined by one look at each distinct element, few by one look at each rule, and either way once for each slot.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from copy import copy
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from residency.model import Clause, Conflict, Duty, Effect, Reason
from residency.model.place import meet
from residency.policy.bits import bits_where, chosen
from residency.policy.parsed import RuleDoc
from residency.policy.tokens import Tokens

__all__ = ["LACKS", "Asked", "Duties", "Joined", "Places"]

# What may be missing, in the order in which it is told.
LACKS: Final = (Reason.FILING_MISSING, Reason.SINK_UNFIT, Reason.CONSENT_MISSING, Reason.IDENTITY_MISSING)
_BOUND: Final = 65_536
_Element = TypeVar("_Element", bound=Hashable)
_Bits = int
# A clause that only the operator can meet, in one of these ways, is a matter of filings.
_OPERATOR: Final = frozenset({"filing", "contract", "portal", "basis", "ai", "sink"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One clause: its tokens and the rules that ask it as bits, what it lacks where unmet, whether sinks are asked."""

    clause: Clause
    tokens: int
    lack: int
    """Its place in `LACKS`."""
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
    """The duties of the rules of a policy, joined on demand."""

    __slots__ = (
        "_asked", "_asking", "_clauses", "_copies", "_deadlines", "_duties", "_first_write", "_joined", "_label",
        "_log", "_only", "_places", "_protect", "_retain", "denying", "forbidding", "holding", "homing", "placing",
        "protecting", "restricting",
    )  # fmt: skip

    def __init__(self, rules: Iterable[RuleDoc], tokens: Tokens) -> None:
        duties = [rule.duty for rule in rules]
        self._copies = _Slot(d.copies for d in duties)
        self._first_write = _Slot(d.first_write for d in duties)
        self._only = _Slot(() if d.only is None else (d.only,) for d in duties)
        self._retain = _Slot(d.retain for d in duties)
        self._protect = _Slot(d.protect for d in duties)
        self._log = _Slot(d.log for d in duties)
        self._label = _Slot(d.label for d in duties)
        self._deadlines = _Slot(d.deadlines for d in duties)
        self.denying: Final = bits_where(d.effect is Effect.DENY for d in duties)
        self.holding: Final = bits_where(d.effect is Effect.HOLD for d in duties)
        self.forbidding: Final = self.denying | bits_where(frozenset() in d.require for d in duties)
        self.restricting: Final = self._only.rules
        self.homing: Final = self._copies.rules | self._first_write.rules
        self.placing: Final = self.restricting | self.homing
        self.protecting: Final = self._protect.rules
        self._clauses: Final = tuple(d.require for d in duties)
        self._read(tokens, None)

    def of_purpose(self, tokens: Tokens, purpose: str) -> Duties:
        """These duties as an activity has them: `purpose` is the consent to what it states."""
        other = copy(self)
        other._read(tokens, purpose)
        return other

    def _read(self, tokens: Tokens, purpose: str | None) -> None:
        # Clauses by their place in the order that decisions list them in.
        read = {clause: tokens.read(clause, purpose) for require in self._clauses for clause in require}
        meeting: dict[Clause, int] = {}
        for clause, bits in read.values():
            meeting[clause] = meeting.get(clause, 0) | bits
        places = {clause: place for place, clause in enumerate(sorted(meeting, key=sorted))}
        self._asking = _Slot([places[read[clause][0]] for clause in require] for require in self._clauses)
        self._asked = tuple(
            Asked(
                clause,
                meeting[clause],
                _lack(clause),
                any(token.startswith("sink:") for token in clause),
                self._asking.by_element[place],
            )
            for clause, place in places.items()
        )
        self._joined: dict[_Bits, Joined] = {}
        self._places: dict[_Bits, Places] = {}
        self._duties: dict[_Bits, Duty] = {}

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
            asked = tuple([self._asked[place] for place in sorted(self._asking.union(rules))])
            joined = self._joined[rules] = Joined(asked, places)
        return joined

    def duty(self, rules: _Bits) -> Duty:
        """The join of the duties of these rules."""
        duty = self._duties.get(rules)
        if duty is None:
            if len(self._duties) >= _BOUND:
                self._duties = {}
            duty = self._duties[rules] = Duty(
                copies=self._copies.union(rules),
                first_write=self._first_write.union(rules),
                only=self.joined(rules).places.only,
                require=frozenset([one.clause for one in self.joined(rules).asked]),
                retain=self._retain.union(rules),
                protect=self._protect.union(rules),
                log=self._log.union(rules),
                label=self._label.union(rules),
                effect=self.effect(rules),
                deadlines=self._deadlines.union(rules),
            )
        return duty

    def effect(self, rules: _Bits) -> Effect:
        """The highest effect of these rules."""
        return Effect.DENY if rules & self.denying else Effect.HOLD if rules & self.holding else Effect.PERMIT

    def _place(self, rules: _Bits) -> Places:
        only: frozenset[str] | None = None
        for places in self._only.union(rules):
            only = places if only is None else meet(only, places)
        duty = Duty(
            copies=self._copies.union(rules),
            first_write=self._first_write.union(rules),
            only=only,
            protect=self._protect.union(rules),
        )
        homes = duty.copies | duty.first_write
        return Places(duty.only, duty.conflicts, homes, homes | (duty.only or frozenset()))


class _Slot(Generic[_Element]):
    """One slot that joins by union: what each rule brings, and by which rules each element is brought."""

    __slots__ = ("by_element", "by_rule", "rules")

    def __init__(self, brought: Iterable[Iterable[_Element]]) -> None:
        self.by_rule: Final = tuple(frozenset(each) for each in brought)
        self.by_element: Final[dict[_Element, _Bits]] = {}
        self.rules: _Bits = 0
        for number, elements in enumerate(self.by_rule):
            for element in elements:
                self.by_element[element] = self.by_element.get(element, 0) | 1 << number
                self.rules |= 1 << number

    def union(self, rules: _Bits) -> frozenset[_Element]:
        """What these rules bring together."""
        bits = rules & self.rules
        if not bits:
            return frozenset()
        if bits.bit_count() < len(self.by_element):
            return frozenset().union(*chosen(self.by_rule, bits))
        return frozenset([element for element, brought in self.by_element.items() if brought & bits])


def _lack(clause: Clause) -> int:
    """The place in `LACKS` of what is missing where nothing meets a clause; running terms aside."""
    kinds = {token.partition(":")[0] for token in clause} - {"clock"}
    if kinds == {"sink"}:
        return LACKS.index(Reason.SINK_UNFIT)
    if kinds <= _OPERATOR:
        return LACKS.index(Reason.FILING_MISSING)
    return LACKS.index(Reason.CONSENT_MISSING if kinds - _OPERATOR == {"consent"} else Reason.IDENTITY_MISSING)
