"""What `SinkPort` promises, over every adapter. On asyncio alone, for the SQL drivers know no other loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_sql import SqlSink
from residency.enforcement.ports import ObjectSink, SinkPort
from residency.model import Region
from residency.storage import RowSink
from tests.rows import BACKENDS, places_of

pytestmark = pytest.mark.anyio
REGION = Region("vn-han", "VN")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that every adapter here runs on."""
    return "asyncio"


@pytest.fixture(params=["memory", "files", *BACKENDS])
def any_sink(request: pytest.FixtureRequest, tmp_path: Path) -> SinkPort:
    """One sink of each kind, not yet started."""
    if request.param == "memory":
        return MemorySink("people-vn", REGION)
    if request.param == "files":
        return FilesSink("people-vn", REGION, tmp_path / "objects")
    return SqlSink("people-vn", REGION, places_of(request.param, tmp_path, request)["vn"].url)


async def test_a_sink_knows_its_name_and_region_and_answers_a_ping_once_started(any_sink: SinkPort) -> None:
    assert (any_sink.name, any_sink.region) == ("people-vn", REGION)
    await any_sink.start()
    await any_sink.ping()
    await any_sink.aclose()
    await any_sink.aclose()


async def test_a_sink_starts_again_after_it_was_closed(any_sink: SinkPort) -> None:
    await any_sink.start()
    await any_sink.aclose()
    await any_sink.start()
    await any_sink.ping()
    await any_sink.aclose()


def test_a_sink_is_a_sink_of_objects_or_of_rows(any_sink: SinkPort) -> None:
    assert isinstance(any_sink, ObjectSink) != isinstance(any_sink, RowSink)
