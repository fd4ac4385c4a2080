"""Over any files: what is packed is what is read, and a signed bundle with any one byte changed is refused."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import VerificationError
from residency.policy.archive import digest_of
from residency.policy.bundle import format_bundle, parse_bundle
from residency.policy.signatures import PolicySigner, ed25519_signer, ml_dsa_signer, verify_signatures

PART = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,8}", fullmatch=True)
KINDS = st.sampled_from(["law", "register"])
FILE = st.builds(lambda kind, parts: "/".join([kind, *parts]), KINDS, st.lists(PART, min_size=1, max_size=3))
MEMBERS = st.dictionaries(FILE, st.binary(max_size=200), max_size=6)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,10}", fullmatch=True)
OPS, NEXT = ed25519_signer("ops", b"\1" * 32), ed25519_signer("next", b"\2" * 32)


@pytest.fixture(scope="module")
def quantum() -> PolicySigner:
    return ml_dsa_signer("ops", b"\3" * 32)


def verified(data: bytes, *signers: PolicySigner) -> None:
    """Raises: VerificationError."""
    bundle = parse_bundle(data)
    verify_signatures(bundle.text, bundle.signatures, [signer.key for signer in signers])


@given(NAME, st.binary(max_size=200), MEMBERS, st.integers(0, 2**53 - 1), st.booleans())
def test_what_is_packed_is_what_is_read(
    name: str, deployment: bytes, members: dict[str, bytes], version: int, signed: bool
) -> None:
    files = {**members, f"deployment/{name}": deployment}
    data = format_bundle(name, files.items(), version=version, signers=[OPS] if signed else [])
    bundle = parse_bundle(data)
    assert (bundle.name, bundle.version, dict(bundle.sources)) == (name, version, files)
    assert bundle.digest == digest_of(files.items())
    assert format_bundle(name, bundle.sources, version=version, signers=[OPS] if signed else []) == data


@given(st.data(), st.integers(1, 255))
def test_a_bundle_with_any_byte_changed_is_refused(quantum: PolicySigner, data: st.DataObject, difference: int) -> None:
    files = [("deployment/app", b"a: b\n"), ("law/vn/x", data.draw(st.binary(max_size=40)))]
    whole = bytearray(format_bundle("app", files, signers=[OPS, quantum]))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= difference
    with pytest.raises(VerificationError):
        parse_bundle(bytes(whole))


@given(st.data(), st.integers(1, 255))
def test_who_mends_the_checksum_of_what_they_changed_cannot_mend_the_signatures(
    quantum: PolicySigner, data: st.DataObject, difference: int
) -> None:
    files = [("deployment/app", b"a: b\n"), ("law/vn/x", b"rules\n")]
    good = format_bundle("app", files, signers=[OPS, quantum])
    whole = bytearray(good[:-72])
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= difference
    changed = bytes(whole) + f"sha256 {hashlib.sha256(whole).hexdigest()}\n".encode()
    with pytest.raises(VerificationError):
        verified(changed, OPS, quantum)
    verified(good, OPS, quantum)


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_a_bundle_or_an_error_of_ours(data: bytes, begins: bool) -> None:
    whole = b"residency bundle 1\n" + data if begins else data
    for each in (whole, whole + f"sha256 {hashlib.sha256(whole).hexdigest()}\n".encode()):
        with contextlib.suppress(VerificationError):
            assert format_bundle(parse_bundle(each).name, parse_bundle(each).sources)
