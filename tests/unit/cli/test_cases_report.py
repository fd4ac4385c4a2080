"""The report's forms: lines, JUnit; text that XML cannot hold."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from residency.cli.cases_report import Ran, coverage_lines, failure_lines, junit_of
from residency.errors import Problem
from residency.policy.casecover import Coverage
from tests.case_world import cases, outcomes


def test_what_holds_has_no_lines() -> None:
    text = "activity: posting, expect: {effect: deny}"
    assert list(failure_lines(Ran("t.yaml", tuple(outcomes(text)), source=cases(text).source))) == []


def test_a_character_that_xml_cannot_hold_does_not_break_it() -> None:
    told = junit_of([Ran("a\x08&<\ud800>.yaml", problems=(Problem("f", 1, 1, 'a\x00 "b"\nc'),))])
    case = ET.fromstring(told)[0][0]  # noqa: S314  # our own text
    assert case.get("classname") == "a?&<?>.yaml"
    assert case[0].get("message") == 'a? "b"\nc'


def test_full_coverage_names_nothing() -> None:
    assert list(coverage_lines("d", Coverage(3, (), 2, ()))) == [
        "coverage of d: 3 of 3 rules (100.0%) decided a test",
        "    2 of 2 pairs of activity and law (100.0%) met",
    ]


def test_a_file_with_problems_does_not_hold() -> None:
    assert not Ran("t.yaml", problems=(Problem("f", 1, 1, "x"),)).holds
