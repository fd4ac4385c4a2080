"""SQLite files of adapters: private, durable, erased for good, and whole transactions or nothing."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from residency.sqlite import begun, connect, make_private, opened, use_wal


def test_a_file_is_its_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.db"
    with opened(path, 100, writes=True, folder_mode=0o700) as db:
        db.execute("CREATE TABLE t (x)")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_reader_makes_no_file_and_finds_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with opened(path, 100, writes=False) as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    assert list(tmp_path.iterdir()) == []


def test_what_is_committed_is_on_disk_and_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    make_private(path)
    with closing(connect(path, 100)) as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        db.execute("CREATE TABLE t (x)")
        db.execute("INSERT INTO t VALUES ('canary-in-the-file')")
        assert b"canary-in-the-file" in path.read_bytes()
        db.execute("DELETE FROM t")
    assert b"canary-in-the-file" not in path.read_bytes()


def test_a_transaction_is_whole_or_nothing(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "file.db", 100)) as db:
        db.execute("CREATE TABLE t (x UNIQUE)")
        with begun(db):
            db.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError), begun(db):
            db.executemany("INSERT INTO t VALUES (?)", [(2,), (1,)])
        assert db.execute("SELECT x FROM t").fetchall() == [(1,)]
        assert not db.in_transaction


def test_a_damaged_file_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(sqlite3.DatabaseError), opened(path, 100, writes=True) as db:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def test_those_that_start_at_once_on_a_new_file_all_get_the_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    modes: list[str] = []
    gate = threading.Barrier(6)

    def start() -> None:
        gate.wait()
        with closing(connect(path, 20_000)) as db:
            use_wal(db, 20_000)
            modes.append(db.execute("PRAGMA journal_mode").fetchone()[0])

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert modes == ["wal"] * 6


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 and later: fork beside threads
def test_a_process_forks_when_no_thread_is_inside_sqlite_and_its_child_uses_it(tmp_path: Path) -> None:
    path, over = tmp_path / "file.db", threading.Event()
    with opened(path, 5_000, writes=True) as db:
        db.execute("CREATE TABLE t (x)")

    def work() -> None:
        while not over.wait(0.002):  # or nobody else would come to the file for long
            with opened(path, 60_000, writes=True) as db, begun(db):
                db.execute("INSERT INTO t VALUES (zeroblob(5000))")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            child = os.fork()
            if child == 0:
                told = 1
                try:
                    with opened(path, 20_000, writes=False) as db:
                        told = 0 if db.execute("SELECT count(*) FROM t").fetchone()[0] >= 0 else 1
                finally:
                    os._exit(told)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_process_may_fork_inside_a_call_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path / "file.db", 100, writes=True):
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
