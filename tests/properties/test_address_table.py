"""The address table answers what maxminddb answers, at every boundary of every shape of file; layers join as said."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import maxminddb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maxminddb.const import MODE_FD

from residency.adapters.mmdb import EMBEDDED, country_of, read_layer
from residency.signals.table import AddressTable, Row
from residency.signals.table_build import build
from residency.signals.table_layers import SPECIAL, Overlaid, layer_of, overlay
from tests.mmdb_files import Value
from tests.mmdb_trees import ALIASES, Network, tree

FEWER = settings(max_examples=settings().max_examples // 3)  # each builds a table
RECORDS: dict[str, Value] = {
    "lean": {"country_code": "VN"},
    "lean other": {"country_code": "DE"},
    "bare": {"country": "SG"},
    "MaxMind": {
        "continent": {"code": "AS", "names": {"en": "Asia", "zh-CN": "亚洲"}},
        "country": {"geoname_id": 1562822, "iso_code": "VN", "names": {"en": "Vietnam"}},
        "registered_country": {"iso_code": "SG"},
    },
    "registered": {"registered_country": {"iso_code": "LA"}},
    "no country": {"country_code": "EU"},
    "nothing": {"autonomous_system_number": 7552},
}
# Lengths at which the table changes its ways, and their neighbours.
LENGTHS4 = (1, 7, 8, 15, 16, 17, 23, 24, 25, 27, 28, 29, 31, 32)
LENGTHS6 = (1, 3, 15, 16, 17, 23, 24, 25, 32, 40, 48, 56, 63, 64, 65, 80, 96, 97, 127, 128)


def network4(bits: int, length: int) -> Network:
    return ip_network((bits >> (32 - length) << (32 - length), length))


def network6(bits: int, length: int) -> Network:
    return IPv6Network((bits >> (128 - length) << (128 - length), length))


# Few enough distinct bits that networks meet, nest and lie in one /16 or one /64.
bits4 = st.one_of(
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 0x7FF).map(lambda low: 0x0E_A0_00_00 | low),
    st.sampled_from([0, (1 << 32) - 1]),
)
bits6 = st.one_of(
    st.integers(1 << 125, (1 << 128) - 1),
    st.integers(0, 0x7FF).map(lambda low: 0x2001_0EE0 << 96 | low),
    st.integers(0, 0x7FF).map(lambda low: 0x2001_0EE0 << 96 | low << 64),
    st.integers(0, 0x3FF).map(lambda low: 0x2001 << 112 | low << 86),
    st.sampled_from([(1 << 128) - 1, 0xFFFF << 32]),
)
networks4 = st.builds(network4, bits4, st.sampled_from(LENGTHS4))
networks6 = st.builds(network6, bits6, st.sampled_from(LENGTHS6))


def around(networks: Sequence[Network]) -> Iterator[str]:
    """Each network's ends, their neighbours outside and an address inside; IPv4 also as it lies in IPv6."""
    chance = random.Random(7)
    for network in networks:
        first, last = int(network.network_address), int(network.broadcast_address)
        for number in (first - 1, first, chance.randint(first, last), last, last + 1):
            if not 0 <= number < 1 << network.max_prefixlen:
                continue
            if network.version == 6:
                yield str(IPv6Address(number))
                continue
            yield str(IPv4Address(number))
            yield str(IPv6Address(number))
            yield str(IPv6Address(0xFFFF << 32 | number))
            yield str(IPv6Address(0x64_FF9B << 96 | number))
            yield str(IPv6Address(0x2002 << 112 | number << 80 | 5))
            yield str(IPv6Address(0x2001 << 112 | number << 64 | 5))


def table_of(overlaid: Overlaid) -> AddressTable:
    return AddressTable(build(overlaid.v4, overlaid.v6, overlaid.rows, {}, overlaid.aliases))


def assert_same(data: bytes, networks: Sequence[Network]) -> None:
    table = table_of(overlay(read_layer(data, country_of)))
    with maxminddb.open_database(BytesIO(data), MODE_FD) as reader:
        ipv6 = reader.metadata().ip_version == 6
        for address in around(networks):
            expected = country_of(reader.get(address)) if ipv6 or ":" not in address else None
            assert table.country(address) == expected, address


@FEWER
@given(
    networks=st.dictionaries(st.one_of(networks4, networks6), st.sampled_from(sorted(RECORDS)), max_size=12),
    record_bits=st.sampled_from([24, 28, 32]),
    aliases=st.lists(st.sampled_from(ALIASES), unique=True),
    repeated=st.booleans(),
)
def test_every_boundary_of_any_file_answers_as_maxminddb(
    networks: Mapping[Network, str], record_bits: int, aliases: Sequence[str], repeated: bool
) -> None:
    records = {network: RECORDS[name] for network, name in networks.items()}
    data = tree(records, record_bits=record_bits, aliases=aliases, repeated=repeated)
    assert_same(data, [*networks, *map(ip_network, ALIASES), *map(ip_network, ("0.0.0.0/0", "::/0", "::/96"))])


