"""A country database answers in every known shape, read whole or looked up; a damaged one is refused."""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path

import pytest

from residency.adapters import mmdb as adapter
from residency.adapters.mmdb import (
    EMBEDDED,
    EMBEDDED_TABLE,
    MmdbCountries,
    MmdbHead,
    country_of,
    embedded,
    read_head,
    read_layer,
    records,
    system_at,
)
from residency.errors import AddressDataUnavailable
from residency.signals.table_layers import ALIASED, Intervals
from residency.signals.table_sources import SourceFile, compiled
from tests.mmdb_files import BUILT, METADATA, Value, encoded, mmdb
from tests.mmdb_trees import tree

MAXMIND: dict[str, Value] = {
    "continent": {"code": "AS", "names": {"en": "Asia"}},
    "country": {"geoname_id": 1562822, "iso_code": "VN", "names": {"en": "Vietnam"}},
    "registered_country": {"iso_code": "SG"},
    "traits": {"is_anycast": 1},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "own.mmdb"


@pytest.mark.parametrize(
    ("record", "country"),
    [
        (MAXMIND, "VN"),
        ({"country": {"names": {"en": "?"}}, "registered_country": {"iso_code": "SG"}}, "SG"),
        ({"registered_country": {"iso_code": "SG"}}, "SG"),
        ({"country_code": "VN"}, "VN"),
        ({"country": "VN"}, "VN"),
        ({"country_code": "EU"}, None),
        ({"country_code": "vn"}, None),
        ({"country": {"iso_code": "A1"}}, None),
        ({"autonomous_system_number": 7552}, None),
        ("VN", None),
    ],
)
def test_each_shape_in_use_answers_its_country(file: Path, record: Value, country: str | None) -> None:
    file.write_bytes(mmdb({"1.0.0.0/24": {"country_code": "AU"}, "14.160.0.0/11": record, "2001:ee0::/32": record}))
    table = MmdbCountries(file)
    assert country_of(record) == country
    for address in ("14.160.0.1", "2001:ee0::1", "14.160.0.1"):
        assert table.country(address) == country
    assert table.country("9.9.9.9") is None


def test_an_ipv4_database_knows_nothing_of_ipv6(file: Path) -> None:
    file.write_bytes(mmdb({"14.160.0.0/11": {"country_code": "VN"}}, ip_version=4))
    table = MmdbCountries(file)
    assert table.country("14.160.0.1") == "VN"
    assert table.country("2001:ee0::1") is None


def refused(path: Path, what: str) -> None:
    with pytest.raises(AddressDataUnavailable, match=what) as caught:
        MmdbCountries(path)
    assert path.name in str(caught.value)
    assert str(path.parent) not in str(caught.value)


def test_a_missing_file_a_folder_and_an_empty_file_are_refused(file: Path, tmp_path: Path) -> None:
    refused(file, "cannot be read")
    refused(tmp_path, "cannot be read")
    file.write_bytes(b"")
    refused(file, "cannot be read")


def test_a_text_file_is_refused(file: Path) -> None:
    file.write_text("start,end,country\n" * 100)
    refused(file, "cannot be read")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(file: Path, share: float) -> None:
    whole = EMBEDDED.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    refused(file, "cannot be read")


def test_a_file_cut_short_before_its_metadata_is_refused(file: Path) -> None:
    whole = EMBEDDED.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] + whole[whole.rindex(METADATA) :])
    refused(file, "cannot be read")


def test_a_file_that_opens_but_fails_at_every_lookup_is_refused_at_open(file: Path) -> None:
    whole = bytearray(mmdb({"1.0.0.0/24": {"country_code": "AU"}, "14.160.0.0/11": {"country_code": "VN"}}))
    start = whole.index(encoded({"country_code": "AU"}))
    end = whole.rindex(METADATA)
    whole[start:end] = b"\xff" * (end - start)
    file.write_bytes(whole)
    refused(file, "cannot be read")


