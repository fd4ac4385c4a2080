"""What is kept of persons is listed without a key, and opened with it for who holds the country's key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from residency.adapters.detail_store import DetailStore
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail_head import seal_context
from residency.cli.audit.detail import detail_app
from residency.cli.audit.detail_place import moment
from residency.vault.seal import Sealer
from tests.detail_world import logged
from tests.world import HANOI


def run(*args: str, stdin: str = "") -> tuple[int, str]:
    found = CliRunner().invoke(detail_app, args, input=stdin)
    return found.exit_code, found.output


def documents(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def policy(detailed: Path) -> Path:
    """A deployment in which an and binh have written once."""
    return detailed


def test_details_are_listed_by_entry_with_class_and_terms(policy: Path) -> None:
    code, output = run("list", "--policy", str(policy), "--country", "VN", "--json")
    rows = documents(output)
    committed = {entry.id: entry for entry in logged(policy) if entry.detail is not None}
    assert code == 0
    assert {row["entry"]: row["commitment"] for row in rows} == {id_: entry.detail for id_, entry in committed.items()}
    assert {row["keeping"] for row in rows} == {"log>=12m", "pin"}
    for row in rows:
        assert row["origin"] == "test"
        assert row["alias"] == committed[row["entry"]].subject or row["keeping"] == "pin"
        assert row["held"] is (row["keeping"] == "log>=12m")
    assert "an" not in {row["alias"] for row in rows}


def test_details_of_one_alias_or_one_entry_are_found(policy: Path) -> None:
    rows = documents(run("list", "--policy", str(policy), "--country", "VN", "--json")[1])
    alias, entry = rows[0]["alias"], rows[0]["entry"]
    of_alias = documents(run("list", "--policy", str(policy), "--country", "VN", "--json", "--alias", alias)[1])
    assert [row["entry"] for row in of_alias] == [row["entry"] for row in rows if row["alias"] == alias]
    assert 0 < len(of_alias) < len(rows)
    (of_entry,) = documents(run("list", "--policy", str(policy), "--country", "VN", "--json", "--entry", entry)[1])
    assert of_entry == rows[0]


def test_people_see_a_table(policy: Path) -> None:
    code, output = run("list", "--policy", str(policy), "--country", "VN")
    assert code == 0
    assert "log>=12m" in output
    assert "No details in VN" in run("list", "--policy", str(policy), "--country", "VN", "--entry", "9.9")[1]


def test_details_are_opened_with_the_countrys_key(policy: Path, tmp_path: Path) -> None:
    out = tmp_path / "person.jsonl"
    assert run("export", "--policy", str(policy), "--country", "VN", "--out", str(out))[0] == 0
    assert out.stat().st_mode & 0o077 == 0
    rows = documents(out.read_text())
    told = [row["detail"] for row in rows if "account" in row["detail"]]
    assert {each["account"] for each in told} == {"an", "binh"}
    assert {(each["address"], each["port"]) for each in told} == {(HANOI, 50_000)}
    assert all(isinstance(each["at"], int) for each in told)
    assert run("export", "--policy", str(policy), "--country", "VN")[1] == out.read_text()
    code, output = run("export", "--policy", str(policy), "--country", "VN", "--out", str(out))
    assert code == 2
    assert "there already" in output


def test_with_another_key_nothing_opens_and_no_detail_is_shown(policy: Path) -> None:
    key = policy.parent / "keys" / "detail-vn.secret"
    key.write_bytes(bytes(32))
    code, output = run("export", "--policy", str(policy), "--country", "VN")
    assert code == 1
    assert "does not open" in output
    assert "binh" not in output


def test_a_detail_exchanged_for_another_is_not_believed(policy: Path) -> None:
    store = DetailStore(policy.parent / "detail-vn" / "details.db")
    one = replace(next(head for head, _ in store.rows()), commitment="ab" * 32)
    key = KeysFiles(policy.parent / "keys").secret("detail-vn")
    store.file([(one, Sealer(key, bytes).seal(b"{}", seal_context("VN", one)))], moment())
    code, output = run("export", "--policy", str(policy), "--country", "VN", "--entry", one.entry)
    assert code == 1
    assert "another than the one that is committed to" in " ".join(output.split())


def test_a_country_without_details_and_a_policy_that_does_not_hold_are_wrong_use(policy: Path) -> None:
    code, output = run("list", "--policy", str(policy), "--country", "SG")
    assert code == 2
    assert "keeps details of VN" in " ".join(output.split())
    policy.write_text("residency: 1\nkind: deployment\n")
    assert run("list", "--policy", str(policy), "--country", "VN")[0] == 2


def test_a_store_that_is_no_store_is_told_by_its_name(policy: Path) -> None:
    (policy.parent / "detail-vn" / "details.db").write_bytes(b"x" * 5000)
    code, output = run("list", "--policy", str(policy), "--country", "VN", "--json")
    assert code == 1
    assert "details.db" in documents(output)[0]["problem"]
    assert str(policy.parent) not in output
