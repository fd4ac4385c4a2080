"""Checkpoints (C2SP tlog-checkpoint) in signed notes (C2SP signed-note, Ed25519): values in, text bytes out, and back.

A note is a text, an empty line, and signature lines `— <name> <base64(4-byte key hash || signature)>`. A checkpoint's
text is origin, size and root. The verifier key is `<name>+<key hash>+<base64(0x01 || public key)>`, the form that Go's
`sumdb/note` reads.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from residency.errors import VerificationError

__all__ = [
    "Checkpoint",
    "VerifierKey",
    "format_checkpoint",
    "format_note",
    "format_verifier_key",
    "note_signer",
    "parse_checkpoint",
    "parse_verifier_key",
    "verify_checkpoint",
    "verify_note",
]

_ED25519: Final = b"\x01"
_SIGNATURE_LINE = re.compile(r"— ([^ +]+) ([A-Za-z0-9+/]+=*)")
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_NOTE_LIMIT: Final = 1_000_000
_SIGNATURE_LIMIT: Final = 100

Signer = Callable[[str], str]
"""From a note's text (ending in a line feed) to its signature line (without one)."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: its origin, the number of entries, the root over them."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """An Ed25519 public key under a name, as a signed note refers to it."""

    name: str
    public: bytes

    @property
    def key_hash(self) -> bytes:
        """Four bytes that tell keys apart; not a security measure."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]


def format_verifier_key(key: VerifierKey) -> str:
    """The standard text form, without a line feed."""
    return f"{key.name}+{key.key_hash.hex()}+{base64.b64encode(_ED25519 + key.public).decode()}"


def parse_verifier_key(text: str) -> VerifierKey:
    """The key in the standard text form; one trailing line feed is allowed. Raises: VerificationError."""
    parts = text.removesuffix("\n").split("+", 2)
    if len(parts) != 3 or _NAME.fullmatch(parts[0]) is None:
        raise VerificationError("a verifier key is not of the form name+hash+key")
    raw = _base64(parts[2], "a verifier key")
    if len(raw) != 33 or raw[:1] != _ED25519:
        raise VerificationError("a verifier key is not an Ed25519 key")
    key = VerifierKey(parts[0], raw[1:])
    if key.key_hash.hex() != parts[1]:
        raise VerificationError("a verifier key's hash does not match its name and key")
    return key


def note_signer(name: str, key: Ed25519PrivateKey) -> tuple[Signer, VerifierKey]:
    """(signer, verifier key) for notes signed by `key` as `name`. Raises: VerificationError on a name not allowed."""
    if _NAME.fullmatch(name) is None:
        raise VerificationError("a signer's name is empty or holds white space or a plus sign")
    verifier = VerifierKey(name, key.public_key().public_bytes_raw())
    key_hash = verifier.key_hash

    def sign(text: str) -> str:
        return f"— {name} {base64.b64encode(key_hash + key.sign(text.encode())).decode()}"

    return sign, verifier


def format_note(text: str, signer: Signer) -> bytes:
    """The signed note over `text`, which must end in a line feed. Raises: VerificationError."""
    if not text.endswith("\n"):
        raise VerificationError("a note's text does not end in a line feed")
    return f"{text}\n{signer(text)}\n".encode()


def verify_note(note: bytes, key: VerifierKey) -> str:
    """The text of `note`, once a signature by `key` holds. Raises: VerificationError."""
    # 1. Bounded, UTF-8, no control characters other than line feeds.
    if len(note) > _NOTE_LIMIT:
        raise VerificationError("a signed note is too large")
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise VerificationError("a signed note is not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise VerificationError("a signed note holds a control character")
    # 2. Text and signatures part at the last empty line.
    text, separator, signatures = whole.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise VerificationError("a signed note has no signature block")
    text += "\n"
    lines = signatures[:-1].split("\n")
    if len(lines) > _SIGNATURE_LIMIT:
        raise VerificationError("a signed note has too many signatures")
    # 3. Every line must be well formed; those of other keys are passed over; those of this key must all hold.
    verified = False
    for line in lines:
        match = _SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise VerificationError("a signed note has a malformed signature line")
        raw = _base64(match[2], "a note signature")
        if match[1] != key.name or raw[:4] != key.key_hash:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(raw[4:], text.encode())
        except InvalidSignature:
            raise VerificationError(f"the signature by {key.name} does not hold") from None
        verified = True
    # 4. Nothing signed by this key is not "no objection": it is a refusal.
    if not verified:
        raise VerificationError(f"the note carries no signature by {key.name}")
    return text


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """The text of a checkpoint, ready to be signed."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text; extension lines are allowed and ignored. Raises: VerificationError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise VerificationError("a checkpoint is not origin, size and root")
    if _SIZE.fullmatch(lines[1]) is None:
        raise VerificationError("a checkpoint's size is not a decimal number")
    root = _base64(lines[2], "a checkpoint's root")
    if len(root) != 32:
        raise VerificationError("a checkpoint's root is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def verify_checkpoint(note: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint in `note`, signed by `key`, whose name must be the origin. Raises: VerificationError."""
    checkpoint = parse_checkpoint(verify_note(note, key))
    if checkpoint.origin != key.name:
        raise VerificationError("the checkpoint's origin is not the verifier key's name")
    return checkpoint


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationError(f"{what} is not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise VerificationError(f"{what} is not canonical base64")
    return raw
