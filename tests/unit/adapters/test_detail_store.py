"""A country's store: a row is there once however often it is filed, and its bytes are gone once it is erased."""

from __future__ import annotations

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from residency.adapters.detail_store import DetailStore, Progress
from residency.audit.detail_head import Head
from residency.audit.detail_time import Count, Moment, span_of
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt, JournalFailed

A, B = "aa" * 16, "bb" * 16
DAY = 86_400_000_000

VERSION_1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE detail (origin TEXT NOT NULL, entry TEXT NOT NULL, commitment TEXT NOT NULL, alias TEXT,
  at INTEGER NOT NULL, keeping TEXT NOT NULL, keep_until INTEGER, erase_by INTEGER, due INTEGER NOT NULL,
  sealed BLOB NOT NULL, PRIMARY KEY (origin, entry, commitment)) STRICT, WITHOUT ROWID;
CREATE INDEX detail_due ON detail (due);
CREATE INDEX detail_alias ON detail (alias);
CREATE INDEX detail_keeping ON detail (keeping, at);
CREATE TABLE erased (origin TEXT NOT NULL, entry TEXT NOT NULL, commitment TEXT NOT NULL, due INTEGER NOT NULL,
  PRIMARY KEY (origin, entry, commitment)) STRICT, WITHOUT ROWID;
CREATE TABLE cursor (slot INTEGER PRIMARY KEY, segment INTEGER NOT NULL, place INTEGER NOT NULL, seq INTEGER NOT NULL,
  since INTEGER NOT NULL) STRICT;
