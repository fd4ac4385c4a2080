"""Each strategy answers one address or none, and says so where the server has rewritten the peer."""

from __future__ import annotations

import json
from collections.abc import Sized
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from residency.errors import AddressError
from residency.model.reason import Reason
from residency.signals.address import (
    ClientAddress,
    Peer,
    RightmostTrustedCount,
    RightmostTrustedRange,
    Server,
    SingleHeader,
    Strategy,
    UnsafeLeftmostNonPrivate,
    strategy_named,
)
from residency.signals.forwarded import MAX_HEADER, MAX_HOPS
from residency.signals.inet import Ranges

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "addresses" / "walks.json").read_text("utf-8"))
STRATEGIES = json.loads((Path(__file__).parents[2] / "vectors" / "addresses" / "strategies.json").read_text("utf-8"))
TRUSTED = Ranges(VECTORS["trusted"])
PROXY = ("10.0.0.1", 4000)


def forwarded(*lines: str) -> list[tuple[bytes, bytes]]:
    own = [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]
    return [(b"host", b"api.example"), *own, (b"accept", b"*/*")]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_the_walk_ends_where_it_must(case: dict[str, Any]) -> None:
    strategy = RightmostTrustedRange(TRUSTED)
    peer = None if case["peer"] is None else (case["peer"][0], case["peer"][1])
    problem = Reason(case["problem"]) if "problem" in case else None
    expected = ClientAddress(case["address"], "rightmost_trusted_range", problem)
    found = strategy.client(peer, forwarded(*case["lines"]))
    assert found == expected
    assert found.packed == (None if found.address is None else ip_address(found.address).packed)
    # A repeat answers from the cache, and the same.
    assert strategy.client(peer, forwarded(*case["lines"])) == expected


@pytest.mark.parametrize("case", STRATEGIES["cases"], ids=lambda case: case["name"])
def test_each_strategy_answers_as_its_vector_says(case: dict[str, Any]) -> None:
    named = dict(case["strategy"])
    if "trusted" in named:
        named["trusted"] = Ranges(named["trusted"])
    strategy = strategy_named(named.pop("name"), **named)
    peer = None if case["peer"] is None else (case["peer"][0], case["peer"][1])
    headers = [(name.encode(), value.encode("latin-1")) for name, value in case["headers"]]
    problem = Reason(case["problem"]) if "problem" in case else None
    found = strategy.client(peer, headers)
    assert (found.address, found.strategy, found.problem) == (case["address"], strategy.name, problem)
    assert found.packed == (None if found.address is None else ip_address(found.address).packed)
    assert strategy.client(peer, headers) == found


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"name": "leftmost"}, "no strategy"),
        ({"name": "single_header", "trusted": TRUSTED}, "needs a header's name"),
        ({"name": "single_header", "header": "CF-Connecting-IP", "trusted": TRUSTED}, "in lower case"),
        ({"name": "single_header", "header": "x-forwarded-for", "trusted": TRUSTED}, "is a list"),
        ({"name": "single_header", "header": "forwarded", "trusted": TRUSTED}, "is a list"),
        ({"name": "single_header", "header": "x-real-ip"}, "at least one trusted range"),
        ({"name": "rightmost_trusted_range"}, "at least one trusted range"),
        (
            {"name": "rightmost_trusted_range", "trusted": TRUSTED, "header": "x-real-ip"},
            "x-forwarded-for or forwarded",
        ),
        ({"name": "rightmost_trusted_count", "trusted": TRUSTED}, "count from 1 to 16"),
        ({"name": "rightmost_trusted_count", "count": 17}, "count from 1 to 16"),
        ({"name": "rightmost_trusted_count", "count": 1, "header": "X-Forwarded-For"}, "x-forwarded-for or forwarded"),
        ({"name": "unsafe_leftmost_non_private", "header": "via"}, "x-forwarded-for or forwarded"),
    ],
)
def test_a_strategy_without_what_it_needs_is_refused(named: dict[str, Any], message: str) -> None:
    with pytest.raises(AddressError, match=message):
        strategy_named(**named)


def test_only_the_unsafe_strategy_warns() -> None:
    safe = (Peer, Server, SingleHeader, RightmostTrustedCount, RightmostTrustedRange)
    assert [strategy.warning for strategy in safe] == [None] * 5
    assert "anybody can choose" in str(UnsafeLeftmostNonPrivate.warning)


