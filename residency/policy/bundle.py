"""A policy's files in, one file out, and back: a manifest, signatures over it, the files' bytes, a checksum over all.

    residency bundle 1
    name chat-api
    version 7
    digest <sha256 of the policy, hex>
    file <bytes> <sha256> deployment/chat-api
    file <bytes> <sha256> law/vn/decree-333-2026

    — ops <base64>

    <the files, one after the other>sha256 <of all before, hex>

There is one form only: what reads differently from how it would be written is refused. Names are never paths of a disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from residency.errors import VerificationError
from residency.policy.archive import digest_of
from residency.policy.signatures import PolicySigner
from residency.policy.yamldoc import MAX_BYTES

__all__ = ["MAX_BUNDLE", "MAX_VERSION", "Bundle", "format_bundle", "is_bundle", "parse_bundle"]

MAX_BUNDLE: Final = 64 * 1024 * 1024
"""Bytes of a bundle at most."""
MAX_VERSION: Final = 2**53 - 1
_MAX_FILES: Final = 4096
_MAX_SIGNATURES: Final = 100
_MAX_HEAD: Final = 2 * 1024 * 1024
_MAGIC: Final = b"residency bundle "
_FIRST: Final = "residency bundle 1"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEAD: Final = re.compile(r"name ([^ \n]+)\nversion (0|[1-9][0-9]{0,15})\ndigest ([0-9a-f]{64})\n")
_FILE: Final = re.compile(r"file (0|[1-9][0-9]{0,9}) ([0-9a-f]{64}) ([^\s]+)")
_MEMBER: Final = re.compile(r"(?:deployment|law|register)(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_TRAILER: Final = len("sha256 \n") + 64


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle whose bytes are whole. `sources` are the files as ("kind/name", bytes); `text` is what `signatures`
    (whole lines) are over. Nothing is said yet of who signed."""

    name: str
    version: int
    digest: str
    sources: tuple[tuple[str, bytes], ...]
    text: str
    signatures: tuple[str, ...]


def is_bundle(data: bytes) -> bool:
    """Whether a file that begins so is meant as a bundle. No policy file in YAML begins so."""
    return data.startswith(_MAGIC)


def format_bundle(
    name: str, sources: Iterable[tuple[str, bytes]], *, version: int = 0, signers: Sequence[PolicySigner] = ()
) -> bytes:
    """The bundle of a policy's files. The same input gives the same bytes, but for ML-DSA signatures.

    `version` grows from one bundle of a deployment to the next; 0 = not counted.

    Raises: VerificationError for what no bundle can hold.
    """
    files = sorted(sources)
    text = _manifest(name, version, digest_of(files), files)
    _check(name, version, [file for file, _ in files])
    lines = "".join(f"{signer.line(text)}\n" for signer in signers)
    whole = f"{text}\n{lines}\n".encode() + b"".join(data for _, data in files)
    whole += _trailer(whole)
    parse_bundle(whole)  # limits are told to who packs, not to who loads
    return whole


