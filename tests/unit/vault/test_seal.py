"""What was sealed opens under its key and context, and under nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import SealError
from residency.vault.seal import seal, unseal

KEY, NONCE = bytes(range(32)), bytes(12)
SEALED = seal(KEY, NONCE, b"secret", b"here")


@given(st.binary(max_size=200), st.binary(max_size=50), st.binary(min_size=12, max_size=12))
def test_a_sealed_value_opens(plaintext: bytes, context: bytes, nonce: bytes) -> None:
    sealed = seal(KEY, nonce, plaintext, context)
    assert unseal(KEY, sealed, context) == plaintext
    assert sealed[0] == 1


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_a_flipped_bit_does_not_open(bit: int) -> None:
    changed = bytearray(SEALED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError):
        unseal(KEY, bytes(changed), b"here")


@pytest.mark.parametrize(("key", "context"), [(bytes(32), b"here"), (KEY, b"there"), (bytes(16), b"here")])
def test_another_key_or_context_does_not_open(key: bytes, context: bytes) -> None:
    with pytest.raises(SealError):
        unseal(key, SEALED, context)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_seal_error(data: bytes) -> None:
    with pytest.raises(SealError):
        unseal(KEY, data, b"here")


@pytest.mark.parametrize(("key", "nonce"), [(b"", NONCE), (KEY, b""), (KEY, bytes(16)), (bytes(33), NONCE)])
def test_a_key_or_nonce_of_another_size_is_refused(key: bytes, nonce: bytes) -> None:
    with pytest.raises(SealError):
        seal(key, nonce, b"", b"")
