"""Every row of the legal facts is a rule, an escalation, a detector or a test here, or says why it can be none."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from residency.adapters.policy_files import available_laws
from residency.cli.laws import read_packs
from residency.cli.laws_pages import Pack, not_enforceable
from residency.policy.yamldoc import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
# How many rows the tables of each section have, and the two instruments that stand in a sentence after a table.
SECTIONS = {
    "1.1": 4,
    "1.2": 10,
    "1.3": 18,
    "1.4": 4,
    "2": 26,
    "3": 8,
    "4": 7,
    "5": 23,
    "6": 5,
    "7": 3,
    "8": 14,
    "9": 12,
    "10": 9,
}
BESIDE_TABLES = {"2/Decree 13/2023", "5/L 71/2025"}
COVERED = {"vn", "la", "asean", "cn", "eu", "in", "id", "br", "ng", "jp", "ca", "ru"}


def rows() -> list[dict[str, Any]]:
    file = ROOT / "policies" / "law_rows.yaml"
    document = parse_yaml(file.read_bytes(), file.name)
    assert not document.problems
    assert isinstance(document.value, dict)
    listed = document.value["rows"]
    assert isinstance(listed, list)
    return [dict(row) for row in listed if isinstance(row, dict)]


ROWS = rows()
REASONS = {entry["key"]: entry for entry in not_enforceable()}


@pytest.fixture(scope="module")
def packs() -> list[Pack]:
    return read_packs()


def named(packs: list[Pack]) -> set[str]:
    """All that a row may name: rules, escalations, detectors by what their values pass."""
    found = {rule.id for pack in packs for rule in pack.law.rules}
    found |= {entry.id for pack in packs for entry in pack.law.escalations}
    return found | {f"detector:{d.validator}" for pack in packs for d in pack.law.detectors if d.validator}


def written_tests() -> set[str]:
    return {
        node.name
        for file in (ROOT / "tests" / "policies").glob("test_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }


def test_each_row_is_listed_once_and_none_is_lost() -> None:
    keys = [str(row["key"]) for row in ROWS]
    assert [key for key, times in Counter(keys).items() if times > 1] == []
    tables = Counter(key.partition("/")[0] for key in keys if key not in BESIDE_TABLES)
    assert dict(tables) == SECTIONS
    assert set(keys) >= BESIDE_TABLES


def test_each_row_is_answered_by_a_rule_or_says_why_it_cannot_be() -> None:
    open_rows = [row["key"] for row in ROWS if not row.get("by") and not row.get("tests") and row["key"] not in REASONS]
    assert open_rows == []
    assert {row["pack"] for row in ROWS} == COVERED
    answered = sum(1 for row in ROWS if row.get("by"))
    assert answered / len(ROWS) > 0.85  # reasons are for the rest, not the way out


def test_what_a_row_names_exists(packs: list[Pack]) -> None:
    known = named(packs)
    assert {(row["key"], name) for row in ROWS for name in row.get("by", ()) if name not in known} == set()
    functions = written_tests()
    assert {(row["key"], name) for row in ROWS for name in row.get("tests", ()) if name not in functions} == set()


def test_each_reason_is_of_a_row_and_says_something() -> None:
    packs_of = {str(row["key"]): row["pack"] for row in ROWS}
    assert [key for key, entry in REASONS.items() if packs_of.get(key) != entry["pack"]] == []
    assert all(len(entry["reason"]) > 20 for entry in REASONS.values())
    assert len(not_enforceable()) == len(REASONS)


def test_each_rule_has_a_row_that_it_comes_from(packs: list[Pack]) -> None:
    # A rule that no row names would be made up; `X.foreign` is the half of X that is for operators from abroad.
    asked = {name for row in ROWS for name in row.get("by", ())}
    rules = {rule.id for pack in packs for rule in pack.law.rules}
    assert {rule for rule in rules if rule.removesuffix(".foreign") not in asked and rule not in asked} == set()


def test_no_rule_is_surer_than_the_facts_it_comes_from(packs: list[Pack]) -> None:
    levels = ("low", "medium", "high")
    sure: dict[str, int] = {}
    for row in ROWS:
        # A row may say `high (dates), medium (others)`: the surest of its words bounds its rules.
        level = max((n for n, word in enumerate(levels) if word in str(row.get("confidence", ""))), default=-1)
        for name in row.get("by", ()):
            sure[name] = max(sure.get(name, -1), level)
    rules = [rule for pack in packs for rule in pack.law.rules]
    bound = {rule.id: max(sure.get(rule.id, -1), sure.get(rule.id.removesuffix(".foreign"), -1)) for rule in rules}
    assert {rule.id for rule in rules if levels.index(rule.confidence) > bound[rule.id]} == set()


def test_every_source_that_a_law_names_is_listed(packs: list[Pack]) -> None:
    page = (ROOT / "docs" / "reference" / "law-sources.md").read_text(encoding="utf-8")
    known = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    known |= {"remembered"} | set("press article of 2026".split())  # neither is a source: both are of low confidence
    used = {key for pack in packs for rule in pack.law.rules for key in rule.source.split()}
    used |= {key for pack in packs for key in str(pack.written["checked"]["source"]).split()}
    assert used - known == set()


def test_every_contradiction_has_a_test_of_its_name_or_is_for_counsel() -> None:
    for row in ROWS:
        if str(row["key"]).startswith("10/"):
            assert row.get("tests") or row["key"] in REASONS, row["key"]


def test_the_file_of_reasons_is_no_law() -> None:
    assert not any("not_enforceable" in name for name in available_laws(()))
