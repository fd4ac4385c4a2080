"""A table answers addresses in any spelling and nothing else; bytes that are no whole table are refused."""

from __future__ import annotations

import hashlib
import json
import mmap
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from residency.errors import AddressDataUnavailable
from residency.signals.table import ALIGN, FORMAT, HEADER, MAGIC, SECTIONS, AddressTable, Row
from residency.signals.table_build import build
from residency.signals.table_layers import layer_of, overlay

PLACES = {
    "14.160.0.0/11": "VN",
    "14.161.1.128/25": "LA",
    "8.8.8.0/24": "US",
    "2001:ee0::/32": "VN",
    "2001:ee0:1:2::80/121": "LA",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00/120": "TH",
}


def table_bytes(**meta: object) -> bytes:
    laid = overlay(layer_of((ip_network(net), code) for net, code in PLACES.items()))
    return build(laid.v4, laid.v6, laid.rows, meta, laid.aliases)


WHOLE = table_bytes(source="a test")


@pytest.fixture
def table() -> AddressTable:
    return AddressTable(WHOLE)


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("14.160.0.0", "VN"),
        ("14.191.255.255", "VN"),
        ("14.192.0.0", None),
        ("14.161.1.127", "VN"),
        ("14.161.1.128", "LA"),
        ("14.161.1.255", "LA"),
        ("14.161.2.0", "VN"),
        ("0.0.0.1", None),
        ("255.255.255.255", None),
        ("2001:ee0::", "VN"),
        ("2001:EE0:0:0:0::1", "VN"),
        ("2001:ee0:1:2::7f", "VN"),
        ("2001:ee0:1:2::80", "LA"),
        ("2001:ee0:1:2:0:0:0:ff", "LA"),
        ("2001:ee0:1:2::100", "VN"),
        ("2001:ee0:1:3::", "VN"),
        ("2001:ee1::", None),
        ("::", None),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:feff", None),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "TH"),
    ],
)
def test_an_address_has_the_country_of_the_longest_network_around_it(
    table: AddressTable, address: str, country: str | None
) -> None:
    assert table.country(address) == country
    assert table.rows[table.lookup(address)] == Row(country)
    assert table.lookup_packed(ip_address(address).packed) == table.lookup(address)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "14.160.0", "14.160.0.1 ", " 14.160.0.1", "014.160.0.1", "14.160.0.1/32", "14.160.0.256", "14.160.1",
        "14.160.0.0.1", "0xea00001", "2001:ee0", "2001:ee0::1::2", "2001:ee0::1%eth0", "[2001:ee0::1]", "14.160.0.1:80",
        "14.160.0.1\x00", "\ud800", "2001:ee0::\ud800", "１４.160.0.1", "unknown", ":", "x" * 10_000, ":" * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_address_is_unknown_and_never_raises(table: AddressTable, text: str) -> None:
    assert table.lookup(text) == 0
    assert table.country(text) is None


def test_the_first_row_says_nothing_and_meta_is_what_the_maker_said(table: AddressTable) -> None:
    assert table.rows[0] == Row(None)
    assert table.meta["source"] == "a test"
    assert table.meta["format"] == FORMAT
    assert table.meta["vn_addresses"] == {"ipv4": (1 << 21) - 128, "ipv6_64": (1 << 32) - 1}


def test_a_mapped_file_answers_and_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "x.table"
    path.write_bytes(WHOLE)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    table = AddressTable(mapped)
    assert table.country("14.160.0.1") == "VN"
    with pytest.raises(BufferError):  # the table holds views of the map itself
        mapped.close()


def refused(data: bytes, what: str, *, check: bool = True) -> None:
    with pytest.raises(AddressDataUnavailable, match=what):
        AddressTable(data, check=check)


def test_a_file_that_is_no_table_is_refused() -> None:
    for data in (b"", b"x", MAGIC[:-1], b"\x00" * 100_000, WHOLE[1:], b"\xab\xcd\xefMaxMind.com" * 100):
        refused(data, "not an address table|another format|cannot be read")


def test_a_table_of_another_format_says_so() -> None:
    refused(MAGIC[:-1] + bytes([FORMAT + 1]) + WHOLE[len(MAGIC) :], "another format")


@pytest.mark.parametrize("check", [True, False])
def test_a_table_cut_short_or_grown_is_refused_at_once(check: bool) -> None:
    for size in (16, 17, 63, 64, 65, 200, len(WHOLE) // 2, len(WHOLE) - 1):
        refused(WHOLE[:size], "cut short", check=check)
    refused(WHOLE + b"\x00", "too long", check=check)


def test_one_changed_byte_is_refused() -> None:
    for at in (len(MAGIC) + 20, HEADER.size + 1, HEADER.size + 300, len(WHOLE) // 2, len(WHOLE) - 1):
        data = bytearray(WHOLE)
        data[at] ^= 1
        refused(bytes(data), "checksum")


def head_of(data: bytes) -> dict[str, Any]:
    size = HEADER.unpack_from(data)[1]
    head: dict[str, Any] = json.loads(data[HEADER.size : HEADER.size + size])
    return head


def with_head(**changes: object) -> bytes:
    """The whole table with another head, and the checksum of that."""
    _, size, length, _ = HEADER.unpack_from(WHOLE)
    text = json.dumps(head_of(WHOLE) | changes).encode()
    rest = text + b" " * (-len(text) % ALIGN) + WHOLE[HEADER.size + size :]
    return HEADER.pack(MAGIC, len(rest) - length, length, hashlib.sha256(rest).digest()) + rest


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": []},
        {"rows": [["VN", None, None]]},
        {"rows": 5},
        {"rows": [[1, 2, 3, 4]]},
        {"aliases": [["zz", 3]]},
        {"sections": {}},
        {"sections": 5},
        {"sections": {name: [0, 64, "I"] for name in SECTIONS[1:]}},
        {"meta": None},
    ],
)
def test_a_head_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    refused(with_head(**changes), "address table")


def test_a_section_outside_the_table_or_of_unknown_numbers_is_refused() -> None:
    for section in ([0, 1 << 40, "I"], [-64, 64, "I"], [0, 64, "d"], [0, 63, "I"], [0, 64]):
        refused(with_head(sections={**head_of(WHOLE)["sections"], "v6_tops": section}), "address table")


def test_a_big_endian_machine_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    refused(WHOLE, "little-endian")


def test_somewhere_in_a_country_is_an_address_there_or_none(table: AddressTable) -> None:
    assert table.somewhere_in("VN") == "14.160.0.1"
    assert table.somewhere_in("US") == "8.8.8.1"
    assert table.somewhere_in("LA") is None  # only parts of a /24, and IPv6
    assert table.somewhere_in("XX") is None
