"""Signed notes and verifier keys (C2SP signed-note): text and keys in, note bytes out, and back.

A note is a text, an empty line, and signature lines `— <name> <base64(4-byte key id || signature)>`. A verifier key is
`<name>+<key id>+<base64(type || public key)>`, the form that Go's `sumdb/note` reads.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from residency.errors import VerificationError

__all__ = [
    "KeyKind",
    "Note",
    "NoteSignature",
    "Signer",
    "VerifierKey",
    "decode_base64",
    "format_note",
    "format_signature",
    "format_verifier_key",
    "note_signer",
    "parse_note",
    "parse_verifier_key",
    "together",
    "valid_name",
    "verify_note",
    "with_signature",
]

_SIGNATURE_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+=*)")
_NAME: Final = re.compile(r"[^\s+]+")
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")
_NOTE_LIMIT: Final = 1_000_000
_SIGNATURE_LIMIT: Final = 100  # as Go's; the document asks that 16 are accepted

Signer = Callable[[str], str]
"""From a note's text (ending in a line feed) to its signature line, or lines (without the last line feed)."""


class KeyKind(enum.IntEnum):
    """What a key signs, and how: the signature type bytes that C2SP signed-note assigns."""

    ED25519 = 0x01
    """The note's text, by Ed25519: a log's own key."""
    COSIGNATURE = 0x04
    """A checkpoint and a time, by Ed25519: a witness's key."""
    ML_DSA_44 = 0x06
    """A checkpoint and a time, by ML-DSA-44: a witness's key, or a log's second one."""


_PUBLIC_BYTES: Final = {KeyKind.ED25519: 32, KeyKind.COSIGNATURE: 32, KeyKind.ML_DSA_44: 1312}


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name, as a signed note refers to it."""

    name: str
    public: bytes
    kind: KeyKind = KeyKind.ED25519

    @property
    def key_hash(self) -> bytes:
        """Four bytes that tell keys apart; not a security measure."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who says to have signed, by which key, and the signature; not verified."""

    name: str
    key_hash: bytes
    signature: bytes

    def is_by(self, key: VerifierKey) -> bool:
        """Whether the line names `key`, by name and key id both."""
        return self.name == key.name and self.key_hash == key.key_hash


@dataclass(frozen=True, slots=True)
class Note:
    """A note in its parts: the text, which nobody may believe yet, and the signature lines in order."""

    text: str
    signatures: tuple[NoteSignature, ...]


def valid_name(name: str) -> bool:
    """Whether a key may be called `name`: not empty, no Unicode space, no plus sign."""
    return _NAME.fullmatch(name) is not None


def format_verifier_key(key: VerifierKey) -> str:
    """The standard text form, without a line feed."""
    return f"{key.name}+{key.key_hash.hex()}+{base64.b64encode(bytes([key.kind]) + key.public).decode()}"


def parse_verifier_key(text: str, kinds: Collection[KeyKind] = (KeyKind.ED25519,)) -> VerifierKey:
    """The key in the standard text form, of one of `kinds`; one trailing line feed is allowed.

    Raises: VerificationError.
    """
    parts = text.removesuffix("\n").split("+", 2)
    if len(parts) != 3 or not valid_name(parts[0]) or _KEY_ID.fullmatch(parts[1]) is None:
        raise VerificationError("a verifier key is not of the form name+hash+key")
    raw = decode_base64(parts[2], "a verifier key")
    kind = next((kind for kind in kinds if kind == raw[0] and len(raw) == 1 + _PUBLIC_BYTES[kind]), None)
    if kind is None:
        raise VerificationError(f"a verifier key is not an {' or '.join(_WORDS[kind] for kind in kinds)} key")
    key = VerifierKey(parts[0], raw[1:], kind)
    if key.key_hash.hex() != parts[1]:
        raise VerificationError("a verifier key's hash does not match its name and key")
    return key


_WORDS: Final = {
    KeyKind.ED25519: "Ed25519",
    KeyKind.COSIGNATURE: "Ed25519 cosignature",
    KeyKind.ML_DSA_44: "ML-DSA-44",
}


