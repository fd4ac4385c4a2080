"""`residency audit receipt` writes all that a log holds about one person, with proofs, words and opened details."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from residency.audit.proof import judge
from residency.cli.audit import audit_app
from residency.cli.audit.page import document_in
from residency.policy.explain_words import say
from tests.proof_documents import Served, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve(tmp_path_factory.mktemp("served"))


def run(served: Served, *args: str | Path, person: str | None = None) -> Result:
    about = () if person is None else ("--subject-from", "-", "--policy", served.policy)
    words = ["receipt", served.log, *about, *args]
    return CliRunner().invoke(audit_app, list(map(str, words)), input=person)


def of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def key(served: Served) -> str:
    return (served.log / "log.vkey").read_text()


def test_a_receipt_holds_all_entries_of_one_person_and_nobody_elses(served: Served) -> None:
    document = of(run(served, person="an"))
    verdict = judge(json.dumps(document).encode(), key(served))
    assert verdict.holds
    assert [entry.kind for _, entry in verdict.entries] == ["decision", "intent", "outcome"]
    assert [entry.subject for _, entry in verdict.entries] == [document["subject"], document["subject"], None]
    assert verdict.entries[2][1].of == verdict.entries[1][1].id
    other = of(run(served, person="binh"))
    assert other["subject"] != document["subject"]
    assert not {each["index"] for each in other["entries"]} & {each["index"] for each in document["entries"]}


def test_an_alias_gives_the_same_receipt_as_the_id_it_stands_for(served: Served) -> None:
    document = of(run(served, person="an"))
    assert of(run(served, "--alias", document["subject"])) == document


def test_the_id_may_come_from_a_file_and_stands_nowhere_in_the_receipt(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "id"
    file.write_text("an\n")
    result = run(served, "--subject-from", file, "--policy", served.policy)
    assert of(result) == of(run(served, person="an"))
    assert '"an"' not in result.stdout


def test_each_decision_is_told_in_both_languages_with_its_rules(served: Served) -> None:
    document = of(run(served, person="an"))
    told = [each["story"] for each in document["entries"]]
    assert told[:2] == [0, 0]  # the decision and the act that it is of say the same, and say it once
    story = document["stories"][0]
    rules = [section for section in story["en"]["sections"] if section["title"] == say("applied", "en")]
    assert "test.home" in rules[0]["items"][0]["text"]
    assert "Personal data stays in Vietnam." in rules[0]["items"][0]["notes"]
    assert "Dữ liệu cá nhân ở lại Việt Nam." in json.dumps(story["vi"], ensure_ascii=False)
    assert say("given", "en") not in json.dumps(story)


def test_details_are_opened_only_with_their_key_and_match_what_the_entries_commit_to(served: Served) -> None:
    closed = of(run(served, person="an"))
    assert {each["detail"] is None for each in closed["entries"]} == {True}
    opened = of(run(served, "--detail", f"VN={served.detail}", "--keys", served.keys, person="an"))
    verdict = judge(json.dumps(opened).encode(), key(served))
    assert verdict.holds
    assert verdict.details[0] is not None
    assert (verdict.details[0]["account"], verdict.details[0]["port"]) == ("an", 50_000)


def test_entries_can_be_named_by_their_numbers(served: Served) -> None:
    document = of(run(served, "--index", "0", "--index", "2"))
    assert ([each["index"] for each in document["entries"]], document["subject"]) == ([0, 2], None)
    assert judge(json.dumps(document).encode(), key(served)).holds
    assert run(served, "--index", "1000").exit_code == 2


def test_a_receipt_can_be_under_a_checkpoint_that_somebody_kept(served: Served, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copy(served.log / "checkpoint", kept)
    assert of(run(served, "--checkpoint", kept, person="an")) == of(run(served, person="an"))


def test_a_page_carries_the_very_same_receipt(served: Served, tmp_path: Path) -> None:
    assert run(served, "--html", "--out", tmp_path / "receipt.html", person="an").exit_code == 0
    assert json.loads(document_in((tmp_path / "receipt.html").read_bytes())) == of(run(served, person="an"))


def test_without_the_archive_the_proofs_stand_and_what_was_not_told_is_counted(served: Served, tmp_path: Path) -> None:
    result = run(served, "--audit", tmp_path, person="an")
    document = of(result)
    assert document["stories"] == []
    assert judge(json.dumps(document).encode(), key(served)).holds
    assert "2 not told in words: its policy is not archived" in result.stderr


def test_a_person_of_whom_nothing_is_known_exits_1(served: Served) -> None:
    assert run(served, person="nobody").exit_code == 1
    assert run(served, "--alias", "cd" * 16).exit_code == 1


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--alias", "an"),
        ("--alias", "cd" * 16, "--index", "1"),
        ("--subject-from", "-"),
        ("--alias", "cd" * 16, "--policy", "x.yaml"),
        ("--alias", "cd" * 16, "--keys", "."),
        ("--subject-from", "/nowhere", "--policy", "x.yaml"),
        ("--subject-from", "-", "--policy", "x.yaml"),
    ],
)
def test_wrong_use_exits_2(served: Served, args: tuple[str, ...]) -> None:
    assert run(served, *args).exit_code == 2


def test_a_place_of_details_that_is_none_exits_2(served: Served) -> None:
    assert run(served, "--detail", "VN=/nowhere", "--keys", served.keys, person="an").exit_code == 2
    assert run(served, "--detail", str(served.detail), "--keys", served.keys, person="an").exit_code == 2


def test_a_log_that_does_not_hold_gives_no_receipt(served: Served, tmp_path: Path) -> None:
    log = Path(shutil.copytree(served.log, tmp_path / "log"))
    for bundle in (log / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            bundle.write_bytes(bundle.read_bytes().replace(b"permit", b"perm1t", 1))
    assert run(Served(served.policy, log, served.detail, served.keys), "--index", "2").exit_code == 1
