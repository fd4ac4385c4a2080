"""A country database answers in every known shape, and a damaged one is refused: at open, or at the lookup it fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from residency.adapters.mmdb import EMBEDDED, MmdbCountries, country_of, embedded
from residency.errors import AddressDataUnavailable

Value = str | int | Mapping[str, "Value"] | Sequence["Value"]
METADATA = b"\xab\xcd\xefMaxMind.com"


def encoded(value: Value) -> bytes:
    """One value of the MaxMind DB format 2.0, data section."""
    match value:
        case str():
            raw = value.encode()
            assert len(raw) < 285
            return (bytes([0x40 | len(raw)]) if len(raw) < 29 else bytes([0x5D, len(raw) - 29])) + raw
        case int():
            raw = value.to_bytes((value.bit_length() + 7) // 8)
            return bytes([len(raw), 2]) + raw  # extended type 9: uint64
        case Mapping():
            return bytes([0xE0 | len(value)]) + b"".join(encoded(k) + encoded(v) for k, v in value.items())
        case _:
            return bytes([len(value), 4]) + b"".join(map(encoded, value))  # extended type 11: array


def uint16(value: int) -> bytes:
    """An unsigned 16-bit integer of the same format."""
    return bytes([0xA2]) + value.to_bytes(2)


def mmdb(networks: Mapping[str, Value], *, ip_version: int = 6) -> bytes:
    """A small mmdb file that holds one record per network."""
    data = b""
    nodes: list[list[int | None]] = [[None, None]]  # None = empty, negative = ~offset of a record
    for text, record in networks.items():
        network = ip_network(text)
        bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
        if network.version == 4 and ip_version == 6:
            bits = "0" * 96 + bits
        at = 0
        for bit in map(int, bits[:-1]):
            child = nodes[at][bit]
            if child is None:
                nodes.append([None, None])
                child = nodes[at][bit] = len(nodes) - 1
            at = child
        nodes[at][int(bits[-1])] = ~len(data)
        data += encoded(record)
    count = len(nodes)
    tree = b"".join(
        (count if side is None else side if side >= 0 else count + 16 + ~side).to_bytes(4)
        for node in nodes
        for side in node
    )
    metadata = bytes([0xE9]) + b"".join(  # a map of nine; readers insist on the width of each integer
        encoded(name) + value
        for name, value in {
            "binary_format_major_version": uint16(2),
            "binary_format_minor_version": uint16(0),
            "build_epoch": encoded(1_780_000_000),
            "database_type": encoded("Test"),
            "description": encoded({"en": "made by a test"}),
            "ip_version": uint16(ip_version),
            "languages": encoded([]),
            "node_count": bytes([0xC4]) + count.to_bytes(4),
            "record_size": uint16(32),
        }.items()
    )
    return tree + bytes(16) + data + METADATA + metadata


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
    assert table.built_at == 1_780_000_000
    table.close()


def test_an_embedded_file_that_is_not_the_described_one_is_refused(file: Path) -> None:
    file.write_bytes(mmdb({"14.160.0.0/11": {"country_code": "VN"}}))
    with pytest.raises(AddressDataUnavailable, match=r"SOURCE\.json"):
        MmdbCountries(file, source={"sha256": "0" * 64})
