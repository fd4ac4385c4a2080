"""The register of requests in a file: numbers, changes in one transaction, and a file that is not one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.requests_sqlite import RequestsSqlite
from residency.errors import FactsUnavailable, UsageError
from residency.storage.requests import Request, Step, answered

ONE = Request(
    "subject.erase", "VN", 5, (Step("subject.reply", 10, ("r1", "r2")), Step("subject.erase", 20, ())), "ab" * 16, "7/A"
)


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    register = RequestsSqlite(tmp_path / "requests.db")
    assert register.all() == ()
    assert register.of_kind("subject.erase") == ()
    assert not (tmp_path / "requests.db").exists()


def test_what_was_added_comes_back_with_its_number_to_another_process(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    first = RequestsSqlite(path).add(ONE)
    second = RequestsSqlite(path).add(replace(ONE, alias=None, kind="authority.deliver"))
    assert (first, second.number) == (replace(ONE, number=1), 2)
    assert RequestsSqlite(path).all() == (first, second)
    assert RequestsSqlite(path).of_kind("subject.erase") == (first,)
    assert path.stat().st_mode & 0o077 == 0


def test_a_change_is_kept_and_what_is_closed_is_not_open(tmp_path: Path) -> None:
    register = RequestsSqlite(tmp_path / "requests.db")
    register.add(ONE)
    register.add(ONE)
    changed = register.change(1, lambda request: answered(request, None, 15, "erased"))
    assert register.get(1) == changed
    assert changed.closed
    assert [request.number for request in register.all(open_only=True)] == [2]


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    register = RequestsSqlite(tmp_path / "requests.db")
    register.add(ONE)
    with pytest.raises(UsageError):
        register.change(1, lambda request: answered(request, "nonsense", 15, None))
    assert register.get(1).steps == ONE.steps
    with pytest.raises(UsageError, match="no request 9"):
        register.get(9)


def test_a_file_that_is_no_register_is_told(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 40)
    with pytest.raises(FactsUnavailable, match="SQLITE_NOTADB"):
        RequestsSqlite(path).all()
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(FactsUnavailable, match="version"):
        RequestsSqlite(path).all()


def test_a_row_that_was_written_over_is_told_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    RequestsSqlite(path).add(ONE)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE request SET steps = 'x'")
    with pytest.raises(FactsUnavailable, match="request 1"):
        RequestsSqlite(path).all()
