"""The generated pages of the laws: fresh, and saying what a reader of the law asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.cli.laws import read_packs
from residency.cli.laws_pages import Pack, index_page, not_enforceable, page

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "laws"


@pytest.fixture(scope="module")
def packs() -> list[Pack]:
    return read_packs()


def test_the_committed_pages_are_fresh_and_no_other_lies_there(packs: list[Pack]) -> None:
    # Mend by: residency laws --write-pages docs/laws
    expected = {"README.md": index_page(packs), **{f"{pack.name}.md": page(pack) for pack in packs}}
    found = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.md")}
    assert sorted(found) == sorted(expected)
    assert [name for name, text in expected.items() if found[name] != text] == []


def test_a_page_has_each_rule_with_article_source_both_texts_and_what_it_asks(packs: list[Pack]) -> None:
    pack = next(pack for pack in packs if pack.name == "vn/personal-data-91-2025")
    text = page(pack)
    for rule in pack.law.rules:
        assert f"### `{rule.id}`" in text
        assert rule.text in text
        assert f"*{rule.text_vi}*" in text
    assert "- duty: `{require: [{any: filing:vn.transfer_dossier, within: 60 days, after: first_transfer}]}`" in text
    assert "## Open readings" in text
    assert "## Not covered" in text


def test_dates_modes_and_volume_stand_on_their_pages(packs: list[Pack]) -> None:
    pages = {pack.name: page(pack) for pack in packs}
    assert "| in force | 2022-10-01 to 2026-06-30 |" in pages["vn/decree-53-2022"]
    assert "mode **observe**" in pages["vn/ai-as-reported-2027"]
    assert "- in force: 2026-07-01 to 2026-08-18" in pages["vn/cybersecurity-116-2025"]
    assert (
        "| `vn.dec20.basic_core` | account, personal | 1,000,000 subjects | core | 900,000 |"
        in (pages["vn/decision-20-2025"])
    )


def test_the_index_links_every_pack_and_says_what_no_rule_can_do(packs: list[Pack]) -> None:
    text = index_page(packs)
    assert all(f"({pack.name}.md)" in text for pack in packs)
    assert all(entry["reason"] in text for entry in not_enforceable())
    assert len(not_enforceable()) > 10


def test_a_page_lists_the_words_that_its_rules_listen_to(packs: list[Pack]) -> None:
    pages = {pack.name: page(pack) for pack in packs}
    for line in (
        "- an activity's `action`: `inspect_messages`",
        "- an activity's `basis`: `contract`, `emergency`, `legal_duty`, `state_duty`",
        "- an activity's `ai`: `automated_processing: true`",
        "- orders of the register: `vn.transfer_stop`",
        "- events of the register: `first_transfer`",
        "- filings of the register: `vn.transfer_dossier`",
        "- evidence of the person: `age:at_least_16`, `consent:guardian`, `consent:{purpose}`",
    ):
        assert line in pages["vn/personal-data-91-2025"]
    assert "`portal.vn.ai`" in pages["vn/ai-134-2025"]
    assert "- an operator's `sectors`: `health`" in pages["vn/health-cv-365"]
    assert "## What it listens to" not in pages["vn/decree-331-2026"]