CREATE TABLE gone (id INTEGER PRIMARY KEY CHECK (id = 1), newest INTEGER NOT NULL) STRICT;
INSERT INTO cursor VALUES (0, 3, 900, 7, 0), (1, 0, 128, 0, 0);
INSERT INTO gone VALUES (1, 5);
PRAGMA user_version = 1;
"""
"""As the release before wrote it."""


def day(number: int, *, wall: int | None = None, boot: str = "one", less: int = 0) -> Moment:
    """The moment `number` days after the epoch, `less` microseconds before; the wall clock shows day `wall`."""
    return Moment((number if wall is None else wall) * DAY - less, boot, number * DAY - less)


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
    assert store.file(rows, day(1), (0, Cursor(0, 500, 2))) == 2
    assert store.file([*rows, (head("0.3"), b"three")], day(1), (0, Cursor(0, 700, 3))) == 1
    assert list(store.rows()) == [*rows, (head("0.3"), b"three")]
    assert store.cursors() == {0: Cursor(0, 700, 3)}


def test_entries_of_two_logs_and_two_details_of_one_entry_stand_beside_each_other(store: DetailStore) -> None:
    mine, other = head("0.1"), head("0.1", origin="another.example")
    again = replace(mine, commitment="cd" * 32)
    assert store.file([(mine, b"1"), (other, b"2"), (again, b"3")], day(1)) == 3


def test_rows_are_found_by_alias_entry_class_and_time_and_in_order(store: DetailStore) -> None:
    heads = [head("0.1"), head("0.2", alias=B), head("0.3", keep=5 * DAY), head("0.4", alias=None, at=9 * DAY)]
    store.file([(each, b"x") for each in reversed(heads)], day(9))
    assert names(store) == ["0.1", "0.2", "0.3", "0.4"]
    assert names(store, alias=A) == ["0.1", "0.3"]
    assert names(store, entry="0.2") == ["0.2"]
    assert names(store, keeping="log>=1d") == ["0.3"]
    assert names(store, since=2 * DAY) == ["0.4"]
    assert store.count() == {"none": 3, "log>=1d": 1}


def test_more_rows_than_are_read_at_once_come_each_once(store: DetailStore) -> None:
    store.file([(head(f"0.{number}"), b"x") for number in range(2_500)], day(1))
    assert sorted(names(store), key=lambda entry: int(entry[2:])) == [f"0.{number}" for number in range(2_500)]


def test_a_store_that_is_not_there_holds_nothing_and_is_not_made_by_asking(store: DetailStore) -> None:
    assert (list(store.rows()), store.cursors(), store.count(), store.expire(day(1)), store.progress()) == (
        [], {}, {}, 0, Progress()
    )  # fmt: skip
    assert not store._path.exists()


def test_what_is_due_goes_and_its_bytes_with_it_and_the_rest_stays(store: DetailStore) -> None:
    store.file([(head("0.1", erase=50 * DAY), secret("0.1")), (head("0.2"), secret("0.2"))], day(1))
    assert store.expire(day(50, less=1)) == 0
    assert secret("0.1") in on_disk(store)
    assert store.expire(day(50)) == 1
    assert names(store) == ["0.2"]
    assert b"sealed-bytes-of-0.1" not in on_disk(store)
    assert head("0.1").commitment.encode() not in on_disk(store)
    assert secret("0.2") in on_disk(store)


def test_erased_bytes_are_gone_while_another_process_has_the_file_open(store: DetailStore) -> None:
    store.file([], day(1))
    with closing(sqlite3.connect(store._path)) as other:
        other.execute("SELECT count(*) FROM detail").fetchall()
        store.file([(head(f"0.{number}"), secret(f"0.{number}")) for number in range(50)], day(1))
        assert b"sealed-bytes-of-0.7" in store._path.with_name("details.db-wal").read_bytes()
        assert store.erase([head("0.7")]) == 1
        assert b"sealed-bytes-of-0.7" not in on_disk(store)
        assert secret("0.8") in on_disk(store)


def test_what_was_erased_ahead_of_its_time_does_not_come_back_by_a_second_delivery(store: DetailStore) -> None:
    row = (head("0.1"), b"x")
    store.file([row], day(1))
    assert store.erase([head("0.1"), head("0.2")]) == 1
    assert store.file([row], day(1)) == 0
    assert names(store) == []
    assert store.erase([head("0.1")]) == 0
    # Once its time is up it comes back neither: what is due is not taken in.
    store.expire(day(100))
    assert store.file([row], day(100)) == 0


def test_a_detail_under_a_floor_goes_at_its_end_and_not_before(store: DetailStore) -> None:
    store.file(
        [(head("0.1", keep=30 * DAY, erase=None), b"x"), (head("0.2", keep=30 * DAY, erase=40 * DAY), b"y")], day(1)
    )
    assert store.expire(day(30, less=1)) == 0
    assert store.expire(day(30)) == 1
    assert names(store) == ["0.2"]
    assert store.expire(day(40)) == 1


def test_the_segments_that_hold_erased_bytes_are_known_until_the_journal_has_left_them(store: DetailStore) -> None:
    store.file([(head("0.1"), b"x")], day(1), (0, Cursor(4, 900, 3)))
    store.file([(head("0.2"), b"y")], day(1), (0, Cursor(5, 300, 9)))
    store.file([(head("0.3"), b"z")], day(1), (1, Cursor(0, 200, 1)))
    store.file([(head("0.4"), b"brought from elsewhere")], day(1))
    assert store.progress().gone == {}
    store.erase([head("0.1"), head("0.4")])
    assert store.progress().gone == {}  # segment 4 went when it was filed
    store.erase([head("0.2")])
    assert store.progress().gone == {0: 5}
    store.erase([head("0.3")])
    assert store.progress().gone == {0: 5, 1: 0}
    store.file([], day(1), (0, Cursor(6, 128, 20)))
    assert store.progress().gone == {1: 0}


def test_the_journal_holds_bytes_of_what_it_brought_a_second_time_too(store: DetailStore) -> None:
    store.file([(head("0.1"), b"x"), (head("0.2"), b"y")], day(1))
    store.erase([head("0.2")])
    store.file([(head("0.1"), b"x")], day(1), (0, Cursor(3, 900, 1)))
    assert store.progress().gone == {}
    store.erase([head("0.1")])
    assert store.progress().gone == {0: 3}
    store.file([(head("0.2"), b"y")], day(1), (1, Cursor(7, 900, 1)))  # erased, and not taken back
    assert store.progress().gone == {0: 3, 1: 7}
    assert names(store) == []


def test_many_who_file_at_once_lose_and_double_nothing(store: DetailStore) -> None:
    def work(worker: int) -> int:
        return sum(
            store.file([(head(f"0.{number}"), b"x")], day(1), (worker, Cursor(0, 200, 1))) for number in range(25)
        )

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
    store.file([], day(1))
    with closing(sqlite3.connect(store._path)) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(JournalCorrupt, match="version 2"):
        store.cursors()


def test_a_store_that_cannot_be_opened_says_so_without_its_path(store: DetailStore, tmp_path: Path) -> None:
    store._path.mkdir(parents=True)
    with pytest.raises(JournalFailed) as failed:
        store.file([(head("0.1"), b"x")], day(1))
    assert str(tmp_path) not in str(failed.value)


def test_the_file_is_readable_by_its_owner_alone(store: DetailStore) -> None:
    store.file([(head("0.1"), b"x")], day(1))
    assert store._path.stat().st_mode & 0o077 == 0


def test_a_clock_ten_years_ahead_erases_nothing_and_once_it_is_right_what_passes_is_counted(store: DetailStore) -> None:
    store.file([(head("0.1", keep=50 * DAY, erase=None), b"floor"), (head("0.2"), b"ceiling")], day(1))
    for now in (day(2, wall=3_650), day(3), day(40, wall=3_650), day(49, wall=3_650)):
        assert store.expire(now) == 0
    assert store.expire(day(50, wall=3_650)) == 1  # its floor of 49 days has passed, whatever the clock says
    assert names(store) == ["0.2"]
    assert store.expire(day(99, wall=3_650)) == 0
    assert store.expire(day(99, wall=100)) == 1  # near enough to be believed of a ceiling


def test_a_floor_ends_by_no_clock_however_near_the_count_it_is(store: DetailStore) -> None:
    store.file([(head("0.1", keep=50 * DAY, erase=None), b"floor"), (head("0.2", erase=50 * DAY), b"ceiling")], day(1))
    assert store.expire(day(49, wall=50)) == 1
    assert names(store) == ["0.1"]
    assert store.expire(day(50, wall=50)) == 1


def test_what_expires_is_what_the_rule_of_spans_says(tmp_path: Path) -> None:
    terms = [(None, 20), (30, None), (30, 40), (30, 20)]
    heads = [head(f"0.{n}", keep=k and k * DAY, erase=e and e * DAY) for n, (k, e) in enumerate(terms)]
    for number, (counted, wall) in enumerate(product((19, 20, 29, 30, 39, 40), (1, 20, 29, 30, 31, 40, 41, 3_650))):
        store = DetailStore(tmp_path / str(number) / "details.db")
        store.file([(each, b"x") for each in heads], day(1))
        store.expire(day(counted, wall=wall))
        begun, then = Count(DAY, "one", DAY), Count(counted * DAY, "one", counted * DAY)
        left = [each.entry for each in heads if not span_of(each, None, begun).ended(then, wall * DAY)]
        assert names(store) == left, f"{counted} days counted, the clock at {wall}"


def test_a_clock_that_stands_ahead_after_a_restart_erases_nothing_until_somebody_confirms_it(
    store: DetailStore,
) -> None:
    store.file([(head("0.1", keep=50 * DAY, erase=None), b"x")], day(1))
    assert store.expire(day(60, boot="two")) == 0
    assert (store.progress().time, store.waiting(60 * DAY)) == (DAY, 1)
    store.confirm(day(60, boot="two"))
    assert store.progress().time == 60 * DAY
    assert store.expire(day(60, boot="two")) == 1


def test_the_count_goes_on_over_processes_of_one_boot_and_is_on_disk(store: DetailStore) -> None:
    store.file([(head("0.1"), b"x")], day(1))
    again = DetailStore(store._path)
    again.expire(day(8, wall=3_650))
    assert DetailStore(store._path).progress().time == 8 * DAY


def test_what_was_filed_while_the_clock_stood_ahead_is_kept_for_its_term_and_no_longer(store: DetailStore) -> None:
    store.file([], day(1))
    ahead = head("0.1", at=3_650 * DAY, keep=3_700 * DAY, erase=3_720 * DAY)
    store.file([(ahead, b"x")], day(2, wall=3_650))
    assert store.expire(day(71)) == 0
    assert store.expire(day(72)) == 1


def test_what_was_filed_while_the_clock_stood_behind_has_its_whole_floor(store: DetailStore) -> None:
    store.file([], day(3_650))
    behind = head("0.1", at=2 * DAY, keep=52 * DAY, erase=None)
    assert store.file([(behind, b"x")], day(3_651, wall=2), since=3_650 * DAY) == 1
    assert store.held([behind]) == [behind]
    assert store.expire(day(3_699)) == 0
    assert store.expire(day(3_700)) == 1


def test_a_store_begun_while_the_clock_stood_ahead_keeps_its_floors_when_somebody_sets_it_right(
    store: DetailStore,
) -> None:
    store.file([(head("0.1", at=3_650 * DAY, keep=3_700 * DAY, erase=None), b"x")], day(1, wall=3_650))
    store.confirm(day(11))
    assert store.progress().time == 11 * DAY
    assert store.expire(day(50)) == 0
    assert store.expire(day(51)) == 1


def test_the_floor_that_a_clock_ahead_would_end_still_holds_what_is_asked_for_by_hand(store: DetailStore) -> None:
    floor, none = head("0.1", keep=50 * DAY, erase=None), head("0.2")
    store.file([(floor, b"x"), (none, b"y")], day(1))
    store.expire(day(10, wall=3_650))
    assert store.held([floor, none, head("0.3")]) == [floor]
    store.expire(day(50))
    assert store.held([floor, none]) == []


def test_what_was_erased_by_hand_does_not_come_back_before_the_count_has_passed_its_end(store: DetailStore) -> None:
    row = (head("0.1", keep=50 * DAY, erase=None), b"x")
    store.file([row], day(1))
    store.erase([row[0]])
    store.expire(day(3, wall=3_650))
    assert store.file([row], day(4, wall=3_650)) == 0
    store.expire(day(50))
    assert store.file([row], day(51)) == 0
    assert names(store) == []


def test_what_was_erased_by_hand_does_not_come_back_where_the_count_lags(store: DetailStore) -> None:
    store.file([], day(1))
    row = (head("0.1", at=11 * DAY, erase=60 * DAY), b"x")
    store.file([row], day(1, wall=11))  # ten days that were not counted
    store.erase([row[0]])
    store.expire(day(55, wall=65))
    assert store.file([row], day(55, wall=65)) == 0
    assert names(store) == []


def test_a_store_of_version_1_is_read_and_gone_on_with(store: DetailStore) -> None:
    store._path.parent.mkdir()
    with closing(sqlite3.connect(store._path)) as db:
        db.executescript(VERSION_1)
        for each in (head("0.1", keep=50 * DAY, erase=None), head("0.2")):
            db.execute(
                "INSERT INTO detail VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (each.origin, each.entry, each.commitment, each.alias, each.at, each.keeping, each.keep_until,
                 each.erase_by, each.due, b"x"),
            )  # fmt: skip
        db.commit()
    assert names(store) == ["0.1", "0.2"]
    assert store.cursors() == {0: Cursor(3, 900, 7), 1: Cursor(0, 128, 0)}
    assert store.progress().gone == {0: 3}  # whose bytes it holds is not known: it is left once
    assert store.expire(day(3_650)) == 0  # nothing was counted before: it begins at the newest detail
    assert store.progress().time == DAY
    assert store.expire(day(3_650 + 49, wall=51)) == 1
    assert store.file([(head("0.3"), b"x")], day(3_650 + 49, wall=51), (0, Cursor(4, 200, 9))) == 1
    assert names(store) == ["0.2", "0.3"]
