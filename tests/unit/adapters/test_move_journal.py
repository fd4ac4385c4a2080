"""Steps come back as they were put, one run has the file at a time, and what is no journal is said to be none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters import move_journal
from residency.adapters.move_journal import MoveJournalSqlite
from residency.errors import PinsUnavailable
from residency.storage.move import State, Step

pytestmark = pytest.mark.anyio
STEP = Step("a" * 64, "SG", "VN", State.COPIED, {"people/sg": "d1"}, 3, {"people/sg": ["m1", "m2"]})


async def test_steps_outlive_the_run_and_the_last_one_stands(tmp_path: Path) -> None:
    first = MoveJournalSqlite(tmp_path / "audit" / "move.db")
    await first.put([STEP, Step("b" * 64, "SG", "VN", State.NOTED)])
    await first.put([Step("b" * 64, "SG", "VN", State.DONE, {"people/sg": "d2"}, 4)])
    await first.put([])
    first.close()
    second = MoveJournalSqlite(tmp_path / "audit" / "move.db")
    assert await second.steps("SG", "VN", ["a" * 64, "c" * 64]) == {"a" * 64: STEP}
    assert await second.steps("VN", "SG", ["a" * 64]) == {}
    assert await second.unfinished() == (STEP,)
    assert second.totals() == [("SG", "VN", State.COPIED, 1, 3), ("SG", "VN", State.DONE, 1, 4)]
    await second.put([replace(STEP, state=State.VERIFIED)])
    assert await second.steps("SG", "VN", ["a" * 64]) == {"a" * 64: replace(STEP, state=State.VERIFIED)}
    second.close()
    second.close()
    with pytest.raises(PinsUnavailable, match="closed"):
        await second.unfinished()


async def test_what_lies_at_a_place_is_known_for_what_a_move_copied_there_or_left_there(tmp_path: Path) -> None:
    first = MoveJournalSqlite(tmp_path / "move.db")
    away = replace(STEP, target="KR", state=State.VERIFIED)
    others = [Step(each * 64, "SG", "VN", state) for each, state in (("b", State.NOTED), ("c", State.CONFLICT))]
    await first.put([STEP, *others, Step("d" * 64, "SG", "VN", State.DONE, {"people/sg": "d"}, 1)])
    everybody = [each * 64 for each in "abcde"]
    for place in ("SG", "VN"):
        assert await first.left(place, everybody) == {"a" * 64: STEP}
    assert await first.left("KR", everybody) == {}
    await first.put([replace(STEP, state=State.DONE), away])
    first.close()
    second = MoveJournalSqlite(tmp_path / "move.db")
    assert await second.left("KR", everybody) == await second.left("SG", everybody) == {"a" * 64: away}
    assert await second.left("VN", everybody) == {}
    second.close()


async def test_what_says_nothing_any_more_is_cleared_and_what_stands_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move_journal, "_SPARE", 5)
    first = MoveJournalSqlite(tmp_path / "move.db")
    await first.put([STEP])
    for number in range(20):
        other = Step(f"{number:064}", "SG", "VN", State.COPIED, {"people/sg": "d"}, 1)
        await first.put([other])
        await first.put([replace(other, state=State.VERIFIED)])
        await first.put([replace(other, state=State.DONE)])
    with closing(sqlite3.connect(tmp_path / "move.db")) as database:
        assert database.execute("SELECT count(*) FROM noted").fetchone()[0] < 10
    first.close()
    second = MoveJournalSqlite(tmp_path / "move.db")
    assert await second.unfinished() == (STEP,)
    assert second.totals() == [("SG", "VN", State.COPIED, 1, 3), ("SG", "VN", State.DONE, 20, 20)]
    second.close()


async def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    first = MoveJournalSqlite(tmp_path / "move.db")
    with pytest.raises(PinsUnavailable, match="another run"):
        MoveJournalSqlite(tmp_path / "move.db")
    first.close()
    MoveJournalSqlite(tmp_path / "move.db").close()


async def test_a_file_that_is_no_journal_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "move.db").write_bytes(b"something else" * 100)
    with pytest.raises(PinsUnavailable, match=r"move\.db, cannot be opened \(SQLITE_NOTADB\)"):
        MoveJournalSqlite(tmp_path / "move.db")
    (tmp_path / "file").touch()
    with pytest.raises(PinsUnavailable, match=r"cannot be opened \(.*file \(EEXIST\)\)"):
        MoveJournalSqlite(tmp_path / "file" / "move.db")


async def test_who_holds_the_lease_by_a_journal_is_the_same_in_every_run(tmp_path: Path) -> None:
    first = MoveJournalSqlite(tmp_path / "move.db")
    assert first.holder("a" * 32) == "a" * 32
    first.close()
    second = MoveJournalSqlite(tmp_path / "move.db")
    assert second.holder("b" * 32) == "a" * 32
    second.close()
    with pytest.raises(PinsUnavailable, match="closed"):
        second.holder("b" * 32)


async def test_a_journal_of_an_earlier_version_is_read_and_its_copies_are_known_as_a_whole(tmp_path: Path) -> None:
    MoveJournalSqlite(tmp_path / "move.db").close()
    with closing(sqlite3.connect(tmp_path / "move.db")) as database, database:
        steps = f'[["{"a" * 64}","SG","VN","copied",{{"people/sg":"d1"}},3]]'
        database.execute("INSERT INTO noted (steps) VALUES (?)", (steps,))
    journal = MoveJournalSqlite(tmp_path / "move.db")
    assert await journal.unfinished() == (replace(STEP, marks={}),)
    journal.close()
