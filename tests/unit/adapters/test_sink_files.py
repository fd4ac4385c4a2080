"""What only a sink on disk can do wrong: names, crashes, folders that go away."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.sink_files import FilesSink
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


async def made(folder: Path) -> FilesSink:
    """A started sink."""
    sink = FilesSink("objects-vn", REGION, folder)
    await sink.start()
    return sink


@given(keys, keys)
def test_two_keys_never_share_a_file_even_where_case_does_not_count(one: str, other: str) -> None:
    sink = FilesSink("objects-vn", REGION, Path("/sink"))
    paths = [str(sink._path(key)) for key in (one, other)]
    assert (paths[0].lower() == paths[1].lower()) == (one == other)


@given(keys)
def test_no_key_leads_out_of_the_folder_or_to_a_name_too_long(key: str) -> None:
    path = FilesSink("objects-vn", REGION, Path("/sink"))._path(key)
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
    listing = sink.keys()
    assert [key async for key in listing] == ["k"]


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
        for call in (sink.get("k"), sink.put("k", b"2"), sink.delete("k"), sink.ping(), anext(aiter(sink.keys()))):
            with pytest.raises(SinkUnavailable):
                await call
    assert names(folder) == []


async def test_a_foreign_file_is_an_error_and_not_a_key(tmp_path: Path) -> None:
    sink = await made(tmp_path)
    (tmp_path / "Foreign File").write_bytes(b"")
    with pytest.raises(SinkUnavailable) as caught:
        await anext(aiter(sink.keys()))
    assert "Foreign" not in str(caught.value)


async def test_messages_name_the_sink_and_neither_path_nor_key(tmp_path: Path) -> None:
    sink = FilesSink("objects-vn", REGION, tmp_path / "never-started")
    with pytest.raises(SinkUnavailable) as caught:
        await sink.put("secret-name", b"1")
    assert "objects-vn" in str(caught.value)
    assert "secret-name" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
