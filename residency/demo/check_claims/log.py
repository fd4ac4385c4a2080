"""A log folder in, its entries' bytes out once they hash to a signed root: the public formats, read by themselves.

signed-note, tlog-checkpoint and tlog-tiles as C2SP specifies them, hashing as RFC 6962 section 2.1.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from .ed25519 import signature_holds

WIDTH = 256


class Broken(Exception):
    """A claim that does not hold, and why."""


def unbase64(text: str) -> bytes:
    """The bytes of canonical base64: the last character may hold no bits that mean nothing."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise Broken("base64 that is not canonical")
    return data


def read_checkpoint(log: Path) -> tuple[str, int, bytes]:
    """(origin, size, root) of the log's checkpoint, its signature verified against log.vkey."""
    name, key_hash, encoded = (log / "log.vkey").read_bytes().decode().removesuffix("\n").split("+", 2)
    key = unbase64(encoded)
    if key[:1] != b"\x01" or hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] != key_hash:
        raise Broken("log.vkey is not an Ed25519 key whose hash matches")
    note = (log / "checkpoint").read_bytes().decode()
    if not note.endswith("\n"):
        raise Broken("the checkpoint is cut short")
    text, separator, signatures = note.rpartition("\n\n")
    text += "\n"
    signed = False
    for line in signatures.removesuffix("\n").split("\n"):
        mark, signer, blob = line.split(" ")
        raw = unbase64(blob)
        if mark == "—" and signer == name and raw[:4].hex() == key_hash:
            if not signature_holds(key[1:], text.encode(), raw[4:]):
                raise Broken("the checkpoint's signature does not hold")
            signed = True
    if not separator or not signed:
        raise Broken(f"the checkpoint carries no signature by {name}")
    origin, size, root = text.split("\n")[:3]
    if origin != name:
        raise Broken("the checkpoint's origin is not the key's name")
    return origin, int(size), unbase64(root)


def tile_name(index: int, width: int) -> str:
    """tlog-tiles: groups of three digits, all but the last marked with x; a partial tile says how wide it is."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups)) + ("" if width == WIDTH else f".p/{width}")


def read_entries(log: Path, size: int) -> list[bytes]:
    """The bytes of each entry under the checkpoint, in order."""
    entries: list[bytes] = []
    for number in range((size + WIDTH - 1) // WIDTH):
        width = min(WIDTH, size - number * WIDTH)
        path = log / "tile" / "entries" / tile_name(number, width)
        if not path.exists():
            path = log / "tile" / "entries" / tile_name(number, WIDTH)
        data, at = path.read_bytes(), 0
        for _ in range(width):
            length = int.from_bytes(data[at : at + 2], "big")
            entries.append(data[at + 2 : at + 2 + length])
            if at + 2 + length > len(data):
                raise Broken(f"{path.name} ends within entry {len(entries) - 1}")
            at += 2 + length
        if path.name == tile_name(number, width).rpartition("/")[2] and at != len(data):
            raise Broken(f"{path.name} has bytes after its entries")
    return entries


def node(left: bytes, right: bytes) -> bytes:
    """RFC 6962: the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1: the root over these leaf hashes, the left subtree the largest power of two."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root_of(hashes[:split]), root_of(hashes[split:]))


def check_tiles(log: Path, leaves: list[bytes]) -> int:
    """Compare every hash tile of every level with hashes computed from the entries; how many tiles there were."""
    level, hashes, seen = 0, leaves, 0
    while hashes:
        for number in range((len(hashes) + WIDTH - 1) // WIDTH):
            part = hashes[number * WIDTH : (number + 1) * WIDTH]
            path, width = log / "tile" / str(level) / tile_name(number, len(part)), len(part)
            if not path.exists():
                path, width = log / "tile" / str(level) / tile_name(number, WIDTH), WIDTH
            data = path.read_bytes()
            if len(data) != width * 32 or data[: len(part) * 32] != b"".join(part):
                raise Broken(f"tile {level}/{tile_name(number, len(part))} is not over these entries")
            seen += 1
        full = len(hashes) // WIDTH
        hashes = [root_of(hashes[i * WIDTH : (i + 1) * WIDTH]) for i in range(full)]
        level += 1
    return seen