def test_strategies_are_equal_by_what_was_configured_and_not_by_what_they_saw() -> None:
    one, other = RightmostTrustedRange(TRUSTED), RightmostTrustedRange(TRUSTED)
    one.client(PROXY, forwarded("14.160.0.1"))
    assert one == other
    assert RightmostTrustedCount(1) != RightmostTrustedCount(2)


def test_a_unix_peer_is_a_proxy_where_the_deployment_says_so() -> None:
    assert (
        RightmostTrustedRange(TRUSTED, unix=True).client(None, forwarded("8.8.8.8, 14.160.0.1")).address == "14.160.0.1"
    )
    assert RightmostTrustedRange(Ranges([]), unix=True).client(None, forwarded("14.160.0.1")).address == "14.160.0.1"


def test_no_trusted_range_is_refused() -> None:
    with pytest.raises(AddressError, match="at least one trusted range"):
        RightmostTrustedRange(Ranges([]))


def test_as_many_trusted_hops_as_the_limit_are_walked_and_no_more() -> None:
    strategy = RightmostTrustedRange(TRUSTED)
    within = ", ".join(["14.160.0.1"] + ["10.0.0.2"] * (MAX_HOPS - 1))
    beyond = ", ".join(["14.160.0.1"] + ["10.0.0.2"] * MAX_HOPS)
    assert strategy.client(PROXY, forwarded(within)).address == "14.160.0.1"
    assert strategy.client(PROXY, forwarded(beyond)).address is None


def test_a_walk_beyond_the_size_limit_is_undetermined() -> None:
    wide = ("," + " " * 200 + "10.0.0.2") * 45
    assert len(wide) > MAX_HEADER
    assert RightmostTrustedRange(TRUSTED).client(PROXY, forwarded("14.160.0.1" + wide)).address is None


@pytest.mark.parametrize("left", ["8.8.8.8," * 500, "x" * 20_000 + ",", "10.0.0.2," * 3000])
def test_an_oversized_left_side_cannot_switch_the_address_off(left: str) -> None:
    assert RightmostTrustedRange(TRUSTED).client(PROXY, forwarded(left + "14.160.0.1")).address == "14.160.0.1"


@pytest.mark.parametrize("headers", [[], forwarded("8.8.8.8"), forwarded("8.8.8.8", "9.9.9.9")])
def test_peer_believes_the_socket_and_no_header(headers: list[tuple[bytes, bytes]]) -> None:
    assert Peer().client(("::ffff:14.160.0.1", 4000), headers) == ClientAddress("14.160.0.1", "peer")


def test_peer_on_a_unix_socket_is_undetermined() -> None:
    assert Peer().client(None, forwarded("8.8.8.8")) == ClientAddress(None, "peer")


@pytest.mark.parametrize("strategy", [Peer(), RightmostTrustedRange(TRUSTED)], ids=lambda s: s.name)
@pytest.mark.parametrize("peer", [("14.160.0.1", 0), ("10.0.0.1", 0), ("14.160.0.1", 77)])
def test_a_rewritten_peer_is_a_problem(strategy: Strategy, peer: tuple[str, int]) -> None:
    found = strategy.client(peer, forwarded("8.8.8.8,14.160.0.1:77"))
    assert found == ClientAddress(None, strategy.name, Reason.PEER_REWRITTEN)


def test_a_rewritten_peer_is_a_problem_on_a_known_header_too() -> None:
    for value in ("14.160.0.1", "14.160.0.1, 10.0.0.1:77", "[2001:ee0::1]:5"):
        for strategy in (RightmostTrustedRange(TRUSTED), RightmostTrustedCount(1), UnsafeLeftmostNonPrivate()):
            strategy.client(PROXY, forwarded(value))
            assert strategy.client(("10.0.0.1", 0), forwarded(value)).problem is Reason.PEER_REWRITTEN
            moved = strategy.client(("10.0.0.1", 77), forwarded(value)).problem
            assert (moved is Reason.PEER_REWRITTEN) is ("10.0.0.1:77" in value)
    # Whichever list is read, X-Forwarded-For is the one that servers take a peer with its port from.
    reading = RightmostTrustedRange(TRUSTED, header="forwarded")
    lines = [(b"forwarded", b"for=14.160.0.1")]
    for _ in range(2):
        assert reading.client(PROXY, lines).address == "14.160.0.1"
        beside = [*lines, *forwarded("10.0.0.1:4000")]
        assert reading.client(PROXY, beside).problem is Reason.PEER_REWRITTEN


