"""A text in; signature lines over it, or the keys it is signed by, out. Ed25519, and ML-DSA-65 (FIPS 204) beside it.

Keys and lines have the forms of C2SP signed-note: a public key is `<name>+<key id>+<base64(type || key)>`, a signature
`— <name> <base64(key id || signature)>`. The type is 0x01 for Ed25519; ML-DSA-65 has none of its own there and is 0xff
followed by its name. What is configured decides what is asked: of each algorithm that has a key one must have signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from residency.errors import VerificationError

__all__ = [
    "ED25519",
    "ML_DSA_65",
    "PolicyKey",
    "PolicySigner",
    "ed25519_signer",
    "format_policy_key",
    "ml_dsa_signer",
    "parse_policy_key",
    "verify_signatures",
]

ED25519: Final = "Ed25519"
ML_DSA_65: Final = "ML-DSA-65"
_TYPES: Final = {ED25519: b"\x01", ML_DSA_65: b"\xff" + ML_DSA_65.encode()}
_PUBLIC: Final = {ED25519: 32, ML_DSA_65: 1952}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE: Final = re.compile(r"— ([A-Za-z0-9][A-Za-z0-9._-]{0,63}) ([A-Za-z0-9+/]+=*)")
_MISSING: Final = (
    "ML-DSA-65 is not to be had here: it needs `cryptography` 47 or later over OpenSSL 3.5 or later, or AWS-LC"
)


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """A public key that policies may be signed by."""

    name: str
    algorithm: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys apart; not a security measure."""
        return hashlib.sha256(self.name.encode() + b"\n" + _TYPES[self.algorithm] + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name} ({self.algorithm})"


@dataclass(frozen=True, slots=True)
class PolicySigner:
    """A private key, as what it can do: `sign` makes of a text's bytes a signature."""

    key: PolicyKey
    sign: Callable[[bytes], bytes]

    def line(self, text: str) -> str:
        """The signature line over `text`, without a line feed."""
        return f"— {self.key.name} {base64.b64encode(self.key.key_id + self.sign(text.encode())).decode()}"


def ed25519_signer(name: str, seed: bytes) -> PolicySigner:
    """Sign as `name` with the Ed25519 key of a 32-byte seed. Raises: VerificationError for a name not allowed."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return PolicySigner(_key(name, ED25519, private.public_key().public_bytes_raw()), private.sign)


def ml_dsa_signer(name: str, seed: bytes) -> PolicySigner:
    """Sign as `name` with the ML-DSA-65 key of a 32-byte seed; each signature is another one, as FIPS 204 advises.

    Raises: VerificationError for a name not allowed, and where the algorithm cannot be had.
    """
    try:
        private = _ml_dsa().MLDSA65PrivateKey.from_seed_bytes(seed)
    except UnsupportedAlgorithm:
        raise VerificationError(_MISSING) from None
    return PolicySigner(_key(name, ML_DSA_65, private.public_key().public_bytes_raw()), private.sign)


def format_policy_key(key: PolicyKey) -> str:
    """The text form of a public key, without a line feed."""
    return f"{key.name}+{key.key_id.hex()}+{base64.b64encode(_TYPES[key.algorithm] + key.public).decode()}"


def parse_policy_key(text: str) -> PolicyKey:
    """The public key that `format_policy_key` wrote. Raises: VerificationError, which does not repeat it."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise VerificationError("a policy key is of the form name+id+key")
    raw = _base64(parts[2], "a policy key")
    for algorithm, kind in _TYPES.items():
        if raw.startswith(kind) and len(raw) == len(kind) + _PUBLIC[algorithm]:
            key = _key(parts[0], algorithm, raw[len(kind) :])
            break
    else:
        raise VerificationError("a policy key is neither of Ed25519 nor of ML-DSA-65")
    if key.key_id.hex() != parts[1]:
        raise VerificationError("the id of a policy key does not match its name and key")
    return key


def verify_signatures(text: str, lines: Sequence[str], keys: Sequence[PolicyKey]) -> tuple[PolicyKey, ...]:
    """The keys among `keys` that signed `text`; one at least of each algorithm that `keys` hold.

    Lines of other keys are passed over, as signed notes have it.

    Raises: VerificationError where a signature of one of `keys` does not hold, or one is missing.
    """
    # 1. Empty is a mistake: without a key nothing would be asked.
    if not keys:
        raise VerificationError("there is no key to verify a policy's signature by")
    # 2. Each line is well formed, and those of our keys all hold.
    signed = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise VerificationError("a signature line is malformed")
        raw = _base64(match[2], "a signature")
        for key in keys:
            if match[1] == key.name and raw[:4] == key.key_id:
                _verify(key, raw[4:], text.encode())
                signed.append(key)
    # 3. Of each algorithm that is configured one key signed: who can forge the one alone has nothing.
    for algorithm in _TYPES:
        own = [key for key in keys if key.algorithm == algorithm]
        if own and not any(key in signed for key in own):
            names = ", ".join(sorted({key.name for key in own}))
            raise VerificationError(f"no {algorithm} signature by any key that is trusted here ({names})")
    return tuple(dict.fromkeys(signed))


def _verify(key: PolicyKey, signature: bytes, text: bytes) -> None:
    try:
        if key.algorithm == ED25519:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text)
        else:
            _ml_dsa().MLDSA65PublicKey.from_public_bytes(key.public).verify(signature, text)
    except InvalidSignature:
        raise VerificationError(f"the signature by {key} does not hold") from None
    except UnsupportedAlgorithm:
        raise VerificationError(f"the signature by {key} cannot be verified: {_MISSING}") from None


def _ml_dsa() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError:
        raise UnsupportedAlgorithm(_MISSING) from None
    return mldsa


def _key(name: str, algorithm: str, public: bytes) -> PolicyKey:
    if _NAME.fullmatch(name) is None:
        raise VerificationError("a policy key's name is 1 to 64 of letters, digits, dot, dash and underscore")
    return PolicyKey(name, algorithm, public)


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationError(f"{what} is not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise VerificationError(f"{what} is not canonical base64")
    return raw
