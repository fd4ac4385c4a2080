"""Sources compile once into a file that is mapped; equal sources, one file; nothing half written is ever used."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from residency.adapters import mmdb
from residency.adapters.address_tables import AddressTables, PackagedTable, Sources, open_table
from residency.errors import AddressDataUnavailable
from residency.signals.table import Row
from residency.signals.table_layers import Layer
from tests.mmdb_files import BUILT, METADATA, countries
from tests.mmdb_files import mmdb as mmdb_bytes

HANOI, SINGAPORE, UNKNOWN = "14.160.0.1", "8.128.0.1", "9.9.9.9"
PLACES = {"14.160.0.0/11": "VN", "8.128.0.0/10": "SG", "2001:ee0::/32": "VN"}


class Counting(SimpleNamespace):
    """The mmdb adapter, counting the files that it walks."""

    def __init__(self) -> None:
        super().__init__(walked=0)

    def read_head(self, data: bytes) -> mmdb.MmdbHead:
        return mmdb.read_head(data)

    def read_layer(self, data: bytes, value_of: Callable[[object], str | None]) -> Layer:
        self.walked += 1
        return mmdb.read_layer(data, value_of)

    def country_of(self, record: object) -> str | None:
        return mmdb.country_of(record)


def allowed(new: Mapping[str, object], old: Mapping[str, object] | None) -> bool:
    return True


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "own.mmdb"
    path.write_bytes(countries(PLACES))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "address"


def names(folder: Path, kind: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"*.{kind}"))


def row(sources: Sources, folder: Path, address: str) -> Row:
    table = open_table(sources, folder, mmdb)
    return table.rows[table.lookup(address)]


# -- what is in the table --------------------------------------------------------------------------------------


def test_a_table_answers_as_its_source_and_says_what_it_is(database: Path, folder: Path) -> None:
    table = open_table(Sources(database), folder, mmdb)
    assert [table.country(a) for a in (HANOI, SINGAPORE, UNKNOWN, "2001:ee0::1")] == ["VN", "SG", None, "VN"]
    assert table.meta["source"] == "own.mmdb"
    assert table.meta["built_at"] == BUILT
    assert table.meta["vn_addresses"] == {"ipv4": 2**21, "ipv6_64": 2**32}
    assert str(folder) not in str(table.meta)


def test_special_purpose_addresses_have_no_country_whatever_the_source_says(tmp_path: Path, folder: Path) -> None:
    database = tmp_path / "own.mmdb"
    database.write_bytes(countries({"10.0.0.0/8": "VN", "100.64.0.0/10": "VN", "fc00::/7": "VN", "1.0.0.0/24": "VN"}))
    for address in ("10.1.2.3", "100.64.0.1", "fd00::1", "127.0.0.1", "::1", "192.0.2.1", "224.0.0.1", "2001:db8::1"):
        assert row(Sources(database), folder, address) == Row(None, "special")
    assert row(Sources(database), folder, "1.0.0.1") == Row("VN")


def test_a_second_database_is_kept_beside_the_first(database: Path, tmp_path: Path, folder: Path) -> None:
    second = tmp_path / "second.mmdb"
    second.write_bytes(countries({"14.160.0.0/11": "VN", "8.128.0.0/10": "CN", "9.9.9.0/24": "CH"}, built=BUILT + 5))
    sources = Sources(database, second)
    assert row(sources, folder, HANOI) == Row("VN", None, "VN")
    assert row(sources, folder, SINGAPORE) == Row("SG", None, "CN")
    assert row(sources, folder, UNKNOWN) == Row(None, None, "CH")
    table = open_table(sources, folder, mmdb)
    assert table.meta["second"] is True
    assert table.meta["built_at"] == BUILT


def test_lists_prevail_over_the_anonymous_ip_database_and_that_over_the_autonomous_system(
    database: Path, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "a.txt").write_text("14.160.0.0/16 vpn\n14.160.1.0/24 satellite\nAS64500 hosting\n")
    (tmp_path / "b.txt").write_text("14.160.0.0/16 relay\n2001:ee0:1::/48 tor\nAS64500 satellite\n")
    anonymous = {"is_anonymous": True, "is_anonymous_vpn": True}
    (tmp_path / "anonymous.mmdb").write_bytes(mmdb_bytes({"14.160.0.0/24": anonymous, "14.161.0.0/24": anonymous}))
    system = {"autonomous_system_number": 64500}
    other = {"autonomous_system_number": 64501}
    (tmp_path / "asn.mmdb").write_bytes(
        mmdb_bytes({"14.160.0.0/15": system, "14.162.0.0/16": system, "8.128.0.0/16": other})
    )
    sources = Sources(
        database,
        lists=(tmp_path / "a.txt", tmp_path / "b.txt"),
        anonymous_ip=tmp_path / "anonymous.mmdb",
        asn=tmp_path / "asn.mmdb",
    )
    said = {
        "14.160.0.1": "relay",  # two lists: the stronger word
        "14.160.1.1": "satellite",  # the longer prefix
        "14.161.0.1": "vpn",  # the database
        "14.161.1.1": "satellite",  # the autonomous system, the stronger of two lists' words
        "14.162.0.1": "satellite",
        "14.163.0.1": None,
        "8.128.0.1": None,
        "2001:ee0:1::1": "tor",
        "2001:ee0:2::1": None,
    }
    table = open_table(sources, folder, mmdb)
    assert {address: table.rows[table.lookup(address)].network for address in said} == said
    assert table.country("14.160.0.1") == "VN"
    assert [source["role"] for source in table.meta["sources"]] == [  # type: ignore[attr-defined]
        "database",
        "list",
        "list",
        "anonymous_ip",
        "asn",
    ]


# -- what is no source -----------------------------------------------------------------------------------------


def refused(sources: Sources, folder: Path, told: str) -> None:
    with pytest.raises(AddressDataUnavailable, match=told) as caught:
        open_table(sources, folder, mmdb)
    assert str(sources.database.parent) not in str(caught.value)
    assert names(folder, "table") == names(folder, "current") == []


@pytest.mark.timeout(10)
def test_a_source_that_is_no_file_is_refused_and_a_pipe_is_not_waited_for(tmp_path: Path, folder: Path) -> None:
    refused(Sources(tmp_path / "none.mmdb"), folder, "`none.mmdb` cannot be read: No such file")
    refused(Sources(tmp_path), folder, "is no file")
    os.mkfifo(tmp_path / "pipe")
    refused(Sources(tmp_path / "pipe"), folder, "`pipe` is no file")


def test_a_source_that_does_not_parse_whole_is_refused_by_name(database: Path, tmp_path: Path, folder: Path) -> None:
    whole = database.read_bytes()
    at = whole.index(METADATA)
    bad = tmp_path / "bad.mmdb"
    for data in (b"", whole[:100], whole[: at // 2] + whole[at:], b"\xff" * at + whole[at:], b"1.0.0.0/8,US\n" * 99):
        bad.write_bytes(data)
        refused(Sources(bad), folder, "`bad.mmdb`")
        refused(Sources(database, second=bad), folder, "`bad.mmdb`")
        refused(Sources(database, anonymous_ip=bad), folder, "`bad.mmdb`")


def test_a_database_of_another_kind_is_refused(database: Path, tmp_path: Path, folder: Path) -> None:
    asn = tmp_path / "asn.mmdb"
    asn.write_bytes(mmdb_bytes({"1.0.0.0/24": {"autonomous_system_number": 13335}}))
    refused(Sources(asn), folder, "`asn.mmdb` holds no country")
    refused(Sources(database, second=asn), folder, "`asn.mmdb` holds no country")
    refused(Sources(database, anonymous_ip=asn), folder, "`asn.mmdb` flags no network")
    refused(Sources(database, asn=database), folder, "`own.mmdb` knows no autonomous system")


def test_a_list_that_names_an_autonomous_system_needs_a_database_that_knows_them(
    database: Path, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "own.txt").write_text("14.160.0.0/16 vpn\nAS64500 hosting\n")
    refused(Sources(database, lists=(tmp_path / "own.txt",)), folder, r"own\.txt:2: an AS needs")
    (tmp_path / "own.txt").write_text("14.160.0.0/16 vpn\nAS64500 fast\n")
    refused(Sources(database, lists=(tmp_path / "own.txt",)), folder, r"own\.txt:2: the class is none of")


# -- the folder ------------------------------------------------------------------------------------------------


def test_equal_sources_are_compiled_once_and_then_mapped(database: Path, folder: Path) -> None:
    counting = Counting()
    first = open_table(Sources(database), folder, counting)
    (folder / "lock").unlink()
    second = open_table(Sources(database), folder, counting)
    assert counting.walked == 1
    assert first.meta == second.meta
    assert names(folder, "tmp") == []
    assert not (folder / "lock").exists()  # a prepared table needs no writing at all
    (prepared,) = folder.glob("*.table")
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(prepared) in line]
    assert maps
    assert {line[1] for line in maps} == {"r--s"}  # read-only and shared, not copied


def test_compiled_apart_the_table_is_the_same_and_so_is_what_is_refused(database: Path, folder: Path) -> None:
    here = open_table(Sources(database), folder, mmdb)
    (prepared,) = folder.glob("*.table")
    whole = prepared.read_bytes()
    for path in folder.iterdir():
        path.unlink()
    tables = AddressTables(Sources(database), folder, mmdb)
    there = tables.prepare(tables.read(), allowed, apart=True)
    assert there is not None
    assert there.meta == here.meta
    assert prepared.read_bytes() == whole
    database.write_bytes(database.read_bytes()[:-40])
    with pytest.raises(AddressDataUnavailable, match=r"`own\.mmdb` is damaged, or no mmdb file"):
        tables.prepare(tables.read(), allowed, apart=True)


def test_where_no_process_can_be_had_the_table_is_compiled_here(
    database: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tables = AddressTables(Sources(database), folder, mmdb)
    for executable in ("/none/python", "/bin/false", ""):
        monkeypatch.setattr(sys, "executable", executable)
        table = tables.prepare(tables.read(), allowed, apart=True)
        assert table is not None
        assert table.country(HANOI) == "VN"
        for path in folder.iterdir():
            path.unlink()
    assert [record.message.partition(": ")[0] for record in caplog.records] == [
        "address data is compiled in this process, which may delay requests"
    ] * 2


def test_a_rewritten_source_changes_nothing_in_a_table_that_is_open(database: Path, folder: Path) -> None:
    table = open_table(Sources(database), folder, mmdb)
    database.write_bytes(b"\0" * database.stat().st_size)
    assert table.country(HANOI) == "VN"


def test_tables_beyond_the_newest_two_go_unless_they_are_in_force(database: Path, tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other.mmdb"
    other.write_bytes(countries({"1.0.0.0/24": "AU"}))
    open_table(Sources(other), folder, mmdb)
    (held,) = names(folder, "table")
    for n in range(5):
        database.write_bytes(countries(PLACES, built=BUILT + n))
        open_table(Sources(database), folder, mmdb)
        for age, path in enumerate(sorted(folder.glob("*.table"), key=lambda p: p.stat().st_mtime_ns)):
            os.utime(path, (1_000_000 + 100 * n + age,) * 2)
    assert held in names(folder, "table")
    assert len(names(folder, "table")) == 3
    assert row(Sources(other), folder, "1.0.0.1") == Row("AU")


def test_what_a_crash_left_half_written_is_removed_and_a_damaged_table_compiled_anew(
    database: Path, folder: Path
) -> None:
    open_table(Sources(database), folder, mmdb)
    (prepared,) = folder.glob("*.table")
    whole = prepared.read_bytes()
    for damaged in (b"", whole[:-1], whole[:-64] + b"x" * 64, b"x" + whole[1:]):
        prepared.unlink()  # never in place: it may be mapped
        prepared.write_bytes(damaged)
        (folder / "x.table.tmp").write_bytes(whole[:99])
        assert row(Sources(database), folder, HANOI) == Row("VN")
        assert prepared.read_bytes() == whole
        assert names(folder, "tmp") == []


def test_a_folder_that_cannot_be_written_costs_a_warning_and_still_answers(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    tables = AddressTables(Sources(database), tmp_path / "file" / "address", mmdb)
    with caplog.at_level(logging.WARNING, "residency"):
        for _ in range(2):
            table = tables.prepare(tables.read(), allowed)
            assert table is not None
            assert table.country(HANOI) == "VN"
    assert [record.message for record in caplog.records] == [
        "the folder of compiled address tables cannot be used (Not a directory): every process compiles its own"
    ]
    assert tables.in_force() is None


# -- what is in force ------------------------------------------------------------------------------------------


def test_a_folder_that_anybody_may_write_to_is_not_believed(
    database: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables = AddressTables(Sources(database), folder, mmdb)
    assert tables.prepare(tables.read(), allowed) is not None
    assert tables.in_force() is not None
    folder.chmod(0o777)
    before = sorted(path.name for path in folder.iterdir())
    with caplog.at_level(logging.WARNING):
        assert tables.in_force() is None
        assert tables.prepare(tables.read(), lambda new, old: old is None) is not None
    assert "others may write to it" in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_believed_only_where_the_sources_are_that_users_too(
    database: Path, folder: Path
) -> None:
    tables = AddressTables(Sources(database), folder, mmdb)
    tables.prepare(tables.read(), allowed)
    os.chown(folder, 12_345, 12_345)
    assert tables.in_force() is None
    os.chown(database, 12_345, 12_345)
    assert tables.in_force() is not None


def test_a_source_that_is_larger_than_any_mmdb_is_not_read(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "huge.mmdb").touch()
    os.truncate(tmp_path / "huge.mmdb", 2**32 + 1)
    refused(Sources(tmp_path / "huge.mmdb"), folder, "`huge.mmdb` is larger than an mmdb can be")


def test_what_is_not_allowed_leaves_no_trace_and_the_old_in_force(database: Path, folder: Path) -> None:
    tables = AddressTables(Sources(database), folder, mmdb)
    assert tables.in_force() is None
    tables.prepare(tables.read(), allowed)
    before = sorted(path.name for path in folder.iterdir())
    database.write_bytes(countries({"14.160.0.0/11": "LA"}, built=BUILT + 1))
    asked = []

    def never(new: Mapping[str, object], old: Mapping[str, object] | None) -> bool:
        asked.append((new["built_at"], old and old["built_at"]))
        return False

    assert tables.prepare(tables.read(), never) is None
    assert asked == [(BUILT + 1, BUILT)]
    assert sorted(path.name for path in folder.iterdir()) == before
    in_force = AddressTables(Sources(database), folder, mmdb).in_force()
    assert in_force is not None
    assert in_force.country(HANOI) == "VN"


def test_other_source_paths_have_their_own_table_in_force(database: Path, tmp_path: Path, folder: Path) -> None:
    open_table(Sources(database), folder, mmdb)
    assert AddressTables(Sources(tmp_path / "other.mmdb"), folder, mmdb).in_force() is None
    assert AddressTables(Sources(database, second=database), folder, mmdb).in_force() is None


@pytest.mark.parametrize("name", ["", "../own.mmdb", "none.table", "a/b.table", "\xff"])
def test_a_damaged_note_of_what_is_in_force_counts_as_none(database: Path, folder: Path, name: str) -> None:
    tables = AddressTables(Sources(database), folder, mmdb)
    tables.prepare(tables.read(), allowed)
    (note,) = folder.glob("*.current")
    note.write_text(name, "utf-8")
    assert tables.in_force() is None
    assert tables.prepare(tables.read(), allowed) is not None
    assert tables.in_force() is not None


def test_the_stamp_is_another_after_any_write(database: Path, folder: Path, tmp_path: Path) -> None:
    tables = AddressTables(Sources(database), folder, mmdb)
    stamps = [tables.stamp()]
    told = database.stat()
    data = database.read_bytes()
    database.write_bytes(data[:-1] + b"\0")
    os.utime(database, ns=(told.st_atime_ns, told.st_mtime_ns))  # as a copy that keeps times
    stamps.append(tables.stamp())
    (tmp_path / "new").write_bytes(data)
    (tmp_path / "new").replace(database)
    stamps.append(tables.stamp())
    database.unlink()
    stamps.append(tables.stamp())
    assert len(set(stamps)) == 4
    assert tables.stamp() == stamps[-1]


def test_a_packaged_table_that_is_damaged_is_refused(tmp_path: Path) -> None:
    for data in (None, b"", b"no table"):
        if data is not None:
            (tmp_path / "shipped.table").write_bytes(data)
        tables = PackagedTable(tmp_path / "shipped.table")
        with pytest.raises(AddressDataUnavailable):
            tables.prepare(tables.read(), allowed)


def test_a_packaged_table_is_mapped_as_it_is(database: Path, folder: Path) -> None:
    open_table(Sources(database), folder, mmdb)
    (prepared,) = folder.glob("*.table")
    tables = PackagedTable(prepared)
    assert tables.in_force() is None
    assert tables.stamp() == tables.stamp()
    table = tables.prepare(tables.read(), allowed)
    assert table is not None
    assert table.country(HANOI) == "VN"
