"""A law that lets data go abroad only treated: explain, check and test tell it before a request is refused for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.cli.app import app_for
from tests.world import write_deployment

MASKED = """
  - id: test.masked
    article: art. 9
    text: Phones are masked.
    applies: {anchor: territory, data: [personal]}
    duty: {protect: [{field: phone, direction: out, transform: mask}]}
"""
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
stores: {people: [sg, vn], abroad: [sg]}
activities:
  - {route: "POST /people", subject: user, data: [personal], operation: write, store: people}
  - {route: "POST /abroad", subject: user, data: [personal], operation: write, store: abroad}
  - {route: "GET /people", subject: user, data: [personal], operation: read, store: people}
"""
CASES = """residency: 1
kind: test
deployment: test.yaml
time_zone: "+07:00"
given: {date: 2026-11-22, territory: VN network}
tests:
  - {name: home, activity: "POST /people", expect: {effect: permit, first: vn, refused: {sg: cannot_be_treated}}}
  - {name: abroad, activity: "POST /abroad", expect: {effect: deny, reason: cannot_be_treated, rules: test.masked}}
  - {name: read there, activity: "GET /people", read_from: SG, expect: {effect: deny, reason: cannot_be_treated}}
  - {name: read, activity: "GET /people", read_from: VN, expect: {effect: permit, permitted: [sg, vn]}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The deployment."""
    return write_deployment(tmp_path, DEPLOYMENT, [MASKED])


def run(*words: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app_for([words[0]]), list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_explain_tells_where_it_may_not_go_untreated_and_what_to_do(file: Path) -> None:
    asked = ("explain", "--policy", str(file), "--ip", "14.160.0.1", "--route")
    code, output = run(*asked, "POST /abroad")
    assert (code, "refused (cannot_be_treated)" in output) == (1, True)
    assert "sg: only with fields treated (mask `phone`)" in output
    assert "copies are treated (`copies:`" in output
    code, output = run(*asked, "POST /people", "--json")
    sinks = json.loads(output)["sinks"]
    assert [(each["sink"], each["reason"], each["untreated"]) for each in sinks] == [
        ("vn", None, []),
        ("sg", "cannot_be_treated", [["phone", "mask"]]),
    ]
    assert code == 0
    code, output = run(*asked, "GET /people", "--read-from", "SG", "--lang", "vi")
    assert (code, "cannot_be_treated" in output, "`hand_over:`" in output) == (1, True, True)


def test_check_warns_of_the_activity_at_its_place(file: Path) -> None:
    code, output = run("check", str(file))
    (line,) = [line for line in output.splitlines() if "only with fields treated" in line]
    assert code == 0
    assert line.startswith(f"{file}:18:5: ")
    assert "`POST /abroad`" in line
    assert "`copies:`" in line


def test_cases_expect_it_and_hold(file: Path) -> None:
    (file.parent / "treated_test.yaml").write_text(CASES)
    assert run("test", str(file.parent / "treated_test.yaml")) == (0, "4 tests in 1 file: 4 hold\n")