def note_signer(name: str, key: Ed25519PrivateKey) -> tuple[Signer, VerifierKey]:
    """(signer, verifier key) for notes signed by `key` as `name`. Raises: VerificationError on a name not allowed."""
    if not valid_name(name):
        raise VerificationError("a signer's name is empty or holds white space or a plus sign")
    verifier = VerifierKey(name, key.public_key().public_bytes_raw())
    return (lambda text: format_signature(verifier, key.sign(text.encode()))), verifier


def format_signature(key: VerifierKey, signature: bytes) -> str:
    """The signature line, without a line feed, of what `key` made."""
    return f"— {key.name} {base64.b64encode(key.key_hash + signature).decode()}"


def together(signers: Sequence[Signer]) -> Signer:
    """One signer that signs as all of `signers` do, a line each, in order."""
    return lambda text: "\n".join(signer(text) for signer in signers)


def format_note(text: str, signer: Signer) -> bytes:
    """The signed note over `text`, which must end in a line feed. Raises: VerificationError."""
    if not text.endswith("\n"):
        raise VerificationError("a note's text does not end in a line feed")
    return f"{text}\n{signer(text)}\n".encode()


def parse_note(data: bytes) -> Note:
    """A note's text and signature lines; what is believed of it is for `verify_note`. Raises: VerificationError."""
    # 1. Bounded, UTF-8, no control characters other than line feeds.
    if len(data) > _NOTE_LIMIT:
        raise VerificationError("a signed note is too large")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise VerificationError("a signed note is not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise VerificationError("a signed note holds a control character")
    # 2. Text and signatures part at the last empty line.
    text, separator, block = whole.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise VerificationError("a signed note has no signature block")
    lines = block[:-1].split("\n")
    if len(lines) > _SIGNATURE_LIMIT:
        raise VerificationError("a signed note has too many signatures")
    # 3. Every line must be well formed, of whichever key and type.
    return Note(text + "\n", tuple(map(_signature, lines)))


def verify_note(data: bytes, key: VerifierKey) -> str:
    """The text of a note, once a signature over it by `key`, an Ed25519 key, holds. Raises: VerificationError."""
    if key.kind is not KeyKind.ED25519:
        raise VerificationError(f"the key of {key.name} signs checkpoints with a time, not notes")
    note = parse_note(data)
    # Those of other keys are passed over, also of ones that share name or id; those of this key must all hold.
    mine = [signature.signature for signature in note.signatures if signature.is_by(key)]
    for signature in mine:
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, note.text.encode())
        except InvalidSignature:
            raise VerificationError(f"the signature by {key.name} does not hold") from None
    # Nothing signed by this key is not "no objection": it is a refusal.
    if not mine:
        raise VerificationError(f"the note carries no signature by {key.name}")
    return note.text


def with_signature(data: bytes, line: str) -> bytes:
    """The note with one more signature line (without a line feed), which takes the place of older ones by the same key.

    Raises: VerificationError where the one is no note, or the other no signature line.
    """
    parse_note(data)
    new = _signature(line)
    text, _, block = data.decode().rpartition("\n\n")
    kept = [old for old in block[:-1].split("\n") if not _same_key(_signature(old), new)]
    signed = f"{text}\n\n{chr(10).join([*kept, line])}\n".encode()
    parse_note(signed)  # within all limits still
    return signed


def decode_base64(text: str, what: str) -> bytes:
    """The bytes of base64 in its one canonical form, not empty; `what` is told in errors. Raises: VerificationError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationError(f"{what} is not base64") from None
    if not raw or base64.b64encode(raw).decode() != text:
        raise VerificationError(f"{what} is not canonical base64")
    return raw


def _signature(line: str) -> NoteSignature:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise VerificationError("a signed note has a malformed signature line")
    raw = decode_base64(match[2], "a note signature")
    if len(raw) < 5:
        raise VerificationError("a note signature is too short to name a key")
    return NoteSignature(match[1], raw[:4], raw[4:])


def _same_key(one: NoteSignature, other: NoteSignature) -> bool:
    return (one.name, one.key_hash) == (other.name, other.key_hash)
