"""What holds of one log beside somebody's memory of it, its archive and the clock."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from residency.audit.entry import Entry, format_entry
from residency.cli.audit.verify_log import Asked, Verified, keep, verify_log
from residency.errors import VerificationError
from tests.audit_log import INTENT, write_log
from tests.recorded_log import RecordedLog
from tests.world import HOME, load_policy, write_deployment

DEPLOYMENT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
START = 1_795_000_000_000_000
ASKED = Asked(None, (), None, replay=True, max_gap=86_400_000_000, now=START + 10**9, progress=False)


def decisions(count: int) -> list[bytes]:
    return [format_entry(replace(INTENT, id=f"0.{n}", kind="decision", at=START + n)) for n in range(count)]


@pytest.fixture
def recorded(tmp_path: Path) -> RecordedLog:
    log = RecordedLog(load_policy(write_deployment(tmp_path / "made", DEPLOYMENT, (HOME,))), START)
    log.ask("POST /people")
    return log


def verify(place: Path, *seen: Path, **changed: object) -> Verified:
    return verify_log(str(place), replace(ASKED, seen=seen, **changed))  # type: ignore[arg-type]  # named by each test


def test_decisions_are_made_again_by_the_archive_around_the_log(recorded: RecordedLog, tmp_path: Path) -> None:
    log = recorded.write(tmp_path / "audit")
    told = verify(log).data()
    assert told["coverage"] == {
        "decisions": 1, "replayed": 1, "share": 1.0, "not_replayed": {},
        "not_decisions": {"entries of the system": 1, "outcomes of acts": 1},
    }  # fmt: skip
    elsewhere = Path(shutil.move(log, tmp_path / "elsewhere"))
    assert verify(elsewhere).data()["coverage"] is None
    assert verify(elsewhere, audit=tmp_path / "audit").data()["coverage"] == told["coverage"]


def test_without_an_archive_that_nothing_was_replayed_is_a_finding_unless_it_was_not_asked_for(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", decisions(3))
    assert [finding.what for finding in verify(log).findings] == ["not_replayed"]
    assert verify(log, replay=False).findings == ()


def forged(entry: Entry) -> Entry:
    return replace(entry, rules=("test.other",)) if entry.kind == "intent" else entry


def test_a_well_signed_record_that_its_policy_does_not_decide_does_not_hold(
    recorded: RecordedLog, tmp_path: Path
) -> None:
    recorded.write(tmp_path / "audit")
    shutil.rmtree(tmp_path / "audit/log")
    log = write_log(tmp_path / "audit/log", [format_entry(forged(entry)) for entry in recorded.entries])
    said = r"1 recorded decisions are not .* the first is entry 1 \(rules: \[test.home\] was expected\)"
    with pytest.raises(VerificationError, match=said):
        verify(log)
    assert verify(log, replay=False).open == 0


def test_a_log_continues_what_was_seen_and_is_refused_where_it_does_not(tmp_path: Path) -> None:
    older = write_log(tmp_path / "older", decisions(300)) / "checkpoint"
    log = write_log(tmp_path / "log", decisions(700))
    assert verify(log, older, log / "checkpoint").checkpoint.size == 700
    other = [format_entry(replace(INTENT, id=f"0.{n}", kind="decision", at=START + 2 * n)) for n in range(700)]
    with pytest.raises(VerificationError, match="does not continue the one that was seen: seen 300"):
        verify(write_log(tmp_path / "other", other), older)
    with pytest.raises(VerificationError, match="shorter: seen 700"):
        verify(tmp_path / "older", log / "checkpoint")


def test_what_was_seen_must_be_a_checkpoint_of_this_log(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", decisions(3))
    (tmp_path / "seen").write_bytes((log / "checkpoint").read_bytes().replace(b"log.example", b"log.another", 1))
    with pytest.raises(VerificationError, match="the checkpoint in seen is not one of this log"):
        verify(log, tmp_path / "seen")
    with pytest.raises(typer.BadParameter):
        verify(log, tmp_path / "nothing")


def test_the_entry_that_begins_is_found_where_another_slot_came_first(tmp_path: Path) -> None:
    entries = [replace(INTENT, id="1.0", kind="decision"), replace(INTENT, id="0.0", kind="decision", note="x")]
    first = verify(write_log(tmp_path / "log", [format_entry(entry) for entry in entries])).first
    assert first is not None
    assert first.note == "x"
    assert verify(write_log(tmp_path / "empty", [])).first is None


def test_what_is_kept_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    keep(tmp_path / "seen", b"one")
    keep(tmp_path / "seen", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("seen", b"two")]
    with pytest.raises(typer.BadParameter):
        keep(tmp_path / "nowhere" / "seen", b"three")
