"""Any run of calls on a sink of objects: files and memory answer as a dict would."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_memory import MemorySink
from residency.enforcement.ports import OCTETS, ObjectSink
from residency.model import Region

REGION = Region("vn-han", "VN")
KEYS = ["a", "A", "a/b", "a b", "ab", "é", "e\u0301", "%61", "b" * 300, "b" * 301, ".tmp-a", "a+"]
keys = st.sampled_from(KEYS)
values = st.binary(max_size=40)
places = st.integers(0, 50)
calls = st.one_of(
    st.tuples(st.just("put"), keys, values, st.sampled_from([OCTETS, "image/png"])),
    st.tuples(st.just("upload"), keys, st.lists(values, max_size=4), st.booleans()),
    st.tuples(st.just("get"), keys),
    st.tuples(st.just("open"), keys, places, st.none() | places),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("list"), st.sampled_from(["", "a", "a/", "b" * 300, "z"]), st.sampled_from(["", *KEYS, "zz"])),
    st.tuples(st.just("again")),
)
Model = dict[str, tuple[bytes, str]]


async def answer_of(sink: ObjectSink, call: Any) -> object:
    """What a sink answers to one call, as far as all must answer the same."""
    match call:
        case "put", key, value, content_type:
            called: list[int] = []
            told = await sink.put(key, value, content_type, done=lambda: called.append(1))
            return told.key, told.size, told.content_type, called
        case "upload", key, pieces, commits:
            upload = await sink.upload(key)
            for piece in pieces:
                await upload.write(piece)
            if commits:
                return (await upload.commit()).size
            await upload.abort()
        case "get", key:
            head = await sink.head(key)
            return await sink.get(key), head and (head.size, head.content_type)
        case "open", key, start, end:
            found = await sink.open(key, start, end)
            if found is not None:
                return found.start, found.end, b"".join([piece async for piece in found.chunks])
        case "delete", key:
            return await sink.delete(key)
        case "list", prefix, after:
            return [(meta.key, meta.size) async for meta in sink.list(prefix, after)]
        case _:
            await sink.aclose()
            await sink.start()
    return None


def expected(model: Model, call: Any) -> object:
    """What a dict would have answered."""
    match call:
        case "put", key, value, content_type:
            model[key] = (value, content_type)
            return key, len(value), content_type, [1]
        case "upload", key, pieces, commits:
            if commits:
                model[key] = (b"".join(pieces), OCTETS)
                return len(model[key][0])
        case "get", key:
            found = model.get(key)
            return (None, None) if found is None else (found[0], (len(found[0]), found[1]))
        case "open", key, start, end:
            if key in model:
                value = model[key][0]
                stop = len(value) if end is None else min(end, len(value))
                return min(start, stop), stop, value[min(start, stop) : stop]
        case "delete", key:
            return model.pop(key, None) is not None
        case _:
            if call[0] == "again":
                return None
            _, prefix, after = call
            return [(key, len(model[key][0])) for key in sorted(model) if key.startswith(prefix) and key > after]
    return None


@settings(max_examples=40)
@given(st.lists(calls, min_size=1, max_size=15))
def test_files_and_memory_answer_any_calls_as_a_dict_would(run: list[Any]) -> None:
    async def compare(folder: Path) -> None:
        model: Model = {}
        sinks: list[ObjectSink] = [MemorySink("x", REGION), FilesSink("x", REGION, folder)]
        for sink in sinks:
            await sink.start()
        for call in run:
            wanted = expected(model, call)
            for sink in sinks:
                assert await answer_of(sink, call) == wanted, (type(sink).__name__, call)

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(compare(Path(name)))
        assert list(Path(name).rglob(".tmp-*")) == []
