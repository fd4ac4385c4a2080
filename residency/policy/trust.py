"""The file of trusted keys in: whose signature counts, and for what; and a register's detached signature, both ways.

    # one key a line, then what it may sign: `policy` (bundles; where nothing is said), `register`, or both
    ops+5f1c03ab+AVbX…
    compliance+77d0aa10+AZk2… register

A register that is signed apart lies beside its signature, `chat-api.yaml` beside `chat-api.yaml.sig`:

    residency register 1
    file chat-api.yaml
    version 4
    sha256 <of the register's bytes, hex>

    — compliance <base64>

The file's name is signed too, so that no register takes another's place, and a version, so that none comes back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from residency.errors import PolicyError, Problem, VerificationError
from residency.policy.bundle import MAX_VERSION
from residency.policy.signatures import PolicyKey, PolicySigner, format_policy_key, parse_policy_key, verify_signatures

__all__ = [
    "MAX_KEYS", "MAX_NOTE", "POLICY", "REGISTER", "SIGNATURE", "TrustedKeys", "format_key_line", "parse_keys",
    "sign_register", "verify_register",
]  # fmt: skip

POLICY: Final = "policy"
REGISTER: Final = "register"
SIGNATURE: Final = ".sig"
"""What the name of a register's signature ends in, after the register's own."""
MAX_KEYS: Final = 1024 * 1024
"""Bytes of a file of keys at most."""
MAX_NOTE: Final = 1024 * 1024
"""Bytes of a register's signature at most."""
_NOTE: Final = re.compile(
    r"residency register 1\nfile ([^\s/\x00]{1,255})\nversion (0|[1-9][0-9]{0,15})\nsha256 ([0-9a-f]{64})\n"
)


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The keys whose signatures count: for bundles, and for registers. `registers` empty = a bundle's own signature is
    enough for what is in it, and no register may lie outside."""

    policies: tuple[PolicyKey, ...]
    registers: tuple[PolicyKey, ...] = ()


def format_key_line(key: PolicyKey, *roles: str) -> str:
    """A line of the file of keys, without a line feed. No role = `policy`."""
    return " ".join((format_policy_key(key), *roles))


def parse_keys(data: bytes, file: str) -> TrustedKeys:
    """The keys in a file; `#` begins a comment.

    Raises:
        PolicyError: where a line is no key, a role is unknown, or no key may sign a policy.
    """
    problems: list[Problem] = []
    keys: dict[str, list[PolicyKey]] = {POLICY: [], REGISTER: []}
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            key = parse_policy_key(words[0])
        except VerificationError as error:
            problems.append(Problem(file, number, 1, str(error)))
            continue
        for role in words[1:] or [POLICY]:
            if role in keys:
                keys[role].append(key)
            else:
                problems.append(Problem(file, number, 1, f"a key may sign `policy` or `register`, not `{role}`"))
    if not problems and (not keys[POLICY] or len(data) > MAX_KEYS):
        none = "the file of policy keys holds no key that may sign a policy, so no policy could be taken"
        problems.append(Problem(file, 1, 1, none))
    if problems:
        raise PolicyError(tuple(problems))
    return TrustedKeys(tuple(keys[POLICY]), tuple(keys[REGISTER]))


def sign_register(file: str, data: bytes, *, version: int, signers: Sequence[PolicySigner]) -> bytes:
    """The detached signature of a register that lies in a file of that name (no folder).

    `version` grows from one state of the register to the next; 0 = not counted.

    Raises: VerificationError where nobody signs, or the name or version cannot be written.
    """
    text = f"residency register 1\nfile {file}\nversion {version}\nsha256 {hashlib.sha256(data).hexdigest()}\n"
    if not signers or _NOTE.fullmatch(text) is None or version > MAX_VERSION:
        raise VerificationError(
            f"a register's signature needs a key, a file name without spaces and a version of 0 to {MAX_VERSION}"
        )
    lines = "".join(f"{signer.line(text)}\n" for signer in signers)
    return f"{text}\n{lines}".encode()


def verify_register(file: str, data: bytes, note: bytes, keys: Sequence[PolicyKey]) -> int:
    """The version of a register whose detached signature is `note`, by one of `keys` of each algorithm at least.

    Raises: VerificationError where it is of another file, of other bytes, or not signed as asked.
    """
    try:
        text, empty, lines = note.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise VerificationError("the register's signature is not UTF-8") from None
    text += "\n"
    match = _NOTE.fullmatch(text)
    if match is None or not empty or not lines.endswith("\n") or len(note) > MAX_NOTE:
        raise VerificationError("the register's signature is not of the form `residency register 1`")
    if match[1] != file:
        raise VerificationError(f"the signature is of a register in a file called `{match[1]}`")
    if match[3] != hashlib.sha256(data).hexdigest():
        raise VerificationError("the signature is of other bytes than the register has: sign it anew")
    if int(match[2]) > MAX_VERSION:
        raise VerificationError(f"a register's version is 0 to {MAX_VERSION}")
    verify_signatures(text, lines.split("\n")[:-1], keys)
    return int(match[2])
