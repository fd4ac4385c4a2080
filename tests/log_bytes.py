"""For tests: the audit trail's bytes read a second time, from docs/reference/audit-formats.md alone.

Imports nothing of `residency`, and shares no line with it, so that a mistake of the one is not believed by the other.
A folder in; what its journals and its log hold, or an AssertionError that says what is wrong, out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

RECORDS = 128


class Held(NamedTuple):
    """What one segment holds: its records as (number, payload), the offset after the last one, whether zeros follow
    it, and the offset below which its mark calls it durable."""

    records: list[tuple[int, bytes]]
    end: int
    clean: bool
    mark: int


def check_trail(folder: Path, *, settled: bool = True) -> tuple[dict[int, list[bytes]], list[bytes]]:
    """Check every byte below an audit folder; (payloads still in the journals by slot, entries of the log).

    `settled`: recovery has run, so no segment may end in anything but zeros.
    """
    entries = check_log(folder / "log")
    journals: dict[int, list[bytes]] = {}
    state = json.loads((folder / "sequencer.json").read_bytes())
    assert state["size"] == len(entries), f"the state knows {state['size']} entries, the checkpoint {len(entries)}"
    for home in sorted(folder.glob("journal/*/"), key=lambda path: int(path.name)):
        slot = int(home.name)
        numbered = check_slot(home, slot, settled=settled)
        journals[slot] = [payload for _, payload in numbered]
        first = numbered[0][0] if numbered else 0
        upto = state["slots"].get(str(slot), [0, RECORDS, 0])[2]
        assert first <= upto, f"slot {slot}: entries {upto} to {first} are neither in the log nor in the journal"
    return journals, entries


def check_slot(home: Path, slot: int, *, settled: bool) -> list[tuple[int, bytes]]:
    """The records of one slot, whose numbers must follow one upon the other over all its segments."""
    found: list[tuple[int, bytes]] = []
    paths = sorted(home.glob("*.seg"))
    numbers = [int(path.stem) for path in paths]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True, f"{home}: {numbers}"
    for path in paths:
        held = check_segment(path, slot)
        assert held.mark <= held.end, f"{path}: durable up to {held.mark} once, and whole up to {held.end} only"
        if settled:
            assert held.clean, f"{path}: neither a record nor zeros at offset {held.end}"
        found.extend(held.records)
    seqs = [seq for seq, _ in found]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True, f"{home}: numbers with a gap"
    return found


def check_segment(path: Path, slot: int) -> Held:
    """One segment: its header, its mark and its records."""
    data = path.read_bytes()
    magic, version, said_slot, number, capacity = struct.unpack_from("<8sIIQQ", data)
    assert (magic, version, said_slot, number) == (b"RSDYJRNL", 1, slot, int(path.stem)), f"{path}: header"
    assert capacity == len(data), f"{path}: {len(data)} bytes, where the header says {capacity}"
    assert struct.unpack_from("<I", data, 60)[0] == binascii.crc32(data[:60]), f"{path}: header's checksum"
    (word,) = struct.unpack_from("<Q", data, 64)
    mark = word >> 24
    assert word & 0xFFFFFF == binascii.crc32(struct.pack("<Q", mark)) & 0xFFFFFF, f"{path}: mark's checksum"
    assert data[32:60] + data[72:128] == bytes(84), f"{path}: header's zeros"
    at, records = RECORDS, list[tuple[int, bytes]]()
    while at + 16 <= len(data):
        crc, length, seq = struct.unpack_from("<IIQ", data, at)
        stop = at + 16 + length
        if not 1 <= length <= 65_535 or stop > len(data) or binascii.crc32(data[at + 4 : stop]) != crc:
            break
        records.append((seq, data[at + 16 : stop]))
        at = stop + -stop % 8
    return Held(records, at, data[at:].strip(b"\0") == b"", mark)


def check_log(log: Path) -> list[bytes]:
    """The entries that the log's checkpoint signs, every tile and bundle below it recomputed."""
    name, key = _verifier((log / "log.vkey").read_text())
    size, root = _opened((log / "checkpoint").read_bytes(), name, key)
    entries: list[bytes] = []
    for number, width in _tiles(size):
        path = log / "tile/entries" / _path(number, width)
        data, at = path.read_bytes(), 0
        for _ in range(width):
            (length,) = struct.unpack_from(">H", data, at)
            entries.append(data[at + 2 : at + 2 + length])
            assert len(entries[-1]) == length, f"{path}: torn"
            at += 2 + length
        assert at == len(data), f"{path}: bytes after the last entry"
    hashes = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    level = 0
    while hashes:
        for number, width in _tiles(len(hashes)):
            path = log / "tile" / str(level) / _path(number, width)
            expected = b"".join(hashes[number * 256 : number * 256 + width])
            assert path.read_bytes() == expected, f"{path} is not what its entries make of it"
        hashes = [_tree(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
        level += 1
    leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    assert (_tree(leaves) if leaves else hashlib.sha256(b"").digest()) == root, "the root is not that of the entries"
    return entries


def _tree(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\1" + _tree(hashes[:k]) + _tree(hashes[k:])).digest()


def _tiles(size: int) -> Iterator[tuple[int, int]]:
    for number in range(size // 256):
        yield number, 256
    if size % 256:
        yield size // 256, size % 256


def _path(number: int, width: int) -> str:
    digits = f"{number:03d}"
    digits = digits.rjust(-(-len(digits) // 3) * 3, "0")
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return path if width == 256 else f"{path}.p/{width}"


def _verifier(text: str) -> tuple[str, bytes]:
    name, said, key = text.strip().split("+", 2)
    raw = base64.b64decode(key, validate=True)
    assert (raw[0], len(raw)) == (1, 33), "not an Ed25519 verifier key"
    assert hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() == said, "the key's hash"
    return name, raw


def _opened(note: bytes, name: str, key: bytes) -> tuple[int, bytes]:
    """Size and root of a checkpoint that `key` has signed."""
    text, _, signatures = note.rpartition(b"\n\n")
    text += b"\n"
    for line in signatures.decode().splitlines():
        dash, who, signature = line.split(" ")
        raw = base64.b64decode(signature, validate=True)
        if (dash, who, raw[:4]) == ("\u2014", name, hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]):
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], text)
            break
    else:
        raise AssertionError("no signature of the log's own key")
    origin, size, root = text.decode().splitlines()[:3]
    assert origin == name
    return int(size), base64.b64decode(root, validate=True)
