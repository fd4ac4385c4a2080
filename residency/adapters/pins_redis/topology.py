"""Sentinels or nodes of a cluster in; which servers are primaries, and for which hash slots, out.

A single sentinel or node on the wrong side of a partition may name a primary that others have long replaced. So a
primary behind Sentinel counts only where more than half of all sentinels in the URL name it, and a node of a cluster
only as long as it says itself that the cluster is up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from residency.adapters.pins_redis.exchange import FAILURES, ServerGone
from residency.adapters.pins_redis.urls import Node, Place

__all__ = ["Range", "Shares", "cluster_shares", "own_share", "sentinel_shares"]

Range = tuple[int, int]
"""A first and a last hash slot."""
Shares = dict[Node, tuple[Range, ...]]
"""Each primary and the ranges of hash slots it holds, first and last, in order."""
_ALL: Final = ((0, 16_383),)


def sentinel_shares(place: Place, timeout: float, silent: set[Node]) -> Shares:
    """The primary that most sentinels name, with all there is. Raises: ConnectionError where they do not agree.

    `silent` = those that did not answer lately, kept up here. They are asked last, and only where the others do not
    settle it: each costs a whole timeout, and what is served is not to wait for one dead machine.
    """
    named: Counter[Node] = Counter()
    for node in sorted(place.nodes, key=silent.__contains__):
        wire = place.sentinel(node, timeout)
        try:
            wire.open()
            found = wire.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.service)
        except FAILURES:
            silent.add(node)
            continue
        finally:
            wire.close()
        silent.discard(node)
        if found is not None:
            primary = found[0].decode(), int(found[1])
            named[primary] += 1
            if 2 * named[primary] > len(place.nodes):
                return {primary: _ALL}
    raise ServerGone("no primary is named by most sentinels")


def cluster_shares(place: Place, known: Iterable[Node], timeout: float) -> Shares:
    """What the first node that answers says, those `known` first. Raises: ConnectionError where none does."""
    place = replace(place, elsewhere=None)  # asked for the map alone: who holds data is judged as data is asked for
    for node in dict.fromkeys([*known, *place.nodes]):
        wire = place.wire(node, timeout)
        try:
            wire.open()
            shares = _shares(wire.ask("CLUSTER", "SLOTS"), node[0])
        except FAILURES:
            continue
        finally:
            wire.close()
        if sum(last - first + 1 for ranges in shares.values() for first, last in ranges) == _ALL[0][1] + 1:
            return shares
    raise ServerGone("no node of the cluster knows of all slots")


def own_share(nodes: bytes) -> tuple[Range, ...] | None:
    """The slots that a node says are its own in CLUSTER NODES; None where it does not name itself a primary."""
    for line in nodes.decode("utf-8", "replace").splitlines():
        words = line.split(" ")
        if len(words) >= 8 and "myself" in words[2].split(","):
            if "master" not in words[2].split(","):
                return None
            ranges = [word.partition("-") for word in words[8:] if not word.startswith("[")]  # […] = under way
            return _merged((int(first), int(last or first)) for first, _, last in ranges)
    return None


def _shares(slots: list[Any], asked: str) -> Shares:
    """CLUSTER SLOTS as shares; a node without a host is at the host that was asked."""
    found: dict[Node, list[tuple[int, int]]] = {}
    for first, last, primary, *_ in slots:
        host = asked if primary[0] in (None, b"", b"?") else primary[0].decode()
        found.setdefault((host, int(primary[1])), []).append((int(first), int(last)))
    return {node: _merged(ranges) for node, ranges in sorted(found.items())}


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[Range, ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and merged[-1][1] + 1 == first:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)
