"""Which key may sign what, and a register's own signature: of this file, these bytes and this version, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import PolicyError, VerificationError
from residency.policy.bundle import MAX_VERSION
from residency.policy.signatures import ed25519_signer, ml_dsa_signer
from residency.policy.trust import TrustedKeys, format_key_line, parse_keys, sign_register, verify_register

OPS, LAW = ed25519_signer("ops", b"\1" * 32), ed25519_signer("compliance", b"\2" * 32)
DATA = b"residency: 1\nkind: register\nname: app\n"
NOTE = sign_register("app.yaml", DATA, version=4, signers=[LAW])


def test_a_line_says_what_its_key_may_sign_and_a_bare_one_policies() -> None:
    lines = [
        "# the keys of production",
        format_key_line(OPS.key),
        f"{format_key_line(LAW.key, 'register')}   # counsel",
        "",
    ]
    assert parse_keys("\n".join(lines).encode(), "f") == TrustedKeys((OPS.key,), (LAW.key,))
    both = format_key_line(OPS.key, "policy", "register").encode()
    assert parse_keys(both, "f") == TrustedKeys((OPS.key,), (OPS.key,))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f:1:1: the file of policy keys holds no key that may sign a policy"),
        (format_key_line(LAW.key, "register"), "no key that may sign a policy"),
        (f"{format_key_line(OPS.key)}\n{format_key_line(LAW.key, 'registers')}", "f:2:1: a key may sign `policy` or"),
        (f"{format_key_line(OPS.key)}\nops register", "f:2:1: a policy key is of the form"),
    ],
)
def test_a_file_of_keys_that_is_not_clear_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_keys(text.encode(), "f")
    assert told in str(caught.value)


def test_a_signed_register_is_verified_and_answers_its_version() -> None:
    assert verify_register("app.yaml", DATA, NOTE, [LAW.key]) == 4
    assert NOTE.startswith(b"residency register 1\nfile app.yaml\nversion 4\nsha256 ")


def test_of_each_algorithm_that_has_a_key_one_must_have_signed() -> None:
    quantum = ml_dsa_signer("compliance", b"\3" * 32)
    both = sign_register("app.yaml", DATA, version=4, signers=[LAW, quantum])
    assert verify_register("app.yaml", DATA, both, [LAW.key, quantum.key]) == 4
    with pytest.raises(VerificationError, match="ML-DSA-65"):
        verify_register("app.yaml", DATA, NOTE, [LAW.key, quantum.key])


@pytest.mark.parametrize(
    ("file", "data", "note", "told"),
    [
        ("other.yaml", DATA, NOTE, "called `app.yaml`"),
        ("app.yaml", DATA + b"\n", NOTE, "other bytes"),
        ("app.yaml", DATA, NOTE.replace(b"version 4", b"version 5"), "does not hold"),
        ("app.yaml", DATA, NOTE.replace(b"version 4", b"version 04"), "form"),
        ("app.yaml", DATA, NOTE.replace(b"version 4", b"version 9999999999999999"), "version is 0 to"),
        ("app.yaml", DATA, sign_register("app.yaml", DATA, version=4, signers=[OPS]), "no Ed25519 signature"),
        ("app.yaml", DATA, NOTE[: NOTE.index(b"\n\n") + 2], "form"),
        ("app.yaml", DATA, b"", "form"),
        ("app.yaml", DATA, b"\xff", "UTF-8"),
    ],
)
def test_what_is_not_signed_just_so_is_refused(file: str, data: bytes, note: bytes, told: str) -> None:
    with pytest.raises(VerificationError, match=told):
        verify_register(file, data, note, [LAW.key])


@given(st.integers(0, len(NOTE) * 8 - 1))
def test_a_flipped_bit_is_refused(bit: int) -> None:
    note = bytearray(NOTE)
    note[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        verify_register("app.yaml", DATA, bytes(note), [LAW.key])


@pytest.mark.parametrize(("file", "version"), [("a/b.yaml", 1), ("a b.yaml", 1), ("", 1), ("a", MAX_VERSION + 1)])
def test_what_could_not_be_verified_is_not_signed(file: str, version: int) -> None:
    with pytest.raises(VerificationError):
        sign_register(file, DATA, version=version, signers=[LAW])
    with pytest.raises(VerificationError):
        sign_register("app.yaml", DATA, version=1, signers=[])
