"""Sources become one table by fixed rules of who prevails; a new table is judged by dates and by its Vietnam."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.adapters import mmdb
from residency.errors import AddressDataUnavailable
from residency.signals.network import CLASSES, SPECIAL
from residency.signals.table import AddressTable, Row
from residency.signals.table_sources import SourceFile, compiled, date_text, digest_of, judge, special_layer
from tests.mmdb_files import BUILT, countries
from tests.mmdb_files import mmdb as mmdb_bytes

PLACES: Final = {"14.160.0.0/11": "VN", "8.128.0.0/10": "SG"}
WORDS: Final = CLASSES[1:]


def meta(sha256: str = "a", built: int | None = BUILT, vietnam: tuple[int, int] = (1000, 1000)) -> dict[str, Any]:
    return {
        "sources": [{"role": "database", "file": "x.mmdb", "sha256": sha256, "built_at": built}],
        "vietnam": {"database": list(vietnam)},
    }


@pytest.mark.parametrize(
    ("new", "outcome"),
    [
        (meta(), "taken"),
        (meta("b", BUILT + 1), "taken"),
        (meta("b", BUILT), "older"),
        (meta("b", BUILT - 1), "older"),
        (meta("b", BUILT + 1, (1099, 901)), "taken"),
        (meta("b", BUILT + 1, (1100, 1000)), "moved_too_much"),
        (meta("b", BUILT + 1, (1000, 900)), "moved_too_much"),
        (meta("b", BUILT + 1, (0, 1000)), "moved_too_much"),
        (meta("b", BUILT - 1, (0, 0)), "older"),
        (meta("a", BUILT, (0, 0)), "taken"),  # the same file: counted anew by a newer compiler
    ],
)
def test_a_new_table_must_be_newer_and_have_nearly_the_same_vietnam(new: dict[str, Any], outcome: str) -> None:
    found, why = judge(meta(), new, 0.10)
    assert found == outcome
    assert bool(why) is (outcome != "taken")


def test_from_no_vietnam_at_all_any_is_too_much_and_none_is_no_change() -> None:
    assert judge(meta(vietnam=(0, 0)), meta("b", BUILT + 1, (1, 0)), 1.0)[0] == "moved_too_much"
    assert judge(meta(vietnam=(0, 0)), meta("b", BUILT + 1, (0, 0)), 0.01)[0] == "taken"


def test_a_list_has_no_date_and_a_source_that_is_new_nothing_to_be_judged_by() -> None:
    old, new = meta(), meta()
    for which, sha256 in ((old, "c"), (new, "d")):
        which["sources"].append({"role": "list", "file": "own.txt", "sha256": sha256, "built_at": None})
    new["sources"].append({"role": "second", "file": "y.mmdb", "sha256": "e", "built_at": 1})
    new["vietnam"]["second"] = [5, 5]
    assert judge(old, new, 0.10) == ("taken", "")


def test_the_digest_is_of_all_that_the_table_depends_on() -> None:
    one = SourceFile("database", "x.mmdb", b"1")
    variants = [
        (one,),
        (SourceFile("database", "x.mmdb", b"2"),),
        (SourceFile("second", "x.mmdb", b"1"),),
        (SourceFile("database", "y.mmdb", b"1"),),
        (one, SourceFile("list", "a", b"1"), SourceFile("list", "b", b"2")),
        (one, SourceFile("list", "a", b"2"), SourceFile("list", "b", b"1")),
    ]
    digests = [digest_of(files) for files in variants]
    assert len(set(digests)) == len(variants)
    assert all(len(digest) == 32 for digest in digests)
    assert digest_of([SourceFile("database", "x.mmdb", b"1")]) == digests[0]


def test_equal_sources_give_equal_bytes() -> None:
    files = [SourceFile("database", "x.mmdb", countries(PLACES)), SourceFile("list", "l", b"8.128.0.0/16 vpn")]
    assert compiled(files, mmdb) == compiled(files, mmdb)


def test_a_build_date_is_told_whatever_the_number() -> None:
    assert date_text(BUILT) == "2026-09-21T14:13+00:00"
    assert date_text(2**60) == "at no date"


def test_the_special_layer_is_the_listed_networks() -> None:
    layer = special_layer()
    assert layer.words == (None, "special")
    assert layer.networks == len(SPECIAL)


networks = st.builds(
    lambda number, prefix: IPv4Network((number << 16 & -1 << 32 - prefix & 0xFFFFFFFF, prefix)),
    st.integers(0x0800, 0x08FF),
    st.integers(8, 20),
)


@settings(max_examples=30)
@given(
    st.dictionaries(networks, st.sampled_from(WORDS), max_size=6),
    st.dictionaries(networks, st.sampled_from(WORDS), max_size=6),
    st.sampled_from(["14.160.0.0/11", "8.128.0.0/10", "8.64.0.0/12"]),
)
def test_at_every_boundary_a_list_says_what_its_longest_network_says_before_any_database(
    one: dict[IPv4Network, str], two: dict[IPv4Network, str], anonymous: str
) -> None:
    files = [
        SourceFile("database", "x.mmdb", countries(PLACES)),
        SourceFile("anonymous_ip", "a.mmdb", mmdb_bytes({anonymous: {"is_anonymous": True}})),
    ]
    for name, named in (("one", one), ("two", two)):
        if named:
            lines = "\n".join(f"{network} {word}" for network, word in named.items())
            files.append(SourceFile("list", name, lines.encode()))
    table = AddressTable(compiled(files, mmdb))
    edges = {IPv4Address("8.128.0.0"), IPv4Address("10.0.0.1")}
    for network in (*one, *two, IPv4Network(anonymous)):
        edges |= {network[0], network[-1], network[0] - 1, network[-1] + 1}
    for address in edges:
        best = max((network.prefixlen for network in (*one, *two) if address in network), default=None)
        said = {
            word
            for named in (one, two)
            for network, word in named.items()
            if address in network and network.prefixlen == best
        }
        word = min(said, key=CLASSES.index, default=None)
        if word is None and address in ip_network(anonymous):
            word = "anonymiser"
        country = next((code for text, code in PLACES.items() if address in ip_network(text)), None)
        expected = Row(None, "special") if address == IPv4Address("10.0.0.1") else Row(country, word)
        if any(address in ip_network(text) for text in SPECIAL if ":" not in text):
            expected = Row(None, "special")
        assert table.rows[table.lookup(str(address))] == expected


def test_a_source_that_is_no_mmdb_is_told_by_name() -> None:
    with pytest.raises(AddressDataUnavailable, match=r"`x\.mmdb` is damaged, or no mmdb file"):
        compiled([SourceFile("database", "x.mmdb", b"")], mmdb)