def parse_bundle(data: bytes) -> Bundle:
    """The bundle in `data`, every byte of which has been accounted for.

    Raises: VerificationError, which says what is wrong with it.
    """
    # 1. Bounded, and of a version we read.
    if len(data) > MAX_BUNDLE:
        raise VerificationError(f"a bundle has at most {MAX_BUNDLE} bytes")
    if not data.startswith(f"{_FIRST}\n".encode()):
        raise VerificationError("this version reads `residency bundle 1`, and the file does not begin so")
    # 2. Whole: a copy that was cut short, or hit on the way, shows before anything of it is read.
    if len(data) < _TRAILER or data[-_TRAILER:] != _trailer(data[:-_TRAILER]):
        raise VerificationError("the bundle is torn or was changed: its checksum does not match")
    # 3. Manifest and signatures, each up to an empty line.
    text, rest = _until_empty_line(data, 0)
    lines, at = _until_empty_line(data, rest) if data[rest : rest + 1] != b"\n" else ("", rest + 1)
    signatures = tuple(lines.split("\n")[:-1])
    if len(signatures) > _MAX_SIGNATURES:
        raise VerificationError(f"a bundle has at most {_MAX_SIGNATURES} signatures")
    # 4. The manifest's words, and the bytes they speak of: each file once, in order, as long as it says and no longer.
    name, version, digest, listed = _words(text)
    _check(name, version, [file for _, _, file in listed])
    sources = []
    for size, sha256, file in listed:
        content = data[at : at + size]
        if len(content) != size or at + size > len(data) - _TRAILER:
            raise VerificationError(f"the bundle ends before `{file}` does")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise VerificationError(f"`{file}` is not the file that the manifest names")
        sources.append((file, content))
        at += size
    if at != len(data) - _TRAILER:
        raise VerificationError("the bundle holds bytes that the manifest does not name")
    # 5. One form only, and the digest is of these files.
    if digest_of(sources) != digest or _manifest(name, version, digest, sources) != text:
        raise VerificationError("the manifest does not name the files as a bundle is written")
    return Bundle(name, version, digest, tuple(sources), text, signatures)


def _manifest(name: str, version: int, digest: str, files: Sequence[tuple[str, bytes]]) -> str:
    rows = [f"file {len(data)} {hashlib.sha256(data).hexdigest()} {file}\n" for file, data in files]
    return f"{_FIRST}\nname {name}\nversion {version}\ndigest {digest}\n{''.join(rows)}"


def _words(text: str) -> tuple[str, int, str, list[tuple[int, str, str]]]:
    """(name, version, digest, (size, sha256, name) of each file), as the manifest says."""
    head = _HEAD.match(text, len(_FIRST) + 1)
    if head is None:
        raise VerificationError("the manifest does not say name, version and digest")
    listed = []
    for row in text[head.end() :].split("\n")[:-1]:
        match = _FILE.fullmatch(row)
        if match is None:
            raise VerificationError("a line of the manifest is no `file <bytes> <sha256> <name>`")
        size = int(match[1])
        if size > MAX_BYTES:
            raise VerificationError(f"a file in a bundle has at most {MAX_BYTES} bytes")
        listed.append((size, match[2], match[3]))
    return head[1], int(head[2]), head[3], listed


def _check(name: str, version: int, files: Sequence[str]) -> None:
    if _NAME.fullmatch(name) is None:
        raise VerificationError("a bundle's name is a deployment's name")
    if not 0 <= version <= MAX_VERSION:
        raise VerificationError(f"a bundle's version is 0 to {MAX_VERSION}")
    if len(files) > _MAX_FILES:
        raise VerificationError(f"a bundle holds at most {_MAX_FILES} files")
    for file in files:
        if _MEMBER.fullmatch(file) is None or len(file) > 255:
            raise VerificationError(
                "a file in a bundle is called deployment/…, law/… or register/…, of letters, digits, dot, dash and "
                "underscore, and no part begins with a dot"
            )
    if len(set(files)) != len(files):
        raise VerificationError("the bundle holds a file twice")
    if list(files) != sorted(files):
        raise VerificationError("the bundle's files are not in order")
    if [file for file in files if file.startswith("deployment/")] != [f"deployment/{name}"]:
        raise VerificationError("a bundle holds one deployment, and has its name")


def _until_empty_line(data: bytes, start: int) -> tuple[str, int]:
    """(lines from `start` up to the next empty one, where the rest begins)."""
    end = data.find(b"\n\n", start, start + _MAX_HEAD)
    if end < 0:
        raise VerificationError("the bundle's manifest or signatures have no end")
    try:
        return data[start : end + 1].decode(), end + 2
    except UnicodeDecodeError:
        raise VerificationError("the bundle's manifest or signatures are not UTF-8") from None


def _trailer(whole: bytes) -> bytes:
    return f"sha256 {hashlib.sha256(whole).hexdigest()}\n".encode()
