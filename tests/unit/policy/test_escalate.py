"""Escalations: who is counted where, and what is up by the counts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from residency.model import Activity, Operation, SubjectSource
from residency.policy.escalate import Escalations
from residency.policy.parsed import LawDoc
from residency.policy.parser import parse_law

LAW = """
residency: 1
kind: law
jurisdiction: VN
instrument: Test
time_zone: "+07:00"
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: high, source: a test}
detectors:
  - {data: biometric, fields: ["*face*"]}
escalations:
  - {id: vn.core, article: art. 1, data: sensitive, subjects: 100, becomes: core, falls_below: 90}
  - {id: vn.yearly, article: art. 2, data: personal, subjects: 1000, becomes: important, per: calendar_year}
rules:
  - {id: vn.any, article: art. 1, text: A rule., applies: {anchor: territory}, duty: {effect: deny}}
"""
YEARS = [int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1_000_000) for year in (2026, 2027)]
HOURS = 3_600_000_000


def law(text: str = LAW) -> LawDoc:
    return parse_law(text.encode(), "test.yaml", "vn/test")


def activity(*data: str, fields: tuple[str, ...] = ()) -> Activity:
    name = f"POST /{'-'.join(data)}{fields}"
    source = SubjectSource("user")
    return Activity(name, "POST", "/", source, frozenset(data), Operation.WRITE, fields=frozenset(fields))


def escalations(text: str = LAW) -> Escalations:
    return Escalations([law(text)])


def test_a_write_counts_for_each_class_that_its_data_lies_in_and_for_covering_laws_alone() -> None:
    found = escalations()
    now = YEARS[0] + HOURS
    assert found.counters(activity("health"), ("VN",), now) == ("VN:sensitive", "VN:personal:2026")
    assert found.counters(activity("personal"), ("VN",), now) == ("VN:personal:2026",)
    assert found.counters(activity("health"), ("LA", "SG"), now) == ()
    assert found.counters(activity("content"), ("VN",), now) == ()


def test_a_detector_of_the_law_finds_the_class_too() -> None:
    seen = activity("account", fields=("face_print",))
    assert escalations().counters(seen, ("VN",), YEARS[0]) == ("VN:sensitive", "VN:personal:2026")
    assert escalations().concern(seen)
    assert not escalations().concern(activity("account", fields=("shoe_size",)))


def test_a_year_begins_on_the_clocks_of_its_law() -> None:
    found = escalations()
    midnight_there = YEARS[1] - 7 * HOURS
    assert found.counters(activity("personal"), ("VN",), midnight_there - 1) == ("VN:personal:2026",)
    assert found.counters(activity("personal"), ("VN",), midnight_there) == ("VN:personal:2027",)
    assert found.by_id(midnight_there)["vn.yearly"][1] == "VN:personal:2027"


def test_a_law_without_escalations_counts_nobody() -> None:
    assert Escalations([]).counters(activity("health"), ("VN",), 0) == ()
    assert Escalations([]).up({}, frozenset({"of.another"}), 0) == {"of.another"}


def test_a_renamed_escalation_finds_its_count() -> None:
    moved = LAW.replace("vn.core,", "vn.new_name,").replace("subjects: 100,", "subjects: 95,")
    assert {c for _, c in escalations().by_id(0).values()} == {c for _, c in escalations(moved).by_id(0).values()}


@given(st.lists(st.integers(0, 130), max_size=30))
def test_between_its_two_numbers_an_escalation_stays_what_it_was(counts: list[int]) -> None:
    found, up, expected = escalations(), frozenset[str](), False
    for count in counts:
        up = found.up({"VN:sensitive": count}, up, YEARS[0])
        expected = count >= 100 or (expected and count >= 90)
        assert ("vn.core" in up) == expected


@given(st.integers(0, 2000), st.sets(st.sampled_from(["vn.core", "vn.yearly", "la.other"])))
def test_a_count_that_is_not_told_changes_nothing(count: int, was: set[str]) -> None:
    up = escalations().up({"VN:personal:2026": count}, frozenset(was), YEARS[0])
    assert up - {"vn.yearly"} == was - {"vn.yearly"}


def test_the_shipped_laws_count_a_hundred_thousand_sensitive_and_a_million_basic_subjects() -> None:
    laws = Path(__file__).parents[3] / "policies" / "laws" / "vn"
    file = laws / "decision-20-2025.yaml"
    found = Escalations([parse_law(file.read_bytes(), file.name, "vn/decision-20-2025")])
    told = {(counter, escalation.becomes): escalation.subjects for escalation, counter in found.by_id(0).values()}
    assert told["VN:sensitive", "core"] == 100_000
    assert told["VN:account+personal", "core"] == 1_000_000
