"""What the file of a locator alone can do wrong: what stays in it, what it is readable by, and what is no such file."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import anyio
import pytest

from residency.adapters.locator_sqlite import LocatorSqlite
from residency.errors import RecordConflict, SinkUnavailable
from residency.storage.locator import Located

pytestmark = pytest.mark.anyio


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_what_is_forgotten_leaves_no_bytes_in_the_files(tmp_path: Path) -> None:
    locator = LocatorSqlite(tmp_path / "VN.db", place="VN")
    await locator.note([Located(f"{number:064x}", "a5" * 32) for number in range(1, 300)])
    await locator.note([Located("b6" * 32, "c7" * 32)])
    assert await locator.forget_subject("a5" * 32) == 299
    held = everything(tmp_path)
    assert bytes.fromhex("a5" * 32) not in held
    assert bytes.fromhex("c7" * 32) in held
    await locator.aclose()


async def test_of_those_who_wait_together_only_who_stands_against_another_is_refused(tmp_path: Path) -> None:
    locator = LocatorSqlite(tmp_path / "VN.db", place="VN")
    await locator.note([Located("0" * 64, "a5" * 32)])
    told: dict[int, int | None] = {}

    async def note(number: int, subject: str, keys: list[str]) -> None:
        try:
            told[number] = await locator.note([Located(key * 64, subject) for key in keys])
        except RecordConflict:
            told[number] = None

    async with anyio.create_task_group() as tasks:
        with locator._write_lock:  # so that all of them wait
            tasks.start_soon(note, 1, "b6" * 32, ["1", "2"])
            tasks.start_soon(note, 2, "b6" * 32, ["3", "0"])  # that is another's
            tasks.start_soon(note, 3, "a5" * 32, ["0", "4"])
            while len(locator._asked) < 3:  # noqa: ASYNC110 - threads, which set no event of ours
                await anyio.sleep(0.001)
    assert told == {1: 2, 2: None, 3: 1}
    b, a = "b6" * 32, "a5" * 32
    assert await locator.owners([f"{key}" * 64 for key in "01234"]) == (a, b, b, None, a)
    assert not locator._asked  # nobody writes it again, once it is forgotten
    await locator.aclose()


@pytest.mark.parametrize("room", [1, 3, 100])
async def test_however_many_wait_each_is_told_of_its_own(
    tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocatorSqlite, "at_once", room)
    locator = LocatorSqlite(tmp_path / "VN.db", place="VN")
    told: dict[int, int] = {}

    async def note(number: int) -> None:
        keys = [Located(f"{key:064x}", "a5" * 32) for key in range(number, 2 * number)]
        told[number] = await locator.note(keys)
        assert await locator.forget([each.key for each in keys]) <= len(keys)

    async with anyio.create_task_group() as tasks:
        for number in (1, 2, 4, 8, 16):  # no two have a key in common
            tasks.start_soon(note, number)
    assert told == {number: number for number in (1, 2, 4, 8, 16)}
    assert set(await locator.owners([f"{key:064x}" for key in range(32)])) == {None}
    await locator.aclose()


async def test_nobody_else_on_the_machine_reads_it(tmp_path: Path) -> None:
    locator = LocatorSqlite(tmp_path / "located" / "VN.db", place="VN")
    await locator.note([Located("b6" * 32, "c7" * 32)])
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "located").iterdir()} == {0o600}
    await locator.aclose()


@pytest.mark.parametrize("content", [b"nonsense" * 1000, None], ids=["damaged", "folder"])
def test_what_is_no_locator_is_refused_by_its_place(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "VN.db"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(SinkUnavailable, match="the locator of VN cannot be opened") as caught:
        LocatorSqlite(file, place="VN")
    assert str(tmp_path) not in str(caught.value)


async def test_one_that_is_closed_answers_nobody(tmp_path: Path) -> None:
    locator = LocatorSqlite(tmp_path / "VN.db", place="VN")
    await locator.aclose()
    for call in (locator.owners(["b6" * 32]), locator.forget_subject("c7" * 32)):
        with pytest.raises(SinkUnavailable, match="closed"):
            await call


async def test_one_whose_table_is_gone_says_that_it_cannot_be_read(tmp_path: Path) -> None:
    locator = LocatorSqlite(tmp_path / "VN.db", place="VN")
    with sqlite3.connect(tmp_path / "VN.db") as other:
        other.execute("DROP TABLE located")
    other.close()
    with pytest.raises(SinkUnavailable, match="read or written"):
        await locator.owners(["b6" * 32])
    with pytest.raises(SinkUnavailable, match="read or written"):
        await locator.note([Located("b6" * 32, "c7" * 32)])
    await locator.aclose()
