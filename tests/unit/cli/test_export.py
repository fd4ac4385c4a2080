"""`residency export`: all of one person and nothing of others, in a new place, with a manifest that is signed."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
import typer

from residency.audit.note import parse_verifier_key
from residency.cli.export import export
from residency.storage.receipts import EXPORT, parse_receipt
from tests.record_world import LIMITED
from tests.upkeep_world import ALIAS, acts, run, world
from tests.world import HOME

app = typer.Typer()
app.command()(export)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return world(tmp_path, rules=(HOME, LIMITED))


def exported(policy: Path, out: Path, *options: str, who: str = "an") -> tuple[int, str]:
    return run(app, str(policy), "--subject-file", "-", "--out", str(out), *options, given=f"{who}\n")


def test_a_folder_holds_all_of_the_person_and_nothing_of_others(policy: Path, tmp_path: Path) -> None:
    out = tmp_path / "an"
    code, output = exported(policy, out)
    assert code == 0
    assert "records in" in output
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"canary-an" in everything
    assert b"canary-an-photo" in everything
    assert b"canary-binh" not in everything
    person = [json.loads(line) for line in (out / "records/people/person.jsonl").read_text().splitlines()]
    assert {line["sink"] for line in person} == {"vn", "old"}  # they differ by when they were made
    assert person[0]["value"]["name"] == "canary-an"
    (photo,) = [json.loads(line) for line in (out / "objects/uploads.jsonl").read_text().splitlines()]
    assert (out / photo["file"]).read_bytes() == b"canary-an-photo"
    assert photo["content_type"] in ("image/png", "application/octet-stream")
    assert acts(tmp_path) == [
        ("read", "vn", "committed"), ("read", "sg", "committed"), ("read", "old", "committed"),
        ("read", "files", "committed"),
    ]  # fmt: skip


def test_the_manifest_is_signed_and_has_every_digest_and_the_rules(policy: Path, tmp_path: Path) -> None:
    out = tmp_path / "an.zip"
    code, output = exported(policy, out, "--json")
    assert (code, json.loads(output)["not_covered"]) == (0, [])
    key = parse_verifier_key((tmp_path / "audit" / "log" / "log.vkey").read_text())
    with zipfile.ZipFile(out) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    document = parse_receipt(EXPORT, files.pop("manifest"), key)
    assert {each["path"]: each["sha256"] for each in document["files"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    assert document["alias"] == ALIAS
    assert document["jurisdictions"] == ["VN"]
    assert {"id": "test.home", "citation": "Test law art. 1", "text": "Personal data stays in Vietnam."} in document[
        "rules"
    ]


def test_an_export_of_nothing_asks_whether_the_id_is_right(policy: Path, tmp_path: Path) -> None:
    code, output = exported(policy, tmp_path / "nobody", who="nobody-of-this-name")
    assert (code, "0 records in 0 files" in output, "Nothing lies under this id" in output) == (0, True, True)


def test_a_place_that_is_there_is_left_alone(policy: Path, tmp_path: Path) -> None:
    out = tmp_path / "an"
    out.mkdir()
    code, output = exported(policy, out)
    assert code == 2
    assert "already" in output
    assert not list(out.iterdir())


def test_a_sink_that_does_not_answer_leaves_no_export(policy: Path, tmp_path: Path) -> None:
    stored = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    for photo in [path for path in stored if b"canary-an" in path.read_bytes()]:
        photo.unlink()
        photo.mkdir()
    out = tmp_path / "an"
    code, output = exported(policy, out)
    assert code == 1
    assert "'files'" in output
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
    assert acts(tmp_path)[-1] == ("read", "files", "unknown")


def test_a_folder_that_cannot_be_written_is_told_without_its_name(policy: Path, tmp_path: Path) -> None:
    code, output = exported(policy, tmp_path / "nowhere" / "an")
    assert code == 1
    assert "nowhere" not in output
