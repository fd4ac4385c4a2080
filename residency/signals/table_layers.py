"""Sources of address data laid over one another: what each says of which addresses in, intervals of rows out.

A source, read whole, is a `Layer`. The main database says the country, a second one may say another, class layers say
what kind of network it is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import chain, compress
from operator import ne
from typing import Final, TypeVar

from residency.signals.table import Row

__all__ = ["ALIASED", "SPECIAL", "Alias", "Intervals", "Layer", "Overlaid", "layer_of", "overlay"]

ALIASED: Final = -1
"""The value of an IPv6 interval that answers as the IPv4 address within it."""
SPECIAL: Final = "special"
"""The network class of addresses that are nobody's (private, loopback, documentation …): no country is kept there."""

_KEEP: Final = -2
_LOW32: Final = (1 << 32) - 1

Alias = tuple[int, int]
"""(first address, prefix length): after the prefix stand the 32 bits of an IPv4 address."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Intervals:
    """One family's whole space: interval i begins at starts[i], ends before the next, and has values[i].

    starts[0] is 0 and they rise strictly.
    """

    starts: Sequence[int] = (0,)
    values: Sequence[int] = (0,)


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says: each interval's value is an index into `words`, of which the first is None (it says
    nothing). `networks` counts what it lists. IPv6 is ALIASED in all of `aliases` and nowhere else."""

    words: tuple[str | None, ...] = (None,)
    v4: Intervals = Intervals()
    v6: Intervals = Intervals()
    aliases: tuple[Alias, ...] = ()
    networks: int = 0


@dataclass(frozen=True, slots=True)
class Overlaid:
    """All layers in one: each interval's value is an index into `rows`, of which the first is Row(None), or ALIASED,
    which it is nowhere but in `aliases`."""

    rows: tuple[Row, ...]
    v4: Intervals
    v6: Intervals
    aliases: tuple[Alias, ...] = ()


def layer_of(networks: Iterable[tuple[IPv4Network | IPv6Network, str]]) -> Layer:
    """A layer of listed networks, each with its word. The longer prefix wins; of equals, the later one."""
    words: dict[str | None, int] = {None: 0}
    families: dict[int, dict[tuple[int, int], int]] = {4: {}, 6: {}}
    count = 0
    for net, word in networks:
        families[net.version][int(net.network_address), net.prefixlen] = words.setdefault(word, len(words))
        count += 1
    return Layer(tuple(words), _nested(families[4], 32), _nested(families[6], 128), networks=count)


def _nested(networks: Mapping[tuple[int, int], int], bits: int) -> Intervals:
    """Networks {(first address, prefix length): value}, one within another, as intervals."""
    starts, values = [0], [0]

    def put(start: int, value: int) -> None:
        if starts[-1] == start:
            values[-1] = value
        else:
            starts.append(start)
            values.append(value)

    around = [(1 << bits, 0)]  # (end, value) of the networks that hold the place we are at
    for (start, length), value in sorted(networks.items()):
        while around[-1][0] <= start:
            ended, _ = around.pop()
            put(ended, around[-1][1])
        put(start, value)
        around.append((start + (1 << (bits - length)), value))
    while len(around) > 1:
        ended, _ = around.pop()
        if not ended >> bits:
            put(ended, around[-1][1])
    return _compact(starts, values)


def overlay(country: Layer, *, classes: Sequence[Layer] = (), second: Layer | None = None) -> Overlaid:
    """The rows of all layers together. `country` and `second` speak of countries, `classes` of network classes: the
    first of them that has a word for an address wins.

    IPv6 addresses that the main database answers as IPv4 are answered so in every respect, save that a class listed
    for them as IPv6 stands. What other layers alias elsewhere is taken as unsaid.
    """
    if not classes and second is None:
        return Overlaid(tuple(map(Row, country.words)), country.v4, country.v6, country.aliases)
    words, class4, class6 = _first_word(classes)
    v4, v6 = country.v4, _unaliased(country, class6, words)
    pairs = [(word, 0) for word in range(len(country.words))]
    if second is not None:
        pair = _interning(pairs)
        v4 = _merge(v4, second.v4, lambda a, b: pair((a, b)))
        v6 = _merge(v6, second.v6, lambda a, b: ALIASED if a == ALIASED else pair((a, max(b, 0))))
    rows = [Row(None)]
    row = _interning(rows)

    def joined(value: int, kind: int) -> int:
        if words[kind] == SPECIAL:
            return row(Row(None, SPECIAL))
        if value == ALIASED:
            return ALIASED
        main, other = pairs[value]
        return row(Row(country.words[main], words[kind], None if second is None else second.words[other]))

    v4, v6 = _merge(v4, class4, joined), _merge(v6, class6, joined)
    return Overlaid(tuple(rows), v4, v6, country.aliases)


