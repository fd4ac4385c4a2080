"""Stores and their sinks: what there is, what is not, and what starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.locator_sqlite import LocatorSqlite
from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_memory import MemorySink
from residency.errors import Refused, SinkUnavailable, UnknownStore, UsageError
from residency.storage import Stores
from residency.storage.handle import backend_of
from residency.storage.locator import Locators
from tests.object_world import SG, VN, ObjectWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> ObjectWorld:
    """A world whose sinks are started."""
    made = ObjectWorld(tmp_path)
    await made.stores.start()
    return made


async def test_a_store_of_objects_gives_no_session_where_none_is_built(world: ObjectWorld) -> None:
    with world.request() as uploads, pytest.raises(UsageError):
        uploads.session()


async def test_stores_refuse_what_is_not_there(world: ObjectWorld) -> None:
    assert world.stores.names == ("uploads",)
    assert world.stores.sinks_of("uploads") == (world.sg, world.vn)
    await world.stores.ping()
    with pytest.raises(UnknownStore):
        world.stores.sinks_of("people")
    with world.request() as uploads, pytest.raises(UnknownStore):
        backend_of(uploads, "people-vn")
    with pytest.raises(UsageError, match="no sink"):
        Stores({}, {"people": ()})
    with pytest.raises(UsageError, match="not built"):
        Stores({}, {"people": ("people-vn",)})


async def test_a_sink_that_does_not_start_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    broken = FilesSink("files-vn", VN, tmp_path / "file" / "folder")
    stores = Stores({"files-sg": MemorySink("files-sg", SG), "files-vn": broken}, {"uploads": ("files-sg", "files-vn")})
    stores.locators = Locators({"VN": LocatorSqlite(tmp_path / "located.db", place="VN")}, lambda text: text)
    with pytest.raises(SinkUnavailable):
        await stores.start()
    (tmp_path / "file").unlink()
    await stores.start()
    assert await stores.locators.by_place["VN"].owners(["ab" * 32]) == (None,), "it was not closed with the sinks"
    await stores.aclose()
    with pytest.raises(SinkUnavailable):
        await stores.locators.by_place["VN"].owners(["ab" * 32])


async def test_an_app_has_no_way_to_a_sink_that_leaves_no_record(world: ObjectWorld) -> None:
    """By name, too, what is stored is an act that is decided for that sink."""
    with world.request() as uploads:
        assert not hasattr(uploads, "sink")
        mark = len(world.entries)
        with pytest.raises(Refused):
            await uploads.put("k", b"v", sink="files-sg")
        await uploads.put("k", b"v", sink="files-vn")
    told = [(entry.kind, entry.sink) for entry in world.entries[mark:]]
    assert told == [("refusal", "files-sg"), ("intent", "files-vn"), ("outcome", "files-vn")]