@FEWER
@given(
    networks=st.dictionaries(networks4, st.sampled_from(sorted(RECORDS)), max_size=12),
    record_bits=st.sampled_from([24, 28, 32]),
)
def test_every_boundary_of_an_ipv4_file_answers_as_maxminddb(networks: Mapping[Network, str], record_bits: int) -> None:
    data = tree({net: RECORDS[name] for net, name in networks.items()}, ip_version=4, record_bits=record_bits)
    assert_same(data, [*networks, ip_network("0.0.0.0/0"), ip_network("2001:ee0::/32")])


def word_of(layer: Mapping[Network, str], address: str) -> str | None:
    """The slow way: the longest listed network that holds the address."""
    number = ip_network(address).network_address
    holding = [net for net in layer if net.version == number.version and number in net]
    return layer[max(holding, key=lambda net: net.prefixlen)] if holding else None


classes = st.dictionaries(
    st.one_of(networks4, networks6), st.sampled_from(["vpn", "hosting", "relay", SPECIAL]), max_size=6
)


@FEWER
@given(
    country=st.dictionaries(st.one_of(networks4, networks6), st.sampled_from(["VN", "DE", "SG"]), max_size=8),
    first=classes,
    then=classes,
    second=st.dictionaries(st.one_of(networks4, networks6), st.sampled_from(["VN", "US"]), max_size=8),
)
def test_layers_join_as_looking_each_up_would(
    country: Mapping[Network, str],
    first: Mapping[Network, str],
    then: Mapping[Network, str],
    second: Mapping[Network, str],
) -> None:
    layers = [layer_of(given.items()) for given in (country, first, then, second)]
    table = table_of(overlay(layers[0], classes=layers[1:3], second=layers[3]))
    for address in around([*country, *first, *then, *second, ip_network("::/0")]):
        word = word_of(first, address) or word_of(then, address)
        expected = Row(word_of(country, address), word, word_of(second, address))
        assert table.rows[table.lookup(address)] == (Row(None, SPECIAL) if word == SPECIAL else expected), address


@FEWER
@given(
    networks=st.dictionaries(networks4, st.sampled_from(["VN", "DE"]), min_size=1, max_size=8),
    listed=st.dictionaries(
        st.one_of(networks4, st.builds(lambda low, length: network6(0x2002 << 112 | low << 64, length),
                                       st.integers(0, (1 << 48) - 1), st.sampled_from([16, 24, 40, 48, 64]))),
        st.sampled_from(["vpn", SPECIAL]),
        max_size=6,
    ),
)  # fmt: skip
def test_ipv6_that_stands_for_ipv4_has_its_country_and_its_class_unless_one_is_listed_for_it(
    networks: Mapping[Network, str], listed: Mapping[Network, str]
) -> None:
    data = tree({net: {"country_code": code} for net, code in networks.items()}, aliases=ALIASES)
    country = read_layer(data, country_of)
    table = table_of(overlay(country, classes=[layer_of(listed.items())]))
    alone = table_of(overlay(country))
    for address in around([*networks, *(net for net in listed if net.version == 4)]):
        own = word_of(listed, address)
        inner = str(IPv4Address(int(IPv6Address(address)) >> 80 & 0xFFFFFFFF)) if address.startswith("2002:") else None
        if inner is None or not country.aliases:
            continue
        word = own or word_of(listed, inner)
        row = table.rows[table.lookup(address)]
        assert row == (Row(None, SPECIAL) if word == SPECIAL else Row(alone.country(inner), word)), address


def boundaries(share: float) -> int:
    """How many answers about the embedded file's networks, of which a share is looked at, were compared."""
    table = table_of(overlay(read_layer(EMBEDDED.read_bytes(), country_of)))
    chance = random.Random(11)
    seen = 0
    with maxminddb.open_database(EMBEDDED) as reader:
        for network, _ in reader:
            if chance.random() >= share:
                continue
            number = ip_network(network)
            first, last = int(number.network_address), int(number.broadcast_address)
            family = IPv4Address if number.version == 4 else IPv6Address
            for at in (first - 1, first, last, last + 1):
                if 0 <= at < 1 << number.max_prefixlen:
                    address = str(family(at))
                    assert table.country(address) == country_of(reader.get(address)), address
                    seen += 1
    return seen


def test_boundaries_of_the_embedded_file_answer_as_maxminddb() -> None:
    assert boundaries(0.02) > 10_000


@pytest.mark.slow
def test_every_boundary_of_the_embedded_file_answers_as_maxminddb() -> None:
    assert boundaries(1.0) > 1_000_000


@FEWER
@given(text=st.one_of(st.text(max_size=40), st.text("0123456789abcdef:.%/ ", max_size=45)))
def test_no_text_raises_and_what_is_no_address_is_unknown(text: str) -> None:
    row = WHOLE.lookup(text)
    assert row == 0 or WHOLE.rows[row] == Row("VN")


WHOLE = table_of(overlay(layer_of([(ip_network("0.0.0.0/0"), "VN"), (ip_network("::/0"), "VN")])))
