"""`residency audit witness` cosigns what continues what it saw, remembers first, and keeps what contradicts it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from residency.adapters.log_files import LogFiles
from residency.adapters.witness_state import WitnessState
from residency.audit.checkpoint import parse_verifier_key, verify_checkpoint
from residency.audit.cosignature import COSIGNER_KINDS, Cosignature, find_cosignature, require_cosignatures
from residency.audit.note import parse_note
from residency.cli.audit import audit_app
from tests.audit_log import ORIGIN, VERIFIER, write_log

ENTRIES = [b"entry %d" % number for number in range(300)]


class Desk:
    """A witness at work below one folder."""

    def __init__(self, folder: Path, name: str = "w.example/w1") -> None:
        self.folder = folder
        self.keys = folder / name.replace("/", "-")
        self.run("witness-key", self.keys, "--name", name)
        self.log = folder / "log"
        self.log_key = folder / "given.vkey"

    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(audit_app, [str(argument) for argument in arguments])

    def publish(self, entries: Sequence[bytes]) -> bytes:
        write_log(self.log, entries)
        self.log_key.write_bytes((self.log / "log.vkey").read_bytes())
        return (self.log / "checkpoint").read_bytes()

    def witness(self, *more: object) -> Result:
        place = ("--log-key", self.log_key, "--keys", self.keys, "--state", self.folder / "state")
        return self.run("witness", self.log, *place, *more)

    def answer(self, *more: object) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.witness("--json", *more).stdout)
        return answer

    def vkeys(self) -> list[str]:
        return (self.keys / "witness.vkey").read_text().split()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_log_is_cosigned_by_both_keys_as_it_grows(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "cosigned"
    keys = [parse_verifier_key(vkey, COSIGNER_KINDS) for vkey in desk.vkeys()]
    for count, seen in ((5, None), (5, 5), (290, 5), (300, 290)):
        note = desk.publish(ENTRIES[:count])
        answer = desk.answer("--out", out)
        assert (answer["cosigned"], answer["size"], answer["seen"]) == (True, count, seen)
        cosigned = out.read_bytes()
        assert verify_checkpoint(cosigned, VERIFIER) == verify_checkpoint(note, VERIFIER)
        assert [find_cosignature(cosigned, key) for key in keys] == [Cosignature(key, answer["time"]) for key in keys]
        assert len(require_cosignatures(cosigned, keys, 1)) == 2


def test_the_signature_lines_are_all_that_stands_on_standard_output(desk: Desk) -> None:
    note = desk.publish(ENTRIES[:5])
    result = desk.witness()
    assert result.exit_code == 0, result.output
    cosigned = note + result.stdout.encode()
    for vkey in desk.vkeys():
        assert find_cosignature(cosigned, parse_verifier_key(vkey, COSIGNER_KINDS)) is not None
    assert "seen for the first time" in result.stderr


def test_cosignatures_of_other_witnesses_stay_in_the_file_while_the_checkpoint_is_the_same(
    desk: Desk, tmp_path: Path
) -> None:
    out, other = tmp_path / "cosigned", Desk(tmp_path, "other.example")
    desk.publish(ENTRIES[:5])
    desk.witness("--out", out)
    other.log_key = desk.log_key
    assert other.witness("--out", out).exit_code == 0
    assert len(parse_note(out.read_bytes()).signatures) == 5
    desk.publish(ENTRIES[:6])
    desk.witness("--out", out)
    assert len(parse_note(out.read_bytes()).signatures) == 3


@pytest.mark.parametrize("entries", [ENTRIES[:4], [*ENTRIES[:4], b"other"], [b"other", *ENTRIES[1:9]], []])
def test_a_log_that_went_back_or_forked_is_refused_and_both_notes_are_kept(desk: Desk, entries: list[bytes]) -> None:
    seen = desk.publish(ENTRIES[:5])
    assert desk.witness().exit_code == 0
    now = desk.publish(entries)
    assert desk.witness().exit_code == 1
    answer = desk.answer()
    assert (answer["cosigned"], answer["conflict"]) == (False, True)
    (kept,) = desk.folder.glob("state/*/refused/*")
    assert str(kept) in answer["problem"]
    assert ((kept / "seen").read_bytes(), (kept / "now").read_bytes()) == (seen, now)
    with WitnessState.holding(desk.folder / "state", ORIGIN, LogFiles) as memory:
        assert memory.recall() == seen
    desk.publish(ENTRIES[:9])
    assert desk.answer()["seen"] == 5


def test_a_memory_that_cannot_be_written_costs_the_cosignature(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: WitnessState, __: bytes) -> None:
        raise OSError(28, "no space")

    desk.publish(ENTRIES[:5])
    with monkeypatch.context() as broken:
        broken.setattr(WitnessState, "remember", full)
        result = desk.witness()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "errno 28" in result.stderr


def test_a_damaged_memory_a_held_one_and_a_missing_tile_are_refused(desk: Desk) -> None:
    desk.publish(ENTRIES[:5])
    assert desk.witness().exit_code == 0
    with WitnessState.holding(desk.folder / "state", ORIGIN, LogFiles):
        assert "another process" in desk.answer()["problem"]
    (memory,) = desk.folder.glob("state/*/checkpoint")
    kept = memory.read_bytes()
    memory.write_bytes(kept.replace(b"\n5\n", b"\n4\n"))
    assert "remembered" in desk.answer()["problem"]
    memory.write_bytes(kept)
    (desk.log / "tile/0/000.p/5").unlink()
    answer = desk.answer()
    assert "missing" in answer["problem"]
    assert "conflict" not in answer


def test_a_log_of_another_key_or_origin_is_refused(desk: Desk) -> None:
    desk.publish(ENTRIES[:5])
    assert "origin" in desk.answer("--origin", "other.example")["problem"]
    desk.log_key.write_text("x.example+" + desk.log_key.read_text().split("+", 1)[1])
    assert desk.witness().exit_code == 2
    (desk.log / "checkpoint").unlink()
    desk.log_key.write_bytes((desk.log / "log.vkey").read_bytes())
    assert "no checkpoint" in desk.answer()["problem"]


def test_keys_are_made_once_and_must_be_those_that_the_public_file_names(desk: Desk) -> None:
    before = {path: path.read_bytes() for path in desk.keys.iterdir() if path.is_file()}
    assert desk.run("witness-key", desk.keys, "--name", "again.example").exit_code == 1
    assert {path: path.read_bytes() for path in before} == before
    assert desk.run("witness-key", desk.folder / "none", "--name", "two words").exit_code == 1
    desk.publish(ENTRIES[:5])
    (desk.keys / "witness.ed25519").write_bytes(bytes(32))
    assert "public half" in desk.answer()["problem"]
    (desk.keys / "witness.vkey").write_text("")
    assert desk.witness().exit_code == 2
