"""The screen without a terminal: plain lines, complete, without colour."""

from __future__ import annotations

from typing import Any

import pytest

from residency.demo.client import Answer
from residency.demo.feed import Row
from residency.demo.screen import Screen
from residency.demo.traffic import Person

LAN = Person("p1", "Lan", "lan@example.org", "14.160.0.1", "VN", "VN", True)


def claim(**fields: Any) -> dict[str, Any]:
    return {"kind": "sign_up", "activity": "POST /v1/people", "outcome": "acknowledged", **fields}


def served(**receipt: Any) -> Answer:
    return Answer(claim(), LAN, 201, {"receipt": {"laws": [], "why": [], "sink": "people-sg", **receipt}})


def shown(capsys: pytest.CaptureFixture[str], answer: Answer) -> str:
    screen = Screen()
    with screen.live():
        screen.row(Row(answer, (3, 4), None))
    return capsys.readouterr().out.splitlines()[-1]


def test_a_record_says_whose_law_which_rule_and_article_and_which_sink(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(
        capsys, served(laws=["VN: territory"], why=["vn.d333.19.2|Decree 333/2026/ND-CP art. 19(2)"], sink="people-vn")
    )
    for part in ("#3-#4", "POST /v1/people", "Lan (VN, citizen of VN)", "VN: territory", "people-vn", "vn.d333.19.2"):
        assert part in line
    assert "Decree 333/2026/ND-CP art. 19(2)" in line


def test_whom_no_law_covers_is_said_to_stay(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(capsys, served())
    assert "none of these" in line
    assert "no rule moves it" in line


def test_a_refusal_is_marked_with_its_status_and_article(capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"id": "vn.x", "jurisdiction": "VN", "instrument": "Law X", "article": "art. 1"}
    line = shown(capsys, Answer(claim(outcome="refused"), LAN, 451, {"rules": [rule], "reason": "not_home"}))
    assert "refused 451" in line
    assert "Law X art. 1" in line


def test_a_problem_document_is_printed_whole_and_nothing_has_colour(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.title("a title", "and below")
    screen.problem(451, {"title": "Từ chối", "rules": [{"id": "vn.x"}]})
    screen.say("held", good=True)
    screen.say("did not", good=False)
    screen.facts([("name", "value"), ("", "more")])
    out = capsys.readouterr().out
    assert '"title": "Từ chối"' in out
    assert " ✓ held" in out
    assert " ✗ did not" in out
    assert "\x1b" not in out
