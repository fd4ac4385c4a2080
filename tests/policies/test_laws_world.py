"""What holds of every pack outside Vietnam: dates and sources, both languages, modes by confidence, kinds on record."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from residency.adapters.policy_files import available_laws
from residency.policy.parsed import LawDoc
from tests.law_asks import World, law, lives_in

JURISDICTIONS = ("la", "cn", "eu", "in", "id", "br", "ng", "jp", "ca", "ru")
NAMES = sorted(name for name in available_laws(()) if name.split("/")[0] in JURISDICTIONS)
LAWS = [pytest.param(law(name), id=name) for name in NAMES]
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "filing-kinds.md"


def test_every_jurisdiction_has_a_pack() -> None:
    assert {name.split("/")[0] for name in NAMES} == set(JURISDICTIONS)
    assert not any(name.startswith("asean/") for name in available_laws(()))


@pytest.mark.parametrize("one", LAWS)
def test_each_rule_has_article_source_and_day_and_speaks_both_languages(one: LawDoc) -> None:
    assert one.title
    assert one.title_vi
    assert one.not_covered
    for rule in one.rules:
        assert all((rule.article, rule.source, rule.text, rule.text_vi)), rule.id
        assert rule.checked == "2026-11-21"


@pytest.mark.parametrize("one", LAWS)
def test_what_is_surely_known_binds_and_what_is_not_does_not_and_says_so(one: LawDoc) -> None:
    for rule in one.rules:
        if rule.confidence == "low":
            assert rule.mode in ("observe", "warn"), rule.id
            assert "Low confidence" in rule.note, rule.id
        elif rule.confidence == "high":
            assert rule.mode == "enforce", rule.id


def test_the_page_of_kinds_names_what_the_packs_ask_for_and_nothing_else() -> None:
    rules = [rule for name in NAMES for rule in law(name).rules]
    asked = {token for rule in rules for clause in (*rule.duty.require, rule.unless) for token in clause}
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = "".join(line for line in lines if line.startswith("| `"))
    assert set(re.findall(r"`((?:filing|contract|portal|consent):[^`]+)`", table)) == asked
    (told,) = (line for line in lines if line.startswith("Orders that put rules in force"))
    assert set(re.findall(r"`([^`]+)`", told)) == {rule.trigger.order for rule in rules if rule.trigger is not None}


def test_all_packs_load_side_by_side_and_cover_each_their_own() -> None:
    everywhere = World(tuple(NAMES), activity="data: [personal], operation: read")
    for place in ("LA", "CN", "DE", "IN", "ID", "BR", "NG", "JP", "CA-ON", "RU", "VN", "US"):
        covering = everywhere.ask(lives_in(place), day="2027-06-01").jurisdictions
        assert covering == {"DE": ("EU",), "CA-ON": ("CA",), "VN": (), "US": ()}.get(place, (place,))
