"""Which records of a sink are copies of ours: these are changed and deleted, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from residency.adapters.outbox_memory import LedgerMemory
from residency.adapters.records_memory import RecordsMemory
from residency.adapters.records_objects import ObjectRecords
from residency.adapters.sink_memory import MemorySink
from residency.errors import RecordConflict, SinkUnavailable
from residency.model import Region
from residency.policy.parsed_storage import RecordDoc
from residency.storage import fitting
from residency.storage.copied import Copied, originals
from residency.storage.parcels import StreamedRecords
from residency.storage.records import Record

pytestmark = pytest.mark.anyio
KEY = ("people", "1")


def record(value: bytes, key: str = "1", who: str = "an") -> Record:
    return Record("people", key, who, frozenset({"personal"}), value)


class Sink:
    """A sink that gets copies."""

    def __init__(self) -> None:
        self.records, self.ledger = RecordsMemory("sg"), LedgerMemory()
        self.copied = Copied("people", self.records, self.ledger)

    async def put(self, value: bytes) -> None:
        before = (await self.copied.held([KEY])).get(KEY)
        await self.copied.put([(record(value), before)], self.records)

    def own(self, value: bytes, key: str = "1") -> None:
        """Somebody else puts this there."""
        self.records.held["people", key] = record(value, key)


async def test_what_was_put_is_ours_until_somebody_changes_it() -> None:
    sink = Sink()
    await sink.put(b"1")
    await sink.put(b"2")
    held = (await sink.copied.held([KEY]))[KEY]
    assert (held.ours, held.record.value) == (True, b"2")
    sink.own(b"3")
    assert not (await sink.copied.held([KEY]))[KEY].ours
    assert await sink.copied.drop(list((await sink.copied.held([KEY])).values())) == 0
    assert sink.records.held[KEY].value == b"3"


async def test_what_lies_there_already_is_not_ours_and_a_copy_does_not_take_its_place() -> None:
    sink = Sink()
    sink.own(b"own")
    assert not (await sink.copied.held([KEY]))[KEY].ours
    with pytest.raises(RecordConflict):
        await sink.copied.put([(record(b"1"), None)], sink.records)
    assert sink.records.held[KEY].value == b"own"


async def test_an_original_that_came_in_between_does_not_pass_for_a_copy_though_it_has_the_same_bytes() -> None:
    sink = Sink()
    sink.own(b"1")
    with pytest.raises(RecordConflict):
        await sink.copied.put([(record(b"1"), None)], sink.records)
    assert not (await sink.copied.held([KEY]))[KEY].ours
    await sink.copied.drop(list((await sink.copied.held([KEY])).values()))
    assert KEY in sink.records.held


async def test_a_copy_of_ours_that_is_in_the_way_of_a_first_one_stays_known_as_ours() -> None:
    sink = Sink()
    await sink.put(b"1")
    with pytest.raises(RecordConflict):
        await sink.copied.put([(record(b"2"), None)], sink.records)
    held = (await sink.copied.held([KEY]))[KEY]
    assert (held.ours, held.record.value) == (True, b"1")


async def test_killed_before_a_first_copy_met_one_of_ours_either_is_known_as_ours() -> None:
    sink = Sink()
    await sink.put(b"1")
    sink.records.away = True
    with pytest.raises(SinkUnavailable):
        await sink.copied.put([(record(b"2"), None)], sink.records)
    sink.records.away = False
    assert (await sink.copied.held([KEY]))[KEY].ours


async def test_a_large_original_with_the_same_bytes_does_not_pass_for_a_copy() -> None:
    source, there = MemorySink("vn", Region("vn-han", "VN")), MemorySink("sg", Region("sg", "SG"))
    docs = [RecordDoc("users/{subject}/", None, None, frozenset({"personal"}))]
    for sink in (source, there):
        await sink.put("users/an/film", bytes(64))
    here, abroad = (ObjectRecords(sink, docs, limit=8) for sink in (source, there))
    copied = Copied("files", abroad, LedgerMemory())
    key = ("users/{subject}/", "users/an/film")
    large = (await here.get([key]))[key]
    assert large.value is None
    with pytest.raises(RecordConflict):
        await copied.put([(large, None)], here)
    held = (await copied.held([key]))[key]
    assert (held.ours, held.digest) == (False, ""), "and it is not read through for that"


async def test_what_is_dropped_is_noted_no_more() -> None:
    sink = Sink()
    await sink.put(b"1")
    assert await sink.copied.drop(list((await sink.copied.held([KEY])).values())) == 1
    assert (sink.records.held, sink.ledger.held) == ({}, {})


async def test_the_ledger_is_written_before_the_copy() -> None:
    sink = Sink()
    sink.records.away = True
    with pytest.raises(Exception, match="sg"):
        await sink.copied.put([(record(b"1"), None)], sink.records)
    sink.records.away = False
    assert len(sink.ledger.held) == 1
    assert sink.records.held == {}


async def test_originals_are_what_is_no_copy_and_take_the_place_of_copies() -> None:
    sink = Sink()
    await sink.put(b"1")
    sink.own(b"own", "2")
    seen = originals(sink.copied)
    assert [each.key async for each in seen.read(["an"])] == ["2"]
    assert await seen.subjects() == ("an",)
    assert await seen.write([record(b"new")]) == 1
    assert {each.key: each.value async for each in seen.read(["an"])} == {"1": b"new", "2": b"own"}
    assert not (await sink.copied.held([KEY]))[KEY].ours
    sink.own(b"x", "3")
    sink.records.held["people", "3"] = record(b"x", "3", "binh")
    await sink.copied.put([(record(b"c", "4", "chi"), None)], sink.records)
    assert await seen.subjects() == ("an", "binh")
    assert await seen.subjects(after="an", limit=1) == ("binh",)
    assert await seen.subjects(after="binh", limit=1) == ()


async def test_an_original_does_not_pass_for_a_copy_that_was_noted_and_never_put() -> None:
    sink = Sink()
    sink.records.away = True
    with pytest.raises(SinkUnavailable):
        await sink.copied.put([(record(b"1"), None)], sink.records)
    sink.records.away = False
    seen = originals(sink.copied)
    await seen.write([record(b"1")])
    assert [each.key async for each in seen.read(["an"])] == ["1"]
    assert not (await sink.copied.held([KEY]))[KEY].ours


async def test_nor_does_a_large_one() -> None:
    docs = [RecordDoc("users/{subject}/", None, None, frozenset({"personal"}))]
    here, there = MemorySink("vn", Region("vn-han", "VN")), MemorySink("sg", Region("sg", "SG"))
    await here.put("users/an/film", bytes(64))
    home, abroad = (ObjectRecords(sink, docs, limit=8) for sink in (here, there))
    key = ("users/{subject}/", "users/an/film")
    large, ledger = (await home.get([key]))[key], LedgerMemory()
    copied = Copied("files", abroad, ledger)
    await copied.put([(large, None)], home)
    await there.delete("users/an/film")
    assert ledger.held, "as who was killed before the copy leaves it"
    seen = originals(copied)
    assert isinstance(seen, StreamedRecords)
    await seen.receive(large, home.chunks(large))
    assert [each.key async for each in seen.read(["an"])] == ["users/an/film"]


async def test_who_moves_there_finds_no_copy_and_no_note_of_one() -> None:
    sink = Sink()
    await sink.copied.put([(record(b"1"), None)], sink.records)
    seen = originals(sink.copied)
    assert await seen.clear_copies(["an"]) == {"an"}
    assert (sink.records.held, sink.ledger.held) == ({}, {})
    await sink.records.write([record(b"2")])
    await sink.ledger.write({each: frozenset({"old"}) for each in [sink.copied._id(KEY)]})
    assert await seen.clear_copies(["an"]) == frozenset()
    assert (len(sink.records.held), sink.ledger.held) == (1, {}), "what may have those bytes again passes for none"


async def test_a_copy_that_cannot_be_deleted_does_not_become_a_record() -> None:
    records = Kept("sg")
    copied = Copied("people", records, LedgerMemory())
    await copied.put([(record(b"1"), None)], records)
    with pytest.raises(SinkUnavailable, match="does not delete copies"):
        await originals(copied).clear_copies(["an"])


class Kept(RecordsMemory):
    """Records to which others refer, so that none is deleted."""

    async def delete(self, records: Sequence[Record]) -> int:
        """As the port says."""
        raise SinkUnavailable("another record refers to it")


class Counted(RecordsMemory):
    """Notes of how many subjects it is asked at a time."""

    def __init__(self, sink: str) -> None:
        super().__init__(sink)
        self.asked: list[int] = []

    def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """As the port says."""
        self.asked.append(len(subjects))
        return super().read(subjects)


async def test_who_has_more_than_copies_is_told_by_reading_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    records = Counted("sg")
    for number in range(40):
        records.held["people", str(number)] = record(bytes(1000), str(number), f"p{number:02}")
    monkeypatch.setattr(fitting, "MOST", 4000)
    assert len(await originals(Copied("people", records, LedgerMemory())).subjects(limit=100)) == 40
    assert sum(records.asked) == 40
    assert max(records.asked) <= 4
