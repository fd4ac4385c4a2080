"""What is sealed to a public key opens with its private key alone, and only for the context it was sealed for."""

from __future__ import annotations

import hmac
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import SealError
from residency.vault.hpke import VALUES, HomeBox, open_box, public_key

PRIVATE = bytes(range(1, 33))


def box() -> HomeBox:
    return HomeBox(public_key(PRIVATE), os.urandom)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_was_sealed_opens_again(plaintext: bytes, context: bytes) -> None:
    sealed = box().seal(plaintext, context)
    assert open_box(PRIVATE, sealed, context) == plaintext


def _extract(salt: bytes, suite: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")


def _expand(secret: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    first = hmac.digest(secret, labelled + b"\x01", "sha256")
    return (first + hmac.digest(secret, first + labelled + b"\x02", "sha256"))[:length]


def test_it_is_hpke_of_rfc_9180_to_the_letter() -> None:
    sealed = box().seal(b"203.0.113.7", b"VN")
    assert sealed[:1] == b"\x02"
    enc, wrapped, nonce, ciphertext = sealed[1:33], sealed[33:81], sealed[81:93], sealed[93:]
    # Sections 4.1 and 5.1, by hand: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, mode_base.
    private = X25519PrivateKey.from_private_bytes(PRIVATE)
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    dh = private.exchange(X25519PublicKey.from_public_bytes(enc))
    shared = _expand(_extract(b"", kem, b"eae_prk", dh), kem, b"shared_secret", enc + public_key(PRIVATE), 32)
    context = (
        b"\x00" + _extract(b"", suite, b"psk_id_hash", b"") + _extract(b"", suite, b"info_hash", b"residency home 1")
    )
    secret = _extract(shared, suite, b"secret", b"")
    data_key = AESGCM(_expand(secret, suite, b"key", context, 32)).decrypt(
        _expand(secret, suite, b"base_nonce", context, 12), wrapped, b""
    )
    assert AESGCM(data_key).decrypt(nonce, ciphertext, b"\x02VN") == b"203.0.113.7"


def test_another_key_another_context_and_any_flipped_byte_do_not_open() -> None:
    sealed = box().seal(b"203.0.113.7", b"VN")
    with pytest.raises(SealError):
        open_box(bytes(range(2, 34)), sealed, b"VN")
    with pytest.raises(SealError):
        open_box(PRIVATE, sealed, b"SG")
    for at in range(len(sealed)):
        with pytest.raises(SealError):
            open_box(PRIVATE, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], b"VN")
    for end in range(len(sealed)):
        with pytest.raises(SealError):
            open_box(PRIVATE, sealed[:end], b"VN")


def test_a_data_key_serves_a_bounded_number_of_values() -> None:
    one = box()
    keys = {one.seal(b"x", b"")[1:81] for _ in range(VALUES)}
    assert len(keys) == 1
    assert one.seal(b"x", b"")[1:81] not in keys


def test_no_two_values_share_a_nonce() -> None:
    one = box()
    assert len({one.seal(b"x", b"")[81:93] for _ in range(100)}) == 100


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33)])
def test_a_public_key_has_one_size(public: bytes) -> None:
    with pytest.raises(SealError, match="32 bytes"):
        HomeBox(public, os.urandom)


def test_a_public_key_with_which_every_secret_is_the_same_seals_nothing() -> None:
    with pytest.raises(SealError):
        HomeBox(bytes(32), os.urandom).seal(b"x", b"")


def test_a_private_key_has_one_size() -> None:
    with pytest.raises(SealError, match="32 bytes"):
        public_key(bytes(31))
