"""`residency laws`: what is listed, in lines and as JSON, what a name chooses, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from residency.cli.laws import laws, read_packs

app = typer.Typer()
app.command()(laws)
LAW = """
residency: 1
kind: law
jurisdiction: LA
instrument: A law of ours
in_force: {from: 2026-01-01, to: 2027-12-31}
checked: {date: 2026-11-21, confidence: low, source: "a test"}
readings: {la.q: {text: Which?, options: [a, b], default: b}}
not_covered: [all the rest]
escalations: [{id: la.up, article: art. 2, data: personal, subjects: 1000, becomes: core}]
rules:
  - {id: la.one, article: art. 1, text: Stays., mode: warn, fine: a lot, applies: {anchor: territory}, duty: {only: LA}}
"""


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(args))
    return result.exit_code, result.output


def folder(tmp_path: Path, text: str = LAW) -> str:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "law.yaml").write_text(text)
    return str(tmp_path)


def test_every_installed_law_is_listed_with_dates_and_confidence() -> None:
    code, output = run()
    assert code == 0
    assert "vn/decree-53-2022            2022-10-01 to 2026-06-30   Decree 53/2022/ND-CP" in output
    assert f"{len(read_packs())} laws, " in output
    assert "open readings" in output


def test_json_has_one_object_a_law_with_its_counts_and_gaps() -> None:
    code, output = run("--json")
    told = {entry["name"]: entry for entry in map(json.loads, output.splitlines())}
    assert code == 0
    assert set(told) == {pack.name for pack in read_packs()}
    decree = told["vn/decree-333-2026"]
    assert decree["in_force"] == {"from": "2026-08-19"}
    assert sum(decree["rules_by_confidence"].values()) == decree["rules"] == sum(decree["rules_by_mode"].values())
    assert decree["not_covered"]
    assert decree["readings"]["vn.user_in_vietnam"]["default"] == "present"
    assert "rule" not in decree


def test_a_name_tells_the_rules_too_and_a_folder_all_of_its_laws() -> None:
    code, output = run("vn/decree-333-2026", "--json")
    assert code == 0
    (told,) = map(json.loads, output.splitlines())
    assert "vn.d333.19.2" in {rule["id"] for rule in told["rule"]}
    names = {json.loads(line)["name"] for line in run("vn", "--json")[1].splitlines()}
    assert names == {pack.name for pack in read_packs() if pack.name.startswith("vn/")}
    assert names == {json.loads(line)["name"] for line in run("vn/*", "--json")[1].splitlines()}


def test_a_law_of_your_own_is_told_in_words(tmp_path: Path) -> None:
    code, output = run("ours/law", "--from", folder(tmp_path))
    assert code == 0
    for text in (
        "ours/law: A law of ours",
        "in force 2026-01-01 to 2027-12-31; checked 2026-11-21, confidence low",
        "la.one  art. 1  (low, warn)",
        "Fine: a lot",
        "reading la.q: Which?\n    a, b (default)",
        "la.up: personal of 1,000 subjects counts as core",
        "not covered:\n  - all the rest",
    ):
        assert text in output


def test_an_unknown_name_is_wrong_use_and_a_broken_law_does_not_hold(tmp_path: Path) -> None:
    code, output = run("vn/decree-333-2062")
    assert code == 2
    assert "no law `vn/decree-333-2062`; did you mean `vn/decree-333-2026`? vn/ has ai-134-2025, " in output
    code, output = run("--from", folder(tmp_path, LAW.replace("art. 1", "")))
    assert code == 1
    assert "law.yaml" in output


def test_pages_are_written_where_asked(tmp_path: Path) -> None:
    code, _ = run("vn/decree-333-2026", "--write-pages", str(tmp_path / "pages"))
    assert code == 0
    written = {str(path.relative_to(tmp_path / "pages")) for path in (tmp_path / "pages").rglob("*.md")}
    assert written == {"README.md", "vn/decree-333-2026.md"}
