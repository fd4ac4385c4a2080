"""What the file of a locator alone can do wrong: what stays in it, what it is readable by, and what is no such file."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from residency.adapters.locator_sqlite import LocatorSqlite
from residency.errors import SinkUnavailable
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
