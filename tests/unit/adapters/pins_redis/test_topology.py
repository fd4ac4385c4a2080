"""What a node of a cluster says of its own slots is read as it is meant."""

from __future__ import annotations

import pytest

from residency.adapters.pins_redis.topology import own_share

MYSELF = b"a1 127.0.0.1:7000@17000,host myself,master - 0 0 1 connected"
OTHER = b"b2 127.0.0.1:7001@17001 master - 0 0 2 connected 5461-10922"


@pytest.mark.parametrize(
    ("words", "share"),
    [
        (b"", ()),
        (b" 0-5460", ((0, 5460),)),
        (b" 7 9-10", ((7, 7), (9, 10))),
        (b" 0-4 5-9 10", ((0, 10),)),
        (b" 0-5460 [77->-b2]", ((0, 5460),)),
        (b" 0-5460 [9000-<-b2]", ((0, 5460),)),
    ],
)
def test_slots_under_way_are_still_where_they_were(words: bytes, share: tuple[tuple[int, int], ...]) -> None:
    assert own_share(OTHER + b"\n" + MYSELF + words + b"\n") == share


@pytest.mark.parametrize("nodes", [b"", OTHER, MYSELF.replace(b"master", b"slave"), b"a b c"])
def test_a_node_that_is_no_primary_has_no_share(nodes: bytes) -> None:
    assert own_share(nodes) is None
