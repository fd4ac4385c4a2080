"""Lists and records give class words, rows give signals: any class is a hint, special-purpose networks say nothing."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import AddressDataUnavailable
from residency.jurisdiction.resolve import resolve
from residency.model.finding import Anchor, Presume, Signal, State, Trust
from residency.signals.network import CLASSES, SPECIAL, asn_of, class_of, parse_list, signals_by_row
from residency.signals.table import Row

NOT_COVERED = tuple((anchor, Presume.NOT_COVERED) for anchor in Anchor)


def said(row: Row, *, second: bool = False, stale: bool = False) -> list[tuple[str, Trust, str]]:
    (signals,) = signals_by_row([row], second=second, stale=stale)
    by_anchor = {
        anchor: [(s.place, s.trust, s.source) for s in signals if s.anchor is anchor]
        for anchor in (Anchor.TERRITORY, Anchor.COLLECTION)
    }
    assert by_anchor[Anchor.TERRITORY] == by_anchor[Anchor.COLLECTION]
    assert len(signals) == 2 * len(by_anchor[Anchor.TERRITORY])  # nothing of citizenship or residence
    return by_anchor[Anchor.TERRITORY]


# -- rows to signals -------------------------------------------------------------------------------------------


def test_an_ordinary_network_speaks_of_its_country() -> None:
    assert said(Row("VN")) == [("VN", Trust.NETWORK, "address")]


def test_an_unknown_network_says_nothing() -> None:
    for second, stale in product([False, True], repeat=2):
        assert said(Row(None), second=second, stale=stale) == []
        assert said(Row(None, "hosting"), second=second, stale=stale) == []


@pytest.mark.parametrize("word", CLASSES[1:])
def test_every_class_makes_a_hint_of_the_country_and_names_itself(word: str) -> None:
    for stale in (False, True):
        assert said(Row("VN", word), stale=stale) == [("VN", Trust.HINT, f"address ({word})")]


def test_a_special_purpose_address_says_nothing_whatever_the_databases_say() -> None:
    for second, stale in product([False, True], repeat=2):
        assert said(Row("VN", "special", "SG"), second=second, stale=stale) == []


def test_old_data_makes_a_hint() -> None:
    assert said(Row("VN"), stale=True) == [("VN", Trust.HINT, "address (stale)")]


def test_two_databases_that_agree_speak_once() -> None:
    assert said(Row("VN", None, "VN"), second=True) == [("VN", Trust.NETWORK, "address")]


def test_two_databases_that_differ_speak_at_equal_trust_so_that_both_laws_cover() -> None:
    row = Row("VN", None, "SG")
    assert said(row, second=True) == [("VN", Trust.NETWORK, "address"), ("SG", Trust.NETWORK, "address (second)")]
    finding = resolve(signals_by_row([row], second=True, stale=False)[0], None, NOT_COVERED)
    assert [finding.covered(place, Anchor.TERRITORY) for place in ("VN", "SG", "DE")] == [True, True, False]


def test_what_one_of_two_databases_knows_is_a_hint() -> None:
    assert said(Row("VN"), second=True) == [("VN", Trust.HINT, "address (unconfirmed)")]
    assert said(Row(None, None, "VN"), second=True) == [("VN", Trust.HINT, "address (second)")]


def test_a_vietnamese_egress_of_a_relay_establishes_nothing_and_excludes_nobody() -> None:
    signals = signals_by_row([Row("VN", "relay")], second=False, stale=False)[0]
    finding = resolve(signals, None, NOT_COVERED)
    for anchor in (Anchor.TERRITORY, Anchor.COLLECTION):
        assert finding.state("VN", anchor) is State.UNDETERMINED
        assert finding.state("LA", anchor) is State.SILENT


@given(
    st.builds(
        Row,
        st.sampled_from([None, "VN", "SG"]),
        st.sampled_from([None, *CLASSES]),
        st.sampled_from([None, "VN", "SG"]),
    ),
    st.booleans(),
)
def test_age_and_class_take_trust_away_and_never_a_place(row: Row, two: bool) -> None:
    fresh = said(row, second=two)
    stale = said(row, second=two, stale=True)
    assert [place for place, _, _ in fresh] == [place for place, _, _ in stale]
    assert all(trust is Trust.HINT for _, trust, _ in stale)
    if row.network is not None:
        assert all(trust is Trust.HINT for _, trust, _ in fresh)


# -- records to words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ({"is_anonymous": True, "is_anonymous_vpn": True}, "vpn"),
        ({"is_anonymous": True, "is_anonymous_vpn": True, "is_hosting_provider": True}, "vpn"),
        ({"is_anonymous": True, "is_tor_exit_node": True, "is_hosting_provider": True}, "tor"),
        ({"is_anonymous": True, "is_hosting_provider": True}, "hosting"),
        ({"is_anonymous": True, "is_public_proxy": True}, "anonymiser"),
        ({"is_anonymous": True, "is_residential_proxy": True}, "anonymiser"),
        ({"is_anonymous": True}, "anonymiser"),
        ({"is_anonymous": False, "is_tor_exit_node": False}, None),
        ({"country_code": "VN"}, None),
        ("vpn", None),
        (None, None),
    ],
)
def test_an_anonymous_ip_record_has_a_class(record: object, word: str | None) -> None:
    assert class_of(record) == word


@pytest.mark.parametrize(
    ("record", "asn"),
    [
        ({"autonomous_system_number": 7552, "autonomous_system_organization": "Viettel"}, 7552),
        ({"asn": "AS7552"}, 7552),
        ({"asn": 7552}, 7552),
        ({"asn": "7552"}, 7552),
        ({"asn": True}, None),
        ({"asn": "AS-VNPT"}, None),
        ({"asn": "AS٧"}, None),
        ({}, None),
        (7552, None),
    ],
)
def test_a_record_has_an_autonomous_system(record: object, asn: int | None) -> None:
    assert asn_of(record) == asn


# -- list files ------------------------------------------------------------------------------------------------


def test_a_list_names_networks_and_autonomous_systems() -> None:
    text = """# what we know
