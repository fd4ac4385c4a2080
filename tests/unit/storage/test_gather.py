"""Pages over several streams: whatever rows there are and whoever is away, none is lost, told twice or out of order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.enforcement.context import current
from residency.enforcement.current import Current
from residency.errors import CallerError, JournalFull, NoDecision, Refused, SinkUnavailable, SubjectMoving, UsageError
from residency.storage.gather import Fetch, Gathering, Listing, Page
from residency.storage.listed import Found, SortKey
from tests.listing import PLACES, a_lister

pytestmark = pytest.mark.anyio
SINKS = tuple(PLACES)
UP = (SortKey(), SortKey())
Rows = dict[str, list[tuple[Any, int]]]


@pytest.fixture(scope="module")
def here() -> Iterator[Current]:
    """A request that lists, of which the tests share one: it is changed by nothing."""
    with a_lister() as made:
        yield made


def ranked(row: tuple[Any, int], order: Sequence[SortKey]) -> tuple[Any, ...]:
    """Where a row of (number or nothing, number) stands."""
    ranks: list[Any] = []
    for value, how in zip(row, order, strict=True):
        empty = -1 if how.nulls_first else 1
        if value is not None and math.isnan(value):  # larger than all numbers, as PostgreSQL has it
            value = math.inf
        ranks.append((empty, 0) if value is None else (0, -value if how.descending else value))
    return tuple(ranks)


def fetching(rows: Rows, order: Sequence[SortKey] = UP, away: Sequence[str] = ()) -> Fetch:
    """What a database would answer."""

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        assert current() is listing
        await anyio.lowlevel.checkpoint()
        if listing.sink in away:
            raise SinkUnavailable(f"sink {listing.sink!r} cannot be reached")
        mine = sorted(rows.get(listing.sink, []), key=lambda row: ranked(row, order))
        if after is not None:
            mine = [row for row in mine if ranked(row, order) > ranked(after, order)]
        return [Found((listing.sink, row), row) for row in mine[:count]]

    return fetch


async def every(here: Current, pages: Sequence[Fetch], order: Sequence[SortKey], limit: int) -> list[Page[Any]]:
    """All pages of a list; each of `pages` is tried for one, the last of them for all that follow. Where nobody answers
    the same page is asked for again."""
    told: list[Page[Any]] = []
    cursor = None
    for tried in itertools.count():
        fetch = pages[min(tried, len(pages) - 1)]
        try:
            page = await Gathering(here, "people").page(fetch, order, "list", limit=limit, cursor=cursor)
        except SinkUnavailable:
            continue
        told.append(page)
        cursor = page.cursor
        if cursor is None:
            break
    return told


values = st.none() | st.integers(-3, 3) | st.sampled_from([math.nan, Decimal("NaN")])
keys = st.builds(SortKey, st.booleans(), st.booleans())


@st.composite
def lists(draw: st.DrawFn) -> Rows:
    numbers = iter(draw(st.permutations(range(24))))
    return {sink: [(draw(values), next(numbers)) for _ in range(draw(st.integers(0, 8)))] for sink in SINKS}


@given(rows=lists(), order=st.tuples(keys, st.builds(SortKey, st.booleans())), limit=st.integers(1, 30))
@settings(max_examples=100)
def test_every_row_comes_once_and_in_order(
    here: Current, rows: Rows, order: tuple[SortKey, SortKey], limit: int
) -> None:
    pages = anyio.run(every, here, [fetching(rows, order)], order, limit)
    told = [row for page in pages for row in page]
    assert set(told) == {(sink, row) for sink in SINKS for row in rows[sink]}
    assert len(told) == len(set(told))
    places = [ranked(row, order) for _, row in told]
    assert places == sorted(places)
    assert all(len(page) == limit for page in pages[:-1])


@given(rows=lists(), away=st.lists(st.lists(st.sampled_from(SINKS), max_size=2), max_size=6), limit=st.integers(1, 6))
def test_sinks_that_come_and_go_lose_nothing_that_was_not_said_to_be_missing(
    here: Current, rows: Rows, away: list[list[str]], limit: int
) -> None:
    pages = anyio.run(lambda: every(here, [*(fetching(rows, away=each) for each in away), fetching(rows)], UP, limit))
    told = [row for page in pages for row in page]
    assert len(told) == len(set(told))
    ended = {sink for sink in SINKS if sink in pages[-1].missing}
    assert set(told) >= {(sink, row) for sink in SINKS if sink not in ended for row in rows[sink]}
    for page in pages:
        assert page.partial is bool(page.missing)
        assert any(set(page.missing) <= set(each) for each in [*away, []])


async def test_a_page_is_a_sequence_and_its_parts_can_be_had(here: Current) -> None:
    page = await Gathering(here, "people").page(fetching({"sg": [(1, 1), (2, 2)]}), UP, "list", limit=5)
    assert (len(page), page[0], page[-1], page[1:]) == (2, ("sg", (1, 1)), ("sg", (2, 2)), (("sg", (2, 2)),))
    assert list(page) == list(page.items)


async def test_each_failure_is_told_by_its_code_and_one_of_our_own_fails_the_list(here: Current) -> None:
    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        match listing.sink:
            case "sg":
                return []
            case "vn":
                raise Refused("stop_order", "no")
            case _:
                raise SubjectMoving("just now")

    page = await Gathering(here, "people").page(fetch, UP, "list", limit=5)
    assert page.missing == {"vn": "stop_order", "us": "subject_moving"}
    for error in (JournalFull("no room"), ValueError("a mistake")):

        async def broken(
            listing: Listing, after: tuple[Any, ...] | None, count: int, error: Exception = error
        ) -> Sequence[Found]:
            raise error

        with pytest.raises(type(error)) as caught:
            await Gathering(here, "people").page(broken, UP, "list", limit=5)
        assert caught.value is error


@pytest.mark.parametrize("silent", SINKS)
async def test_a_sink_that_never_answers_is_waited_for_only_so_long(here: Current, silent: str) -> None:
    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        assert current() is listing
        if listing.sink == silent:
            await anyio.sleep_forever()
        return [Found(listing.sink, (1, 1))]

    page = await Gathering(here, "people", wait=0.05).page(fetch, UP, "list", limit=5)
    assert page.missing == {silent: "sink_unavailable"}
    assert set(page) == set(SINKS) - {silent}
    with pytest.raises(NoDecision):
        current()  # as before


@pytest.mark.parametrize("silent", SINKS)
async def test_a_driver_that_gives_up_by_itself_is_a_sink_that_did_not_answer(here: Current, silent: str) -> None:
    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        await anyio.lowlevel.checkpoint()
        if listing.sink == silent:
            raise TimeoutError
        return []

    page = await Gathering(here, "people", wait=None).page(fetch, UP, "list", limit=5)
    assert page.missing == {silent: "sink_unavailable"}


async def test_keys_of_each_kind_come_back_from_a_cursor_as_they_were(here: Current) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    for value in (None, "é", 7, 2.5, True, moment, moment.date(), date(1, 1, 1), Decimal("1.50"), UUID(int=7), b"\xff"):
        seen: list[Any] = []

        async def fetch(
            listing: Listing, after: tuple[Any, ...] | None, count: int, value: Any = value, seen: list[Any] = seen
        ) -> Sequence[Found]:
            if listing.sink != "sg":
                return []
            seen.append(after)
            return [Found(number, (value, number)) for number in range(count)]

        gathering = Gathering(here, "people")
        page = await gathering.page(fetch, UP, "list", limit=1)
        await gathering.page(fetch, UP, "list", limit=1, cursor=page.cursor)
        assert seen == [None, (value, 0)]
        assert type(seen[1][0]) is type(value)


async def test_keys_that_cannot_be_compared_or_kept_are_a_mistake_of_the_app(here: Current) -> None:
    async def mixed(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        return [Found(1, ("text" if listing.sink == "sg" else 7, 1))]

    async def odd(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        return [Found(number, (frozenset(), number)) for number in range(count)] if listing.sink == "sg" else []

    async def long(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        return [Found(number, ("x" * 13_000, number)) for number in range(count)] if listing.sink == "sg" else []

    with pytest.raises(UsageError, match="sort by something shorter"):
        await Gathering(here, "people").page(long, UP, "list", limit=1)
    for fetch in (mixed, odd):
        with pytest.raises(UsageError, match="sorted by values"):
            await Gathering(here, "people").page(fetch, UP, "list", limit=1)


async def test_a_cursor_of_another_list_or_that_was_changed_is_the_client_s_mistake(here: Current) -> None:
    gathering = Gathering(here, "people")
    page = await gathering.page(fetching({"sg": [(1, 1), (2, 2)]}), UP, "list", limit=1)
    assert page.cursor is not None
    for cursor, about in ((page.cursor, "other"), (page.cursor[::-1], "list"), ("AAAA", "list"), ("\ud800", "list")):
        with pytest.raises(CallerError):
            await gathering.page(fetching({}), UP, about, limit=1, cursor=cursor)


async def test_a_list_that_fails_is_noted_for_the_edge_and_a_partial_one_is_not(here: Current) -> None:
    async def away(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        here.trail.met(SinkUnavailable(f"sink {listing.sink!r} cannot be reached"))  # as sessions do
        if listing.sink == "sg":
            return [Found("row", (1, 1))]
        raise SinkUnavailable(f"sink {listing.sink!r} cannot be reached")

    async def silent(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        await anyio.sleep_forever()
        raise AssertionError

    here.trail.refusal = None  # the tests share it
    assert (await Gathering(here, "people").page(away, UP, "x", limit=5)).partial
    assert here.trail.refusal is None
    with pytest.raises(SinkUnavailable):
        await Gathering(here, "people", wait=0.01).page(silent, UP, "x", limit=5)
    noted, here.trail.refusal = here.trail.refusal, None
    assert noted is not None
    assert "did not answer in time" in noted.message
