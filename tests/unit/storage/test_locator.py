"""Locators of several places as one: who has a key, who might, and how they are made again from records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from hashlib import blake2b
from uuid import UUID

import pytest

from residency.adapters.records_sql.values import format_row
from residency.enforcement.about import key_text
from residency.errors import RecordConflict, SinkUnavailable, UsageError
from residency.storage.locator import LocatorMemory, Locators, record_key
from residency.storage.records import Record

pytestmark = pytest.mark.anyio
PLACES = ("VN", "SG")


def digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=32).hexdigest()


class Away(LocatorMemory):
    """One that does not answer."""

    async def owners(self, keys: Sequence[str]) -> tuple[str | None, ...]:
        raise SinkUnavailable("the locator cannot be reached")


def row(key: str = "k") -> tuple[str, str]:
    return "person", key_text(key)


@pytest.fixture
def locators() -> Locators:
    return Locators({place: LocatorMemory(place) for place in PLACES}, digest)


async def test_whoever_knows_a_key_answers_for_all(locators: Locators) -> None:
    await locators.note("people", "VN", [(*row("a"), "1" * 64)])
    await locators.note("people", "SG", [(*row("b"), "2" * 64)])
    found = await locators.owners("people", [row("b"), row("c"), row("a")], PLACES)
    assert found == ("2" * 64, None, "1" * 64)
    assert await locators.owners("people", [], PLACES) == ()


async def test_a_key_is_of_its_store_and_record_alone(locators: Locators) -> None:
    await locators.note("people", "VN", [(*row(), "1" * 64)])
    assert await locators.owners("others", [row()], PLACES) == (None,)
    assert await locators.owners("people", [("note", row()[1])], PLACES) == (None,)
    assert len({locators.key(*each) for each in (("a", "b", "c"), ("a", "b\0c", ""), ("a\0b", "c", ""))}) == 3


async def test_what_lies_in_a_locator_names_no_key_and_nobody(locators: Locators) -> None:
    await locators.note("people", "VN", [("person", key_text("an@example.vn"), digest("an"))])
    held = locators.by_place["VN"]
    assert isinstance(held, LocatorMemory)
    assert "example" not in repr(held._known)


async def test_a_key_that_two_places_say_is_of_two_people_is_an_error_and_no_guess(locators: Locators) -> None:
    await locators.note("people", "VN", [(*row(), "1" * 64)])
    await locators.note("people", "SG", [(*row(), "2" * 64)])
    with pytest.raises(RecordConflict):
        await locators.owners("people", [row()], PLACES)
    await locators.forget("people", "SG", [row()])
    await locators.note("people", "SG", [(*row(), "1" * 64)])  # being moved, it is in both
    assert await locators.owners("people", [row()], PLACES) == ("1" * 64,)


async def test_one_that_is_away_leaves_open_only_what_nobody_else_knows(locators: Locators) -> None:
    locators.by_place["SG"] = Away("SG")
    await locators.note("people", "VN", [(*row("a"), "1" * 64)])
    assert await locators.owners("people", [row("a")], PLACES) == ("1" * 64,)
    for asked in ([row("b")], [row("a"), row("b")]):
        with pytest.raises(SinkUnavailable):
            await locators.owners("people", asked, PLACES)


async def test_a_place_without_a_locator_is_not_passed_over(locators: Locators) -> None:
    with pytest.raises(SinkUnavailable, match="DE"):
        await locators.owners("people", [row()], ("VN", "DE"))
    with pytest.raises(SinkUnavailable, match="DE"):
        await locators.note("people", "DE", [(*row(), "1" * 64)])


async def test_a_subject_who_is_erased_is_forgotten_everywhere(locators: Locators) -> None:
    for place in PLACES:
        await locators.note("people", place, [(*row(f"k-{place}"), "1" * 64), (*row(f"l-{place}"), "2" * 64)])
    assert await locators.forget_subject("1" * 64) == 2
    assert await locators.owners("people", [row("k-VN"), row("k-SG")], PLACES) == (None, None)
    assert await locators.owners("people", [row("l-VN")], PLACES) == ("2" * 64,)
    await locators.aclose()


async def test_they_are_made_again_from_the_records_and_a_second_time_is_nothing(locators: Locators) -> None:
    async def records() -> AsyncIterator[Record]:
        for number in range(2_500):
            key = format_row({"id": number}).decode()
            yield Record("person", key, f"subject-{number % 7}" if number else None, frozenset())

    told: list[tuple[int, int]] = []
    seen = await locators.rebuild("people", "VN", records(), lambda read, noted: told.append((read, noted)))
    assert seen == (2_500, 2_499)
    assert told == [(1_001, 1_000), (2_001, 2_000), (2_500, 2_499)]
    found = await locators.owners("people", [("person", key_text(number)) for number in (0, 8)], PLACES)
    assert found == (None, digest("subject-1"))
    assert await locators.rebuild("people", "VN", records()) == (2_500, 0)


async def test_a_record_that_is_noted_as_another_s_ends_the_making(locators: Locators) -> None:
    async def records() -> AsyncIterator[Record]:
        yield Record("person", format_row({"id": "k"}).decode(), "binh", frozenset())

    await locators.note("people", "VN", [(*row(), digest("an"))])
    with pytest.raises(RecordConflict):
        await locators.rebuild("people", "VN", records())


async def test_two_keys_that_one_text_stands_for_are_refused_and_never_another_s(locators: Locators) -> None:
    """A text column can hold both: whose the first is stays so, and the second one is not written."""
    one = "DEADBEEF" * 4
    await locators.note("people", "VN", [(*row(one), "1" * 64)])
    for other in (one.lower(), str(UUID(one))):
        with pytest.raises(RecordConflict):
            await locators.note("people", "VN", [(*row(other), "2" * 64)])
    assert await locators.owners("people", [row(one)], PLACES) == ("1" * 64,)
    keys = [{"a": "1", "b": "23"}, {"a": "12", "b": "3"}, {"a": '1","2', "b": "3"}, {"a": "1", "b": '2","3'}]
    assert len({key_text(key) for key in keys}) == 4


def test_a_record_s_canonical_key_is_looked_up_as_the_app_writes_it() -> None:
    number = UUID("0192a0b0-0000-7000-8000-00000000000a")
    for value in (number, number.hex, str(number)):
        assert record_key(format_row({"id": value}).decode()) == key_text(number)
    assert record_key(format_row({"row": 1, "no": "A"}).decode()) == key_text({"row": "1", "no": "A"})
    assert record_key("users/an/photo") == key_text("users/an/photo")
    assert record_key("7") == key_text(7)
    for odd in (1.5, None, True, b"x"):
        with pytest.raises(UsageError):
            record_key(format_row({"id": odd}).decode())
