"""Laws and the places that matter in; findings such that, where none of them is permitted, nobody is, out.

A rule of another place only tightens, so who is covered there is asked more of, never less: proofs look at people whom
the laws of as few places cover as may be (law by law). Of the places that matter, `watched`, a person is covered under
as few anchors as may be; only who comes under which *overriding* rule is gone through in every way, for a rule that
speaks may take another away there.

Why that is enough. Take any finding. Each place that it names is exchanged for one that lies within the same watched
places and within no other law's; what was covered there stays covered, by signals that settle it. What was excluded
stays excluded by signals that are as far to be trusted as its rules (`excluded_by`) can tell apart. Where even a hint
lifts a rule, silence alone leaves it open, and with it such rules of all places, which are then watched too. Elsewhere
nothing is covered that was not, and more is known for sure. So the same overriding rules speak, of the others no more
than did, and of tokens none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

from residency.model import Anchor, AnchorFinding, Finding, Trust
from residency.model.place import BLOCS, COUNTRIES, within
from residency.policy.coverage import Coverage
from residency.policy.parsed import DeploymentDoc, LawDoc, RuleDoc

__all__ = ["People", "Watch"]

Ruling = tuple[LawDoc, RuleDoc]
_FAMILIAR: Final = ("US", "GB", "SG", "AU", "CH", "NZ", "AR", "DE", "FR", "IT")
_FINDINGS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched: the place whose law must cover (None = nobody need be covered), and the overriding rules."""

    place: str | None
    overriding: tuple[str, ...] = ()


