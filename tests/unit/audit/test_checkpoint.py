"""Checkpoints are the public format, and nothing that was changed verifies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.checkpoint import (
    Checkpoint,
    format_checkpoint,
    format_note,
    note_signer,
    parse_checkpoint,
    parse_verifier_key,
    verify_checkpoint,
    verify_note,
)
from residency.errors import VerificationError

VECTOR = json.loads((Path(__file__).parents[2] / "vectors/audit/checkpoint.json").read_text())
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER, VERIFIER = note_signer("log.example/one", KEY)
CHECKPOINT = Checkpoint("log.example/one", 7, bytes(range(32)))
NOTE = format_note(format_checkpoint(CHECKPOINT), SIGNER)
ROOT = "A" * 43 + "="


def test_a_live_tree_head_of_gos_checksum_database_verifies_under_its_own_origin() -> None:
    key = parse_verifier_key(VECTOR["vkey"])
    found = verify_checkpoint(VECTOR["note"].encode(), key, VECTOR["origin"])
    assert (found.origin, found.size) == (VECTOR["origin"], VECTOR["size"])
    assert format_checkpoint(found) == verify_note(VECTOR["note"].encode(), key)
    with pytest.raises(VerificationError, match="origin"):
        verify_checkpoint(VECTOR["note"].encode(), key)


def test_a_checkpoint_is_three_lines() -> None:
    assert format_checkpoint(Checkpoint("o", 20852163, bytes(32))) == f"o\n20852163\n{ROOT}\n"


def test_a_checkpoint_comes_back_from_its_note() -> None:
    assert verify_checkpoint(NOTE, VERIFIER) == CHECKPOINT
    assert parse_checkpoint(format_checkpoint(CHECKPOINT)) == CHECKPOINT


def test_a_checkpoint_of_an_empty_log_comes_back() -> None:
    empty = Checkpoint("log.example/one", 0, bytes(32))
    assert verify_checkpoint(format_note(format_checkpoint(empty), SIGNER), VERIFIER) == empty


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


def test_extension_lines_are_read_past() -> None:
    assert parse_checkpoint(f"o\n1\n{ROOT}\nmore\nand more\n") == Checkpoint("o", 1, bytes(32))


def test_an_origin_may_hold_what_a_key_name_may_not() -> None:
    assert parse_checkpoint(f"go.sum database tree + more\n1\n{ROOT}\n").origin == "go.sum database tree + more"


@pytest.mark.parametrize(
    "text",
    ["", "o\n1\n", "o\n01\nAAAA\n", "o\n-1\nAAAA\n", "o\n1\nAAAA\n", "o\n1\n!\n", f"\n1\n{ROOT}\n", f"o\n01\n{ROOT}\n",
     f"o\n+1\n{ROOT}\n", f"o\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT}\n", f"o\n9223372036854775808\n{ROOT}\n",
     f"o\n1\n{ROOT}", f"o\n1\n{ROOT}\n\n", f"o\n1\n{ROOT}\n\nmore\n", "o\n1\n\n"],
)  # fmt: skip
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_checkpoint(text)
