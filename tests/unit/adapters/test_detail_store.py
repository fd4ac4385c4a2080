"""A country's store: a row is there once however often it is filed, and its bytes are gone once it is erased."""

from __future__ import annotations

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.detail_store import DetailStore
from residency.audit.detail_head import Head
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt, JournalFailed

A, B = "aa" * 16, "bb" * 16
DAY = 86_400_000_000


def head(entry: str, *, origin: str = "log.example", alias: str | None = A, at: int = DAY, **terms: int | None) -> Head:
    keep, erase = terms.get("keep"), terms.get("erase", 100 * DAY)
    commitment = hashlib.sha256(f"{origin} {entry}".encode()).hexdigest()
    return Head(origin, entry, commitment, alias, at, "none" if keep is None else "log>=1d", keep, erase)


def secret(entry: str) -> bytes:
    return f"sealed-bytes-of-{entry}|".encode() * 20


@pytest.fixture
def store(tmp_path: Path) -> DetailStore:
    return DetailStore(tmp_path / "VN" / "details.db")


def on_disk(store: DetailStore) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store._path.parent.iterdir()))


def names(store: DetailStore, **asked: object) -> list[str]:
    return [found.entry for found, _ in store.rows(**asked)]  # type: ignore[arg-type]


def test_what_is_filed_twice_is_there_once(store: DetailStore) -> None:
    rows = [(head("0.1"), b"one"), (head("0.2"), b"two")]
    assert store.file(rows, {0: Cursor(0, 500, 2)}) == 2
    assert store.file([*rows, (head("0.3"), b"three")], {0: Cursor(0, 700, 3)}) == 1
    assert list(store.rows()) == [*rows, (head("0.3"), b"three")]
    assert store.cursors() == {0: Cursor(0, 700, 3)}


def test_entries_of_two_logs_and_two_details_of_one_entry_stand_beside_each_other(store: DetailStore) -> None:
    mine, other = head("0.1"), head("0.1", origin="another.example")
    again = replace(mine, commitment="cd" * 32)
    assert store.file([(mine, b"1"), (other, b"2"), (again, b"3")]) == 3


def test_rows_are_found_by_alias_entry_class_and_time_and_in_order(store: DetailStore) -> None:
    heads = [head("0.1"), head("0.2", alias=B), head("0.3", keep=5 * DAY), head("0.4", alias=None, at=9 * DAY)]
    store.file((each, b"x") for each in reversed(heads))
    assert names(store) == ["0.1", "0.2", "0.3", "0.4"]
    assert names(store, alias=A) == ["0.1", "0.3"]
    assert names(store, entry="0.2") == ["0.2"]
    assert names(store, keeping="log>=1d") == ["0.3"]
    assert names(store, since=2 * DAY) == ["0.4"]
    assert store.count() == {"none": 3, "log>=1d": 1}


def test_more_rows_than_are_read_at_once_come_each_once(store: DetailStore) -> None:
    store.file((head(f"0.{number}"), b"x") for number in range(2_500))
    assert sorted(names(store), key=lambda entry: int(entry[2:])) == [f"0.{number}" for number in range(2_500)]


def test_a_store_that_is_not_there_holds_nothing_and_is_not_made_by_asking(store: DetailStore) -> None:
    assert (list(store.rows()), store.cursors(), store.count(), store.expire(DAY), store.progress()) == (
        [], {}, {}, 0, ({}, frozenset())
    )  # fmt: skip
    assert not store._path.exists()


def test_what_is_due_goes_and_its_bytes_with_it_and_the_rest_stays(store: DetailStore) -> None:
    store.file([(head("0.1", erase=50 * DAY), secret("0.1")), (head("0.2"), secret("0.2"))])
    assert store.expire(50 * DAY - 1) == 0
    assert secret("0.1") in on_disk(store)
    assert store.expire(50 * DAY) == 1
    assert names(store) == ["0.2"]
    assert b"sealed-bytes-of-0.1" not in on_disk(store)
    assert head("0.1").commitment.encode() not in on_disk(store)
    assert secret("0.2") in on_disk(store)


