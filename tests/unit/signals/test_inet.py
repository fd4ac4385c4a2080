"""Addresses have one spelling, networks are read strictly, and no bytes raise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from residency.errors import AddressError
from residency.signals.inet import Ranges, canonical, is_public, read_hop

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "addresses" / "hops.json").read_text("utf-8"))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_a_hop_is_its_canonical_address_or_nothing(case: dict[str, Any]) -> None:
    found = read_hop(case["hop"].encode("latin-1"))
    assert (None if found is None else found[0]) == case["address"]


@pytest.mark.parametrize("text", ["", "10.0.0.1:80", "[::1]", "1.2.3", "\ud800", "::1\x00", "1" * 5000, "%eth0", "::%"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert canonical(text) is None


@pytest.mark.parametrize(
    ("text", "address", "inside"),
    [
        ("10.0.0.0/8", "10.255.255.255", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("0.0.0.0/0", "255.255.255.255", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "2001:ee0::1", True),
        ("2001:db8::/32", "2001:db8:ffff::", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "64:ff9b::10.1.2.3", True),
        ("64:ff9b::a00:0/104", "10.1.2.3", True),
        ("64:ff9b:1::/48", "64:ff9b:1::10.1.2.3", True),
        ("10.0.0.0/8", "64:ff9b:1::10.1.2.3", False),
        ("10.0.0.0/8", "no address", False),
        ("12.0.0.0/6", "15.255.255.255", True),
        ("12.0.0.0/6", "11.255.255.255", False),
        ("12.0.0.0/6", "16.0.0.0", False),
        ("12.0.0.0/6", "0c00::", False),
        ("2000::/3", "3fff:ffff::", True),
        ("2000::/3", "4000::", False),
        ("2000::/3", "32.0.0.0", False),
    ],
)
def test_a_network_contains_its_addresses_and_no_others(text: str, address: str, inside: bool) -> None:
    assert Ranges([text]).contains(address) is inside


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "10.0.0.0/08x",
        "10.0.0.0/255.0.0.0",
        "2001:db8::1/32",
        "",
        "/8",
        "example.com",
        "fe80::1%eth0",
        "::/129",
        "::ffff:0:0/90",
        "64:ff9b::/95",
        "10.0.0.0/²",
    ],
)
def test_a_network_that_is_not_strict_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(AddressError, match="`") as caught:
        Ranges(["10.0.0.0/8", text])
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "text", ["00.0.0.1", "01.2.3.4", "1.2.3.04", "1.2.3.4 5", "+1.2.3.4", "1.2.3.4\n", "1.2.3.4\x0b"]
)
def test_an_ipv4_address_has_one_spelling_only(text: str) -> None:
    assert canonical(text) is None
    assert read_hop(text.encode()) is None


def test_no_network_is_falsy_and_contains_nothing() -> None:
    assert not Ranges([])
    assert not Ranges([]).contains("10.0.0.1")


@pytest.mark.parametrize("address", ["14.160.0.1", "2001:ee0::1", "8.8.8.8"])
def test_a_global_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "233.252.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff0e::1",
        "2001:db8::1",
    ],
)
def test_a_private_reserved_or_multicast_address_is_not_public(address: str) -> None:
    assert not is_public(address)
