"""Intervals become bytes: the same from the same, in cells wide enough, and no more than fits."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv6Address

import pytest

from residency.errors import AddressDataUnavailable
from residency.signals.table import AddressTable, Row
from residency.signals.table_build import build, count_in
from residency.signals.table_layers import ALIASED, Intervals

ROWS = (Row(None), Row("VN"), Row("DE"))


def test_equal_input_gives_equal_bytes() -> None:
    v4 = Intervals([0, 256, 300, 70_000], [0, 1, 2, 0])
    v6 = Intervals([0, 1 << 125, (1 << 125) + 5], [0, 2, 1])
    again = Intervals((0, 256, 300, 70_000), (0, 1, 2, 0))
    assert build(v4, v6, ROWS, {"a": 1, "b": 2}) == build(again, v6, ROWS, {"b": 2, "a": 1})


def test_nothing_known_is_a_table_too() -> None:
    table = AddressTable(build(Intervals(), Intervals(), ROWS[:1], {}))
    assert [table.lookup(text) for text in ("1.2.3.4", "::1", "2001:db8::1")] == [0, 0, 0]


@pytest.mark.parametrize("count", [250, 253, 254, 255, 256, 257, 300, 65_534])
def test_rows_beyond_a_byte_are_told_apart(count: int) -> None:
    rows = [Row(None), *(Row("VN", f"class {number}") for number in range(1, count))]
    last = count - 1
    # Each in a /24 of its own, the last also in a part of a /24, over several /24s, and in IPv6 at every level.
    v4 = Intervals([*range(0, count << 8, 256), count << 8, 0xE0_00_00_10, 0xE0_00_00_20, 0xF0_00_00_00],
                   [*range(count), 0, last, 0, last])  # fmt: skip
    v6 = Intervals([0, 1 << 125, (1 << 125) + 1, 1 << 126, 1 << 127], [0, last, 0, last, 1])
    table = AddressTable(build(v4, v6, rows, {}))
    for number in range(0, count, max(1, count // 500)):
        assert table.lookup(str(IPv4Address(number << 8 | 77))) == number
    for address in ("224.0.0.16", "224.0.0.31", "255.255.255.255", "2000::", "4000::", "7fff::1"):
        assert table.lookup(address) == last
    for address in ("224.0.0.15", "224.0.0.32", "2000::1", "3fff::"):
        assert table.lookup(address) == 0
    assert table.lookup("8000::") == 1


def test_more_rows_than_a_table_tells_apart_are_refused() -> None:
    rows = [Row(None), *(Row("VN", str(number)) for number in range(65_534))]
    with pytest.raises(AddressDataUnavailable, match="more kinds"):
        build(Intervals(), Intervals(), rows, {})


def test_more_than_a_bucket_of_ipv6_starts_go_to_deeper_nodes_at_every_length() -> None:
    for shift in (108, 100, 92, 84, 76, 68, 64):
        starts = [0, *((0x2001 << 112) + (number << shift) for number in range(1, 200))]
        table = AddressTable(build(Intervals(), Intervals(starts, [at % 3 for at in range(200)]), ROWS, {}))
        for at, start in enumerate(starts):
            assert table.lookup(str(IPv6Address(start))) == at % 3
            assert table.lookup(str(IPv6Address(max(start - 1, 0)))) == max(at - 1, 0) % 3


def test_neighbouring_slash_64s_that_are_not_all_alike_do_not_meet() -> None:
    base = 0x2001_0EE0 << 96
    starts = [0, base + 5, base + 9, base + (1 << 64) + 7, base + (2 << 64), base + (4 << 64) + 1, (1 << 128) - 3]
    values = [0, 1, 2, 1, 2, 0, 1]
    table = AddressTable(build(Intervals(), Intervals(starts, values), ROWS, {}))
    for at, start in enumerate(starts):
        assert table.lookup(str(IPv6Address(start))) == values[at]
        if at:
            assert table.lookup(str(IPv6Address(start - 1))) == values[at - 1]
    assert table.lookup(str(IPv6Address(base + (3 << 64)))) == 2
    assert table.lookup("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") == 1


def test_an_alias_answers_the_ipv4_address_within() -> None:
    prefix = 0x2002 << 112
    v4 = Intervals([0, 0x0EA00000, 0x0EC00000, 0x0EC00080, 0x0EC00100], [0, 1, 0, 2, 0])
    v6 = Intervals([0, prefix, prefix + (1 << 112)], [0, ALIASED, 0])
    table = AddressTable(build(v4, v6, ROWS, {}, [(prefix, 16)]))
    assert table.country("2002:ea0:1::1") == "VN"
    assert table.lookup_packed(IPv6Address("2002:ea0:1::1").packed) == table.lookup("14.160.0.1")
    assert table.country("2002:ec0:81::1") == "DE"
    assert table.country("2002:101:101::1") is None
    assert table.country("2003::") is None


def test_the_addresses_of_a_country_are_counted() -> None:
    v4 = Intervals([0, 10, 20, (1 << 32) - 5], [0, 1, 2, 1])
    v6 = Intervals([0, 1 << 64, 3 << 64, (1 << 128) - (1 << 64)], [0, 1, 2, 1])
    assert count_in("VN", v4, v6, ROWS) == (15, 3)
    assert count_in("LA", v4, v6, ROWS) == (0, 0)


def test_a_big_endian_machine_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(AddressDataUnavailable, match="little-endian"):
        build(Intervals(), Intervals(), ROWS, {})


@pytest.mark.parametrize("gap", [1, 2, 3, 200])
def test_what_the_last_part_of_a_slash_64_has_goes_on_to_the_next_start(gap: int) -> None:
    base = 0x2001_0EE0 << 96
    following = base + (gap << 64)
    for first in (base, base + 4):
        v6 = Intervals([0, first, base + 9, following], [0, 1, 2, 1])
        table = AddressTable(build(Intervals(), v6, ROWS, {}))
        for address, value in ((first - 1, 0), (first, 1), (base + 8, 1), (base + 9, 2), (following - 1, 2)):
            assert table.lookup(str(IPv6Address(address))) == value
        assert table.lookup(str(IPv6Address(following))) == 1
        assert table.lookup(str(IPv6Address(base + (1 << 64)))) == (2 if gap > 1 else 1)