class People:
    """The findings that matter under one deployment and its laws."""

    def __init__(self, deployment: DeploymentDoc, laws: Sequence[LawDoc]) -> None:
        self._deployment = deployment
        self._rules: Sequence[Ruling] = tuple((law, rule) for law in laws for rule in law.rules)
        self.places: Final = frozenset(law.jurisdiction for law in laws)
        trusts = {rule.excluded_by for _, rule in self._rules if rule.excluded_by is not None}
        self._coverage = Coverage(self.places, trusts)
        self._elsewhere: Final = self._unruled()
        self._by_id = {rule.id: (law, rule) for law, rule in self._rules}
        self._known: dict[Watch, tuple[Finding, ...] | int] = {}

    def under(self, watch: Watch) -> tuple[Finding, ...] | int:
        """The findings to go through; a number where there are so many that it is not done."""
        found = self._known.get(watch)
        if found is None:
            found = self._known[watch] = self._find(watch)
        return found

    def nobody(self) -> Finding:
        """Somebody whom no law covers."""
        return self.covered(())

    def covered(self, places: Iterable[str], anchors: Iterable[Anchor] = tuple(Anchor)) -> Finding:
        """Somebody whom the laws of all these places cover under these anchors and no other law does, proven."""
        elsewhere = AnchorFinding(frozenset({self._elsewhere}), trust=Trust.VERIFIED)
        inside = frozenset(self._inside(place) or place for place in places)
        there = AnchorFinding(inside, trust=Trust.VERIFIED) if inside else elsewhere
        return self._finding(*(there if anchor in set(anchors) else elsewhere for anchor in Anchor))

    def _finding(self, *anchors: AnchorFinding) -> Finding:
        deployment = self._deployment
        territory, citizenship, residence, collection = anchors
        return Finding(
            territory,
            citizenship,
            residence,
            collection,
            presume=deployment.presume,
            conflicts_presumed=deployment.conflicts_presumed,
        )

    # -- the search

    def _find(self, watch: Watch) -> tuple[Finding, ...] | int:
        if watch.place is None and not watch.overriding:
            return (self.nobody(),)
        overriding = [self._by_id[name] for name in watch.overriding]
        told = {place for _, place in _known_by(overriding)}
        watched = self._around({law.jurisdiction for law, _ in overriding} | told, watch.place)
        rules = [(law, rule) for law, rule in self._rules if law.jurisdiction in watched]
        anchors = {anchor for _, rule in rules for anchor in rule.anchors}
        anchors |= {anchor for anchor, _ in _known_by(overriding)}
        inside = [each for place in watched if (each := self._inside(place)) is not None]
        options = self._options(inside, rules, contested=bool(told))
        count = int(len(options) ** len(anchors))
        if count > _FINDINGS or len(inside) < len(watched):
            return count
        away = self._options((), (), contested=False)[:1]
        seen: dict[tuple[int, int], Finding] = {}
        for chosen in product(*(options if anchor in anchors else away for anchor in Anchor)):
            finding = self._finding(*chosen)
            covered = self._coverage.of(finding)
            seen.setdefault((covered.bits, covered.known), finding)
        kept: dict[Finding, None] = {}
        for wanted in self._wanted(watch, rules):
            kept.update(dict.fromkeys(_least(seen, wanted, self._speaking(overriding))))
        return tuple(kept)

    def _wanted(self, watch: Watch, rules: Iterable[Ruling]) -> tuple[int, ...]:
        """Bits of coverage, one of which must stand; 0 = none need."""
        if watch.place is None:
            return (0,)
        place = watch.place
        found = {
            self._coverage.bit(place, anchor, rule.excluded_by)
            for law, rule in rules
            if law.jurisdiction == place
            for anchor in rule.anchors
        }
        return tuple(sorted(found))

    def _speaking(self, overriding: Sequence[Ruling]) -> Callable[[int, int], tuple[bool, ...]]:
        """Which of the overriding rules cover a person, and which of the tokens that lift them are known."""
        tests = [
            sum({self._coverage.bit(law.jurisdiction, anchor, rule.excluded_by) for anchor in rule.anchors})
            for law, rule in overriding
        ]
        lifts = [self._coverage.bit(place, anchor) for anchor, place in _known_by(overriding) if place in self.places]
        return lambda bits, known: (*(bool(bits & t) for t in tests), *(bool(known & t) for t in lifts))

    def _options(self, inside: Sequence[str], rules: Iterable[Ruling], *, contested: bool) -> tuple[AnchorFinding, ...]:
        """What one anchor may be found to be, as far as the watched places can tell it apart."""
        least = {rule.excluded_by for _, rule in rules if rule.excluded_by is not None}
        trusts = [Trust.VERIFIED]
        trusts += [max(lower) for t in sorted(least) if (lower := [u for u in Trust if Trust.HINT < u < t])]
        if least or contested:
            trusts.append(Trust.HINT)
        elsewhere = frozenset({self._elsewhere})
        # No signal is weaker than a hint: what even a hint excludes is left open by silence alone.
        found: dict[AnchorFinding, None] = {AnchorFinding(): None} if Trust.HINT in least else {}
        for there in _subsets(inside):
            for unsure in _subsets(inside) if contested else (frozenset[str](),):
                # With something established, what is contested stays so, whatever `presume: {conflicts: …}` says.
                established = there or elsewhere
                found.update(
                    (AnchorFinding(established, unsure - there, trust), None) for trust in dict.fromkeys(trusts)
                )
        return tuple(found)

    def _around(self, places: set[str], place: str | None) -> tuple[str, ...]:
        """These places of laws, and those that one of them lies within."""
        wanted = (places | {place}) if place is not None else places
        return tuple(sorted(p for p in self.places if any(within(w, p) for w in wanted)))

    # -- places to name

    def _unruled(self) -> str:
        """A country that no law is of."""
        for country in (*_FAMILIAR, *sorted(COUNTRIES)):
            if not any(within(country, place) or within(place, country) for place in self.places):
                return country
        return "ZZ"  # user-assigned by ISO 3166: the high seas, once every country has its law

    def _inside(self, place: str) -> str | None:
        """A place within `place` that lies within no law's place but this one and those around it; None = no such."""
        if place in BLOCS:
            members = BLOCS[place]
            tried: Iterable[str] = (*(c for c in _FAMILIAR if c in members), *sorted(members))
        else:
            tried = (place, *(f"{place[:2]}-Z{letter}" for letter in "ZYXWVU"))
        for each in tried:
            near = [other for other in self.places if within(each, other) or within(other, each)]
            if within(each, place) and all(within(place, other) for other in near):
                return each
        return None


def _known_by(overriding: Iterable[Ruling]) -> list[tuple[Anchor, str]]:
    """The anchors and places of the `known:` tokens that lift these rules."""
    tokens = {token for _, rule in overriding for token in rule.unless if token.startswith("known:")}
    split = [token.removeprefix("known:").partition(".") for token in sorted(tokens)]
    return [(Anchor(anchor), place) for anchor, _, place in split]


def _subsets(values: Sequence[str]) -> Iterator[frozenset[str]]:
    for size in range(len(values) + 1):
        yield from map(frozenset, combinations(values, size))


def _least(
    seen: dict[tuple[int, int], Finding], wanted: int, speaking: Callable[[int, int], tuple[bool, ...]]
) -> Iterator[Finding]:
    """Of the findings with a bit of `wanted`: of those under the same overriding rules, the least covered ones."""
    groups: dict[tuple[bool, ...], list[tuple[int, int]]] = {}
    for bits, known in seen:
        if not wanted or bits & wanted:
            groups.setdefault(speaking(bits, known), []).append((bits, known))
    for group in groups.values():
        kept: list[tuple[int, int]] = []
        for bits, known in sorted(group, key=lambda pair: (pair[0].bit_count(), -pair[1].bit_count())):
            # Covered under no more, and of no less is anything known: who is permitted anything is permitted this too.
            if not any(b & ~bits == 0 and known & ~k == 0 for b, k in kept):
                kept.append((bits, known))
        yield from (seen[pair] for pair in kept)
