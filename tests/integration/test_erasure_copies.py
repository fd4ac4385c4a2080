"""Erasure and retention over every kind of sink, with rows that refer to rows: what stays keeps what it is known by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from residency.model import Sink
from residency.policy.compiler import Policy
from residency.storage.erasure import erase
from residency.storage.records import Record
from residency.storage.retention import Copy, Person
from residency.storage.sweep import Swept, sweep
from tests.record_world import NOW, Acts, covered, policy_in, terms_of
from tests.records_world import BACKENDS, Place, place

pytestmark = pytest.mark.anyio
WHO = ["an", "binh"]
LETTERS_STAY = """
  - id: test.letters
    article: art. 20
    text: Letters are kept for two years after the account ends.
    applies: {anchor: territory, data: [content]}
    duty: {retain: [{at_least: 24 months, from: account_end}]}
"""
PEOPLE_GO = """
  - id: test.people
    article: art. 14
    text: Personal data goes within 5 days of the request.
    applies: {anchor: territory, data: [personal]}
    duty: {retain: [{at_most: 5 days, from: erasure_request}]}
"""
VIA = {"letters": "people"}
SINK = Sink("vn", "vn-han", "VN", "VN", "VN", True)


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, Policy]:
    """(nothing is held, letters are)."""
    free = policy_in(tmp_path_factory.mktemp("free"), (PEOPLE_GO,))
    return free, policy_in(tmp_path_factory.mktemp("held"), (PEOPLE_GO, LETTERS_STAY))


@pytest.fixture(params=BACKENDS)
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """One sink in which two people have three records each."""
    made = await place(request.param, "VN", tmp_path, request)
    assert await made.fill(WHO) == 6
    yield made
    if made.sink is not None:
        await made.sink.aclose()


async def collect(here: Place, who: str) -> list[Record]:
    """All that there is of somebody."""
    return [record async for record in here.records.read((who,))]


async def test_all_of_one_person_goes_and_nothing_of_another(here: Place, policies: tuple[Policy, Policy]) -> None:
    terms = terms_of(policies[0])
    copy = Copy("people", SINK, here.records, VIA)
    before = await collect(here, "binh")
    done = await erase([copy], terms, "an", covered(), begin=Acts().begin)
    assert done.complete
    assert sum(part.count for part in done.erased) == 3
    assert await collect(here, "an") == []
    assert await collect(here, "binh") == before
    assert await here.records.subjects() == ("binh",)


async def test_rows_that_a_floor_holds_keep_the_row_that_tells_whose_they_are(
    here: Place, policies: tuple[Policy, Policy]
) -> None:
    rows = any("content" in record.data for record in await collect(here, "an"))
    copy = Copy("people", SINK, here.records, VIA)
    done = await erase([copy], terms_of(policies[1]), "an", covered(), begin=Acts().begin)
    assert done.left == 0
    if not rows:  # nothing refers to anything, and no floor is about personal data
        assert done.complete
        return
    assert {(part.record, part.count, part.rules) for part in done.kept} == {
        ("letters", 2, ("test.letters",)), ("people", 1, ("test.letters",)),
    }  # fmt: skip
    assert len(await collect(here, "an")) == 3


async def test_a_run_of_retention_keeps_what_others_are_known_by(here: Place, policies: tuple[Policy, Policy]) -> None:
    async def known(subjects: Sequence[str]) -> Mapping[str, Person]:
        asked = covered({"erasure_request": NOW - 40 * 86_400_000_000})
        return {each: asked if each == "an" else covered() for each in subjects}

    rows = any("content" in record.data for record in await collect(here, "an"))
    swept = Swept("people", "vn")
    async for each in sweep(Copy("people", SINK, here.records, VIA), terms_of(policies[1]), known, begin=Acts().begin):
        swept = each
    if rows:
        assert (swept.past, swept.held, swept.deleted) == ({}, {"people": 1}, 0)
        assert len(await collect(here, "an")) == 3
    else:
        assert swept.deleted == 3
        assert await collect(here, "an") == []
    assert len(await collect(here, "binh")) == 3
