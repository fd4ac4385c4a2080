"""Cosignatures are those that public witnesses make, and say nothing of another checkpoint, name or time."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.audit.checkpoint import Checkpoint, format_checkpoint, verify_checkpoint
from residency.audit.cosignature import (
    COSIGNER_KINDS,
    Cosignature,
    Cosigner,
    ed25519_cosigner,
    find_cosignature,
    log_signer,
    ml_dsa_cosigner,
    require_cosignatures,
)
from residency.audit.note import (
    KeyKind,
    VerifierKey,
    format_note,
    format_signature,
    format_verifier_key,
    note_signer,
    parse_verifier_key,
    together,
    verify_note,
    with_signature,
)
from residency.errors import VerificationError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/audit/cosignatures.json").read_text())
LOG, LOG_KEY = note_signer("log.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
TEXT = format_checkpoint(Checkpoint("log.example", 7, bytes(range(32))))
NOTE = format_note(TEXT, LOG)
TIME = 1_679_315_147
ED, ED_KEY = ed25519_cosigner("w.example/ed", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
ML, ML_KEY = ml_dsa_cosigner("w.example/ml", MLDSA44PrivateKey.from_seed_bytes(b"\2" * 32))
BOTH = pytest.mark.parametrize(("cosign", "key"), [(ED, ED_KEY), (ML, ML_KEY)], ids=["ed25519", "ml-dsa-44"])


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["kind"] for vector in VECTORS])
def test_a_live_cosignature_verifies_and_no_changed_one_does(vector: dict[str, Any]) -> None:
    key = parse_verifier_key(vector["vkey"], COSIGNER_KINDS)
    assert key.kind is KeyKind[vector["kind"]]
    assert format_verifier_key(key) == vector["vkey"]
    note = vector["note"].encode()
    assert find_cosignature(note, key) == Cosignature(key, vector["time"])
    origin, size, *_ = vector["note"].split("\n")
    for old, new in ((size, str(int(size) + 1)), (origin, "x" + origin[1:])):
        with pytest.raises(VerificationError):
            find_cosignature(vector["note"].replace(old, new).encode(), key)
    assert find_cosignature(vector["note"].replace(f"— {key.name} ", "— elsewhere ").encode(), key) is None
    if vector["log_vkey"] is not None:
        assert verify_checkpoint(note, parse_verifier_key(vector["log_vkey"])).size == int(size)


@BOTH
def test_what_we_cosign_holds_and_the_logs_own_signature_still_does(cosign: Cosigner, key: VerifierKey) -> None:
    note = with_signature(NOTE, cosign(TEXT, TIME))
    assert find_cosignature(note, key) == Cosignature(key, TIME)
    assert verify_note(note, LOG_KEY) == TEXT
    assert find_cosignature(NOTE, key) is None


def test_the_message_of_ed25519_is_that_of_the_document() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
    raw = base64.b64decode(ED(TEXT, TIME).split(" ")[2])
    public = key.public_key().public_bytes_raw()
    assert raw[:4] == hashlib.sha256(b"w.example/ed\n\x04" + public).digest()[:4]
    assert raw[4:12] == struct.pack(">Q", TIME)
    key.public_key().verify(raw[12:], b"cosignature/v1\ntime 1679315147\n" + TEXT.encode())


def test_the_message_of_ml_dsa_44_is_that_of_the_document() -> None:
    key = MLDSA44PrivateKey.from_seed_bytes(b"\2" * 32)
    raw = base64.b64decode(ML(TEXT, TIME).split(" ")[2])
    public = key.public_key().public_bytes_raw()
    assert raw[:4] == hashlib.sha256(b"w.example/ml\n\x06" + public).digest()[:4]
    assert (raw[4:12], len(raw)) == (struct.pack(">Q", TIME), 4 + 8 + 2420)
    message = b"subtree/v1\n\0" + b"\x0cw.example/ml" + struct.pack(">Q", TIME) + b"\x0blog.example"
    message += struct.pack(">QQ", 0, 7) + bytes(range(32))
    key.public_key().verify(raw[12:], message)


@BOTH
@pytest.mark.parametrize(
    "text",
    [TEXT.replace("\n7\n", "\n8\n"), TEXT.replace("log.", "lag."), TEXT.replace("AAEC", "AAED")],
    ids=["size", "origin", "root"],
)
def test_a_cosignature_moved_to_another_checkpoint_is_refused(cosign: Cosigner, key: VerifierKey, text: str) -> None:
    assert text != TEXT
    with pytest.raises(VerificationError, match="does not hold"):
        find_cosignature(with_signature(format_note(text, LOG), cosign(TEXT, TIME)), key)


@BOTH
def test_a_cosignature_whose_time_was_changed_is_refused(cosign: Cosigner, key: VerifierKey) -> None:
    raw = base64.b64decode(cosign(TEXT, TIME).split(" ")[2])
    later = format_signature(key, struct.pack(">Q", TIME + 1) + raw[12:])
    with pytest.raises(VerificationError, match="does not hold"):
        find_cosignature(with_signature(NOTE, later), key)


@BOTH
def test_of_several_cosignatures_by_a_key_all_must_hold_and_the_newest_counts(
    cosign: Cosigner, key: VerifierKey
) -> None:
    block = "\n".join((cosign(TEXT, TIME), cosign(TEXT, TIME + 9), cosign(TEXT, TIME + 3)))
    assert find_cosignature(f"{TEXT}\n{block}\n".encode(), key) == Cosignature(key, TIME + 9)
    false = format_signature(key, bytes(8 + (64 if key.kind is KeyKind.COSIGNATURE else 2420)))
    with pytest.raises(VerificationError, match="does not hold"):
        find_cosignature(f"{TEXT}\n{block}\n{false}\n".encode(), key)


@BOTH
@pytest.mark.parametrize("length", [1, 8, 71, 73, 2427, 2429])
def test_a_cosignature_of_another_length_is_refused(cosign: Cosigner, key: VerifierKey, length: int) -> None:
    with pytest.raises(VerificationError, match="as long as"):
        find_cosignature(with_signature(NOTE, format_signature(key, bytes(length))), key)


@BOTH
def test_a_time_beyond_what_the_format_holds_is_refused(cosign: Cosigner, key: VerifierKey) -> None:
    last = 2**63 - 1
    assert find_cosignature(with_signature(NOTE, cosign(TEXT, last)), key) == Cosignature(key, last)
    for time in (-1, 2**63):
        with pytest.raises(VerificationError, match="time"):
            cosign(TEXT, time)
    far = format_signature(key, b"\xff" * 8 + bytes(64 if key.kind is KeyKind.COSIGNATURE else 2420))
    with pytest.raises(VerificationError, match="time"):
        find_cosignature(with_signature(NOTE, far), key)


@BOTH
def test_nothing_but_a_checkpoint_is_cosigned_or_believed_cosigned(cosign: Cosigner, key: VerifierKey) -> None:
    for text in ("no checkpoint\n", "o\n1\nAAAA\n"):
        with pytest.raises(VerificationError):
            cosign(text, TIME)
        with pytest.raises(VerificationError):
            find_cosignature(format_note(text, LOG), key)


def test_a_name_or_origin_that_the_message_cannot_hold_is_refused() -> None:
    with pytest.raises(VerificationError):
        ed25519_cosigner("two words", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    long, _ = ml_dsa_cosigner("n" * 256, MLDSA44PrivateKey.from_seed_bytes(bytes(32)))
    with pytest.raises(VerificationError, match="255"):
        long(TEXT, TIME)
    with pytest.raises(VerificationError, match="255"):
        ML(TEXT.replace("log.example", "o" * 256), TIME)


def test_a_logs_second_signature_states_no_time_and_leaves_the_first_as_it_was() -> None:
    second, key = log_signer("log.example", MLDSA44PrivateKey.from_seed_bytes(b"\3" * 32))
    note = format_note(TEXT, together([LOG, second]))
    assert verify_checkpoint(note, LOG_KEY).size == 7
    assert find_cosignature(note, key) == Cosignature(key, 0)
    assert key.name == LOG_KEY.name
    with pytest.raises(VerificationError, match="0 of 1"):
        require_cosignatures(note, [key], 1)


def test_a_signature_of_an_algorithm_that_cannot_be_had_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        @staticmethod
        def from_public_bytes(public: bytes) -> None:
            raise UnsupportedAlgorithm("not in this build")

    note = with_signature(NOTE, ML(TEXT, TIME))
    monkeypatch.setattr("residency.audit.cosignature.MLDSA44PublicKey", Without)
    with pytest.raises(VerificationError, match="cannot be verified"):
        find_cosignature(note, ML_KEY)


def test_a_log_key_is_none_that_cosigns() -> None:
    with pytest.raises(VerificationError, match="none that cosigns"):
        find_cosignature(NOTE, LOG_KEY)


def test_a_quorum_counts_each_witness_once_whatever_keys_it_has() -> None:
    twin, twin_key = ml_dsa_cosigner("w.example/ed", MLDSA44PrivateKey.from_seed_bytes(b"\4" * 32))
    note = with_signature(with_signature(NOTE, ED(TEXT, TIME)), twin(TEXT, TIME))
    assert len(require_cosignatures(note, [ED_KEY, twin_key], 1)) == 2
    with pytest.raises(VerificationError, match=r"1 of 2 witnesses.*w\.example/ml"):
        require_cosignatures(note, [ED_KEY, twin_key, ML_KEY], 2)
    full = with_signature(note, ML(TEXT, TIME))
    assert {held.key.name for held in require_cosignatures(full, [ED_KEY, twin_key, ML_KEY], 2)} == {
        "w.example/ed",
        "w.example/ml",
    }


def test_a_key_given_under_two_names_does_not_count_twice() -> None:
    alias = VerifierKey("w.example/other", ED_KEY.public, KeyKind.COSIGNATURE)
    with pytest.raises(VerificationError, match="given twice"):
        require_cosignatures(NOTE, [ED_KEY, alias], 1)


@pytest.mark.parametrize("quorum", [-1, 0, 2])
def test_a_quorum_that_is_none_or_out_of_reach_is_wrong_use(quorum: int) -> None:
    with pytest.raises(ValueError, match="quorum"):
        require_cosignatures(NOTE, [ED_KEY], quorum)


def test_a_cosignature_of_a_time_to_come_is_refused_where_the_time_is_known() -> None:
    note = with_signature(NOTE, ED(TEXT, TIME))
    assert require_cosignatures(note, [ED_KEY], 1, now=TIME - 300)  # clocks differ
    with pytest.raises(VerificationError, match="to come"):
        require_cosignatures(note, [ED_KEY], 1, now=TIME - 301)
