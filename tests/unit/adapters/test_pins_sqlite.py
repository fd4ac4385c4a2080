"""What only pins in a file can do wrong: other processes, other files, damage."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from residency.adapters.pins_sqlite import PinsSqlite
from residency.errors import PinsUnavailable, StaleVersion
from residency.model import Anchor, Pin, Trust

pytestmark = pytest.mark.anyio
PIN = Pin("5" * 64, "VN", ((Anchor.TERRITORY, "VN", Trust.NETWORK),), "a1" * 16, "write", "0" * 64, 1)

RACER = """
import sys
from pathlib import Path
import anyio
from residency.adapters.pins_sqlite import PinsSqlite
from residency.errors import StaleVersion
from residency.model import Pin

async def main():
    pins = PinsSqlite(Path(sys.argv[1]))
    won = 0
    for i in range(200):
        try:
            await pins.put(Pin(f"{i:064x}", sys.argv[2], (), "a1" * 16, "write", "0" * 64, 1))
            won += 1
        except StaleVersion:
            pass
    print(won)

anyio.run(main)
"""


def _holds(folder: Path, text: str) -> bool:
    return any(text.encode() in file.read_bytes() for file in folder.iterdir())


async def test_pins_survive_closing(tmp_path: Path) -> None:
    pins = PinsSqlite(tmp_path / "pins.db")
    await pins.put(PIN)
    await pins.aclose()
    again = PinsSqlite(tmp_path / "pins.db")
    assert again.peek(PIN.subject) == (PIN, True)
    await again.aclose()


async def test_a_forgotten_pin_leaves_no_bytes_in_the_files_while_workers_hold_them_open(tmp_path: Path) -> None:
    one, other = PinsSqlite(tmp_path / "pins.db"), PinsSqlite(tmp_path / "pins.db")
    for number in range(20):
        await one.put(dataclasses.replace(PIN, subject=f"{number:064x}", alias=f"{number:02x}" * 16))
    gone = dataclasses.replace(PIN, alias="e7" * 16)
    await one.put(gone)
    assert other.peek(gone.subject) == (gone, True)
    assert _holds(tmp_path, gone.alias)
    await one.forget(gone.subject, 1)
    assert not _holds(tmp_path, gone.alias)
    assert other.peek(f"{7:064x}")[0] is not None
    await one.aclose()
    await other.aclose()


async def test_what_another_connection_committed_is_seen_at_once(tmp_path: Path) -> None:
    one, other = PinsSqlite(tmp_path / "pins.db"), PinsSqlite(tmp_path / "pins.db")
    assert other.peek(PIN.subject) == (None, True)
    await one.put(PIN)
    assert other.peek(PIN.subject) == (PIN, True)
    moved = dataclasses.replace(PIN, home="SG", version=2)
    await other.put(moved)
    assert one.peek(PIN.subject) == (moved, True)
    with pytest.raises(StaleVersion):
        await one.put(dataclasses.replace(PIN, home="DE", version=2))
    await one.aclose()
    await other.aclose()


async def test_of_two_processes_exactly_one_pins_each_subject(tmp_path: Path) -> None:
    path = tmp_path / "pins.db"
    await PinsSqlite(path).aclose()
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(path), home], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        for home in ("VN", "SG")
    ]
    won = [int(racer.communicate()[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sum(won) == 200
    with closing(sqlite3.connect(path)) as connection:
        homes = dict(connection.execute("SELECT home, count(*) FROM pin GROUP BY home").fetchall())
    assert [homes.get("VN", 0), homes.get("SG", 0)] == won


def test_the_file_is_for_this_user_alone(tmp_path: Path) -> None:
    PinsSqlite(tmp_path / "deep" / "pins.db")._close()
    assert (tmp_path / "deep" / "pins.db").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_database_is_refused_without_its_name(tmp_path: Path) -> None:
    path = tmp_path / "pins.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(PinsUnavailable) as caught:
        PinsSqlite(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PinsUnavailable):
        PinsSqlite(tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("anchors", "not json"),
        ("anchors", "[1]"),
        ("anchors", '[["territory", "VN", 99]]'),
        ("anchors", '[["moon", "VN", 5]]'),
        ("anchors", '[["territory", "Atlantis", 2]]'),
        ("home", "Atlantis"),
    ],
)
async def test_a_row_that_is_no_pin_is_an_error_and_not_no_pin(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "pins.db"
    pins = PinsSqlite(path)
    await pins.put(PIN)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE pin SET {column} = ?", (value,))  # noqa: S608 - a column of the test's own
    with pytest.raises(PinsUnavailable):
        pins.peek(PIN.subject)
    with pytest.raises(PinsUnavailable):
        await pins.get(PIN.subject)
    await pins.aclose()


async def test_a_writer_that_holds_the_lock_delays_no_peek_and_a_put_only_so_long(tmp_path: Path) -> None:
    path = tmp_path / "pins.db"
    pins = PinsSqlite(path, busy_ms=20)
    await pins.put(PIN)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert pins.peek(PIN.subject) == (PIN, True)
        with pytest.raises(PinsUnavailable):
            await pins.put(dataclasses.replace(PIN, version=2))
        other.execute("ROLLBACK")
    await pins.put(dataclasses.replace(PIN, version=2))
    await pins.aclose()


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends_and_not_between(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pins = PinsSqlite(tmp_path / "pins.db", busy_ms=1)
    with closing(sqlite3.connect(tmp_path / "pins.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            with pytest.raises(PinsUnavailable):
                await pins.put(PIN)
        other.execute("ROLLBACK")
    for _ in range(3):
        pins.peek(PIN.subject)
    assert [record.message for record in caplog.records] == [
        "the pins file cannot be read or written (OperationalError)",
        "the pins file can be read and written again",
    ]
    await pins.aclose()


async def test_pins_written_under_another_subjects_key_are_refused_and_not_overlooked(tmp_path: Path) -> None:
    path = tmp_path / "pins.db"
    empty = PinsSqlite(path, key_mark="first")
    await empty.aclose()
    pins = PinsSqlite(path, key_mark="second")  # nobody is pinned yet, so nobody can be overlooked
    await pins.put(PIN)
    await pins.aclose()
    with pytest.raises(PinsUnavailable, match="another `subjects` key"):
        PinsSqlite(path, key_mark="first")
    again = PinsSqlite(path, key_mark="second")
    assert again.peek(PIN.subject) == (PIN, True)
    await again.aclose()


AT_ONCE = """
import os, sys
from pathlib import Path
from residency.adapters.pins_sqlite import PinsSqlite

