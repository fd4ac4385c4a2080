"""Objects are records by their keys; what is too large to hold is streamed, compared and removed all the same."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from residency.adapters.records_objects import ObjectRecords
from residency.adapters.sink_memory import MemorySink
from residency.enforcement.ports import ObjectMeta
from residency.errors import RecordConflict, UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.parcels import Cargo, Parcel, RecordParcels
from residency.storage.records import Record
from tests.world import SG, VN

pytestmark = pytest.mark.anyio
DOCS = (RecordDoc("users/{subject}/", None, None, frozenset({"personal"}), {"creation": ""}),)
LARGE = b"x" * 5000


async def sinks() -> tuple[MemorySink, MemorySink]:
    """Two sinks; `an` has a small and a large object in the first."""
    here, there = MemorySink("files-sg", SG), MemorySink("files-vn", VN)
    await here.put("users/an/cv", b"small", "text/plain")
    await here.put("users/an/film", LARGE, "video/mp4")
    await here.put("users/anna/cv", b"another's")
    await here.put("other/an", b"nobody's")
    return here, there


def parcels(sink: MemorySink) -> RecordParcels:
    """Of which all over a thousand bytes is streamed."""
    return RecordParcels(ObjectRecords(sink, DOCS, limit=1000))


async def test_what_is_large_is_copied_compared_and_removed_without_being_held() -> None:
    here, there = await sinks()
    source, target = parcels(here), parcels(there)
    taken = await source.take(["an"])
    assert all(len(value) < 1000 for _, _, value in taken.pieces["an"])
    cargo = await source.load(["an"])
    await target.put(cargo)
    await target.put(cargo)
    meta = await there.head("users/an/film")
    assert meta is not None
    assert (await there.get("users/an/film"), meta.content_type) == (LARGE, "video/mp4")
    assert await target.take(["an"]) == taken
    assert await source.clear(cargo.digests) == {"an"}
    assert [meta.key async for meta in here.list("")] == ["other/an", "users/anna/cv"]


async def test_a_large_one_that_changed_stays_and_one_with_other_bytes_is_a_conflict() -> None:
    here, there = await sinks()
    source, target = parcels(here), parcels(there)
    taken = await source.tally(["an"])
    await here.put("users/an/film", LARGE + b"more", "video/mp4")
    assert await source.clear(taken) == set()
    assert await here.get("users/an/film") == LARGE + b"more"
    await there.put("users/an/film", LARGE, "video/mp4")
    with pytest.raises(RecordConflict):
        await target.put(await source.load(["an"]))
    assert await there.get("users/an/film") == LARGE


async def test_a_large_one_goes_from_its_own_kind_of_sink_only() -> None:
    here, there = await sinks()
    taken = await parcels(here).take(["an"])
    with pytest.raises(UsageError, match="no sink of its kind"):
        await parcels(there).put(Cargo({}, {}, Parcel(taken.pieces)))
    with pytest.raises(UsageError, match="no sink of its kind"):
        await parcels(there).put(Cargo({}, {}, None))


async def test_records_know_since_when_they_are_and_whose_they_are_exactly() -> None:
    here, _ = await sinks()
    records = ObjectRecords(here, DOCS)
    found: list[Record] = [record async for record in records.read(["an"])]
    assert [record.key for record in found] == ["users/an/cv", "users/an/film"], "and not what Anna has"
    meta = await here.head("users/an/cv")
    assert meta is not None
    assert await records.earliest() == meta.modified == found[0].times["creation"]
    assert await records.count() == {"users/{subject}/": 3}


@pytest.mark.parametrize("name", ["users/", "{subject}/{subject}"])
def test_a_pattern_that_tells_no_subject_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        ObjectRecords(MemorySink("files-sg", SG), [RecordDoc(name, None, None, frozenset())])


@pytest.mark.parametrize("subject", ["idp/7", "a|b", "Trần", "50%", "a b", "an@example.com"])
async def test_an_id_is_found_in_keys_as_it_stands_and_percent_encoded(subject: str) -> None:
    sink = MemorySink("files-vn", VN)
    encoded = quote(subject, safe="")
    spelled = {encoded, re.sub("%..", lambda escape: escape[0].lower(), encoded)}
    spelled |= {subject} if "/" not in subject else set()
    for segment in spelled:
        await sink.put(f"users/{segment}/cv", b"x")
    await sink.put("users/idp/cv", b"x")
    await sink.put("users/a/cv", b"x")
    records = ObjectRecords(sink, DOCS)
    found = [record async for record in records.read((subject,))]
    assert {record.key for record in found} == {f"users/{segment}/cv" for segment in spelled}
    assert {record.subject for record in found} == {subject}
    assert set(await records.subjects()) == {subject, "idp", "a"}
    got = await records.get([(record.name, record.key) for record in found])
    assert {record.subject for record in got.values()} == {subject}


async def test_an_id_with_a_slash_that_stands_in_keys_as_it_is_is_told_and_not_taken_for_nobody() -> None:
    sink = MemorySink("files-vn", VN)
    await sink.put("users/idp/7/cv", b"x")
    with pytest.raises(UsageError, match="percent-encode"):
        [record async for record in ObjectRecords(sink, DOCS).read(("idp/7",))]


@pytest.mark.parametrize("segment", ["%61n", "%ff", "%2", "100%"])
async def test_a_segment_that_nobody_would_encode_like_that_is_an_id_as_it_stands(segment: str) -> None:
    sink = MemorySink("files-vn", VN)
    await sink.put(f"users/{segment}/cv", b"x")
    records = ObjectRecords(sink, DOCS)
    assert await records.subjects() == (segment,)
    assert [record.subject async for record in records.read((segment,))] == [segment]


class Listed(MemorySink):
    """Counts how often all of it is listed."""

    lists = 0

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """As the port says."""
        self.lists += 1
        async for meta in super().list(prefix, after):
            yield meta


async def test_who_goes_through_all_subjects_page_by_page_lists_them_twice_and_not_for_each_page() -> None:
    sink = Listed("files-sg", SG)
    people = [f"p{number:02}" for number in range(50)]
    for who in people:
        await sink.put(f"users/{who}/cv", b"x")
    records = ObjectRecords(sink, DOCS)

    async def walk() -> list[str]:
        found: list[str] = []
        while page := await records.subjects(after=found[-1] if found else "", limit=7):
            found += page
        return found

    assert await walk() == people
    assert sink.lists == 2, "the second time nobody is found after the last"
    await sink.put("users/p99/cv", b"x")
    assert await walk() == [*people, "p99"]
    await records.subjects(limit=7)
    assert await records.subjects(after="p98") == ("p99",)


async def test_people_whose_ids_are_spelled_in_several_ways_are_found_by_one_list_of_all() -> None:
    sink = Listed("files-sg", SG)
    mails = [f"p{number:02}@example.vn" for number in range(20)]
    for who in mails:
        await sink.put(f"users/{quote(who, safe='')}/cv", b"x")
        await sink.put(f"users/{who}/letter", b"x")
    await sink.put("users/plain/cv", b"x")
    records = ObjectRecords(sink, DOCS)
    found = [(each.subject, each.key) async for each in records.read([*mails, "plain", "nobody"])]
    assert len(found) == 41
    assert {whose for whose, _ in found} == {*mails, "plain"}
    assert sink.lists == 3, "one for all of them, and one for each whose id stands as it is"


async def test_a_pattern_of_one_key_is_asked_for_by_that_key() -> None:
    sink = Listed("files-sg", SG)
    await sink.put("faces/an.png", b"x")
    await sink.put("faces/anna.png", b"y")
    records = ObjectRecords(sink, (RecordDoc("faces/{subject}.png", None, None, frozenset({"personal"})),))
    assert [each.key async for each in records.read(["an", "binh"])] == ["faces/an.png"]
    assert sink.lists == 0


@pytest.mark.parametrize("who", [".", "..", "a" * 600])
async def test_of_whom_no_key_can_be_there_is_nothing(who: str) -> None:
    records = ObjectRecords(
        Listed("files-sg", SG), (RecordDoc("users/{subject}/cv", None, None, frozenset({"personal"})),)
    )
    assert [each async for each in records.read([who])] == []
