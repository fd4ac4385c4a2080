"""Home is where each activity that writes may put the data, what a pin says if that may stay, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.records_memory import RecordsMemory
from residency.model import Anchor, Pin, Signal, Trust
from residency.policy.compiler import Policy
from residency.storage.misplaced import Exposure, Homing, Lying, Place, survey
from residency.storage.records import Record
from tests.world import HOME, NEVER, load_policy, write_deployment

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  all: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [sg, vn], logs: [all]}
records:
  people: {people: {subject: id, data: [personal]}}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "GET /people", subject: app, data: [personal], operation: read, store: people}
"""
FAMILY = '  - {route: "POST /family", subject: app, data: [relationship], store: people}\n'
VIETNAM = (
    Signal(Anchor.TERRITORY, "VN", Trust.DECLARED, "app"),
    Signal(Anchor.CITIZENSHIP, "VN", Trust.DECLARED, "app"),
)


def homing(folder: Path, text: str = DEPLOYMENT) -> tuple[Homing, Policy]:
    """Of a deployment whose law keeps personal data of people in Vietnam there."""
    policy = load_policy(write_deployment(folder, text, (HOME, NEVER)))
    return Homing(policy, ["people"], policy.facts, 1_795_000_000_000_000), policy


def lone(folder: Path, data: str) -> tuple[Homing, Policy]:
    """As `homing`, and a store of such data that has one sink, abroad."""
    text = DEPLOYMENT.replace("records:\n", f"records:\n  logs: {{lines: {{subject: id, data: [{data}]}}}}\n")
    text += f'  - {{route: "POST /lines", subject: app, data: [{data}], store: logs}}\n'
    policy = load_policy(write_deployment(folder, text, (HOME, NEVER)))
    return Homing(policy, ["people", "logs"], policy.facts, 1_795_000_000_000_000), policy


def pin(home: str) -> Pin:
    """A pin that remembers nothing but its home."""
    return Pin("d" * 64, home, (), "a" * 32, "first_write", "0" * 64, 1)


def test_home_is_where_the_law_wants_it_and_a_pin_stays_where_it_may(tmp_path: Path) -> None:
    home, _ = homing(tmp_path)
    covered, free = home.finding(VIETNAM, None), home.finding((), None)
    assert home.home(covered, None) == "VN"
    assert home.home(covered, pin("SG")) == "VN"
    assert home.home(free, None) == "SG", "the first sink of the store"
    assert home.home(free, pin("VN")) == "VN"
    assert home.against(covered, "sg") == ("Test law art. 1",)
    assert home.against(covered, "vn") == ()


def test_where_an_activity_may_write_nowhere_there_is_no_home(tmp_path: Path) -> None:
    home, _ = homing(tmp_path, DEPLOYMENT + FAMILY)
    assert home.home(home.finding(VIETNAM, None), None) is None
    assert home.home(home.finding((), None), None) == "SG"


async def test_a_survey_tells_who_lies_wrong_and_estimates_what_of_theirs(tmp_path: Path) -> None:
    home, policy = homing(tmp_path)
    records = RecordsMemory("sg")
    await records.write([Record("people", str(n), f"p{n}", frozenset(), b"{}") for n in range(4)])
    sink = policy.deployment.sinks["sg"].sink
    place = Place("people", sink, records, policy.deployment.records["people"])

    async def pin_of(digest: str) -> Pin | None:
        return pin("VN") if digest == "p3" else None

    pages: list[tuple[Exposure, list[Lying]]] = [
        page async for page in survey(place, home, pin_of, lambda each: each, {"p1": VIETNAM})
    ]
    assert [(each.id, each.home) for each in pages[0][1]] == [("p0", "SG"), ("p1", "VN"), ("p2", "SG"), ("p3", "VN")]
    found = pages[-1][0]
    assert (found.subjects, found.wrong, found.nowhere, found.since) == (4, 2, 0, None)
    assert found.records == {"personal": 2}
    assert found.laws == {"Test law art. 1": 1}
    assert pages[-1][1] == []


@pytest.mark.parametrize(("data", "nowhere"), [("content", 0), ("personal", 1)])
async def test_who_is_at_home_and_has_records_in_a_stores_only_sink_abroad_is_not_brought_home_for_ever(
    tmp_path: Path, data: str, nowhere: int
) -> None:
    home, policy = lone(tmp_path, data)
    records = RecordsMemory("all")
    await records.write([Record("lines", str(n), f"p{n}", frozenset(), b"{}") for n in range(2)])
    place = Place("logs", policy.deployment.sinks["all"].sink, records, policy.deployment.records["logs"])

    async def pin_of(digest: str) -> Pin | None:
        return pin("VN") if digest == "p0" else None

    pages = [page async for page in survey(place, home, pin_of, lambda each: each, {"p0": VIETNAM, "p1": VIETNAM})]
    assert [(each.id, each.home) for each in pages[0][1]] == [("p1", "VN")], "who has no pin gets one at home"
    found = pages[-1][0]
    assert (found.subjects, found.wrong, found.nowhere) == (2, 1, nowhere), "what may not lie there is told"