for number in range(60):
    wait, go = os.pipe()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(wait, 1)  # until the parent lets go of its end
            try:
                PinsSqlite(Path(sys.argv[1]) / f"{number}.db", key_mark="m")
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.close(go)
    os.close(wait)
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit("a process could not open the file")
"""


def test_processes_that_open_a_new_file_at_once_all_have_it(tmp_path: Path) -> None:
    # SQLite itself does not wait where two want the write-ahead log at the same time.
    done = subprocess.run([sys.executable, "-c", AT_ONCE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_file_of_a_release_that_knew_no_moves_is_brought_to_todays_form(tmp_path: Path) -> None:
    file = tmp_path / "pins.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "CREATE TABLE pin (subject TEXT PRIMARY KEY, home TEXT NOT NULL, anchors TEXT NOT NULL, "
            "alias TEXT NOT NULL, set_by TEXT NOT NULL, policy TEXT NOT NULL, at INTEGER NOT NULL, "
            "version INTEGER NOT NULL) STRICT, WITHOUT ROWID"
        )
        database.execute("INSERT INTO pin VALUES (?, 'SG', '[]', 'a1', 'write', 'p', 1, 1)", (PIN.subject,))
    pins = PinsSqlite(file)
    old = await pins.get(PIN.subject)
    assert old is not None
    assert old.moving is None
    going = dataclasses.replace(old, home="VN", moving="SG", version=2)
    assert await pins.put_all([going, dataclasses.replace(PIN, subject="6" * 64, version=3)]) == {"6" * 64}
    assert pins.peek(PIN.subject) == (going, True)
    await pins.aclose()