def test_a_file_that_fails_at_one_lookup_fails_there_and_answers_elsewhere(file: Path) -> None:
    good: dict[str, Value] = {f"1.0.{n}.0/24": {"country_code": "AU"} for n in range(256)}
    good |= {f"1.1.{n}.0/24": {"country_code": "TH"} for n in range(256)}
    whole = mmdb({**good, "14.160.128.0/24": {"country_code": "VN"}})
    file.write_bytes(whole.replace(encoded({"country_code": "VN"}), b"\xff" * len(encoded({"country_code": "VN"}))))
    table = MmdbCountries(file)
    assert table.country("1.1.255.1") == "TH"
    for _ in range(2):  # a failure is never cached as an answer
        with pytest.raises(AddressDataUnavailable, match=r"`own\.mmdb` fails at lookup"):
            table.country("14.160.128.1")
    assert table.country("1.0.0.1") == "AU"


def test_a_database_without_countries_is_refused(file: Path) -> None:
    file.write_bytes(mmdb({"1.0.0.0/24": {"autonomous_system_number": 13335}}))
    refused(file, "holds no country")


def test_the_cache_is_bounded_and_changes_no_answer(file: Path) -> None:
    file.write_bytes(mmdb({"14.160.0.0/11": {"country_code": "VN"}}))
    table = MmdbCountries(file)
    for n in range(70_000):
        assert table.country(f"14.160.{n >> 8 & 255}.{n & 255}") == "VN"
        table._seen[str(n)] = None
    assert len(table._seen) <= 65_537


@pytest.mark.parametrize(
    ("address", "country"),
    [("14.160.0.1", "VN"), ("2001:ee0::1", "VN"), ("8.8.8.8", "US"), ("10.0.0.1", None), ("2001:db8::1", None)],
)
def test_the_embedded_table_knows_the_countries_of_well_known_networks(address: str, country: str | None) -> None:
    assert embedded().country(address) == country


def test_the_embedded_table_says_what_it_is() -> None:
    told = embedded().info()
    assert told["bundled"] is True
    assert told["file"] == "iptoasn-country.mmdb"
    assert told["licence"] == "PDDL-1.0"
    assert told["date"] == "2026-06-17"
    assert told["sha256"] == hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()
    assert "bugs" in str(told["caution"])
    assert json.loads((EMBEDDED.parent / "SOURCE.json").read_text())["networks"] == told["networks"]
    assert "Public Domain Dedication" in (EMBEDDED.parent / "LICENSE").read_text()


def test_a_file_of_ones_own_leaves_unknown_what_it_does_not_say(file: Path) -> None:
    file.write_bytes(mmdb({"14.160.0.0/11": {"country_code": "VN"}}))
    table = MmdbCountries(file)
    told = table.info()
    assert told["bundled"] is False
    assert told["licence"] is None
    assert told["networks"] is None
    assert table.built_at == BUILT
    table.close()


def test_an_embedded_file_that_is_not_the_described_one_is_refused(file: Path) -> None:
    file.write_bytes(mmdb({"14.160.0.0/11": {"country_code": "VN"}}))
    with pytest.raises(AddressDataUnavailable, match=r"SOURCE\.json"):
        MmdbCountries(file, source={"sha256": "0" * 64})


# --- a file read whole


LEAN: dict[str, Value] = {"1.0.0.0/24": {"country_code": "AU"}, "14.160.0.0/11": {"country_code": "VN"}}


def test_a_file_says_what_it_is() -> None:
    head = read_head(mmdb(LEAN))
    assert (head.type, head.built_at, head.ip_version, head.record_bits) == ("Test", BUILT, 6, 32)
    assert read_head(EMBEDDED.read_bytes()).type == "country ipvAll"


