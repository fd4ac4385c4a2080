"""Two country databases, each read whole as a layer, in; how far they agree, in general and on one country, out.

Nothing is sampled: the intervals of both are laid over one another. Special-purpose networks are left out, and so is
IPv6 that a database answers as the IPv4 address within it. "Here" is the first database, "there" the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range
from itertools import chain
from typing import Any, Final

from residency.signals.table_layers import SPECIAL, Intervals, Layer, overlay
from residency.signals.table_sources import special_layer

__all__ = ["Family", "compare", "told_generally", "told_of"]

_PAIRS: Final = 10
_EXAMPLES: Final = 3
Pair = tuple[str | None, str | None]
"""(country here, country there); None = it knows none."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family's addresses by what both databases say of them."""

    unit: str
    bits: int
    shift: int
    """Addresses are of so many bits, and counted in units of 2**shift."""
    spans: Mapping[Pair, Sequence[tuple[int, int]]]
    """(first address, the one after the last) of each stretch."""
    counts: Mapping[Pair, int]
    """Addresses."""

    def amount(self, addresses: int) -> int:
        """So many addresses in whole units."""
        return addresses >> self.shift

    def examples(self, pair: Pair) -> list[str]:
        """The largest networks of which the databases say this, the largest first."""
        spans = nlargest(_EXAMPLES, self.spans[pair], key=lambda span: span[1] - span[0])
        # Of a stretch that is no one network the largest one in it.
        networks = [min(self._networks(*span), key=lambda network: network.prefixlen) for span in spans]
        return [str(network) for network in sorted(networks, key=lambda network: network.prefixlen)]

    def _networks(self, start: int, end: int) -> Iterable[IPv4Network | IPv6Network]:
        if self.bits == 32:
            return summarize_address_range(IPv4Address(start), IPv4Address(end - 1))
        return summarize_address_range(IPv6Address(start), IPv6Address(end - 1))


def compare(here: Layer, there: Layer) -> dict[str, Family]:
    """Both families, `ipv4` and `ipv6`, by what the two say. Takes about a second for a million networks."""
    laid = overlay(here, classes=[special_layer()], second=there)
    pairs = [None if row.network == SPECIAL else (row.country, row.second) for row in laid.rows]
    return {
        "ipv4": _family(laid.v4, pairs, "addresses", 32, 0),
        "ipv6": _family(laid.v6, pairs, "/48s", 128, 80),
    }


def _family(intervals: Intervals, pairs: Sequence[Pair | None], unit: str, bits: int, shift: int) -> Family:
    spans: dict[Pair, list[tuple[int, int]]] = {}
    ends = chain(intervals.starts[1:], (1 << bits,))
    for start, end, value in zip(intervals.starts, ends, intervals.values, strict=True):
        pair = pairs[value] if value >= 0 else None  # negative: an alias
        if pair is not None:
            spans.setdefault(pair, []).append((start, end))
    counts = {pair: sum(end - start for start, end in found) for pair, found in spans.items()}
    return Family(unit, bits, shift, spans, counts)


def told_generally(family: Family) -> dict[str, Any]:
    """Agreement on all that either database knows, and the country pairs on which they differ most."""
    kinds: Counter[str] = Counter()
    for (here, there), count in family.counts.items():
        if here is not None and there is not None:
            kinds["same" if here == there else "other"] += count
        elif here is not None:
            kinds["only_here"] += count
        elif there is not None:
            kinds["only_there"] += count
    known = kinds["same"] + kinds["other"]
    return {
        "unit": family.unit,
        **{kind: family.amount(kinds[kind]) for kind in ("same", "other", "only_here", "only_there")},
        "agreement": _share(kinds["same"], known + kinds["only_here"] + kinds["only_there"]),
        "agreement_where_both_know": _share(kinds["same"], known),
        "countries": dict(_countries(family)),
        "pairs": _most(family, [pair for pair in family.counts if pair[0] != pair[1]], examples=False),
    }


def _countries(family: Family) -> Iterator[tuple[str, dict[str, Any]]]:
    here: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for pair, count in family.counts.items():
        for counter, code in zip((here, there), pair, strict=True):
            if code is not None:
                counter[code] += count
    both = {code: family.counts.get((code, code), 0) for code in {*here, *there}}
    union = {code: here[code] + there[code] - both[code] for code in both}
    for code in sorted(both, key=lambda code: (-union[code], code)):
        yield (
            code,
            {
                "here": family.amount(here[code]),
                "there": family.amount(there[code]),
                "both": family.amount(both[code]),
                "agreement": _share(both[code], union[code]),
            },
        )


def told_of(country: str, family: Family) -> dict[str, Any]:
    """Agreement on one country: how much of what either places there both do, and where the other places the rest."""
    both = family.counts.get((country, country), 0)
    leaving = [pair for pair in family.counts if pair[0] == country != pair[1]]
    coming = [pair for pair in family.counts if pair[1] == country != pair[0]]
    told_otherwise = [pair for pair in leaving + coming if None not in pair]
    only_here = sum(family.counts[pair] for pair in leaving)
    only_there = sum(family.counts[pair] for pair in coming)
    return {
        "unit": family.unit,
        "here": family.amount(both + only_here),
        "there": family.amount(both + only_there),
        "both": family.amount(both),
        "only_here": family.amount(only_here),
        "only_there": family.amount(only_there),
        "agreement": _share(both, both + only_here + only_there),
        "agreement_where_both_know": _share(both, both + sum(family.counts[pair] for pair in told_otherwise)),
        "pairs": _most(family, leaving + coming, examples=True),
    }


def _most(family: Family, pairs: Sequence[Pair], *, examples: bool) -> list[dict[str, Any]]:
    """The largest of `pairs`, the largest first."""
    told = []
    for pair in nlargest(_PAIRS, pairs, key=lambda pair: family.counts[pair]):
        one: dict[str, Any] = {"here": pair[0], "there": pair[1], "count": family.amount(family.counts[pair])}
        told.append(one | {"networks": family.examples(pair)} if examples else one)
    return told


def _share(part: int, whole: int) -> float | None:
    """A share from 0 to 1; None of nothing."""
    return round(part / whole, 6) if whole else None
