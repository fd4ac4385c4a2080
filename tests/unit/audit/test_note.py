"""Notes and verifier keys are the public formats; other keys are passed over, and what was changed is refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.note import (
    KeyKind,
    VerifierKey,
    decode_base64,
    format_note,
    format_signature,
    format_verifier_key,
    note_signer,
    parse_note,
    parse_verifier_key,
    together,
    verify_note,
    with_signature,
)
from residency.errors import VerificationError

VECTOR = json.loads((Path(__file__).parents[2] / "vectors/audit/signed_note.json").read_text())
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER, VERIFIER = note_signer("log.example/one", KEY)
TEXT = "one\ntwo\n"
NOTE = format_note(TEXT, SIGNER)
OTHER_SIGNER, OTHER = note_signer("witness.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))


def line(note: bytes) -> str:
    return note.decode().splitlines()[-1]


def test_the_note_from_go_verifies_unchanged() -> None:
    assert verify_note(VECTOR["note"].encode(), parse_verifier_key(VECTOR["vkey"])) == VECTOR["text"]


def test_the_verifier_key_from_go_is_written_back_the_same() -> None:
    assert format_verifier_key(parse_verifier_key(VECTOR["vkey"])) == VECTOR["vkey"]


def test_our_own_verifier_key_comes_back_with_a_line_feed() -> None:
    assert parse_verifier_key(format_verifier_key(VERIFIER) + "\n") == VERIFIER


def test_a_note_is_the_text_an_empty_line_and_its_signature() -> None:
    assert NOTE.startswith(b"one\ntwo\n\n\xe2\x80\x94 log.example/one ")
    raw = base64.b64decode(line(NOTE).split(" ")[2])
    assert raw[:4] == VERIFIER.key_hash
    assert len(raw) == 4 + 64


def test_a_text_with_empty_lines_parts_at_the_last_one() -> None:
    text = "one\n\n\ntwo\n"
    assert verify_note(format_note(text, SIGNER), VERIFIER) == text
    assert verify_note(format_note("\n", SIGNER), VERIFIER) == "\n"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_a_verification_error(data: bytes) -> None:
    with pytest.raises(VerificationError):
        verify_note(data, VERIFIER)


@given(st.integers(0, len(NOTE) * 8 - 1))
def test_a_note_with_any_bit_flipped_does_not_verify(bit: int) -> None:
    changed = bytearray(NOTE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        verify_note(bytes(changed), VERIFIER)


def test_a_note_of_two_signers_verifies_by_each_of_them() -> None:
    note = format_note(TEXT, together([OTHER_SIGNER, SIGNER]))
    assert verify_note(note, VERIFIER) == verify_note(note, OTHER) == TEXT
    assert [signature.name for signature in parse_note(note).signatures] == ["witness.example", "log.example/one"]


def test_a_signature_that_shares_only_name_or_only_id_with_the_key_is_passed_over() -> None:
    same_name = format_signature(VerifierKey(VERIFIER.name, bytes(32)), bytes(64))
    same_id = f"— elsewhere {base64.b64encode(VERIFIER.key_hash + bytes(64)).decode()}"
    unknown_type = f"— log.example/one {base64.b64encode(bytes(4) + bytes(5000)).decode()}"
    note = f"{TEXT}\n{same_name}\n{same_id}\n{unknown_type}\n{SIGNER(TEXT)}\n".encode()
    assert verify_note(note, VERIFIER) == TEXT
    without = f"{TEXT}\n{same_name}\n{same_id}\n".encode()
    with pytest.raises(VerificationError, match="carries no signature"):
        verify_note(without, VERIFIER)


def test_one_false_signature_of_the_key_spoils_the_note_whatever_the_others_say() -> None:
    false = format_signature(VERIFIER, bytes(64))
    with pytest.raises(VerificationError, match="does not hold"):
        verify_note(f"{TEXT}\n{SIGNER(TEXT)}\n{false}\n".encode(), VERIFIER)


def test_a_hundred_signatures_are_read_and_more_are_not() -> None:
    lines = [format_signature(VerifierKey(f"w{i}", bytes(32)), bytes(64)) for i in range(99)]
    block = "\n".join([*lines, SIGNER(TEXT)])
    assert verify_note(f"{TEXT}\n{block}\n".encode(), VERIFIER) == TEXT
    with pytest.raises(VerificationError, match="too many"):
        parse_note(f"{TEXT}\n{lines[0]}\n{block}\n".encode())


@pytest.mark.parametrize(
    "block",
    ["", "— log.example/one \n", "- log.example/one AAAAAAA=\n", "— log.example/one AAAAAA==\n", "— a+b AAAAAAA=\n",
     "— a\u00a0b AAAAAAA=\n", "— a\u2003b AAAAAAA=\n", "—  AAAAAAA=\n", "— a AAAAAAA\n", "— a AAAAAAB=\n",
     "— a AAAAAAA=", "— a AAAAAAA= \n", "— a AAAAAAA=\nmore\n"],
)  # fmt: skip
def test_a_malformed_signature_line_spoils_the_note(block: str) -> None:
    with pytest.raises(VerificationError):
        parse_note(f"{TEXT}\n{block}".encode())


@pytest.mark.parametrize("spoiled", [b"\r", b"\t", b"\0", b"\x1b", b"\xff"])
def test_control_characters_and_what_is_not_utf_8_spoil_a_note(spoiled: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_note(NOTE.replace(b"two", spoiled))


def test_a_note_of_more_than_a_million_bytes_is_refused() -> None:
    with pytest.raises(VerificationError, match="too large"):
        parse_note(b"x" * 1_000_000 + NOTE)


def test_a_signature_is_added_once_for_each_key_and_the_others_stay() -> None:
    once = with_signature(NOTE, OTHER_SIGNER(TEXT))
    assert verify_note(once, VERIFIER) == verify_note(once, OTHER) == TEXT
    assert with_signature(once, OTHER_SIGNER(TEXT)) == once
    newer = format_signature(OTHER, bytes(64))
    assert [s.signature for s in parse_note(with_signature(once, newer)).signatures][1] == bytes(64)
    with pytest.raises(VerificationError):
        with_signature(NOTE, "no line")


def test_a_key_that_signs_checkpoints_verifies_no_note() -> None:
    with pytest.raises(VerificationError, match="not notes"):
        verify_note(NOTE, VerifierKey(VERIFIER.name, VERIFIER.public, KeyKind.COSIGNATURE))


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb", "a\u00a0b", "a\u2028b"])
def test_a_signer_name_that_the_format_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(VerificationError):
        note_signer(name, KEY)


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+00000000", "name+00000000+AAAA", "name+00000000+", VECTOR["vkey"][1:], VECTOR["vkey"][:-1],
     VECTOR["vkey"].replace("c74f20a3", "c74f20a4"), VECTOR["vkey"].replace("c74f20a3", "C74F20A3"),
     VECTOR["vkey"].replace("+AR", "+AB")],
)  # fmt: skip
def test_a_verifier_key_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_verifier_key(text)


@pytest.mark.parametrize("kind", [KeyKind.COSIGNATURE, KeyKind.ML_DSA_44])
def test_a_key_of_a_kind_that_is_not_asked_for_is_refused(kind: KeyKind) -> None:
    key = VerifierKey("w.example", bytes(1312 if kind is KeyKind.ML_DSA_44 else 32), kind)
    text = format_verifier_key(key)
    assert parse_verifier_key(text, [KeyKind.ED25519, kind]) == key
    with pytest.raises(VerificationError, match="not an Ed25519 key"):
        parse_verifier_key(text)


def test_a_text_without_a_final_line_feed_cannot_be_signed() -> None:
    with pytest.raises(VerificationError):
        format_note("text", SIGNER)


def test_a_key_hash_tells_names_keys_and_kinds_apart() -> None:
    keys = [VerifierKey("a", bytes(32)), VerifierKey("b", bytes(32)), VerifierKey("a", b"\1" * 32),
            VerifierKey("a", bytes(32), KeyKind.COSIGNATURE)]  # fmt: skip
    assert len({key.key_hash for key in keys}) == 4


@pytest.mark.parametrize("text", ["", "AA", "AB==", "A A=", "AAA=\n", "_-8="])
def test_base64_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match="a thing"):
        decode_base64(text, "a thing")
