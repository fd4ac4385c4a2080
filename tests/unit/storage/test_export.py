"""An export holds every record of a person once, as lines and files whose digests the manifest has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from residency.errors import SinkUnavailable
from residency.policy.compiler import Policy
from residency.storage.export import Exported, export, grounds
from residency.storage.records import Record
from residency.storage.retention import Copy
from tests.record_world import NOW, Acts, MemoryRecords, copy_of, covered, policy_in, row, sink_of
from tests.world import HOME

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return policy_in(tmp_path_factory.mktemp("policy"), rules=(HOME,))


class Held:
    """Where an export goes: a dict."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def append(self, path: str, data: bytes) -> None:
        self.files[path] = self.files.get(path, b"") + data


class StreamedMemory(MemoryRecords):
    """Objects, some too large to hold."""

    large: tuple[bytes, ...] = (b"video/mp4\0", b"large ", b"object")

    async def fingerprint(self, record: Record) -> bytes:
        return hashlib.sha256(b"".join(self.large)).digest()

    async def chunks(self, record: Record) -> AsyncIterator[bytes]:
        for chunk in self.large:
            yield chunk

    async def receive(self, record: Record, chunks: AsyncIterator[bytes]) -> None:
        raise AssertionError

    async def remove(self, record: Record, fingerprint: bytes) -> None:
        raise AssertionError


def lines(held: Held, path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in held.files[path].splitlines()]


async def test_rows_are_lines_and_what_two_copies_hold_alike_is_there_once(policy: Policy) -> None:
    here = row("1", "an", value='{"name":"Ân"}'.encode(), times={"creation": NOW})
    vn, _ = copy_of(policy, "vn", [here, row("2", "binh"), row("3", "an", "account", value=b"\xff")])
    old, _ = copy_of(policy, "old", [here, row("4", "an", value=b'{"old":1}')])
    held, acts = Held(), Acts()
    done = await export([vn, old], frozenset(), "an", held, begin=acts.begin)
    people = lines(held, "records/people/person.jsonl")
    assert [(line["sink"], line["key"], line["value"]) for line in people] == [
        ("vn", "1", {"name": "Ân"}),
        ("old", "4", {"old": 1}),
    ]
    assert people[0]["times"] == {"creation": "2026-12-13T00:00:00Z"}
    assert lines(held, "records/people/account.jsonl")[0]["value"] == {"base64": "/w=="}
    assert done.records == 3
    assert done.copies == {("people", "vn", "vn-han"): 2, ("people", "old", "vn-han"): 2}
    assert acts.told[0] == ("intent", "vn", "export")
    assert acts.told[1] == ("committed", "export, 2 records")


async def test_objects_are_files_small_ones_and_those_that_are_streamed(policy: Policy) -> None:
    def thing(key: str, value: bytes | None) -> Record:
        return Record("users/{subject}/", key, "an", frozenset({"personal"}), value)

    records = StreamedMemory("vn", [thing("users/an/a", b"image/png\0small"), thing("users/an/b", None)])
    uploads = Copy("uploads", sink_of(policy, "vn"), records)
    held = Held()
    done = await export([uploads], frozenset({"uploads"}), "an", held, begin=Acts().begin)
    found = lines(held, "objects/uploads.jsonl")
    assert [(line["key"], line["content_type"]) for line in found] == [
        ("users/an/a", "image/png"),
        ("users/an/b", "video/mp4"),
    ]
    assert [held.files[str(line["file"])] for line in found] == [b"small", b"large object"]
    assert [line["sha256"] for line in found] == [hashlib.sha256(b).hexdigest() for b in (b"small", b"large object")]
    assert done.records == 2


async def test_a_large_object_that_copies_hold_alike_is_there_once_and_one_that_differs_twice(policy: Policy) -> None:
    kept = [StreamedMemory(name, [Record("users/{subject}/", "users/an/b", "an", frozenset(), None)]) for name in "abc"]
    kept[2].large = (b"video/mp4\0", b"of before")
    uploads = [Copy("uploads", sink_of(policy, "vn"), each) for each in kept]
    held = Held()
    done = await export(uploads, frozenset({"uploads"}), "an", held, begin=Acts().begin)
    found = lines(held, "objects/uploads.jsonl")
    assert [held.files[str(line["file"])] for line in found] == [b"large object", b"of before"]
    assert done.records == 2


async def test_every_file_stands_in_the_manifest_with_its_digest(policy: Policy) -> None:
    vn, _ = copy_of(policy, "vn", [row(str(n), "an") for n in range(5)])
    held = Held()
    document = (await export([vn], frozenset(), "an", held, begin=Acts().begin)).document()
    assert {each["path"]: each["sha256"] for each in document["files"]} == {
        path: hashlib.sha256(data).hexdigest() for path, data in held.files.items()
    }
    assert document["files"][0]["records"] == 5
    assert document["copies"] == [{"store": "people", "sink": "vn", "region": "vn-han", "records": 5}]
    assert Exported().document() == {"files": [], "copies": []}


async def test_names_that_no_file_system_takes_are_told_apart(policy: Policy) -> None:
    names = ["../../etc/passwd", "a/b", "a?b", "..", ""]
    records = MemoryRecords("vn", [replace(row(str(n), "an"), name=name) for n, name in enumerate(names)])
    held = Held()
    await export([Copy("people", sink_of(policy, "vn"), records)], frozenset(), "an", held, begin=Acts().begin)
    assert len(held.files) == len(names)
    assert all(path.count("/") == 2 for path in held.files)
    assert not any(part in ("", ".", "..") for path in held.files for part in path.split("/"))


async def test_a_sink_that_fails_leaves_no_word_that_it_was_read(policy: Policy) -> None:
    class Away(MemoryRecords):
        async def read(self, subjects: object) -> AsyncIterator[Record]:
            raise SinkUnavailable("sink 'vn' cannot be reached")
            yield row("1", "an")  # never

    acts = Acts()
    with pytest.raises(SinkUnavailable):
        await export([Copy("people", sink_of(policy, "vn"), Away("vn"))], frozenset(), "an", Held(), begin=acts.begin)
    assert acts.told[-1] == ("unknown", "SinkUnavailable")


def test_the_grounds_name_whose_law_covers_and_which_rules_speak(policy: Policy) -> None:
    told = [("people", frozenset({"personal"}))]
    jurisdictions, rules = grounds(policy, policy.facts, NOW, told, covered())
    assert jurisdictions == ("VN",)
    assert [rule.id for rule in rules] == ["test.home"]
    assert grounds(policy, policy.facts, NOW, told, covered(place="SG")) == ((), ())
