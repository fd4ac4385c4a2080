"""What `ObjectSink` promises, over every adapter: memory, files, members, buckets as S3's, Google's and Azure's are.

On asyncio and trio; buckets on asyncio alone, for their client knows no other loop.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_members import ObjectMembers
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_objects import BucketSink
from residency.enforcement.ports import OCTETS, ObjectSink
from residency.errors import UsageError
from residency.model import Region
from tests.azurite import Azurite, azurite
from tests.conftest import find_fake_gcs, find_weed
from tests.gcs import Translator, gcs
from tests.object_store import ACCESS, SECRET, Seaweed, seaweed

pytestmark = pytest.mark.anyio
REGION = Region("vn-han", "VN")
LARGE = 9 << 20  # several parts of an upload to a bucket
Objects = Callable[[], ObjectSink]


async def listed(sink: ObjectSink, prefix: str = "", after: str = "") -> list[str]:
    """The sink's keys, in the order it gives them."""
    return [meta.key async for meta in sink.list(prefix, after)]


async def read(sink: ObjectSink, key: str, start: int = 0, end: int | None = None) -> tuple[int, int, bytes] | None:
    """(start, end, bytes) of a value that is read piece by piece, None where there is none."""
    found = await sink.open(key, start, end)
    if found is None:
        return None
    return found.start, found.end, b"".join([piece async for piece in found.chunks])


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """An S3 server with a bucket called `objects`."""
    with seaweed(find_weed(), tmp_path_factory.mktemp("weed")) as server:
        assert server.ask("PUT", "/objects").status_code == 200
        yield server


