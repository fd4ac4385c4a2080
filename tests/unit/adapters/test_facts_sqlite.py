"""What is noted in a SQLite file: what is no such file, who may read it, what a killed process leaves."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from residency.adapters.facts_sqlite import NotedSqlite
from residency.errors import FactsUnavailable
from residency.model import Event

FIRST = Event("first_transfer", "VN", 7)


def test_the_file_is_made_with_the_first_note_for_this_user_alone_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "pins-facts.db"
    noted = NotedSqlite(path)
    assert (noted.events(), noted.escalated(), noted.count({}, ["a"])) == ((), frozenset(), {"a": 0})
    assert not path.parent.exists()
    noted.note(FIRST)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 4080])
def test_what_is_no_such_file_is_told_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "facts.db"
    path.write_bytes(content)
    noted = NotedSqlite(path)
    for work in (noted.events, noted.escalated, lambda: noted.note(FIRST), lambda: noted.count({"a": ["ab"]}, ["a"])):
        with pytest.raises(FactsUnavailable):
            work()
    assert path.read_bytes() == content


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "facts.db") as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(FactsUnavailable, match="another version"):
        NotedSqlite(tmp_path / "facts.db").events()


@pytest.mark.parametrize("how", ["deleted", "begun anew", "emptied"])
def test_a_file_that_is_not_the_one_that_was_seen_is_not_believed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "facts.db"
    noted = NotedSqlite(path)
    noted.count({"a": ["ab", "cd"]}, ["a"])
    noted.escalate("test.many", up=True)
    kept = path.read_bytes()
    path.unlink()
    if how == "begun anew":
        NotedSqlite(path).note(FIRST)
    elif how == "emptied":
        path.touch()
    for work in (noted.events, noted.escalated, lambda: noted.note(FIRST), lambda: noted.count({"a": ["ab"]}, ["a"])):
        with pytest.raises(FactsUnavailable, match="without what it held"):
            work()
    assert path.exists() == (how != "deleted"), "nothing is begun anew by who knew the old one"
    path.write_bytes(kept)
    assert noted.escalated() == {"test.many"}
    assert noted.count({}, ["a"]) == {"a": 2}


def test_while_another_process_writes_it_is_waited_for_and_no_longer_than_said(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    NotedSqlite(path).note(FIRST)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert NotedSqlite(path).events() == (FIRST,), "readers do not wait"
    with pytest.raises(FactsUnavailable):
        NotedSqlite(path, busy_ms=20).note(Event("in_use", "VN", 8))
    other.close()


def test_a_batch_that_cannot_be_counted_whole_is_not_counted_at_all(tmp_path: Path) -> None:
    noted = NotedSqlite(tmp_path / "facts.db")
    with pytest.raises(FactsUnavailable):
        noted.count({"VN:a": ["ab"], "VN:b": ["not hex"]}, [])
    assert noted.count({}, ["VN:a", "VN:b"]) == {"VN:a": 0, "VN:b": 0}


def test_what_was_answered_outlives_a_process_that_is_killed_in_the_next_breath(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    script = f"""
import os, signal
from pathlib import Path
from residency.adapters.facts_sqlite import NotedSqlite
from residency.model import Event
noted = NotedSqlite(Path({str(path)!r}))
noted.note(Event("first_transfer", "VN", 7))
noted.count({{"VN:personal": ["ab" * 32]}}, [])
noted.escalate("vn.core", up=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    noted = NotedSqlite(path)
    assert noted.events() == (FIRST,)
    assert noted.count({}, ["VN:personal"]) == {"VN:personal": 1}
    assert noted.escalated() == {"vn.core"}
