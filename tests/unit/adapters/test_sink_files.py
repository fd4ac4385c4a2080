"""What only a sink on disk can do wrong: names, crashes, folders that go away."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_files.files import path_of, remove_left
from residency.enforcement.ports import OCTETS
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage import check_key

pytestmark = pytest.mark.anyio
REGION = Region("vn-han", "VN")


def allowed(key: str) -> bool:
    """Whether the contract takes the key."""
    try:
        check_key(key)
    except UsageError:
        return False
    return True


keys = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=512).filter(allowed)


def names(folder: Path) -> list[str]:
    """The names in a folder."""
    return [path.name for path in folder.iterdir()]


def temporaries(folder: Path) -> list[Path]:
    """The temporary files in a folder and below."""
    return sorted(folder.rglob(".tmp-*"))


async def listed(sink: FilesSink) -> list[str]:
    """The sink's keys."""
    return [meta.key async for meta in sink.list()]


async def made(folder: Path) -> FilesSink:
    """A started sink."""
    sink = FilesSink("objects-vn", REGION, folder)
    await sink.start()
    return sink


@given(keys, keys)
def test_two_keys_never_share_a_file_even_where_case_does_not_count(one: str, other: str) -> None:
    paths = [str(path_of(Path("/sink"), key)) for key in (one, other)]
    assert (paths[0].lower() == paths[1].lower()) == (one == other)


@given(keys)
def test_no_key_leads_out_of_the_folder_or_to_a_name_too_long(key: str) -> None:
    path = path_of(Path("/sink"), key)
    assert path.parts[:2] == ("/", "sink")
    assert all(part not in (".", "..") and len(part.encode()) <= 255 for part in path.parts)


async def test_the_bytes_lie_in_the_folder_as_they_are_for_this_user_alone(tmp_path: Path) -> None:
    sink = await made(tmp_path / "objects")
    await sink.put("people/an.json", b'{"name": "An"}')
    (file,) = (tmp_path / "objects").iterdir()
    assert file.read_bytes() == b'{"name": "An"}'
    assert file.stat().st_mode & 0o077 == 0
    assert (tmp_path / "objects").stat().st_mode & 0o077 == 0


