"""Notes and checkpoints are the public formats, and nothing that was changed verifies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.checkpoint import (
    Checkpoint,
    VerifierKey,
    format_checkpoint,
    format_note,
    format_verifier_key,
    note_signer,
    parse_checkpoint,
    parse_verifier_key,
    verify_checkpoint,
    verify_note,
)
from residency.errors import VerificationError

VECTOR = json.loads((Path(__file__).parents[2] / "vectors/audit/signed_note.json").read_text())
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER, VERIFIER = note_signer("log.example/one", KEY)
CHECKPOINT = Checkpoint("log.example/one", 7, bytes(range(32)))
NOTE = format_note(format_checkpoint(CHECKPOINT), SIGNER)


def test_the_note_from_go_verifies_unchanged() -> None:
    assert verify_note(VECTOR["note"].encode(), parse_verifier_key(VECTOR["vkey"])) == VECTOR["text"]


def test_the_verifier_key_from_go_is_written_back_the_same() -> None:
    assert format_verifier_key(parse_verifier_key(VECTOR["vkey"])) == VECTOR["vkey"]


def test_a_checkpoint_comes_back_from_its_note() -> None:
    assert verify_checkpoint(NOTE, VERIFIER) == CHECKPOINT
    assert parse_checkpoint(format_checkpoint(CHECKPOINT)) == CHECKPOINT


def test_a_checkpoint_of_an_empty_log_comes_back() -> None:
    empty = Checkpoint("log.example/one", 0, bytes(32))
    assert verify_checkpoint(format_note(format_checkpoint(empty), SIGNER), VERIFIER) == empty


def test_our_own_verifier_key_comes_back_with_a_line_feed() -> None:
    assert parse_verifier_key(format_verifier_key(VERIFIER) + "\n") == VERIFIER


@given(st.integers(0, len(NOTE) * 8 - 1))
def test_a_note_with_any_bit_flipped_does_not_verify(bit: int) -> None:
    changed = bytearray(NOTE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        verify_checkpoint(bytes(changed), VERIFIER)


@given(st.integers(0, len(NOTE) - 1))
def test_a_truncated_note_does_not_verify(length: int) -> None:
    with pytest.raises(VerificationError):
        verify_checkpoint(NOTE[:length], VERIFIER)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_a_verification_error(data: bytes) -> None:
    with pytest.raises(VerificationError):
        verify_note(data, VERIFIER)


def test_signatures_of_others_are_passed_over_and_do_not_count() -> None:
    other_signer, other = note_signer("witness.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    text = format_checkpoint(CHECKPOINT)
    both = f"{text}\n{other_signer(text)}\n{SIGNER(text)}\n".encode()
    assert verify_checkpoint(both, VERIFIER) == CHECKPOINT
    assert verify_note(both, other) == text
    with pytest.raises(VerificationError, match="carries no signature"):
        verify_note(NOTE, other)


def test_a_checkpoint_of_another_log_under_the_same_key_is_refused() -> None:
    elsewhere = Checkpoint("log.example/two", 7, bytes(32))
    with pytest.raises(VerificationError, match="origin"):
        verify_checkpoint(format_note(format_checkpoint(elsewhere), SIGNER), VERIFIER)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb"])
def test_a_signer_name_that_the_format_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(VerificationError):
        note_signer(name, KEY)


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+00000000", "name+00000000+AAAA", VECTOR["vkey"].replace("c74f20a3", "c74f20a4"),
     VECTOR["vkey"][:-1], VECTOR["vkey"].replace("+AR", "+AB")],
)  # fmt: skip
def test_a_verifier_key_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_verifier_key(text)


@pytest.mark.parametrize(
    "text",
    ["", "o\n1\n", "o\n01\nAAAA\n", "o\n-1\nAAAA\n", "o\n1\nAAAA\n", "o\n1\n!\n", "\n1\n" + "A" * 43 + "=\n"],
)
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_checkpoint(text)


def test_a_text_without_a_final_line_feed_cannot_be_signed() -> None:
    with pytest.raises(VerificationError):
        format_note("text", SIGNER)


def test_a_key_hash_tells_names_and_keys_apart() -> None:
    assert VerifierKey("a", bytes(32)).key_hash != VerifierKey("b", bytes(32)).key_hash
