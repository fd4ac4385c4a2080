"""What is sealed to a public key opens with its private key alone, and only for the context it was sealed for."""

from __future__ import annotations

import os

import pytest
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