def _interning(known: list[T]) -> Callable[[T], int]:
    """Gives each value its index in `known`, which grows."""
    index = {value: at for at, value in enumerate(known)}

    def intern(value: T) -> int:
        at = index.setdefault(value, len(known))
        if at == len(known):
            known.append(value)
        return at

    return intern


def _first_word(layers: Sequence[Layer]) -> tuple[tuple[str | None, ...], Intervals, Intervals]:
    """(words, IPv4, IPv6) of several layers, the earlier's word standing before the later's."""
    words: list[str | None] = [None]
    word = _interning(words)
    v4, v6 = Intervals(), Intervals()
    for layer in layers:
        own = [word(text) for text in layer.words]
        # What it aliases (-1) is unsaid: the IPv4 address within has its class already.
        v4 = _merge(v4, layer.v4, lambda a, b, own=own: a or own[b])  # type: ignore[misc]  # bound by default
        v6 = _merge(v6, layer.v6, lambda a, b, own=own: a or own[max(b, 0)])  # type: ignore[misc]  # bound by default
    return tuple(words), v4, v6


def _unaliased(country: Layer, classes: Intervals, words: Sequence[str | None]) -> Intervals:
    """The main database's IPv6 with its IPv4 written out wherever a class, other than SPECIAL, is listed as IPv6."""
    starts, values = [0], [_KEEP]

    def put(start: int, value: int) -> None:
        if starts[-1] == start:
            values[-1] = value
        else:
            starts.append(start)
            values.append(value)

    for prefix, length in sorted(country.aliases):
        end, shift = prefix + (1 << (128 - length)), 96 - length
        at = bisect_right(classes.starts, prefix) - 1
        while at < len(classes.starts) and classes.starts[at] < end:
            if words[classes.values[at]] not in (None, SPECIAL):
                low = max(prefix, classes.starts[at])
                high = min(end, classes.starts[at + 1] if at + 1 < len(classes.starts) else end)
                for i in range(bisect_right(country.v4.starts, low >> shift & _LOW32) - 1, len(country.v4.starts)):
                    start = prefix + (country.v4.starts[i] << shift)
                    if start >= high:
                        break
                    put(max(start, low), country.v4.values[i])
                if not high >> 128:
                    put(high, _KEEP)
            at += 1
    return _merge(country.v6, Intervals(starts, values), lambda a, b: a if b == _KEEP else b)


class _Joined(dict[int, int]):
    """What each value of one becomes beside one value of the other, asked once."""

    def __init__(self, joined: Callable[[int, int], int], other: int) -> None:
        self._joined = joined
        self._other = other

    def __missing__(self, value: int) -> int:
        self[value] = made = self._joined(value, self._other)
        return made


def _merge(one: Intervals, two: Intervals, joined: Callable[[int, int], int]) -> Intervals:
    """Both at once: joined(a, b) where `one` has a and `two` has b. Best where `two` is the shorter."""
    starts: list[int] = []
    values: list[int] = []
    beside = {b: _Joined(joined, b) for b in set(two.values)}
    at, count = 0, len(one.starts)  # the first interval of `one` that begins after the place we are at
    for start, end, b in zip(two.starts, chain(two.starts[1:], (None,)), two.values, strict=True):
        at = bisect_right(one.starts, start, at)
        upto = count if end is None else bisect_left(one.starts, end, at)
        starts.append(start)
        starts += one.starts[at:upto]
        values += map(beside[b].__getitem__, one.values[at - 1 : upto])
        at = max(upto, 1)
    return _compact(starts, values)


def _compact(starts: Sequence[int], values: Sequence[int]) -> Intervals:
    """Neighbours of equal value as one."""
    first = [True, *map(ne, values, values[1:])]
    return Intervals(list(compress(starts, first)), list(compress(values, first)))
