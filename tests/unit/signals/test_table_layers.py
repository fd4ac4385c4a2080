"""Lists become layers, and layers join: who wins, what is kept, and what IPv6 that stands for IPv4 has."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from residency.signals.table import AddressTable, Row
from residency.signals.table_build import build
from residency.signals.table_layers import ALIASED, SPECIAL, Intervals, Layer, Overlaid, layer_of, overlay

VN4 = int(ip_address("14.160.0.0"))
SIXTOFOUR = 0x2002 << 112


def listed(*entries: str) -> Layer:
    return layer_of((ip_network(net), word) for net, word in (entry.split() for entry in entries))


def rows_at(laid: Overlaid, *addresses: str) -> list[Row]:
    table = AddressTable(build(laid.v4, laid.v6, laid.rows, {}, laid.aliases))
    return [table.rows[table.lookup(address)] for address in addresses]


def test_the_longer_prefix_wins_wherever_it_stands_and_of_equals_the_later() -> None:
    layer = listed("10.0.0.0/24 b", "10.0.0.0/8 a", "10.0.0.0/24 c", "10.0.0.255/32 d", "::/0 e")
    words = [layer.words[value] for value in layer.v4.values]
    assert layer.v4.starts[0] == 0
    assert words[0] is None
    assert list(zip(map(str, map(ip_address, layer.v4.starts[1:])), words[1:], strict=True)) == [
        ("10.0.0.0", "c"),
        ("10.0.0.255", "d"),
        ("10.0.1.0", "a"),
        ("11.0.0.0", None),
    ]
    assert (list(layer.v6.starts), [layer.words[value] for value in layer.v6.values]) == ([0], ["e"])
    assert layer.networks == 5


def test_an_empty_list_says_nothing() -> None:
    assert layer_of([]) == Layer((None,), Intervals([0], [0]), Intervals([0], [0]))
    assert rows_at(overlay(Layer(), classes=[layer_of([])], second=Layer()), "1.2.3.4", "::1") == [Row(None)] * 2


def test_the_first_class_layer_with_a_word_wins() -> None:
    laid = overlay(listed("14.160.0.0/11 VN"), classes=[listed("14.160.0.0/16 vpn"), listed("14.160.0.0/12 hosting")])
    assert rows_at(laid, "14.160.0.1", "14.161.0.1", "14.176.0.1") == [
        Row("VN", "vpn"),
        Row("VN", "hosting"),
        Row("VN"),
    ]


def test_the_second_country_is_kept_beside_the_first() -> None:
    laid = overlay(listed("14.160.0.0/11 VN"), second=listed("14.160.0.0/12 US", "9.0.0.0/8 DE"))
    assert rows_at(laid, "14.160.0.1", "14.176.0.1", "9.9.9.9", "7.7.7.7") == [
        Row("VN", None, "US"),
        Row("VN"),
        Row(None, None, "DE"),
        Row(None),
    ]


def test_a_special_network_has_no_country() -> None:
    laid = overlay(listed("10.0.0.0/8 VN"), classes=[listed(f"10.0.0.0/8 {SPECIAL}")], second=listed("10.0.0.0/8 US"))
    assert rows_at(laid, "10.1.2.3", "11.1.2.3") == [Row(None, SPECIAL), Row(None)]


def aliasing(words: tuple[str | None, ...] = (None, "VN")) -> Layer:
    """A database whose 2002::/16 leads to its IPv4."""
    v6 = Intervals([0, SIXTOFOUR, SIXTOFOUR + (1 << 112)], [0, ALIASED, 0])
    return Layer(words, Intervals([0, VN4, VN4 + (1 << 21)], [0, 1, 0]), v6, ((SIXTOFOUR, 16),))


def test_an_alias_has_the_class_of_its_ipv4_and_one_of_its_own_stands_before() -> None:
    classes = [listed("14.160.0.0/16 vpn", "2002:ea0:100::/40 relay")]
    laid = overlay(aliasing(), classes=classes)
    assert rows_at(laid, "2002:ea0:1::1", "2002:ea0:101::1", "2002:ea1:1::1", "2002:101:101::") == [
        Row("VN", "vpn"),
        Row("VN", "relay"),
        Row("VN"),
        Row(None),
    ]
    assert len(laid.v6.starts) < 10  # the rest is not written out


def test_a_special_network_within_an_alias_is_special() -> None:
    laid = overlay(aliasing(), classes=[listed(f"2002:ea0::/32 {SPECIAL}", f"10.0.0.0/8 {SPECIAL}")])
    assert rows_at(laid, "2002:ea0:1::1", "2002:a00:1::1", "2002:ea1:1::1") == [
        Row(None, SPECIAL),
        Row(None, SPECIAL),
        Row("VN"),
    ]


def test_an_alias_follows_ipv4_in_the_second_country_too() -> None:
    laid = overlay(aliasing(), second=listed("14.160.0.0/12 US", "2002:ea0::/32 DE"))
    assert rows_at(laid, "2002:ea0:1::1") == [Row("VN", None, "US")]


def test_what_another_layer_aliases_elsewhere_is_unsaid() -> None:
    laid = overlay(listed("14.160.0.0/11 VN"), classes=[aliasing((None, "vpn"))], second=aliasing((None, "US")))
    assert rows_at(laid, "14.160.0.1", "2002:ea0:1::1") == [Row("VN", "vpn", "US"), Row(None)]
    assert laid.aliases == ()