def test_a_port_that_another_element_ends_with_is_no_rewriting() -> None:
    assert Peer().client(("4.160.0.1", 77), forwarded("14.160.0.1:77")).problem is None


@pytest.mark.parametrize(
    ("peer", "address"), [(("14.160.0.1", 0), "14.160.0.1"), (("forged", 0), None), (None, None), (("::1", 5), "::1")]
)
def test_server_believes_the_scope(peer: tuple[str, int] | None, address: str | None) -> None:
    assert Server().client(peer, forwarded("8.8.8.8")) == ClientAddress(address, "server")


def test_caches_stay_bounded_under_random_headers_and_peers() -> None:
    walk, peers, server = RightmostTrustedRange(TRUSTED), Peer(), Server()
    count, single = RightmostTrustedCount(1), SingleHeader("x-real-ip", TRUSTED)
    most = 0
    for n in range(20_000):
        own = f"14.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        hop = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        assert walk.client(PROXY, forwarded(f"{own}, {hop}")).address == own
        assert walk.client(PROXY, forwarded(f"{own}:5, {hop}")).address == own
        assert walk.client((own, 1), []).address == own
        assert count.client(PROXY, forwarded(own)).address == own
        assert single.client(PROXY, [(b"x-real-ip", own.encode())]).address == own
        assert peers.client((own, 1), []).address == own
        assert server.client((own + "x" * 200, 1), []).address is None
        caches: tuple[Sized, ...] = (
            walk._plain,
            walk._ported,
            walk._seen,
            walk._ours,
            count._plain,
            single._answers,
            peers._seen,
        )
        most = max(most, *(len(cache) for cache in caches))
    assert most <= 8192
    assert len(walk._ours) <= 1024
    assert not server._seen


def test_no_long_key_is_kept() -> None:
    walk, single = RightmostTrustedRange(TRUSTED), SingleHeader("x-real-ip", TRUSTED)
    assert walk.client(PROXY, forwarded("8.8.8.8," * 100 + "14.160.0.1")).address == "14.160.0.1"
    assert single.client(PROXY, [(b"x-real-ip", b" " * 600)]).address is None
    assert walk.client(("x" * 600, 1), []).address is None
    assert not walk._plain
    assert not single._answers
    assert walk._seen.keys() == {"10.0.0.1"}


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
@pytest.mark.parametrize("strategy", ["range", "count"])
def test_a_line_that_may_have_come_behind_the_body_leaves_open_who_it_was(header: str, strategy: str) -> None:
    # uvicorn's parser puts trailers, which the client writes and some proxies pass on, behind the headers.
    reading = (
        RightmostTrustedRange(TRUSTED, header=header)
        if strategy == "range"
        else RightmostTrustedCount(1, TRUSTED, header=header)
    )
    said = "{}" if header == "x-forwarded-for" else "for={}"
    lines = [(header.encode(), said.format(address).encode()) for address in ("113.160.0.1", "203.0.113.7")]
    chunked = [*lines, (b"transfer-encoding", b"chunked")]
    assert reading.client(PROXY, lines).address == "203.0.113.7", "two proxies may have written a line each"
    either = tuple(ClientAddress(address, reading.name) for address in ("113.160.0.1", "203.0.113.7"))
    assert reading.client(PROXY, chunked) == ClientAddress(None, reading.name, either=either)
    same = [chunked[0], chunked[0], chunked[2]]
    assert reading.client(PROXY, same).address == "113.160.0.1", "either way it is the same client"
    many = [chunked[0]] * 9 + [chunked[2]]
    assert reading.client(PROXY, many).problem is Reason.PEER_REWRITTEN, "so many lines are no proxies'"
    assert reading.client(PROXY, chunked[1:]).address == "203.0.113.7", "one line is the proxy's"
    assert reading.client(("198.51.100.9", 4000), chunked).address == "198.51.100.9", "a peer that is no proxy is known"
    assert reading.client(PROXY, lines).address == "203.0.113.7", "and what is kept of it says nothing of the next"