def test_a_layer_has_each_word_once_and_neighbours_that_differ() -> None:
    layer = read_layer(
        mmdb({**LEAN, "14.192.0.0/11": {"country": {"iso_code": "VN"}}, "2001:ee0::/32": "x"}), country_of
    )
    assert set(layer.words) == {None, "AU", "VN"}
    assert layer.networks == 4
    assert [(str(ip_address(start)), layer.words[value]) for start, value in zip(*parts(layer.v4), strict=True)][
        1:
    ] == [
        ("1.0.0.0", "AU"),
        ("1.0.1.0", None),
        ("14.160.0.0", "VN"),
        ("14.224.0.0", None),
    ]
    for family in (layer.v4, layer.v6):
        assert all(one < two for one, two in pairwise(family.starts))
        assert all(one != two for one, two in pairwise(family.values))


def parts(intervals: Intervals) -> tuple[list[int], list[int]]:
    return list(intervals.starts), list(intervals.values)


def test_each_distinct_record_is_decoded_once() -> None:
    seen: list[object] = []

    def value_of(record: object) -> str | None:
        seen.append(record)
        return country_of(record)

    networks = {ip_network(f"14.{n}.0.0/16"): {"country_code": "VN" if n % 2 else "TH"} for n in range(256)}
    layer = read_layer(tree(networks), value_of)
    assert len(seen) == 2
    assert layer.networks == 256


def test_what_leads_to_the_ipv4_part_is_an_alias_and_is_not_written_out() -> None:
    networks = {ip_network(f"14.{n}.0.0/16"): {"country_code": "VN" if n % 2 else "TH"} for n in range(256)}
    layer = read_layer(tree(networks, aliases=("2002::/16", "::ffff:0:0/96")), country_of)
    assert layer.aliases == ((0, 96), (0xFFFF << 32, 96), (0x2002 << 112, 16))
    assert list(layer.v6.values).count(ALIASED) == 3
    assert len(layer.v6.starts) < 10
    assert layer.networks == 256


@pytest.mark.parametrize("networks", [{}, {"0.0.0.0/0": {"country_code": "VN"}}, {"::/1": {"country_code": "VN"}}])
def test_a_file_whose_ipv4_is_all_alike_has_no_alias(networks: dict[str, Value]) -> None:
    layer = read_layer(tree({ip_network(net): record for net, record in networks.items()}), country_of)
    assert layer.aliases == ()
    assert [layer.words[value] for value in layer.v4.values] == ["VN" if networks else None]


def refused_whole(data: bytes) -> None:
    with pytest.raises(AddressDataUnavailable):
        read_layer(data, country_of)


