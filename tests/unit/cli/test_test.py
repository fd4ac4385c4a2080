"""`residency test`: exit codes, problems at their lines, differences with articles, coverage, JUnit, JSON, watching."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from residency.cli import test as command
from tests.case_world import DEPLOYMENT, HEAD, LAW

app = typer.Typer()
app.command()(command.run_tests)
READ = "activity: 'GET /people/{id}'"
GOOD = f"  - {{name: reads, {READ}, expect: {{effect: permit}}}}\n"
BAD = "  - {name: posts, activity: posting, expect: {effect: permit, rules: [vn.copy]}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "laws").mkdir()
    (tmp_path / "laws" / "one.yaml").write_text(LAW)
    (tmp_path / "d.yaml").write_text(DEPLOYMENT.replace("laws: [one]", "laws: [one]\nlaws_from: [laws]"))
    (tmp_path / "good_test.yaml").write_text(f"{HEAD}tests:\n{GOOD}")
    return tmp_path


def run(*args: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return result.exit_code, result.output


def test_tests_that_hold_say_how_many_they_are(folder: Path) -> None:
    assert run(folder) == (0, "1 test in 1 file: 1 hold\n")
    assert run(folder / "good_test.yaml", folder) == (0, "1 test in 1 file: 1 hold\n")


def test_tests_beside_a_law_are_no_law(folder: Path) -> None:
    deployment = folder / "d.yaml"
    deployment.write_text(deployment.read_text().replace("laws: [one]", 'laws: ["one*"]'))
    text = (folder / "good_test.yaml").read_text().replace("deployment: d.yaml", "deployment: ../d.yaml")
    (folder / "laws" / "one_test.yaml").write_text(text)
    assert run(folder) == (0, "2 tests in 2 files: 2 hold\n")


def test_a_test_that_fails_is_told_at_its_line_with_the_articles(folder: Path) -> None:
    (folder / "bad_test.yaml").write_text(f"{HEAD}tests:\n{GOOD}{BAD}")
    code, output = run(folder)
    assert code == 1
    assert f"FAILED {folder}/bad_test.yaml:7:5: posts\n    effect\n      - permit\n      + deny (identity" in output
    assert "        vn.post: Law 1 art. 2 (enforce)\n          Verified.\n" in output
    assert output.count("          Verified.\n") == 1
    assert output.endswith("3 tests in 2 files: 2 hold, 1 failed\n")


def test_a_file_with_mistakes_is_told_and_the_others_still_run(folder: Path) -> None:
    (folder / "broken_test.yaml").write_text(HEAD + "tests:\n" + GOOD.replace("effect", "efect"))
    (folder / "names_test.yaml").write_text(HEAD + "tests:\n" + GOOD.replace("GET /people", "GET /person"))
    (folder / "nowhere_test.yaml").write_text((HEAD + "tests:\n" + GOOD).replace("d.yaml", "e.yaml"))
    (folder / "address_test.yaml").write_text(HEAD + "tests:\n" + GOOD.replace("expect:", "address: here, expect:"))
    code, output = run(folder)
    assert code == 1
    assert f"{folder}/broken_test.yaml:6:" in output
    assert "did you mean `effect`" in output
    assert f"{folder}/names_test.yaml:6:5: unknown activity `GET /person/{{id}}`" in output
    assert f"{folder}/nowhere_test.yaml:3:13: the deployment does not hold:\n{folder}/e.yaml:1:1: " in output
    assert f"{folder}/address_test.yaml:6:" in output
    assert "1 test in 5 files: 1 hold, 4 files could not be run" in output


def test_wrong_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(folder / "missing")[0] == 2
    assert run(folder / "laws")[0] == 2  # no test below: empty is a mistake
    assert run(folder, "--min-coverage", "much")[0] == 2
    assert run(folder, "--junit", folder / "no" / "where.xml")[0] == 2
    monkeypatch.chdir(folder)
    assert run()[0] == 2


def test_an_address_is_read_by_the_deployments_data(folder: Path) -> None:
    text = GOOD.replace("expect:", "territory: [], address: 14.160.0.1, expect:").replace(
        "permit", "permit, rules: vn.copy"
    )
    (folder / "good_test.yaml").write_text(f"{HEAD}tests:\n{text}")
    assert run(folder) == (0, "1 test in 1 file: 1 hold\n")


def test_a_variable_of_the_deployment_is_answered_by_the_file(folder: Path) -> None:
    (folder / "d.yaml").write_text((folder / "d.yaml").read_text().replace('"memory:"', '"${CASES_URL}"', 1))
    assert run(folder)[0] == 1
    (folder / "good_test.yaml").write_text(f'{HEAD}env: {{CASES_URL: "memory:"}}\ntests:\n{GOOD}')
    assert run(folder)[0] == 0


def test_coverage_names_what_no_test_met_over_all_files_of_a_deployment(folder: Path) -> None:
    code, output = run(folder, "--coverage")
    assert code == 0
    assert f"coverage of {folder}/d.yaml: 2 of 7 rules (28.6%) decided a test\n" in output
    assert "    never: vn.post: Law 1 art. 2 (enforce)\n" in output
    assert "    1 of 2 pairs of activity and law (50.0%) met\n    never: posting under one\n" in output
    (folder / "more_test.yaml").write_text(HEAD + "tests:\n" + BAD.replace("permit, rules: [vn.copy]", "deny"))
    assert "3 of 7 rules (42.9%)" in run(folder, "--coverage")[1]


def test_of_tests_that_cannot_run_no_coverage_is_told(folder: Path) -> None:
    (folder / "good_test.yaml").write_text(f"{HEAD}tests:\n{GOOD.replace('GET', 'GETS')}")
    code, output = run(folder, "--coverage")
    assert (code, "coverage" in output) == (1, False)


def test_coverage_below_the_limit_does_not_hold(folder: Path) -> None:
    code, output = run(folder, "--min-coverage", "29%")
    assert code == 1
    assert f"{folder}/d.yaml: coverage is below 29%\n" in output
    assert run(folder, "--min-coverage", "28.5%")[0] == 0
    assert json.loads(run(folder, "--min-coverage", "90%", "--json")[1])["too_low"] == [f"{folder}/d.yaml"]


def test_junit_is_what_ci_reads(folder: Path) -> None:
    (folder / "bad_test.yaml").write_text(HEAD + "tests:\n" + GOOD + BAD.replace("posts", '"<posts> & \\"more\\" "'))
    (folder / "broken_test.yaml").write_text(HEAD + "tests: []\n")
    assert run(folder, "--junit", folder / "junit.xml")[0] == 1
    root = ET.parse(folder / "junit.xml").getroot()  # noqa: S314  # our own file
    assert root.tag == "testsuites"
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "0",
    }  # fmt: skip
    suites = {str(suite.get("name")).rpartition("/")[2]: suite for suite in root}
    assert [suite.get("tests") for suite in suites.values()] == ["2", "1", "1"]
    case = suites["bad_test.yaml"][1]
    assert (case.get("name"), case.get("line")) == ('<posts> & "more" ', "7")
    assert str(case[0].get("message")).startswith("effect: expected permit, got deny")
    assert "vn.post: Law 1 art. 2 (enforce)" in str(case[0].text)
    assert suites["broken_test.yaml"][0][0].tag == "error"
    assert float(str(root.get("time"))) >= 0


def test_json_is_one_object(folder: Path) -> None:
    (folder / "bad_test.yaml").write_text(f"{HEAD}tests:\n{BAD}")
    code, output = run(folder, "--json", "--coverage")
    told: dict[str, Any] = json.loads(output)
    assert code == 1
    assert told["holds"] is False
    failed = told["tests"][0]
    assert (failed["name"], failed["holds"], failed["effect"], failed["line"]) == ("posts", False, "deny", 6)
    assert failed["failures"][0]["rules"][0]["citation"] == "Law 1 art. 2"
    assert told["coverage"][f"{folder}/d.yaml"]["rules"] == 7


class Enough(Exception):
    """Ends a watch."""


def test_watching_runs_again_when_a_test_or_a_law_changes_and_not_otherwise(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def another() -> None:
        (folder / "new_test.yaml").write_text(f"{HEAD}tests:\n{GOOD}")

    steps: list[Callable[[], None]] = [
        lambda: None,
        lambda: touch(folder / "good_test.yaml", GOOD, BAD),
        lambda: touch(folder / "laws" / "one.yaml", "Verified.", "Proven."),
        another,
    ]

    def sleep(seconds: float) -> None:
        if not steps:
            raise Enough
        steps.pop(0)()

    told: list[str] = []
    monkeypatch.setattr("residency.cli.test.time.sleep", sleep)
    monkeypatch.setattr(command, "_tell", lambda ran, *_: told.append(f"{len(ran)}{all(e.holds for e in ran)}"))
    result = CliRunner().invoke(app, [str(folder), "--watch"])
    assert isinstance(result.exception, Enough)
    assert told == ["1True", "1False", "1False", "2False"]


def touch(file: Path, old: str, new: str) -> None:
    before = file.stat()
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 10_000_000))
