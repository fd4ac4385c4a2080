"""Receipts are signed notes that nobody can change, and no checkpoint."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.audit.checkpoint import parse_checkpoint
from residency.audit.note import format_note, note_signer
from residency.errors import VerificationError
from residency.storage.receipts import ERASURE, EXPORT, format_receipt, instant, parse_receipt

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER, VERIFIER = note_signer("example.com/log", KEY)
DOCUMENT = {"complete": True, "erased": [{"count": 1, "store": "people"}], "text": "dữ liệu\n"}


def test_a_receipt_comes_back_as_it_was() -> None:
    assert parse_receipt(ERASURE, format_receipt(ERASURE, DOCUMENT, SIGNER), VERIFIER) == DOCUMENT


def test_one_byte_changed_is_no_receipt() -> None:
    data = format_receipt(ERASURE, DOCUMENT, SIGNER)
    for at in (0, 40, len(data) - 10):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(VerificationError):
            parse_receipt(ERASURE, bytes(changed), VERIFIER)


def test_another_key_or_kind_is_refused() -> None:
    data = format_receipt(ERASURE, DOCUMENT, SIGNER)
    with pytest.raises(VerificationError):
        parse_receipt(EXPORT, data, VERIFIER)
    _, other = note_signer("example.com/log", Ed25519PrivateKey.generate())
    with pytest.raises(VerificationError):
        parse_receipt(ERASURE, data, other)


@pytest.mark.parametrize("text", [f"{ERASURE}\n[1]\n", f"{ERASURE}\nno\n", f"{ERASURE}\n{{}}\n{{}}\n", f"{ERASURE}\n"])
def test_what_the_key_signed_otherwise_is_no_receipt(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_receipt(ERASURE, format_note(text, SIGNER), VERIFIER)


def test_a_receipt_is_not_taken_for_a_checkpoint() -> None:
    text = format_receipt(ERASURE, DOCUMENT, SIGNER).decode().partition("\n\n")[0] + "\n"
    with pytest.raises(VerificationError):
        parse_checkpoint(text)


def test_instants_are_written_to_the_second() -> None:
    assert instant(1_600_000_000_999_999) == "2020-09-13T12:26:40Z"