def test_a_torn_file_is_refused_wherever_it_is_torn() -> None:
    whole = EMBEDDED.read_bytes()
    start = whole.rindex(METADATA)
    for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.999):
        cut = int(len(whole) * share)
        refused_whole(whole[:cut])
        refused_whole(whole[: min(cut, start - 1)] + whole[start:])  # with its metadata, as a bad copy might have
    refused_whole(whole[: len(whole) // 2] + bytes(len(whole) // 2 - 300) + whole[start - 300 :])
    refused_whole(whole[: len(whole) // 3] + b"\xff" * (len(whole) // 3) + whole[2 * len(whole) // 3 :])


def test_garbage_gives_a_layer_or_is_refused_and_ends() -> None:
    chance = random.Random(5)
    whole = tree(
        {ip_network(f"14.{n}.0.0/16"): {"country_code": "VN"} for n in range(0, 256, 3)}, aliases=("2002::/16",)
    )
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            layer = read_layer(bytes(data), country_of)
        except AddressDataUnavailable:
            continue
        assert layer.v4.starts[0] == layer.v6.starts[0] == 0


def test_a_tree_that_leads_back_into_itself_is_refused() -> None:
    whole = bytearray(mmdb({"14.160.0.0/11": {"country_code": "VN"}}, ip_version=4))
    whole[0:4] = bytes(4)  # the root's left side is the root
    refused_whole(bytes(whole))
    six = bytearray(mmdb({"14.160.0.0/11": {"country_code": "VN"}}))
    six[0:4] = bytes(4)
    refused_whole(bytes(six))


def test_a_tree_that_shares_its_nodes_without_end_is_refused_in_time() -> None:
    whole = bytearray(mmdb({"0.0.0.0/32": {"country_code": "VN"}}, ip_version=4))
    for node in range(31):  # both sides of each lead on to the next: 2^31 leaves
        whole[8 * node + 4 : 8 * node + 8] = whole[8 * node : 8 * node + 4]
    refused_whole(bytes(whole))


def test_a_pointer_into_the_separator_or_past_the_data_is_refused() -> None:
    for pointer in (33, 32 + 15, 32 + 16 + 10_000, 0xFFFFFFFF):
        whole = bytearray(mmdb({"0.0.0.0/32": {"country_code": "VN"}}, ip_version=4))
        whole[4:8] = pointer.to_bytes(4)  # the root's right side; the tree has 32 nodes
        refused_whole(bytes(whole))


def test_the_shipped_table_is_what_the_shipped_file_compiles_to() -> None:
    source = SourceFile("database", EMBEDDED.name, EMBEDDED.read_bytes())
    assert compiled([source], adapter) == EMBEDDED_TABLE.read_bytes()


def test_the_shipped_table_opens_mapped_and_names_a_place_in_almost_every_country(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = adapter.embedded_table()
    for country in ("VN", "LA", "DE", "US", "SG", "CN", "TV", "VA"):
        address = table.somewhere_in(country)
        assert address is not None
        assert table.country(address) == embedded().country(address) == country
    monkeypatch.setattr(adapter, "EMBEDDED_TABLE", tmp_path / "missing.table")
    with pytest.raises(AddressDataUnavailable, match="embedded address table cannot be read"):
        adapter.embedded_table()


@pytest.mark.parametrize(
    ("bits", "node"),
    [
        (24, bytes.fromhex("123456 9abcde")),
        (28, bytes.fromhex("123456 f3 9abcde")),
        (32, bytes.fromhex("12345678 9abcdef0")),
    ],
)
def test_records_of_every_width_are_unpacked_whole(bits: int, node: bytes) -> None:
    left, right = records(node * 2, MmdbHead("Test", BUILT, 6, 2, bits))
    whole = {24: (0x123456, 0x9ABCDE), 28: (0xF123456, 0x39ABCDE), 32: (0x12345678, 0x9ABCDEF0)}[bits]
    assert (list(left), list(right)) == ([whole[0]] * 2, [whole[1]] * 2)


def test_only_records_that_lead_to_the_ipv4_part_are_aliases_not_such_as_hold_its_bytes() -> None:
    sides = array("I", [0x0100, 0, 1, 0x01000000, 0x010000, 1])
    adapter._mark(sides, 1)
    assert list(sides) == [0x0100, 0, 0xFFFFFFFF, 0x01000000, 0x010000, 0xFFFFFFFF]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"autonomous_system_number": 64500, "autonomous_system_organization": "EXAMPLE\x1b[2J"}, "AS64500 EXAMPLE[2J"),
        ({"asn": "AS64500", "name": "x" * 100}, "AS64500 " + "x" * 60),
        ({"asn": 64500}, "AS64500"),
        ({"country_code": "VN"}, None),
    ],
)
def test_an_autonomous_system_is_told_by_its_number_and_name(file: Path, record: Value, told: str | None) -> None:
    file.write_bytes(mmdb({"113.160.0.0/16": record}))
    assert system_at(file, "113.160.0.1") == told
    assert system_at(file, "8.8.8.8") is None


def test_of_a_database_that_cannot_be_read_now_no_autonomous_system_is_told(file: Path) -> None:
    assert system_at(file.with_name("gone.mmdb"), "113.160.0.1") is None
    file.write_bytes(b"torn")
    assert system_at(file, "113.160.0.1") is None
    file.write_bytes(mmdb({"113.160.0.0/16": {"asn": 64500}}, ip_version=4))
    assert system_at(file, "2001:db8::1") is None
