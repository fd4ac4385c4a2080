"""Who cosigned a log, and up to where, is told only where it holds; so is its second signature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.audit.cosignature import Cosigner, ed25519_cosigner, log_signer, ml_dsa_cosigner
from residency.audit.entry import format_entry
from residency.audit.note import VerifierKey, format_verifier_key, parse_note, with_signature
from residency.cli.audit.verify_log import Asked, Verified, verify_log
from residency.cli.audit.verify_witness import second_signature, witnessed
from residency.errors import VerificationError
from tests.audit_log import ENTRIES, ORIGIN, write_log

NOW = 1_795_000_001_000_000
ONE: tuple[Cosigner, VerifierKey] = ed25519_cosigner("one.example", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
TWO: tuple[Cosigner, VerifierKey] = ml_dsa_cosigner("two.example", MLDSA44PrivateKey.from_seed_bytes(b"\2" * 32))
SECOND = log_signer(ORIGIN, MLDSA44PrivateKey.from_seed_bytes(b"\3" * 32))
Make = Callable[..., Verified]


@pytest.fixture
def verified(tmp_path: Path) -> Make:
    def make(count: int = len(ENTRIES), folder: str = "log") -> Verified:
        place = tmp_path / folder
        if not place.exists():
            write_log(place, [format_entry(entry) for entry in ENTRIES[:count]])
        return verify_log(str(place), Asked(None, (), None, False, 2**62, NOW, False))

    return make


def cosigned(log: Verified, path: Path, *cosigners: tuple[Cosigner, VerifierKey]) -> Path:
    note, text = log.note, parse_note(log.note).text
    for cosign, _ in cosigners:
        note = with_signature(note, cosign(text, NOW // 1_000_000))
    path.write_bytes(note)
    return path


def keys(path: Path, *cosigners: tuple[Cosigner, VerifierKey]) -> Path:
    path.write_text("".join(f"{format_verifier_key(key)}\n" for _, key in cosigners))
    return path


def test_the_newest_checkpoint_and_an_older_one_that_the_log_continues_count(verified: Make, tmp_path: Path) -> None:
    trusted = keys(tmp_path / "keys", ONE, TWO)
    older = cosigned(verified(2, "older"), tmp_path / "older.note", ONE, TWO)
    twin = ml_dsa_cosigner("one.example", MLDSA44PrivateKey.from_seed_bytes(b"\4" * 32))
    log = verified()
    both = cosigned(log, tmp_path / "both.note", ONE, twin)
    assert witnessed(log, [keys(tmp_path / "twins", ONE, twin)], None, both, NOW).names == ("one.example",)
    newest = cosigned(log, tmp_path / "newest.note", ONE, TWO)
    for note, size in ((older, 2), (newest, 4)):
        told = witnessed(log, [trusted], None, note, NOW).data()
        assert told["size"] == size
        assert [c["name"] for c in told["cosignatures"]] == ["one.example", "two.example"]
        assert [c["kind"] for c in told["cosignatures"]] == ["cosignature", "ml_dsa_44"]
        assert {c["time"] for c in told["cosignatures"]} == {NOW // 1_000_000}


def test_all_witnesses_are_asked_for_unless_a_quorum_is_said(verified: Make, tmp_path: Path) -> None:
    log = verified()
    files = [keys(tmp_path / "1", ONE), keys(tmp_path / "2", TWO)]
    note = cosigned(log, tmp_path / "note", TWO)
    with pytest.raises(VerificationError, match="1 of 2"):
        witnessed(log, files, None, note, NOW)
    assert len(witnessed(log, files, 1, note, NOW).held) == 1
    with pytest.raises(VerificationError, match="0 of 1"):
        witnessed(log, files, 1, None, NOW)
    with pytest.raises(typer.BadParameter, match="quorum"):
        witnessed(log, files, 3, note, NOW)
    with pytest.raises(VerificationError, match="to come"):
        witnessed(log, files, 1, note, NOW - 301_000_000)


def test_files_without_keys_or_that_are_not_there_are_wrong_use(verified: Make, tmp_path: Path) -> None:
    log = verified()
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "other").write_text((tmp_path / "log/log.vkey").read_text())
    for name in ("none", "empty", "other"):
        with pytest.raises(typer.BadParameter):
            witnessed(log, [tmp_path / name], None, None, NOW)
    with pytest.raises(typer.BadParameter):
        witnessed(log, [keys(tmp_path / "keys", ONE)], None, tmp_path / "none", NOW)
    for name in ("none", "other"):
        with pytest.raises(typer.BadParameter):
            second_signature(log, tmp_path / name)


def test_a_second_signature_is_told_where_its_key_is_known_and_demanded_where_it_was_given(
    verified: Make, tmp_path: Path
) -> None:
    plain = verified()
    given = tmp_path / "given"
    given.write_text(format_verifier_key(SECOND[1]))
    assert second_signature(plain, None) is None
    with pytest.raises(VerificationError, match="no second signature"):
        second_signature(plain, given)
    beside = tmp_path / "log/log.ml-dsa-44.vkey"
    beside.write_text(format_verifier_key(SECOND[1]) + "\n")
    assert second_signature(plain, None) is False
    text = parse_note(plain.note).text
    (tmp_path / "log/checkpoint").write_bytes(with_signature(plain.note, SECOND[0](text)))
    assert second_signature(verified(), None) is True
    assert second_signature(verified(), given) is True
    other = SECOND[0](text.replace("\n4\n", "\n5\n"))
    (tmp_path / "log/checkpoint").write_bytes(with_signature(plain.note, other))
    with pytest.raises(VerificationError, match="does not hold"):
        second_signature(verified(), None)
    beside.write_bytes(b"\xff")
    with pytest.raises(VerificationError):
        second_signature(verified(), None)


def test_the_second_key_of_another_log_is_refused(verified: Make, tmp_path: Path) -> None:
    other = tmp_path / "other"
    key = log_signer("other.example", MLDSA44PrivateKey.from_seed_bytes(bytes(32)))[1]
    other.write_text(format_verifier_key(key))
    with pytest.raises(VerificationError, match=r"other\.example"):
        second_signature(verified(), other)
