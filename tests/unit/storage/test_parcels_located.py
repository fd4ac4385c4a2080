"""Both ends of a move tell the locators: what is put is noted, and what is cleared is forgotten where it was."""

from __future__ import annotations

import json

import pytest

from residency.adapters.records_memory import RecordsMemory
from residency.errors import RecordConflict
from residency.storage.locator import LocatorMemory, Locators, record_key
from residency.storage.parcels import RecordParcels
from residency.storage.parcels_located import LocatedParcels, located_ends
from residency.storage.records import Record

pytestmark = pytest.mark.anyio
KEY = json.dumps({"id": "1"})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Ends:
    """A store in two places, with anh's record in the first."""

    def __init__(self, *places: str, key: str = KEY) -> None:
        self.locators = Locators({place: LocatorMemory(place) for place in places}, lambda text: text)
        self.old, self.new = RecordsMemory("old"), RecordsMemory("new")
        self.old.held["people", key] = Record("people", key, "anh", frozenset(), b"x")
        ends = RecordParcels(self.old), RecordParcels(self.new)
        self.source, self.target = located_ends("s", ends, ("SG", "VN"), self.locators)

    async def note(self, place: str, whose: str) -> None:
        await self.locators.note("s", place, [("people", record_key(KEY), whose)])

    async def noted(self) -> dict[str, str | None]:
        """By place, whose the record is."""
        key = self.locators.key("s", "people", record_key(KEY))
        return {place: (await each.owners([key]))[0] for place, each in self.locators.by_place.items()}

    async def clear(self, *, changed: bool = False) -> frozenset[str]:
        digest = (await self.source.tally(["anh"]))["anh"]
        return await self.source.clear({"anh": "another" if changed else digest})


async def test_what_is_put_is_noted_and_what_is_cleared_is_forgotten_where_it_was() -> None:
    ends = Ends("SG", "VN")
    await ends.note("SG", "anh")
    await ends.target.put(await ends.source.load(["anh"]))
    assert await ends.noted() == {"SG": "anh", "VN": "anh"}
    assert await ends.clear() == {"anh"}
    assert await ends.noted() == {"SG": None, "VN": "anh"}


async def test_what_stays_stays_noted() -> None:
    ends = Ends("SG", "VN")
    await ends.note("SG", "anh")
    await ends.target.put(await ends.source.load(["anh"]))
    assert await ends.clear(changed=True) == frozenset()
    assert await ends.noted() == {"SG": "anh", "VN": "anh"}


async def test_what_a_run_before_this_one_copied_without_noting_it_is_noted_before_it_is_forgotten() -> None:
    ends = Ends("SG", "VN")
    await ends.note("SG", "anh")
    ends.new.held |= ends.old.held
    assert await ends.clear() == {"anh"}
    assert await ends.noted() == {"SG": None, "VN": "anh"}


async def test_what_the_person_deleted_at_home_meanwhile_is_forgotten_with_the_rest() -> None:
    ends = Ends("SG", "VN")
    await ends.note("SG", "anh")
    assert await ends.clear() == {"anh"}
    assert await ends.noted() == {"SG": None, "VN": None}


async def test_a_key_that_is_noted_as_anothers_is_a_conflict_and_stays_theirs() -> None:
    ends = Ends("SG", "VN")
    await ends.note("SG", "anh")
    await ends.note("VN", "binh")
    with pytest.raises(RecordConflict):
        await ends.target.put(await ends.source.load(["anh"]))
    copy = (await ends.target.tally(["anh"]))["anh"]
    assert await ends.target.clear({"anh": copy}) == {"anh"}
    assert await ends.noted() == {"SG": "anh", "VN": "binh"}


async def test_where_the_new_place_has_no_locator_the_old_one_forgets_only_what_is_gone() -> None:
    ends = Ends("SG")
    await ends.note("SG", "anh")
    await ends.target.put(await ends.source.load(["anh"]))
    assert await ends.noted() == {"SG": "anh"}
    assert await ends.clear() == {"anh"}
    assert await ends.noted() == {"SG": "anh"}, "nobody else would know it"


async def test_where_the_old_place_has_no_locator_the_new_one_is_told() -> None:
    ends = Ends("VN")
    await ends.target.put(await ends.source.load(["anh"]))
    assert await ends.clear() == {"anh"}
    assert await ends.noted() == {"VN": "anh"}


async def test_a_key_that_no_locator_takes_does_not_stop_a_move() -> None:
    ends = Ends("SG", "VN", key=json.dumps({"day": 1.5}))
    await ends.target.put(await ends.source.load(["anh"]))
    assert await ends.clear() == {"anh"}
    assert set(ends.new.held) == {("people", json.dumps({"day": 1.5}))}


async def test_without_locators_both_ends_are_as_they_were() -> None:
    ends = RecordParcels(RecordsMemory("old")), RecordParcels(RecordsMemory("new"))
    assert located_ends("s", ends, ("SG", "VN"), None) is ends
    assert located_ends("s", ends, ("SG", "VN"), Locators({"US": LocatorMemory()}, str)) is ends
    source = Ends("SG", "VN").source
    assert isinstance(source, LocatedParcels)
    assert (source.sink, await source.subjects(), await source.settled(1)) == ("old", ("anh",), False)
    assert list(await source.keyed(["anh"])) == [("anh", "people", KEY)]
    assert (await source.take(["anh"])).keys("anh") == {("people", KEY)}
