"""What clauses and `unless` ask for, as bits: evidence, finding, facts, an activity or a sink in, the tokens given out.

Only tokens that some rule mentions have a bit; whatever else a request brings is dropped here, before any memo. What
follows from the finding, the activity, the sink or the time (`known:`, `basis:`, `ai:`, `sink:`, `clock:`) is never
taken from anybody's word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from residency.model import Anchor, Clause, FactSet
from residency.policy.bits import chosen
from residency.policy.coverage import Coverage
from residency.policy.parsed import RuleDoc

__all__ = ["Tokens"]

_PURPOSE: Final = "consent:{purpose}"
_DERIVED: Final = ("known:", "basis:", "ai:", "sink:", "clock:", _PURPOSE)
# Contracts and portal ids are filings of the operator too, of the kind that repeats the token's.
_AS_FILINGS: Final = ("contract", "portal")
_ANCHORS: Final = {anchor.value: anchor for anchor in Anchor}
_BOUND: Final = 65_536


class Tokens:
    """The tokens that the rules of one policy mention."""

    __slots__ = ("_bits", "_known", "_names", "_said", "_told", "known", "purpose", "width")

    def __init__(self, rules: Iterable[RuleDoc], coverage: Coverage) -> None:
        mentioned = {token for rule in rules for clause in (*rule.duty.require, rule.unless) for token in clause}
        self._bits = {token: 1 << bit for bit, token in enumerate(sorted(mentioned))}
        self._names = tuple(sorted(mentioned))
        self.width: Final = len(mentioned)
        self._said = {token: bit for token, bit in self._bits.items() if not token.startswith(_DERIVED)}
        self.purpose: Final = self._bits.get(_PURPOSE, 0)
        """The bit of the consent to the activity's own purpose."""
        self._known = tuple(
            (coverage.bit(place, _ANCHORS[anchor]), self._bits[token])
            for token in self._names
            if token.startswith("known:")
            for anchor, _, place in [token[6:].partition(".")]
            if anchor in _ANCHORS and place in coverage.places
        )
        self.known: Final = sum({test for test, _ in self._known})
        """The bits of coverage that these tokens ask for."""
        self._told: dict[tuple[int, str | None], frozenset[str]] = {}

    def bits(self, tokens: Iterable[str]) -> int:
        """The bits of tokens; those that no rule mentions have none."""
        found = 0
        for token in tokens:
            found |= self._bits.get(token, 0)
        return found

    def said(self, evidence: Iterable[str], purpose: str | None) -> int:
        """What evidence of a person or operator gives; `purpose` is the consent to that of the activity."""
        found = 0
        for token in evidence:
            found |= self._said.get(token, 0)
            if token == purpose:
                found |= self.purpose
        return found

    def read(self, clause: Clause, purpose: str | None) -> tuple[Clause, int]:
        """(a clause as an activity with that consent to its purpose has it, the bits of what meets it)."""
        if purpose is None or _PURPOSE not in clause:
            return clause, self.bits(clause)
        return clause - {_PURPOSE} | {purpose}, self.bits(clause) | self._bits.get(purpose, 0)

    def found(self, known: int) -> int:
        """What a finding gives: the `known:` tokens for its bits of coverage."""
        found = 0
        for test, bit in self._known:
            if known & test:
                found |= bit
        return found

    def filed(self, facts: FactSet, now: int, sink: str | None = None) -> int:
        """What filings that stand at `now` (microseconds) give for everything, or only at `sink`."""
        found = 0
        for token in facts.tokens(now) if sink is None else facts.sink_tokens(sink, now):
            found |= self._said.get(token, 0)
            kind, _, rest = token.removeprefix("filing:").partition(".")
            if rest and kind in _AS_FILINGS:
                found |= self._said.get(f"{kind}:{rest}", 0)
        return found

    def told(self, given: int, purpose: str | None) -> frozenset[str]:
        """The tokens of these bits, as a decision lists them: the consent to the purpose under its own name."""
        told = self._told.get((given, purpose))
        if told is None:
            names = set(chosen(self._names, given))
            if purpose is not None and given & self.purpose:
                names = names - {_PURPOSE} | {purpose}
            if len(self._told) >= _BOUND:
                self._told.clear()
            told = self._told[given, purpose] = frozenset(names)
        return told
