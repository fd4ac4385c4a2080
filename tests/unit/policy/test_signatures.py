"""Signatures over a manifest: what is configured decides what is asked, and a missing algorithm is told as such."""

from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.backends.openssl import backend

from residency.audit.checkpoint import VerifierKey, parse_verifier_key
from residency.errors import VerificationError
from residency.policy.signatures import (
    PolicySigner,
    ed25519_signer,
    format_policy_key,
    ml_dsa_signer,
    parse_policy_key,
    verify_signatures,
)

TEXT = "residency bundle 1\nname x\n"
OPS, NEXT = ed25519_signer("ops", b"\1" * 32), ed25519_signer("next", b"\2" * 32)


@pytest.fixture
def quantum() -> PolicySigner:
    return ml_dsa_signer("ops", b"\3" * 32)


def test_a_key_reads_as_it_is_written_and_says_no_more_than_its_name() -> None:
    text = format_policy_key(OPS.key)
    assert parse_policy_key(text) == OPS.key
    assert parse_verifier_key(text) == VerifierKey("ops", OPS.key.public)  # as tools for signed notes read it
    assert str(OPS.key) == "ops (Ed25519)"


@pytest.mark.parametrize(
    "text",
    ["", "ops", "ops+00", "ops+00000000+!!", "ops+00000000+AQ==", "a b+00000000+AA==", "ops+00000000+AQ"],
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(VerificationError, match="policy key") as caught:
        parse_policy_key(text)
    assert not text or text not in str(caught.value)


def test_a_key_under_another_name_is_refused() -> None:
    with pytest.raises(VerificationError, match="does not match its name and key"):
        parse_policy_key(format_policy_key(OPS.key).replace("ops+", "oops+"))


def test_one_of_several_keys_is_enough_so_that_keys_can_be_rotated() -> None:
    both = (OPS.key, NEXT.key)
    assert verify_signatures(TEXT, [OPS.line(TEXT)], both) == (OPS.key,)
    assert verify_signatures(TEXT, [NEXT.line(TEXT)], both) == (NEXT.key,)
    assert set(verify_signatures(TEXT, [NEXT.line(TEXT), OPS.line(TEXT)], both)) == set(both)


def test_without_a_trusted_signature_or_without_a_key_nothing_holds() -> None:
    with pytest.raises(VerificationError, match=r"no Ed25519 signature .* \(next\)"):
        verify_signatures(TEXT, [OPS.line(TEXT)], [NEXT.key])
    with pytest.raises(VerificationError, match="no Ed25519 signature"):
        verify_signatures(TEXT, [], [OPS.key])
    with pytest.raises(VerificationError, match="there is no key"):
        verify_signatures(TEXT, [OPS.line(TEXT)], [])


def test_a_bad_signature_by_a_trusted_key_is_refused_even_beside_a_good_one() -> None:
    lines = [NEXT.line(TEXT), OPS.line(TEXT + "x")]
    with pytest.raises(VerificationError, match=r"the signature by ops \(Ed25519\) does not hold"):
        verify_signatures(TEXT, lines, [OPS.key, NEXT.key])
    with pytest.raises(VerificationError, match="malformed"):
        verify_signatures(TEXT, [OPS.line(TEXT), "— ops"], [OPS.key])


def test_where_keys_of_both_kinds_are_trusted_both_must_have_signed(quantum: PolicySigner) -> None:
    keys = (OPS.key, quantum.key)
    assert verify_signatures(TEXT, [OPS.line(TEXT), quantum.line(TEXT)], keys) == keys
    for one, missing in ((OPS, "ML-DSA-65"), (quantum, "Ed25519")):
        with pytest.raises(VerificationError, match=f"no {missing} signature"):
            verify_signatures(TEXT, [one.line(TEXT)], keys)
    with pytest.raises(VerificationError, match=r"the signature by ops \(ML-DSA-65\) does not hold"):
        verify_signatures(TEXT, [OPS.line(TEXT), quantum.line(TEXT + "x")], keys)


def test_a_key_of_ml_dsa_reads_as_it_is_written(quantum: PolicySigner) -> None:
    assert parse_policy_key(format_policy_key(quantum.key)) == quantum.key


@pytest.mark.parametrize("lacks", ["the library", "its OpenSSL"])
def test_where_ml_dsa_is_not_to_be_had_that_is_said_and_nothing_holds_by_it(
    quantum: PolicySigner, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    lines, keys = [OPS.line(TEXT), quantum.line(TEXT)], (OPS.key, quantum.key)
    if lacks == "the library":
        monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mldsa")
        monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    else:
        monkeypatch.setattr(backend, "mldsa_supported", lambda: False)
    with pytest.raises(VerificationError, match=r"cannot be verified: ML-DSA-65 is not to be had here"):
        verify_signatures(TEXT, lines, keys)
    with pytest.raises(VerificationError, match="ML-DSA-65 is not to be had here"):
        ml_dsa_signer("ops", b"\3" * 32)
    assert parse_policy_key(format_policy_key(quantum.key)) == quantum.key  # a key file is read all the same
    assert verify_signatures(TEXT, lines, [OPS.key]) == (OPS.key,)
