"""Which sink a sink says that it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.cache_memory import CacheMemory
from residency.adapters.outbox_objects import NotedObjects
from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_memory import MemorySink
from residency.model import Region
from residency.storage.lasting import is_lasting
from residency.storage.marks import OBJECT, Mark, differs, from_text, mark_of, misled, read_marks, to_text, write_marks

VN, SG = Region("vn-han", "VN"), Region("sg", "SG")
OWN = Mark("people-vn", "vn-han", "VN", ("people",))
OTHER = Mark("people-sg", "sg", "SG", ("people",))


@pytest.fixture
def anyio_backend() -> str:
    """One loop is enough."""
    return "asyncio"


def test_no_mark_and_its_own_are_well_and_anothers_is_told_by_both_names() -> None:
    assert differs(OWN, ()) is None
    assert differs(OWN, [Mark("people-vn", "vn-han", "VN")]) is None, "stores come and go"
    assert differs(OWN, [Mark("jobs", "hcm", "VN"), OWN]) is None, "two sinks on one server"
    assert differs(OWN, [Mark("jobs", "hcm", "VN-SG"), OWN]) is None, "a part of the country"
    both = [Mark("jobs", "hcm", "VN"), OTHER, OWN]
    assert differs(OWN, both) == "bears the mark of sink 'people-sg' (sg, SG), too: data lies in one country"
    assert differs(OWN, [OTHER]) == "bears the mark of sink 'people-sg' (sg, SG): its URL is another's"
    moved = differs(OWN, [Mark("people-vn", "sg", "SG")])
    assert moved == "is marked as lying in sg, SG, and the deployment says vn-han, VN"
    error = misled({"people-vn": str(differs(OWN, [OTHER])), "people-sg": "bears none"})
    assert str(error).startswith("sink 'people-vn' bears the mark of sink 'people-sg'")
    assert "; sink 'people-sg' bears none" in str(error)
    assert is_lasting(error)


@pytest.mark.parametrize("text", [b"", b"{}x", b"[1]", b'[{"sink": "a"}]', b'[{"sink": 1, "region": 1}]', b"\xff"])
def test_what_cannot_be_read_is_a_mark_of_nobody_here(text: bytes) -> None:
    assert differs(OWN, from_text(text)) is not None


def test_what_another_wrote_steers_no_terminal() -> None:
    told = differs(OWN, [Mark("a\x1b[2J", "\x1b[31m" + "x" * 500, "SG")])
    assert told is not None
    assert "\x1b" not in told
    assert len(told) < 200


def test_marks_survive_being_written() -> None:
    assert from_text(to_text([OWN, OTHER])) == (OWN, OTHER)
    assert from_text(None) == ()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["memory", "files", "noted"])
async def test_a_store_of_objects_bears_marks_that_no_listing_tells(kind: str, tmp_path: Path) -> None:
    sink: FilesSink | MemorySink
    sink = FilesSink("objects", VN, tmp_path / "objects") if kind == "files" else MemorySink("objects", VN)
    await sink.start()
    assert await read_marks(sink) == ()
    own = mark_of(sink, {"uploads": ("objects",), "other": ("elsewhere",)})
    assert own == Mark("objects", "vn-han", "VN", ("uploads",))
    assert await write_marks(sink, [own])
    await sink.put("a", b"1")
    assert await read_marks(sink) == (own,)
    assert [meta.key async for meta in sink.list()] == ["a"]
    assert [meta.key async for meta in sink.list(".res")] == []
    assert [meta.key async for meta in sink.list(".residency/")] == [OBJECT]
    if kind == "noted":
        noted = NotedObjects(sink, {}, now=lambda: 0, token=bytes)
        assert await read_marks(noted) == (own,)


@pytest.mark.anyio
async def test_what_keeps_nothing_of_ours_bears_no_marks() -> None:
    sink = CacheMemory("cache", SG)
    assert await read_marks(sink) is None
    assert not await write_marks(sink, [OTHER])
