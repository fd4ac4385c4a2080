"""What lies around a log is found, and a file that is not what it was written as is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.audit.checkpoint import Checkpoint
from residency.audit.open_intents import OPEN_INTENTS_PATH, OpenIntents, format_open_intents
from residency.audit.sequencer import STATE_PATH, Cursor, State, format_state
from residency.cli.audit.beside import audit_folder, changed_beside, has_archive, odd_beside
from residency.policy.archive import digest_of, format_archive

CHECKPOINT = Checkpoint("log.example", 5, b"\1" * 32)
SOURCES = [("deployment/a", b"name: a\n"), ("law/b", b"rules: []\n")]
POLICY = f"policies/{digest_of(SOURCES)}.json"


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    for folder in ("log", "policies", "facts"):
        (tmp_path / folder).mkdir()
    (tmp_path / POLICY).write_bytes(format_archive(SOURCES))
    return tmp_path


def state(size: int = 5, root: bytes = b"\1" * 32, origin: str = "log.example") -> bytes:
    return format_state(State(origin, size, root, {0: Cursor()}))


def changed(audit: Path) -> list[str]:
    return list(changed_beside(audit, CHECKPOINT))


def test_the_audit_folder_is_the_one_around_the_log(audit: Path, tmp_path: Path) -> None:
    assert audit_folder(audit / "log") == audit.resolve()
    assert has_archive(audit)
    (tmp_path / "alone" / "log").mkdir(parents=True)
    assert audit_folder(tmp_path / "alone" / "log") is None


def test_what_was_written_is_as_it_was_written(audit: Path) -> None:
    (audit / STATE_PATH).write_bytes(state())
    assert changed(audit) == []
    (audit / STATE_PATH).write_bytes(state(size=6, root=b"\2" * 32))
    assert changed(audit) == []


@pytest.mark.parametrize("other", [b"", b"{}", b"[]", b'{"sources":[[1,2]],"v":1}', b'{"sources":3}', b"\xff"])
def test_a_policy_that_is_another_is_named(audit: Path, other: bytes) -> None:
    (audit / POLICY).write_bytes(other)
    assert changed(audit) == [f"{POLICY} is not what its digest names"]


def test_a_policy_of_the_same_files_in_other_bytes_is_named(audit: Path) -> None:
    (audit / POLICY).write_bytes(format_archive(SOURCES).replace(b",", b", ", 1))
    assert changed(audit) == [f"{POLICY} is not what its digest names"]


def test_facts_that_are_others_and_files_without_a_digest_are_named(audit: Path) -> None:
    (audit / f"facts/{'0' * 64}.json").write_bytes(b"{}")
    (audit / "facts/new.json").write_bytes(b"{}")
    assert changed(audit) == [
        f"facts/{'0' * 64}.json is not what its digest names", "facts/new.json is not named after a digest"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "not a sequencer state"),
        (state().replace(b'"size":5', b'"size":6'), "fails its checksum"),
        (state(size=4), "older than its checkpoint"),
        (state(origin="other"), "not of this log"),
        (state(root=b"\2" * 32), "another root"),
    ],
)
def test_a_state_that_does_not_go_with_the_checkpoint_is_named(audit: Path, data: bytes, why: str) -> None:
    (audit / STATE_PATH).write_bytes(data)
    (told,) = changed(audit)
    assert told.startswith(STATE_PATH)
    assert why in told


def test_each_byte_of_the_file_of_open_intents_is_as_it_was_written(audit: Path) -> None:
    written = format_open_intents(OpenIntents(), "log.example")
    for at in range(len(written)):
        (audit / OPEN_INTENTS_PATH).write_bytes(written[:at] + bytes([written[at] ^ 1]) + written[at + 1 :])
        (told,) = changed(audit)
        assert OPEN_INTENTS_PATH in told
    (audit / OPEN_INTENTS_PATH).write_bytes(written)
    assert changed(audit) == []


def test_a_version_that_is_no_digest_is_named_and_one_of_a_policy_that_is_not_archived_is_a_finding(
    audit: Path,
) -> None:
    version = audit / "versions" / "bundle" / "7"
    version.parent.mkdir(parents=True)
    digest = digest_of(SOURCES)
    version.write_text(f"{digest}\n")
    assert (changed(audit), list(odd_beside(audit))) == ([], [])
    for other in ("", digest, f"{digest}\n\n", f"{digest[1:]}\n", f"{digest[1:]}x\n"):
        version.write_text(other)
        assert changed(audit) == ["versions/bundle/7 is not the digest of a policy"]
    version.write_text(f"{digest[1:]}{digest[0]}\n")
    (found,) = odd_beside(audit)
    assert found.what == "version_not_archived"
    assert "versions/bundle/7" in found.message
