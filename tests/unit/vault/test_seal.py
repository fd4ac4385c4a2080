"""What was sealed opens under its key and context, and under nothing else; no key seals more than it may."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import SealError
from residency.vault import seal as module
from residency.vault.seal import Sealer, derive, unseal

HKDF = json.loads((Path(__file__).parents[2] / "vectors/vault/hkdf.json").read_text())["cases"]
KEY = bytes(range(32))
SEALED = Sealer(KEY, bytes).seal(b"secret", b"here")
BEFORE = bytes.fromhex("01000102030405060708090a0b3467b569a09161cc890421a2ea1a54ca9ee81e9d5ea0")
"""As version 1 was written: nonce 00 to 0b, under the key itself."""


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_a_sealed_value_opens(plaintext: bytes, context: bytes) -> None:
    sealed = Sealer(KEY, os.urandom).seal(plaintext, context)
    assert unseal(KEY, sealed, context) == plaintext
    assert sealed[0] == 3


def test_what_was_sealed_under_the_countrys_key_itself_still_opens() -> None:
    assert unseal(KEY, BEFORE, b"here") == b"secret"


@pytest.mark.parametrize("sealed", [SEALED, BEFORE], ids=["3", "1"])
def test_a_flipped_bit_does_not_open(sealed: bytes) -> None:
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError):
            unseal(KEY, bytes(changed), b"here")


@pytest.mark.parametrize(("key", "context"), [(bytes(32), b"here"), (KEY, b"there"), (bytes(16), b"here")])
def test_another_key_or_context_does_not_open(key: bytes, context: bytes) -> None:
    for sealed in (SEALED, BEFORE):
        with pytest.raises(SealError):
            unseal(key, sealed, context)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x01", b"\x02", b"\x03"]))
def test_any_bytes_are_a_seal_error(data: bytes, version: bytes) -> None:
    with pytest.raises(SealError):
        unseal(KEY, version + data, b"here")


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(33)])
def test_a_key_of_another_size_is_refused(key: bytes) -> None:
    with pytest.raises(SealError):
        Sealer(key, os.urandom)


@pytest.mark.parametrize("case", HKDF, ids=[case["name"] for case in HKDF])
def test_keys_are_derived_as_rfc_5869_says(case: dict[str, str]) -> None:
    ikm, salt, info = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info"))
    assert derive(ikm, salt, info) == bytes.fromhex(case["okm"])[:32]


def test_sealed_bytes_are_what_the_format_says() -> None:
    salt, nonce = SEALED[1:17], SEALED[17:29]
    pseudorandom = hmac.digest(salt, KEY, hashlib.sha256)  # RFC 5869 2.2 and 2.3, by hand
    key = hmac.digest(pseudorandom, b"residency seal 3" + b"\x01", hashlib.sha256)
    assert AESGCM(key).decrypt(nonce, SEALED[29:], b"\x03here") == b"secret"


def test_each_sealer_and_each_million_values_have_a_key_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.VALUES <= 1 << 20  # far below 2^32, for each of a thousand children that share a salt
    monkeypatch.setattr(module, "VALUES", 3)
    one, two = Sealer(KEY, os.urandom), Sealer(KEY, os.urandom)
    sealed = [one.seal(b"x", b"c") for _ in range(7)] + [two.seal(b"x", b"c")]
    salts = [value[1:17] for value in sealed]
    assert [len(set(salts[:n])) for n in (3, 6, 7, 8)] == [1, 2, 3, 4]
    assert len({value[17:29] for value in sealed}) == 8  # and each value its own nonce
    assert [unseal(KEY, value, b"c") for value in sealed] == [b"x"] * 8