@pytest.fixture(scope="session")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Translator]:
    """Google Cloud Storage, as fake-gcs-server and a translator play it, with a bucket called `objects`."""
    with gcs(find_fake_gcs(), tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azure's blob storage, as Azurite plays it, with a container called `objects`."""
    with azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(
    params=[
        ("memory", "asyncio"),
        ("memory", "trio"),
        ("files", "asyncio"),
        ("files", "trio"),
        ("members", "asyncio"),
        ("members", "trio"),
        pytest.param(("s3", "asyncio"), marks=pytest.mark.needs("seaweedfs")),
        pytest.param(("gs", "asyncio"), marks=pytest.mark.needs("fake-gcs-server")),
        pytest.param(("az", "asyncio"), marks=pytest.mark.slow),
    ],
    ids=lambda each: "-".join(each),
)
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An adapter, and an event loop that it runs on."""
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def anyio_backend(place: tuple[str, str]) -> str:
    """The event loop of this test."""
    return place[1]


@pytest.fixture
def make(request: pytest.FixtureRequest, place: tuple[str, str], tmp_path: Path) -> Objects:
    """A factory of an empty object sink; what it makes twice is one sink for memory, and one place for others."""
    if place[0] == "memory":
        sink = MemorySink("people-vn", REGION)
        return lambda: sink
    if place[0] == "files":
        return lambda: FilesSink("people-vn", REGION, tmp_path / "objects")
    if place[0] == "members":
        folders = [Region("vn-han", "VN"), Region("vn-sgn", "VN")]
        ways = [FilesSink("people-vn", region, tmp_path / "objects") for region in folders]
        return lambda: ObjectMembers("people-vn", REGION, ways)
    if place[0] == "gs":
        bucket = request.getfixturevalue("google").url("objects", uuid.uuid4().hex)
        return lambda: BucketSink("people-vn", REGION, bucket)
    if place[0] == "az":
        container = request.getfixturevalue("blobs").url("objects", uuid.uuid4().hex)
        return lambda: BucketSink("people-vn", REGION, container)
    endpoint = request.getfixturevalue("weed").endpoint
    url = f"s3://{ACCESS}:{SECRET}@objects/{uuid.uuid4().hex}?region=us-east-1&endpoint={endpoint}"
    return lambda: BucketSink("people-vn", REGION, url)


@pytest.mark.parametrize("value", [b"", b"\0", b"x" * 100_000])
async def test_a_value_comes_back_as_it_went_in(make: Objects, value: bytes) -> None:
    sink = make()
    await sink.start()
    told = await sink.put("a/b.json", value)
    assert (told.key, told.size) == ("a/b.json", len(value))
    assert await sink.get("a/b.json") == value
    assert await read(sink, "a/b.json") == (0, len(value), value)


async def test_starting_and_asking_whether_it_works_leaves_nothing_in_it(make: Objects) -> None:
    sink = make()
    await sink.start()
    await sink.ping()
    assert await listed(sink) == []


async def test_a_missing_value_is_none_and_an_empty_one_is_not(make: Objects) -> None:
    sink = make()
    await sink.start()
    await sink.put("empty", b"")
    assert await sink.get("empty") == b""
    assert await read(sink, "empty") == (0, 0, b"")
    assert await sink.get("missing") is None
    assert await sink.open("missing") is None
    assert await sink.open("missing", 5, 5) is None
    assert await sink.open("missing", 5) is None
    assert await sink.head("missing") is None
    assert await sink.delete("missing") is False


async def test_a_value_is_replaced_whole_and_has_another_etag_then(make: Objects) -> None:
    sink = make()
    await sink.start()
    first = await sink.put("k", b"a long first value")
    second = await sink.put("k", b"short")
    assert await sink.get("k") == b"short"
    assert first.etag != second.etag
    found = await sink.head("k")
    assert found is not None
    assert (found.etag, found.size) == (second.etag, 5)


async def test_what_is_told_of_a_value_is_so_however_one_asks(make: Objects) -> None:
    sink = make()
    await sink.start()
    put = await sink.put("k", b"12345", "image/png")
    head, opened = await sink.head("k"), await sink.open("k")
    assert head is not None
    assert opened is not None
    await opened.chunks.aclose()
    (one,) = [meta async for meta in sink.list()]
    for meta in (put, head, opened.meta, one):
        assert (meta.key, meta.size, meta.etag) == ("k", 5, put.etag)
        assert abs(meta.modified - put.modified) < 5_000_000
    assert (put.content_type, head.content_type, opened.meta.content_type) == ("image/png",) * 3
    await sink.put("k", b"12345")
    again = await sink.head("k")
    assert again is not None
    assert again.content_type == OCTETS


async def test_deleting_says_whether_there_was_one(make: Objects) -> None:
    sink = make()
    await sink.start()
    await sink.put("k", b"1")
    assert await sink.delete("k") is True
    assert await sink.delete("k") is False
    assert await sink.get("k") is None


async def test_a_range_is_read_as_far_as_the_value_goes(make: Objects) -> None:
    sink = make()
    await sink.start()
    await sink.put("k", b"0123456789")
    for start, end, wanted in [
        (0, None, (0, 10)), (0, 10, (0, 10)), (3, None, (3, 10)), (3, 7, (3, 7)), (0, 1, (0, 1)), (9, 10, (9, 10)),
        (9, 99, (9, 10)), (0, 99, (0, 10)), (0, 0, (0, 0)), (4, 4, (4, 4)), (10, None, (10, 10)), (10, 12, (10, 10)),
        (50, None, (10, 10)), (50, 60, (10, 10)),
    ]:  # fmt: skip
        assert await read(sink, "k", start, end) == (*wanted, b"0123456789"[slice(*wanted)])


async def test_a_reader_that_goes_away_early_leaves_the_value_readable(make: Objects) -> None:
    sink = make()
    await sink.start()
    value = bytes(range(256)) * (LARGE // 256)
    await sink.put("k", value)
    found = await sink.open("k")
    assert found is not None
    assert value.startswith(await anext(aiter(found.chunks)))
    await found.chunks.aclose()
    await found.chunks.aclose()
    assert await read(sink, "k", LARGE - 5) == (LARGE - 5, LARGE, value[-5:])


@pytest.mark.parametrize(("size", "said"), [(0, False), (1, True), (100_000, False), (LARGE, True), (LARGE, False)])
async def test_a_value_in_pieces_is_there_once_it_is_committed_and_not_before(
    make: Objects, size: int, said: bool
) -> None:
    sink = make()
    await sink.start()
    await sink.put("k", b"old")
    upload = await sink.upload("k", "image/png", size if said else None)
    value = bytes(range(256)) * (size // 256 + 1)
    for at in range(0, size, 1_000_003):
        await upload.write(value[at : min(at + 1_000_003, size)])
        await upload.write(b"")
    assert await sink.get("k") == b"old"
    called: list[str] = []
    told = await upload.commit(lambda: called.append("done"))
    assert called == ["done"]
    assert (told.key, told.size, told.content_type) == ("k", size, "image/png")
    assert await read(sink, "k") == (0, size, value[:size])
    found = await sink.head("k")
    assert found is not None
    assert (found.etag, found.content_type) == (told.etag, "image/png")
    await upload.abort()
    assert found == await sink.head("k")
    with pytest.raises(UsageError):
        await upload.write(b"more")


@pytest.mark.parametrize("size", [0, 100_000, LARGE])
async def test_of_a_value_that_is_given_up_nothing_is_left(make: Objects, size: int) -> None:
    sink = make()
    await sink.start()
    upload = await sink.upload("k")
    await upload.write(b"x" * size)
    await upload.abort()
    await upload.abort()
    assert await listed(sink) == []
    assert await sink.get("k") is None
    for call in (upload.write(b"1"), upload.commit()):
        with pytest.raises(UsageError):
            await call


async def test_a_cancelled_put_is_stored_whole_and_says_so_or_is_not_stored(make: Objects) -> None:
    sink = make()
    await sink.start()
    await sink.put("k", b"old")
    value = b"x" * LARGE
    for delay in (0.0, 0.001, 0.01):
        called: list[str] = []
        with anyio.move_on_after(delay):
            await sink.put("k", value, done=lambda called=called: called.append("done"))  # type: ignore[misc]
        assert await sink.get("k") == (value if called else b"old")
        await sink.put("k", b"old")


async def test_done_is_called_once_by_what_has_an_effect(make: Objects) -> None:
    sink = make()
    await sink.start()
    called: list[str] = []
    await sink.put("k", b"1", done=lambda: called.append("put"))
    await sink.delete("k", done=lambda: called.append("delete"))
    await sink.delete("k", done=lambda: called.append("delete"))
    assert called == ["put", "delete", "delete"]


async def test_keys_come_in_order_and_by_prefix(make: Objects) -> None:
    sink = make()
    await sink.start()
    names = ["b", "a/2", "a/1", "a/10", "A", "é", "ab", "日", "%41", "x" * 200 + "/" + "y" * 200, ".hidden", "a/b/c"]
    for name in names:
        await sink.put(name, name.encode())
    assert await listed(sink) == sorted(names)
    for prefix in ("a", "a/", "a/1", "a/b/", "é", "x" * 199, "none"):
        assert await listed(sink, prefix) == sorted(n for n in names if n.startswith(prefix))
    assert await listed(sink, after="a/10") == [n for n in sorted(names) if n > "a/10"]
    assert await listed(sink, "a/", "a/1") == ["a/10", "a/2", "a/b/c"]
    for name in names:
        assert await sink.get(name) == name.encode()


async def test_odd_keys_are_themselves_and_none_is_another(make: Objects) -> None:
    sink = make()
    await sink.start()
    names = (
        "A|a|trail |trail.|trail| trail|a b|a+b|a%20b|e\u0301|é|É|%|%2F|a%2Fb|a/b|%2e%2e|[x]{y}|q?x#y|p\"q|<&>'|`id`|;|"
        ":|*|con|nul.txt|-rf|~|…|a=b&c|$HOME|😀|A/b|a/B|.x|x.|a/.b|a/b.|a/b |+|tmp-|%2etmp-x|.tmp-x"
    ).split("|")
    for name in names:
        await sink.put(name, name.encode())
    for name in names:
        assert await sink.get(name) == name.encode()
    assert sorted(await listed(sink)) == sorted(names)
    for number, name in enumerate(names):
        assert await sink.delete(name) is True
        assert await sink.get(name) is None
        assert len(await listed(sink)) == len(names) - number - 1


async def test_a_key_outside_the_contract_is_refused_by_every_call(make: Objects) -> None:
    sink = make()
    await sink.start()
    for key in (
        "", "/etc/passwd", "../outside", "a/../../b", "a\0b", "a\nb", "x" * 513, "a\\..\\b", "日" * 301, "a//b", "a/",
    ):  # fmt: skip
        calls = (sink.put(key, b"1"), sink.get(key), sink.delete(key), sink.head(key), sink.open(key), sink.upload(key))
        for call in calls:
            with pytest.raises(UsageError):
                await call
    assert await listed(sink) == []


async def test_a_listing_that_is_left_early_holds_nothing_up(make: Objects) -> None:
    sink = make()
    await sink.start()
    for number in range(5):
        await sink.put(f"k{number}", b"1")
    listing = sink.list()
    assert (await anext(listing)).key == "k0"
    await listing.aclose()  # type: ignore[attr-defined]
    assert await listed(sink) == [f"k{number}" for number in range(5)]


async def test_what_is_this_package_s_own_is_listed_to_who_asks_for_it_alone(make: Objects) -> None:
    sink = make()
    await sink.start()
    for key in (".residency-not-ours", ".residency/own", "a", "folder/.residency/theirs"):
        await sink.put(key, b"1")
    assert sorted(await listed(sink)) == [".residency-not-ours", "a", "folder/.residency/theirs"]
    assert await listed(sink, ".residency") == [".residency-not-ours"]
    assert await listed(sink, ".residency/") == [".residency/own"]
    assert await sink.get(".residency/own") == b"1"


async def test_concurrent_puts_of_one_key_leave_one_of_the_values_whole(make: Objects) -> None:
    sink = make()
    await sink.start()
    values = [bytes([i]) * 10_000 for i in range(8)]
    async with anyio.create_task_group() as group:
        for value in values:
            group.start_soon(sink.put, "k", value)
    assert await sink.get("k") in values
    assert await listed(sink) == ["k"]


async def test_a_value_outlives_the_sink_that_stored_it(make: Objects) -> None:
    first = make()
    await first.start()
    await first.put("k", b"1")
    await first.aclose()
    again = make()
    await again.start()
    assert await again.get("k") == b"1"