198.51.100.0/24 vpn   # an exit in Hanoi
2001:db8::/32\trelay

AS64500 satellite
as64501   hosting
203.0.113.7 tor
198.51.100.0/24 vpn
"""
    found = parse_list(text.encode(), "own.txt")
    assert found.networks == (
        (IPv4Network("198.51.100.0/24"), "vpn"),
        (IPv6Network("2001:db8::/32"), "relay"),
        (IPv4Network("203.0.113.7/32"), "tor"),
    )
    assert found.asns == {64500: ("satellite", "own.txt:5"), 64501: ("hosting", "own.txt:6")}
    assert parse_list(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), "own.txt").networks == found.networks


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"198.51.100.0/24", "expected `CIDR class` or `AS64500 class`"),
        (b"198.51.100.0/24 vpn really", "expected `CIDR class`"),
        (b"198.51.100.0/24 VPN", "the class is none of anonymiser, hosting, relay, satellite, tor, vpn"),
        (b"198.51.100.0/24 special", "the class is none of"),
        (b"198.51.100.1/24 vpn", "has host bits set"),
        (b"198.51.100.0/33 vpn", "cannot be read"),
        (b"198.51.100/24 vpn", "cannot be read"),
        (b"198.51.100.0/255.255.255.0 vpn", "expected a network"),
        (b"fe80::%eth0/64 vpn", "expected a network"),
        (b"::ffff:1.2.3.0/120 vpn", "write IPv4-mapped addresses as IPv4"),
        (b"::/0 vpn", "write IPv4-mapped addresses as IPv4"),
        (b"example.org vpn", "cannot be read"),
        (b"AS vpn", "expected AS and a number"),
        (b"AS0 vpn", "expected AS and a number"),
        (b"AS4294967296 vpn", "expected AS and a number"),
        (b"AS\xd9\xa7 vpn", "expected AS and a number"),
        (b"1.0.0.0/24 tor", "was called vpn in an earlier line"),
        (b"\xff\xfe vpn", "is not UTF-8 text"),
    ],
)
def test_a_line_that_cannot_be_read_is_told_with_its_file_and_line_and_not_repeated(line: bytes, told: str) -> None:
    with pytest.raises(AddressDataUnavailable) as caught:
        parse_list(b"# head\n1.0.0.0/24 vpn\n" + line + b"\n1.0.1.0/24 vpn", "own.txt")
    assert str(caught.value).startswith("own.txt:3: ")
    assert told in str(caught.value)
    assert "198.51.100" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# nothing yet\n"])
def test_an_empty_list_is_a_mistake(data: bytes) -> None:
    with pytest.raises(AddressDataUnavailable, match=r"own\.txt:1: the list is empty"):
        parse_list(data, "own.txt")


@given(st.binary(max_size=80))
def test_whatever_the_bytes_a_list_is_read_or_refused(data: bytes) -> None:
    try:
        found = parse_list(data, "own.txt")
    except AddressDataUnavailable as error:
        assert str(error).startswith("own.txt:")  # noqa: PT017 - that it raises is not what is asked
    else:
        assert found.networks or found.asns


# -- special-purpose addresses ---------------------------------------------------------------------------------


def test_the_special_networks_are_those_that_the_standard_library_does_not_call_global() -> None:
    edges = set()
    for text in SPECIAL:
        network = ip_network(text)
        for number in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1):
            if 0 <= number < 1 << network.max_prefixlen:
                edges.add(type(network[0])(number))
    differ = {
        str(address)
        for address in edges
        if (address.is_global and not address.is_multicast) == any(address in ip_network(text) for text in SPECIAL)
    }
    # Newer registries, withdrawn relays, and the space nobody was given: they are ours and not the library's.
    known = ["192.88.99.0/24", "::/96", "100:0:0:1::/64", "3fff::/20", "5f00::/16", "fe80::/9", "64:ff9b:1::/48"]
    known += ["192.0.0.0/24", "2001::/23"]
    assert {text for text in differ if not any(ip_address(text) in ip_network(k) for k in known)} <= {
        str(ip_network(k)[-1] + 1) for k in known
    } | {str(ip_address("::1:0:0"))}
    assert not [text for text in SPECIAL if str(ip_network(text)) != text]


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "14.160.0.1", "2001:ee0::1", "2400:cb00::1", "2002:808::1"])
def test_no_public_address_is_special(address: str) -> None:
    assert not any(ip_address(address) in ip_network(text) for text in SPECIAL)


def test_signals_of_one_place_are_the_same_objects_so_that_findings_are_found_again() -> None:
    first, second = signals_by_row([Row("VN"), Row("VN", None, "VN")], second=True, stale=False)
    assert first is not second
    assert signals_by_row([Row("VN")], second=False, stale=False)[0] is second
    assert isinstance(second[0], Signal)
