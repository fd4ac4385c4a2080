"""Clock and counted time are told apart, and only who says the day that the clock says sets the one by the other."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from residency.adapters.detail_store import DetailStore
from residency.cli.audit.detail import detail_app
from tests.detail_world import logged

DAY = 86_400_000_000


def run(policy: Path, *args: str) -> tuple[int, dict[str, Any]]:
    found = CliRunner().invoke(detail_app, ["clock", "--policy", str(policy), "--country", "VN", "--json", *args])
    return found.exit_code, json.loads(found.output)


def lost(policy: Path, days: int) -> None:
    """As if the machine had been off for so long, with details that were due meanwhile."""
    with closing(sqlite3.connect(policy.parent / "detail-vn" / "details.db")) as db:
        db.execute("UPDATE count SET boot = 'before', time = time - ?", (days * DAY,))
        db.execute("UPDATE detail SET (due, erase_by, keep_until) = (due - ?1, erase_by - ?1, NULL)", (days * DAY,))
        db.commit()


def kept(policy: Path) -> int:
    return len(list(DetailStore(policy.parent / "detail-vn" / "details.db").rows()))


def today() -> str:
    """The day, and one that does not end before it is used."""
    if datetime.now(UTC).strftime("%H:%M") == "23:59":
        time.sleep(60)
    return datetime.now(UTC).date().isoformat()


def test_a_clock_that_was_never_set_is_together_with_the_count(detailed: Path) -> None:
    code, told = run(detailed)
    assert code == 0
    assert abs(told["clock"] - told["counted"]) < DAY
    assert told["due_by_the_clock"] == 0


def test_time_that_was_not_counted_is_told_and_nothing_goes_before_somebody_says_the_day(detailed: Path) -> None:
    lost(detailed, 400)
    before = kept(detailed)
    code, told = run(detailed)
    assert code == 1
    assert 399 < (told["clock"] - told["counted"]) / DAY < 401
    assert told["due_by_the_clock"] > 0
    assert kept(detailed) == before


def test_another_day_than_the_clock_says_changes_nothing(detailed: Path) -> None:
    lost(detailed, 400)
    code, told = run(detailed, "--today", "2020-02-02")
    assert code == 1
    assert "another day" in told["said"]
    assert run(detailed)[0] == 1


def test_who_says_the_day_sets_the_count_and_the_log_tells_of_it(detailed: Path) -> None:
    lost(detailed, 400)
    day = today()
    code, told = run(detailed, "--today", day)
    assert (code, told["said"], told["counted"]) == (0, "confirmed", told["clock"])
    (note,) = [e.note for e in logged(detailed) if e.note is not None and "clock confirmed" in e.note]
    assert note.startswith(f"details clock confirmed: VN on {day}, 34")
    assert run(detailed)[0] == 0


def test_people_read_lines_and_a_day_that_is_none_is_wrong_use(detailed: Path) -> None:
    words = ["clock", "--policy", str(detailed), "--country", "VN"]
    found = CliRunner().invoke(detail_app, words)
    assert found.exit_code == 0
    assert "counted  20" in found.output
    assert CliRunner().invoke(detail_app, [*words, "--today", "tomorrow"]).exit_code == 2
