"""What `ObjectSink` promises, over every adapter, on asyncio and trio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_memory import MemorySink
from residency.enforcement.ports import ObjectSink
from residency.errors import UsageError
from residency.model import Region

pytestmark = pytest.mark.anyio
REGION = Region("vn-han", "VN")
Objects = Callable[[], ObjectSink]


async def listed(sink: ObjectSink, prefix: str = "") -> list[str]:
    """The sink's keys, in the order it gives them."""
    answers = sink.keys(prefix)
    return [key async for key in answers]


@pytest.fixture(params=["memory", "files"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """A factory of an empty object sink."""
    if request.param == "memory":
        return lambda: MemorySink("people-vn", REGION)
    return lambda: FilesSink("people-vn", REGION, tmp_path / "objects")


@pytest.mark.parametrize("value", [b"", b"\0", b"x" * 100_000])
async def test_a_value_comes_back_as_it_went_in(make: Objects, value: bytes) -> None:
    sink = make()
    await sink.start()
    await sink.put("a/b.json", value)
    assert await sink.get("a/b.json") == value


async def test_a_missing_value_is_none_and_an_empty_one_is_not(make: Objects) -> None:
    sink = make()
    await sink.start()
    await sink.put("empty", b"")
    assert await sink.get("empty") == b""
    assert await sink.get("missing") is None
    assert await sink.delete("missing") is False


async def test_a_value_is_replaced_whole(make: Objects) -> None:
    sink = make()
    await sink.start()
    await sink.put("k", b"a long first value")
    await sink.put("k", b"short")
    assert await sink.get("k") == b"short"


async def test_deleting_says_whether_there_was_one(make: Objects) -> None:
    sink = make()
    await sink.start()
    await sink.put("k", b"1")
    assert await sink.delete("k") is True
    assert await sink.delete("k") is False
    assert await sink.get("k") is None


async def test_keys_come_in_order_and_by_prefix(make: Objects) -> None:
    sink = make()
    await sink.start()
    names = ["b", "a/2", "a/1", "A", "a", "é", "ab", "日", "%41", "x" * 512, "a b", ".hidden"]
    for name in names:
        await sink.put(name, name.encode())
    assert await listed(sink) == sorted(names)
    assert await listed(sink, "a") == sorted(n for n in names if n.startswith("a"))
    for name in names:
        assert await sink.get(name) == name.encode()


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b", "a\0b", "a\nb", "x" * 513, "a\\..\\b"])
async def test_a_key_outside_the_contract_is_refused_by_every_call(make: Objects, key: str) -> None:
    sink = make()
    await sink.start()
    for call in (sink.put(key, b"1"), sink.get(key), sink.delete(key)):
        with pytest.raises(UsageError):
            await call
    assert await listed(sink) == []


async def test_concurrent_puts_of_one_key_leave_one_of_the_values_whole(make: Objects) -> None:
    sink = make()
    await sink.start()
    values = [bytes([i]) * 10_000 for i in range(8)]
    async with anyio.create_task_group() as group:
        for value in values:
            group.start_soon(sink.put, "k", value)
    assert await sink.get("k") in values
    assert await listed(sink) == ["k"]
