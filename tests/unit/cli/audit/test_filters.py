"""Filters ask the same of an entry and of the shape that an index keeps; `show` takes them all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters.log_index import shape_of
from residency.audit.entry import format_entry
from residency.cli.audit import audit_app
from residency.cli.audit.filters import Filter, filter_of
from tests.audit_log import ENTRIES, INTENT, write_log

ENTRY = replace(
    INTENT, kind="refusal", effect="deny", reason="stop_order", activity="POST /v1/people", subject="ab" * 8,
    rules=("vn.l91.20.2",), outranked=("vn.d53.26",), jurisdictions=("VN", "SG"),
)  # fmt: skip
ASKED = {
    "kind": "refusal", "effect": "deny", "reason": "stop_order", "activity": "POST *", "alias": "ab" * 8,
    "rule": "vn.d53.*", "sink": "people-??", "jurisdiction": "SG",
}  # fmt: skip
OTHERS = {
    "kind": "intent", "effect": "hold", "reason": "hold", "activity": "GET *", "alias": "cd" * 8, "rule": "vn.l116.*",
    "sink": "people", "jurisdiction": "DE",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ASKED))
def test_each_question_takes_what_answers_it_and_nothing_else(name: str) -> None:
    taken, other = Filter(**{name: ASKED[name]}), Filter(**{name: OTHERS[name]})  # type: ignore[arg-type]
    assert (taken.takes(ENTRY), other.takes(ENTRY)) == (True, False)
    if name != "alias":
        assert (taken.wants(shape_of(ENTRY)), other.wants(shape_of(ENTRY))) == (True, False)


def test_what_an_entry_does_not_say_answers_no_question_about_it() -> None:
    silent = replace(INTENT, sink=None, rules=())
    for name in ("reason", "activity", "alias", "rule", "sink", "jurisdiction"):
        assert not Filter(**{name: "*" if name != "alias" else "ab" * 8}).takes(silent)  # type: ignore[arg-type]


def test_a_period_has_its_first_instant_and_not_its_last() -> None:
    assert Filter(since=INTENT.at, until=INTENT.at + 1).takes(INTENT)
    assert not Filter(until=INTENT.at).takes(INTENT)
    assert not Filter(since=INTENT.at + 1).takes(INTENT)


@pytest.mark.parametrize("options", [{"kind": "rumour"}, {"effect": "maybe"}, {"alias": "AB" * 8}, {"since": "soon"}])
def test_what_no_entry_can_be_is_wrong_use(options: dict[str, str]) -> None:
    with pytest.raises(typer.BadParameter):
        filter_of(**options)


def test_show_takes_the_same_filters(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [format_entry(entry) for entry in ENTRIES])

    def shown(*arguments: str) -> list[str]:
        result = CliRunner().invoke(audit_app, ["show", str(log), "--json", *arguments])
        assert result.exit_code == 0, result.output
        return [json.loads(line)["id"] for line in result.stdout.splitlines()]

    assert shown("--effect", "deny") == shown("--rule", "vn.d333.*") == shown("--reason", "only") == ["0.3"]
    assert shown("--sink", "people-*", "--last", "2") == ["0.2", "0.3"]
    assert shown("--from", "2026-11-19") == shown("--alias", "ab" * 8) == []
