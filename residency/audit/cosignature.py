"""Cosignatures of checkpoints (C2SP tlog-cosignature): a checkpoint's text and a time in, a line out, and back.

A cosigner says that it saw the log go on from all that it saw before. Ed25519 (type 0x04) signs the note's text behind
two lines that hold the time; ML-DSA-44 (type 0x06) signs a message made of names, time, size and root, which extension
lines are no part of. Each signature is its time, 8 bytes, and the signature proper. Times are seconds since the epoch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from residency.audit.checkpoint import Checkpoint, parse_checkpoint
from residency.audit.note import KeyKind, Signer, VerifierKey, format_signature, parse_note, valid_name
from residency.errors import VerificationError

__all__ = [
    "COSIGNER_KINDS",
    "SECOND_VKEY_PATH",
    "Cosignature",
    "Cosigner",
    "ed25519_cosigner",
    "find_cosignature",
    "log_signer",
    "ml_dsa_cosigner",
    "require_cosignatures",
]

COSIGNER_KINDS: Final = (KeyKind.COSIGNATURE, KeyKind.ML_DSA_44)
"""The kinds of key that `find_cosignature` and its like verify by."""

SECOND_VKEY_PATH: Final = "log.ml-dsa-44.vkey"
"""Beside a log's own verifier key, where it signs by a second one."""

_TIME: Final = struct.Struct(">Q")
_SPAN: Final = struct.Struct(">QQ")
_MAX_TIME: Final = 2**63 - 1
_SIGNATURE_BYTES: Final = {KeyKind.COSIGNATURE: 64, KeyKind.ML_DSA_44: 2420}
_CLOCKS_DIFFER: Final = 300  # seconds that a witness's clock may be ahead of a verifier's
_LABEL: Final = b"subtree/v1\n\0"

Cosigner = Callable[[str, int], str]
"""From a checkpoint's text and the time (seconds; 0 = none is stated) to the signature line."""


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A cosignature that holds: by whom, and when (seconds since the epoch; 0 = it states none)."""

    key: VerifierKey
    time: int


def ed25519_cosigner(name: str, key: Ed25519PrivateKey) -> tuple[Cosigner, VerifierKey]:
    """(cosigner, verifier key) of type 0x04. The message does not hold the name: one key must serve one name only.

    Raises: VerificationError on a name not allowed.
    """
    verifier = VerifierKey(_allowed(name), key.public_key().public_bytes_raw(), KeyKind.COSIGNATURE)
    return _cosigner(verifier, key.sign), verifier


def ml_dsa_cosigner(name: str, key: MLDSA44PrivateKey) -> tuple[Cosigner, VerifierKey]:
    """(cosigner, verifier key) of type 0x06. Raises: VerificationError on a name not allowed."""
    verifier = VerifierKey(_allowed(name), key.public_key().public_bytes_raw(), KeyKind.ML_DSA_44)
    return _cosigner(verifier, key.sign), verifier


def log_signer(origin: str, key: MLDSA44PrivateKey) -> tuple[Signer, VerifierKey]:
    """(signer, verifier key) of a log's own second signature: a cosignature by the log itself that states no time.

    Raises: VerificationError on a name not allowed.
    """
    cosign, verifier = ml_dsa_cosigner(origin, key)
    return (lambda text: cosign(text, 0)), verifier


def find_cosignature(note: bytes, key: VerifierKey) -> Cosignature | None:
    """The newest cosignature by `key` in a checkpoint's note, None where there is none by it.

    Raises: VerificationError where the note holds no checkpoint, or one of this key's cosignatures does not hold.
    """
    if key.kind not in COSIGNER_KINDS:
        raise VerificationError(f"the key of {key.name} is none that cosigns")
    parsed = parse_note(note)
    parse_checkpoint(parsed.text)
    newest: Cosignature | None = None
    for signature in parsed.signatures:
        if signature.is_by(key):
            found = Cosignature(key, _verify(parsed.text, key, signature.signature))
            newest = found if newest is None or found.time > newest.time else newest
    return newest


def require_cosignatures(
    note: bytes, keys: Sequence[VerifierKey], quorum: int, now: int | None = None
) -> tuple[Cosignature, ...]:
    """The cosignatures by `keys` in `note`, of `quorum` witnesses at least; a witness with two keys is one.

    `now` (seconds): times more than five minutes later are refused; None = not asked. Raises: VerificationError;
    ValueError where the quorum is below one or beyond what the keys could reach.
    """
    witnesses = {key.name for key in keys}
    if not 1 <= quorum <= len(witnesses):
        raise ValueError(f"a quorum is 1 to the number of witnesses, {len(witnesses)}")
    if len({key.public for key in keys}) != len(keys):
        raise VerificationError("one witness key is given twice, and would be counted for two witnesses")
    held = []
    for key in keys:
        found = find_cosignature(note, key)
        if found is None or found.time == 0:  # without a time nothing is said of the newest state
            continue
        if now is not None and found.time > now + _CLOCKS_DIFFER:
            raise VerificationError(f"the cosignature by {key.name} is of a time to come")
        held.append(found)
    present = {found.key.name for found in held}
    if len(present) < quorum:
        missing = ", ".join(sorted(witnesses - present))
        raise VerificationError(f"{len(present)} of {quorum} witnesses cosigned the checkpoint; not: {missing}")
    return tuple(held)


def _cosigner(verifier: VerifierKey, sign: Callable[[bytes], bytes]) -> Cosigner:
    def cosign(text: str, time: int) -> str:
        message = _message(text, verifier, time)
        return format_signature(verifier, _TIME.pack(time) + sign(message))

    return cosign


def _verify(text: str, key: VerifierKey, timed: bytes) -> int:
    if len(timed) != _TIME.size + _SIGNATURE_BYTES[key.kind]:
        raise VerificationError(f"the cosignature by {key.name} is not as long as its kind of signature")
    time = _TIME.unpack_from(timed)[0]
    message, signature = _message(text, key, time), timed[_TIME.size :]
    try:
        if key.kind is KeyKind.COSIGNATURE:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
        else:
            MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, message)
    except InvalidSignature:
        raise VerificationError(f"the cosignature by {key.name} does not hold") from None
    except UnsupportedAlgorithm:
        raise VerificationError(f"the cosignature by {key.name} cannot be verified: no ML-DSA-44 here") from None
    return int(time)


def _message(text: str, key: VerifierKey, time: int) -> bytes:
    """What is signed: of checkpoint `text`, by `key`, at `time`."""
    if not 0 <= time <= _MAX_TIME:
        raise VerificationError("a cosignature's time is below 0 or beyond 2^63 - 1")
    checkpoint = parse_checkpoint(text)
    if key.kind is KeyKind.COSIGNATURE:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    return _subtree(key.name, time, checkpoint)


def _subtree(name: str, time: int, checkpoint: Checkpoint) -> bytes:
    return b"".join(
        (
            _LABEL,
            _counted(name),
            _TIME.pack(time),
            _counted(checkpoint.origin),
            _SPAN.pack(0, checkpoint.size),
            checkpoint.root,
        )
    )


def _counted(text: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise VerificationError("a cosigner's name or a log's origin is not of 1 to 255 bytes")
    return bytes([len(data)]) + data


def _allowed(name: str) -> str:
    if not valid_name(name):
        raise VerificationError("a cosigner's name is empty or holds white space or a plus sign")
    return name
