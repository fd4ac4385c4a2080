"""The table of who carries out what: each word of a rule's duty has its row, and what a row says is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from residency.policy.documents_law import Duty, Protect
from residency.policy.uncarried import BY_DETAIL, BY_ENTRY, uncarried_reports
from residency.storage.requests import kinds
from tests.proof_files import NOW, law, policy, rule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "policy-language.md").read_text(encoding="utf-8")
CHAPTER = PAGE.partition("## Who carries out what")[2]
ROWS = {
    cells[0].replace("`", ""): cells
    for line in CHAPTER.splitlines()
    if line.startswith("| `") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
}
ALL = "anchor: [territory, citizenship, residence, collection]"
# A deployment that does all that one can do, and for each row a duty of it.
BEST = "audit: {detail: {VN: ./detail-vn}}\nrecords: {all: {people: {subject: id, data: [health]}}}\n"
DUTIES = {
    "copies": "{copies: VN}",
    "first_write": "{first_write: VN}",
    "only": "{only: VN}",
    "require": '{require: ["identity:phone"]}',
    "retain": "{retain: [{at_least: 2 days, from: last_use}, {at_most: 20 days, from: erasure_request}]}",
    "retain of log": "{retain: [{at_least: 12 months, data: log, from: creation}]}",
    "protect: out": "{protect: [{field: phone, direction: out, transform: mask}]}",
    "protect: in": "{protect: [{field: phone, direction: in, transform: mask}]}",
    "protect: rest": "{protect: [{field: phone, direction: rest, transform: mask}]}",
    "log": "{log: [device]}",
    "label": "{label: [ai.interaction]}",
    "deadlines": "{deadlines: [{task: subject.erase, within: 20 days, from: request}]}",
    "effect: permit": "{effect: permit, label: [x]}",
    "effect: hold": "{effect: hold}",
    "effect: deny": "{effect: deny}",
}


def words_of_the_language() -> set[str]:
    """Every word that a rule's `duty:` may have, with those of them that each mean something of their own."""
    words = set(Duty.model_fields)
    directions = get_args(Protect.model_fields["direction"].annotation)
    effects = get_args(Duty.model_fields["effect"].annotation)
    words |= {f"protect: {each}" for each in directions} | {f"effect: {each}" for each in effects} | {"retain of log"}
    return words - {"protect", "effect"}


def test_each_word_of_the_language_has_its_row_and_no_other_has() -> None:
    assert set(ROWS) == words_of_the_language() == set(DUTIES)
    assert {len(cells) for cells in ROWS.values()} == {8}


@pytest.mark.parametrize("word", sorted(DUTIES))
def test_a_row_says_that_nobody_does_it_exactly_where_check_does(word: str) -> None:
    of = policy(law("VN", rule("vn.one", f"{{{ALL}}}", DUTIES[word])), more=BEST)
    nobody = "nobody" in ROWS[word][1]
    assert bool(list(uncarried_reports(of, NOW))) is nobody


def test_the_fields_of_logs_are_those_that_are_kept() -> None:
    detail, entry, _ = ROWS["log"][1].split(";")
    assert set(re.findall(r"`([a-z_]+)`", detail)) == set(BY_DETAIL)
    assert set(re.findall(r"`([a-z_]+)`", entry)) == set(BY_ENTRY)


@pytest.mark.parametrize("word", sorted(DUTIES))
def test_the_test_that_a_row_names_is_there(word: str) -> None:
    file, _, name = ROWS[word][7].strip("`").partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("event", ["request", "commencement", "first_processing", "order", "detection"])
def test_every_deadline_can_be_registered_but_an_extension(event: str) -> None:
    def known(event: str) -> bool:
        duty = f"{{deadlines: [{{task: a.b, within: 2 days, from: {event}}}]}}"
        of = policy(law("VN", rule("vn.one", f"{{{ALL}}}", duty)))
        return "a.b" in kinds(of, of.facts, "VN", NOW)

    assert known(event)
    assert not known("extension")