def test_erased_bytes_are_gone_while_another_process_has_the_file_open(store: DetailStore) -> None:
    store.file([])
    with closing(sqlite3.connect(store._path)) as other:
        other.execute("SELECT count(*) FROM detail").fetchall()
        store.file([(head(f"0.{number}"), secret(f"0.{number}")) for number in range(50)])
        assert b"sealed-bytes-of-0.7" in store._path.with_name("details.db-wal").read_bytes()
        assert store.erase([head("0.7")]) == 1
        assert b"sealed-bytes-of-0.7" not in on_disk(store)
        assert secret("0.8") in on_disk(store)


def test_what_was_erased_ahead_of_its_time_does_not_come_back_by_a_second_delivery(store: DetailStore) -> None:
    row = (head("0.1"), b"x")
    store.file([row])
    assert store.erase([head("0.1"), head("0.2")]) == 1
    assert store.file([row]) == 0
    assert names(store) == []
    assert store.erase([head("0.1")]) == 0
    # Once its time is up it comes back neither: what is due is not taken in.
    store.expire(100 * DAY)
    assert store.file([row], now=100 * DAY) == 0


def test_a_detail_under_a_floor_goes_at_its_end_and_not_before(store: DetailStore) -> None:
    store.file([(head("0.1", keep=30 * DAY, erase=None), b"x"), (head("0.2", keep=30 * DAY, erase=40 * DAY), b"y")])
    assert store.expire(30 * DAY - 1) == 0
    assert store.expire(30 * DAY) == 1
    assert names(store) == ["0.2"]
    assert store.expire(40 * DAY) == 1


def test_journals_that_may_hold_erased_bytes_are_to_be_turned_over_once(store: DetailStore) -> None:
    store.file([(head("0.1", at=5 * DAY), b"x"), (head("0.2", at=9 * DAY), b"y")], {0: Cursor(0, 900, 3)})
    store.file([], {1: Cursor(0, 200, 1), 2: Cursor()})
    assert store.progress()[1] == frozenset()
    store.erase([head("0.1")])
    assert store.progress()[1] == {0, 1}  # nothing was ever recorded by slot 2
    store.turned(0, 6 * DAY)
    assert store.progress()[1] == {1}
    store.erase([head("0.2")])
    assert store.progress()[1] == {0, 1}
    store.turned(0, 10 * DAY)
    store.file([], {0: Cursor(1, 300, 9)})
    assert store.progress()[1] == {1}


def test_many_who_file_at_once_lose_and_double_nothing(store: DetailStore) -> None:
    def work(worker: int) -> int:
        return sum(store.file([(head(f"0.{number}"), b"x")], {worker: Cursor(0, 200, 1)}) for number in range(25))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 25
    assert len(names(store)) == 25
    assert set(store.cursors()) == set(range(4))


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read" * 100])
def test_another_file_in_its_place_is_refused_by_name(store: DetailStore, content: bytes) -> None:
    store._path.parent.mkdir()
    store._path.write_bytes(content)
    with pytest.raises(JournalCorrupt, match=r"VN/details\.db"):
        store.cursors()


def test_a_store_of_another_version_is_refused(store: DetailStore) -> None:
    store.file([])
    with closing(sqlite3.connect(store._path)) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(JournalCorrupt, match="version 1"):
        store.cursors()


def test_a_store_that_cannot_be_opened_says_so_without_its_path(store: DetailStore, tmp_path: Path) -> None:
    store._path.mkdir(parents=True)
    with pytest.raises(JournalFailed) as failed:
        store.file([(head("0.1"), b"x")])
    assert str(tmp_path) not in str(failed.value)


def test_the_file_is_readable_by_its_owner_alone(store: DetailStore) -> None:
    store.file([(head("0.1"), b"x")])
    assert store._path.stat().st_mode & 0o077 == 0