async def test_what_a_crash_left_half_written_is_no_key(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    await sink.put("k", b"whole")
    (tmp_path / ".tmp-crashed").write_bytes(b"hal")
    assert await listed(sink) == ["k"]


async def test_a_failed_write_keeps_the_old_value_and_leaves_nothing_behind(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "in-the-way").write_bytes(b"")
    with pytest.raises(SinkUnavailable):
        await sink.put("k", b"new")
    assert names(tmp_path) == ["k"]


async def test_a_folder_that_went_away_is_not_an_empty_sink(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    sink = await made(folder)
    await sink.put("k", b"1")
    folder.rename(tmp_path / "elsewhere")
    for again in (False, True):
        if again:
            folder.mkdir()  # as an empty mount point is left behind where a volume goes away
        for call in (sink.get("k"), sink.put("k", b"2"), sink.delete("k"), sink.ping(), listed(sink)):
            with pytest.raises(SinkUnavailable):
                await call
    assert names(folder) == []


async def test_a_foreign_file_is_an_error_and_not_a_key(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    (tmp_path / "Foreign File").write_bytes(b"")
    with pytest.raises(SinkUnavailable) as caught:
        await listed(sink)
    assert "Foreign" not in str(caught.value)


async def test_messages_name_the_sink_and_neither_path_nor_key(tmp_path: Path) -> None:
    sink = FilesSink("objects-vn", REGION, tmp_path / "never-started")
    with pytest.raises(SinkUnavailable) as caught:
        await sink.put("secret-name", b"1")
    assert "objects-vn" in str(caught.value)
    assert "secret-name" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


async def test_a_value_in_pieces_lies_beside_its_place_under_a_name_that_is_no_key(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    upload = await sink.upload("k")
    await upload.write(b"An")
    assert [name[:5] for name in names(tmp_path)] == [".tmp-"]
    assert await listed(sink) == []
    await upload.commit()
    assert names(tmp_path) == ["k"]


async def test_what_a_dead_process_left_half_written_is_removed_at_start_and_what_is_being_written_is_not(
    tmp_path: Path,
) -> None:
    sink = await made(tmp_path)
    await sink.put("x" * 300, b"1")
    (below,) = (tmp_path / name for name in names(tmp_path))
    for folder in (tmp_path, below):
        (folder / ".tmp-left").write_bytes(b"An")
    upload = await sink.upload("k")
    await upload.write(b"1")
    await made(tmp_path)
    assert len(temporaries(tmp_path)) == 1
    await upload.commit()
    assert await sink.get("k") == b"1"
    assert temporaries(tmp_path) == []


async def test_a_temporary_file_that_another_start_removed_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = await made(tmp_path)
    lock = fcntl.flock
    locked: list[int] = []

    def late(file: BinaryIO, how: int) -> None:
        if not locked:
            locked.append(how)
            remove_left(tmp_path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    await sink.put("k", b"1")
    assert locked
    assert await sink.get("k") == b"1"
    assert names(tmp_path) == ["k"]


async def test_a_temporary_file_that_another_start_removed_before_it_was_opened_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = await made(tmp_path)
    make = tempfile.mkstemp
    made_so_far: list[str] = []

    def early(**named: object) -> tuple[int, str]:
        handle, name = make(prefix=str(named["prefix"]), dir=str(named["dir"]))
        made_so_far.append(name)
        if len(made_so_far) == 1:
            remove_left(tmp_path)
        return handle, name

    monkeypatch.setattr(tempfile, "mkstemp", early)
    await sink.put("k", b"1")
    assert len(made_so_far) == 2
    assert await sink.get("k") == b"1"
    assert names(tmp_path) == ["k"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancelled_task_waits_for_the_thread_that_writes_for_it(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    for number in range(20):
        done = asyncio.Event()
        task = asyncio.ensure_future(sink.put("k", bytes([number]) * 100_000, done=done.set))
        await asyncio.sleep(number / 4_000)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert ((await sink.get("k")) == bytes([number]) * 100_000) == done.is_set()
        assert [name for name in names(tmp_path) if name.startswith(".tmp-")] == []


async def test_a_file_that_was_cut_short_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    await sink.put("k", b"x" * 3_000_000)
    found = await sink.open("k")
    assert found is not None
    assert len(await anext(found.chunks)) == 1 << 20
    os.truncate(tmp_path / "k", 5)
    with pytest.raises(SinkUnavailable, match="shorter"):
        await anext(found.chunks)
    await found.chunks.aclose()


async def test_a_value_that_is_replaced_or_removed_while_it_is_read_is_read_as_it_was(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    await sink.put("k", b"old" * 1_000_000)
    found = await sink.open("k")
    assert found is not None
    await sink.put("k", b"new")
    await sink.delete("k")
    assert b"".join([piece async for piece in found.chunks]) == b"old" * 1_000_000


async def test_more_keys_than_a_page_holds_are_each_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.adapters.sink_files.sink._PAGE", 3)
    sink = await made(tmp_path)
    keys = [f"k{number:02}" for number in range(10)]
    for key in keys:
        await sink.put(key, b"")
    assert await listed(sink) == keys
    assert [meta.key async for meta in sink.list("k0", "k06")] == ["k07", "k08", "k09"]
    seen = []
    async for meta in sink.list():
        seen.append(meta.key)
        await sink.delete(meta.key)  # under the eyes of the listing
    assert seen == keys


async def test_no_two_values_of_a_key_have_one_etag_however_fast_they_come(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    etags = [(await sink.put("k", b"1")).etag for _ in range(50)]
    assert len(set(etags)) == 50


@pytest.mark.needs("tmpfs")
async def test_a_full_disk_is_an_error_and_leaves_the_old_value_and_no_other_file(tmpfs: Callable[[str], Path]) -> None:
    folder = tmpfs("256k")
    sink = await made(folder)
    await sink.put("k", b"old")
    with pytest.raises(SinkUnavailable, match="No space left"):
        await sink.put("k", b"x" * 1_000_000)
    upload = await sink.upload("k")
    with pytest.raises(SinkUnavailable, match="No space left"):
        await upload.write(b"x" * 1_000_000)
    await upload.abort()
    assert await sink.get("k") == b"old"
    assert names(folder) == ["k"]
    await sink.ping()


async def test_a_file_system_without_attributes_tells_no_content_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", refuse)
    sink = await made(tmp_path)
    await sink.put("k", b"1", "image/png")
    meta = await sink.head("k")
    assert meta is not None
    assert meta.content_type == OCTETS
