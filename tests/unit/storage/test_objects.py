"""Objects under the real enforcement point: each call one act, on the right sink, with the right word at its end."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from residency.adapters.sink_objects import BucketSink
from residency.enforcement.context import current, identify
from residency.errors import JournalFailed, NoDecision, Refused, ResidencyError, SinkUnavailable, UsageError
from residency.model import Pin
from residency.storage import ObjectMeta
from tests.object_store import StubS3
from tests.object_world import SG, SINGAPORE, VN, ObjectWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> ObjectWorld:
    """A world whose sinks are started."""
    made = ObjectWorld(tmp_path)
    await made.stores.start()
    return made


async def test_a_covered_persons_object_goes_home_and_anothers_to_the_first_sink(world: ObjectWorld) -> None:
    with world.request() as uploads:
        assert uploads.sink_name == "files-vn"
        await uploads.put("a.jpg", b"An")
    with world.request(address=SINGAPORE, who="tan") as uploads:
        await uploads.put("t.jpg", b"Tan")
    assert (await world.vn.get("a.jpg"), await world.sg.get("t.jpg")) == (b"An", b"Tan")
    assert (await world.sg.get("a.jpg"), await world.vn.get("t.jpg")) == (None, None)
    assert world.acts() == [("files-vn", "write", "committed"), ("files-sg", "write", "committed")]


async def test_a_read_from_abroad_follows_the_data_home(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("a.jpg", b"An")
    with world.request("GET", SINGAPORE) as uploads:
        assert await uploads.get("a.jpg") == b"An"
        assert [key async for key in uploads.keys("a")] == ["a.jpg"]
        assert await uploads.get("b.jpg") is None
    assert world.acts()[1:] == [("files-vn", "read", "committed")] * 3


async def test_erasing_is_an_act_of_its_own_kind(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("a.jpg", b"An")
    with world.request("DELETE") as uploads:
        assert await uploads.delete("a.jpg") is True
        assert await uploads.delete("a.jpg") is False
    assert world.acts()[1:] == [("files-vn", "erase", "committed")] * 2


async def test_the_sink_abroad_asked_for_by_name_is_refused_with_the_article_and_stores_nothing(
    world: ObjectWorld,
) -> None:
    with world.request() as uploads, pytest.raises(Refused) as caught:
        await uploads.put("a.jpg", b"An", sink="files-sg")
    assert caught.value.citations == ("Test law art. 1",)
    assert await world.sg.get("a.jpg") is None
    assert world.acts() == []
    assert [entry.sink for entry in world.refusals()] == ["files-sg"]


async def test_a_write_that_only_another_place_permits_is_refused_and_recorded(world: ObjectWorld) -> None:
    pin = Pin(f"{sum(b'an'):064x}", "SG", (), "a" * 32, "write", "0" * 64, 1)
    await world.pins.put(pin)
    with world.request() as uploads, pytest.raises(Refused) as caught:
        await uploads.put("a.jpg", b"An")
    assert caught.value.reason == "not_home"
    assert world.acts() == []
    assert [(entry.sink, entry.reason) for entry in world.refusals()] == [("files-sg", "not_home")]


async def test_observing_leaves_data_where_it_was(tmp_path: Path) -> None:
    world = ObjectWorld(tmp_path, "observe")
    await world.stores.start()
    with world.request() as uploads:
        await uploads.put("a.jpg", b"An")
    assert await world.sg.get("a.jpg") == b"An"


async def test_a_stop_order_before_the_act_stops_it_where_only_that_sink_may_take_the_data(world: ObjectWorld) -> None:
    with world.request() as uploads:
        world.stop("files-vn")
        with pytest.raises(Refused):
            await uploads.put("a.jpg", b"An")
    assert world.acts() == []


async def test_a_stop_order_before_the_first_write_moves_it_where_another_sink_may_take_the_data(
    world: ObjectWorld,
) -> None:
    with world.request(address=SINGAPORE, who="tan") as uploads:
        world.stop("files-sg")
        await uploads.put("t.jpg", b"Tan")
    assert world.acts() == [("files-vn", "write", "committed")]


async def test_intent_and_outcome_of_a_write_survive_a_power_cut_before_the_app_goes_on(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("a.jpg", b"An")
        assert world.journal.durable == len(world.journal.records)
    with world.request("DELETE") as uploads:
        await uploads.delete("a.jpg")
        assert world.journal.durable == len(world.journal.records)


async def test_a_read_activity_stores_and_removes_nothing(world: ObjectWorld) -> None:
    with world.request("GET") as uploads:
        with pytest.raises(ResidencyError):
            await uploads.put("a.jpg", b"An")
        with pytest.raises(ResidencyError):
            await uploads.delete("a.jpg")
    assert world.acts() == []


async def test_a_sink_that_fails_a_write_leaves_the_word_unknown_and_a_failed_read_failed(world: ObjectWorld) -> None:
    await world.sg.aclose()
    with world.request(address=SINGAPORE, who="tan") as uploads:
        for call in (uploads.put("t", b"1"), uploads.get("t")):
            with pytest.raises(SinkUnavailable):
                await call
    assert [act[2] for act in world.acts()] == ["unknown", "failed"]


async def test_a_journal_that_fails_before_the_effect_stops_it(world: ObjectWorld) -> None:
    with world.request() as uploads:
        world.journal.fail()
        with pytest.raises(JournalFailed):
            await uploads.put("a.jpg", b"An")
    assert await world.vn.get("a.jpg") is None


async def test_a_listing_that_is_left_early_is_one_act(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("a", b"1")
        await uploads.put("b", b"2")
        keys, metas = uploads.keys(), uploads.list()
        assert await anext(keys) == "a"
        assert (await anext(metas)).key == "a"
        await keys.aclose()
        await metas.aclose()
    assert world.acts()[2:] == [("files-vn", "read", "committed")] * 2


async def test_a_handle_kept_from_one_request_is_of_no_use_to_the_next(world: ObjectWorld) -> None:
    with world.request(address=SINGAPORE, who="us") as kept:
        await kept.put("us/1", b"mine")
    with pytest.raises(NoDecision):
        await kept.put("an/1", b"hers")
    with world.request(who="an"), pytest.raises(UsageError, match="its own request only"):
        await kept.put("an/1", b"hers")
    assert [meta.key async for meta in world.sg.list()] == ["us/1"]
    assert len(world.acts()) == 1


async def test_a_bad_key_begins_no_act(world: ObjectWorld) -> None:
    with world.request() as uploads, pytest.raises(UsageError):
        await uploads.put("../x", b"1")
    assert world.acts() == []


async def pieces(*given: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    """A body that comes piece by piece, and perhaps breaks off."""
    for piece in given:
        yield piece
    if error is not None:
        raise error


def files(folder: Path) -> list[Path]:
    """What lies in a folder, temporary files too."""
    return list(folder.iterdir())


class UploadFile:
    """What Starlette gives for a file in a form."""

    def __init__(self, value: bytes) -> None:
        self.left = value

    async def read(self, size: int = -1) -> bytes:
        piece, self.left = self.left[:size], self.left[size:]
        return piece


async def test_a_value_in_pieces_is_one_act_and_tells_what_was_stored(world: ObjectWorld) -> None:
    with world.request() as uploads:
        told = await uploads.put("a", pieces(b"12", b"", b"3"), content_type="image/png")
        assert isinstance(told, ObjectMeta)
        assert (told.key, told.size, told.content_type) == ("a", 3, "image/png")
        assert (await uploads.put("b", UploadFile(b"x" * 3_000_000), size=3_000_000)).size == 3_000_000
        assert (await uploads.put("c", bytearray(b"12"))).size == 2
        assert world.journal.durable == len(world.journal.records)
        assert await uploads.get("a") == b"123"
        assert await uploads.head("a") == told
        assert await uploads.head("z") is None
    assert world.acts() == [("files-vn", "write", "committed")] * 3 + [("files-vn", "read", "committed")] * 3


async def test_a_body_that_breaks_off_stores_nothing_and_the_act_has_failed(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("a", b"old")
        with pytest.raises(KeyError):
            await uploads.put("a", pieces(b"1", error=KeyError()))
        assert await world.vn.get("a") == b"old"
    assert [act[2] for act in world.acts()] == ["committed", "failed"]


@pytest.mark.parametrize("given", [b"123", b"12345", b""])
async def test_a_body_of_another_size_than_was_said_stores_nothing(world: ObjectWorld, given: bytes) -> None:
    with world.request() as uploads:
        with pytest.raises(UsageError, match="another size"):
            await uploads.put("a", pieces(given), size=4)
        with pytest.raises(UsageError, match="another size"):
            await uploads.put("a", given, size=4)
    assert await world.vn.get("a") is None
    assert world.acts() == [("files-vn", "write", "failed")]


async def test_a_cancelled_upload_stores_nothing_and_the_act_has_failed(world: ObjectWorld) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for number in itertools.count():
            yield b"x" * 1000
            if number == 20:
                scope.cancel()
            await anyio.sleep(0.001)

    with world.request() as uploads, anyio.CancelScope() as scope:
        await uploads.put("a", endless())
    assert files(world.folder / "vn") == []
    assert world.acts() == [("files-vn", "write", "failed")]


async def test_a_stop_order_that_comes_with_the_last_piece_stops_the_whole_value(world: ObjectWorld) -> None:
    async def stopped() -> AsyncIterator[bytes]:
        yield b"1"
        world.stop("files-vn")

    with world.request() as uploads, pytest.raises(Refused):
        await uploads.put("a", stopped())
    assert await world.vn.get("a") is None
    assert world.acts() == [("files-vn", "write", "failed")]


async def test_a_value_is_of_whom_it_began_for_or_is_not_stored(world: ObjectWorld) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"An's"
        await identify("tan")
        yield b"Tan's"

    with world.request() as uploads:
        with pytest.raises(UsageError, match="began for one subject and would end for another"):
            await uploads.put("a.jpg", body())
        await uploads.put("t.jpg", b"Tan")
    assert await world.vn.get("a.jpg") is None
    assert world.acts() == [("files-vn", "write", "failed"), ("files-sg", "write", "committed")]


async def test_a_value_in_pieces_makes_its_place_the_home_only_when_it_is_whole(world: ObjectWorld) -> None:
    with world.request() as uploads:
        with pytest.raises(KeyError):
            await uploads.put("a", pieces(b"1", error=KeyError()))
        assert world.entries[0].kind == "intent"
        assert await world.pins.get(f"{sum(b'an'):064x}") is None
        await uploads.put("a", pieces(b"1"))
        assert await world.pins.get(f"{sum(b'an'):064x}") is not None


async def test_a_read_in_pieces_is_one_act_that_ends_with_the_last(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("a", b"0123456789", content_type="text/csv")
        reader = await uploads.open("a", 2, 5)
        assert reader is not None
        assert (reader.meta.size, reader.meta.content_type, reader.start, reader.end) == (10, "text/csv", 2, 5)
        assert world.acts()[1:] == [("files-vn", "read", None)]
        assert [piece async for piece in reader] == [b"234"]
        with pytest.raises(UsageError, match="once"):
            aiter(reader)
        assert await uploads.open("missing") is None
    assert world.acts()[1:] == [("files-vn", "read", "committed")] * 2


async def test_a_read_that_is_left_half_way_is_an_act_that_is_done(world: ObjectWorld) -> None:
    with world.request(address=SINGAPORE, who="tan") as uploads:
        await uploads.put("a", b"x" * 3_000_000)
        reader = await uploads.open("a")
        assert reader is not None
        async with reader:
            assert len(await anext(aiter(reader))) == 1 << 20
        other = await uploads.open("a")
        assert other is not None
        await other.aclose()
        await other.aclose()
    assert world.acts()[1:] == [("files-sg", "read", "committed")] * 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio warns of whoever leaves a generator behind
async def test_a_read_that_is_dropped_half_way_is_an_act_that_is_done(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("a", b"x" * 3_000_000)
        reader = await uploads.open("a")
        assert reader is not None
        async for _ in reader:
            break  # as a web framework does whose client went away
        del reader
        await anyio.sleep(0.01)
    assert world.acts()[1:] == [("files-vn", "read", "committed")]


async def test_a_read_that_breaks_off_has_failed(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("a", b"x" * 3_000_000)
        reader = await uploads.open("a")
        assert reader is not None
        chunks = aiter(reader)
        await anext(chunks)
        (world.folder / "vn" / "a").write_bytes(b"cut")
        with pytest.raises(SinkUnavailable):
            await anext(chunks)
        await world.vn.aclose()
    assert world.acts()[1:] == [("files-vn", "read", "failed")]


async def test_a_sync_endpoint_stores_and_reads_from_its_thread(world: ObjectWorld) -> None:
    def endpoint() -> bytes | None:
        uploads = current().store("uploads")
        anyio.from_thread.run(uploads.put, "a", b"1")
        found: bytes | None = anyio.from_thread.run(uploads.get, "a")
        return found

    with world.request():
        assert await anyio.to_thread.run_sync(endpoint) == b"1"
    assert [act[1:] for act in world.acts()] == [("write", "committed"), ("read", "committed")]


async def test_a_listing_comes_in_pages_each_an_act(world: ObjectWorld) -> None:
    with world.request() as uploads:
        for number in range(5):
            await uploads.put(f"p/{number}", b"")
        seen: list[str] = []
        while page := [meta.key async for meta in uploads.list("p/", after=seen[-1] if seen else "", limit=2)]:
            seen += page
    assert seen == [f"p/{number}" for number in range(5)]
    assert [act[1:] for act in world.acts()[5:]] == [("read", "committed")] * 4


async def test_what_makes_no_sense_begins_no_act(world: ObjectWorld) -> None:
    with world.request() as uploads:
        calls = [
            uploads.put("a", "text"),  # type: ignore[arg-type]
            uploads.put("a", [b"1"]),  # type: ignore[arg-type]
            uploads.put("a", io.BytesIO(b"1")),  # type: ignore[arg-type]
            uploads.put("a", b"", content_type="text/plain\r\nx-evil: 1"),
            uploads.put("a", b"", content_type=""),
            uploads.put("a", pieces(b"1"), size=-1),
            uploads.open("a", -1),
            uploads.open("a", 5, 4),
            anext(uploads.list(limit=0)),
        ]
        for call in calls:
            with pytest.raises(UsageError):
                await call
    assert world.acts() == []


async def test_a_sink_that_fails_in_the_middle_of_a_value_has_not_stored_it_and_at_its_end_nobody_knows(
    world: ObjectWorld,
) -> None:
    async def closing(*given: bytes) -> AsyncIterator[bytes]:
        yield b"1"
        await world.sg.aclose()
        for piece in given:
            yield piece

    for given in ((b"2",), ()):
        await world.sg.start()
        with world.request(address=SINGAPORE, who="tan") as uploads, pytest.raises(SinkUnavailable):
            await uploads.put("t", closing(*given))
    assert [act[2] for act in world.acts()] == ["failed", "unknown"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the one event loop that buckets know
async def test_nothing_is_asked_of_a_bucket_abroad_for_a_covered_person(tmp_path: Path) -> None:
    home, abroad = StubS3(), StubS3()
    try:
        url = "s3://K:S@bucket/pre?region=x&endpoint="
        sinks = [BucketSink("files-sg", SG, url + abroad.endpoint), BucketSink("files-vn", VN, url + home.endpoint)]
        world = ObjectWorld(tmp_path, sinks=sinks)
        with world.request() as uploads:
            await uploads.put("an", b"1")
            await uploads.put("an", pieces(b"2"))
        with world.request("DELETE", SINGAPORE) as uploads:
            assert await uploads.get("an") == b"2"
            assert await uploads.head("missing") is None
            assert await uploads.open("missing", 5) is None
            assert [key async for key in uploads.keys("")] == ["an"]
            assert await uploads.delete("an") is True
            with pytest.raises(Refused):
                await uploads.get("an", sink="files-sg")
        assert len(home.asked) > 5
        assert abroad.asked == []
    finally:
        home.close()
        abroad.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the one event loop that buckets know
@pytest.mark.parametrize("how", ["get", "head", "open"])
async def test_a_read_that_nobody_waits_for_any_more_has_failed(tmp_path: Path, how: str) -> None:
    stub = StubS3()
    stub.delay = 0.5
    try:
        url = f"s3://K:S@bucket?region=x&endpoint={stub.endpoint}"
        world = ObjectWorld(tmp_path, sinks=[BucketSink("files-sg", SG, url), BucketSink("files-vn", VN, url)])
        with world.request("GET") as uploads:
            with anyio.move_on_after(0.05):
                await getattr(uploads, how)("k")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(getattr(uploads, how)("k"), 0.05)
        assert world.acts() == [("files-vn", "read", "failed")] * 2
    finally:
        stub.close()
