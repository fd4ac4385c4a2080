"""For tests: canaries planted as covered people's data, and the search for them wherever bytes abroad may lie.

A canary is a mark with a number behind it. The search knows the mark in many forms: as it is, in any case, as UTF-16,
in percent and backslash escapes, in hex, in base64 at each of its three alignments; and all of them inside gzip, zlib
and base64 of these, three deep. `Wire` records what goes over the loopback interface, as the kernel saw it.
"""

from __future__ import annotations

import base64
import ctypes
import os
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["ENCODINGS", "MARK", "NETWORK", "Found", "Wire", "canary", "search", "search_path"]

MARK: Final = "Zq7xVnCanary"
"""What every canary begins with: no word of any program, and no two of its letters the same way round in base64."""
NETWORK: Final = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}"
"""Loopback addresses of this process alone begin so: whatever is heard there is its own."""
_DEEP: Final = 3
_GZIP: Final = re.compile(rb"\x1f\x8b\x08")
_ZLIB: Final = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
# A compressed stream in base64: what the first bytes of gzip and zlib become.
_BASE64: Final = re.compile(rb"(?:H4sI|e[AFJN])[A-Za-z0-9+/_-]{20,}={0,2}")
_PIECE: Final = 512
_ENOUGH: Final = 64 * 1024 * 1024  # bytes that one compressed stream is unpacked to at most


def canary(number: int) -> str:
    """The canary of one person: ASCII letters and digits only, so that every library takes it as it is."""
    return f"{MARK}{number:08d}"


def _aligned() -> Iterator[bytes]:
    """What base64 shows of the mark, whatever stands before and behind it."""
    mark = MARK.encode()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + mark)
        first = -(-before * 4 // 3)  # characters that what stands before has a share in
        whole = (before + len(mark)) // 3 * 4
        yield text[first:whole]


ENCODINGS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "plain": (MARK.encode(),),
    "utf-16": (MARK.encode("utf-16-le"), MARK.encode("utf-16-be")),
    "percent": ("".join(f"%{ord(c):02X}" for c in MARK).encode(),),
    "escapes": ("".join(f"\\u{ord(c):04x}" for c in MARK).encode(), "".join(f"\\x{ord(c):02x}" for c in MARK).encode()),
    "hex": (MARK.encode().hex().encode(),),
    "base64": tuple(_aligned()),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A canary where none may be: `where`, byte `offset` of what was searched, and the encodings it lay under."""

    where: str
    offset: int
    under: tuple[str, ...]


def search(data: bytes, where: str, under: tuple[str, ...] = ()) -> Iterator[Found]:
    """Every canary in `data`, at most one for each stream that it is packed into."""
    lower = data.lower()  # base64 minds the case of its letters; everything else is looked for in any
    for name, forms in ENCODINGS.items():
        for form in {*forms} if name == "base64" else {each.lower() for each in forms}:
            text = data if name == "base64" else lower
            at = text.find(form)
            while at >= 0:
                yield Found(where, at, (*under, name))
                at = text.find(form, at + 1)
    if len(under) >= _DEEP:
        return
    for name, pattern, bits in (("gzip", _GZIP, 31), ("zlib", _ZLIB, 15)):
        for match in pattern.finditer(data):
            if unpacked := _unpack(data, match.start(), bits):
                yield from _first(search(unpacked, where, (*under, name)), match.start())
    for match in _BASE64.finditer(data):
        text = match[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        decoded = base64.b64decode(text[: len(text) // 4 * 4])
        if _GZIP.match(decoded) or _ZLIB.match(decoded):
            yield from _first(search(decoded, where, (*under, "base64")), match.start())


def _first(found: Iterator[Found], offset: int) -> Iterator[Found]:
    for each in found:
        yield Found(each.where, offset, each.under)
        return


def _unpack(data: bytes, start: int, bits: int) -> bytes:
    unpacker, found = zlib.decompressobj(bits), bytearray()
    try:
        at = start
        while at < len(data):
            piece = 1 if at - start < _PIECE else _PIECE  # what stands in the piece with the error is lost
            found += unpacker.decompress(data[at : at + piece], _ENOUGH)
            at += piece
            if unpacker.eof or len(found) > _ENOUGH:
                break
    except zlib.error:  # what was unpacked before counts
        pass
    return bytes(found)


def search_path(path: Path) -> tuple[list[Found], int]:
    """(every canary in the names and bytes of a file, or of all files under a folder; how many bytes were searched).

    Bytes are searched as they lie on the disk: rows that were deleted, free pages and write-ahead logs included.
    """
    found: list[Found] = []
    size = 0
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        found += search(str(file.relative_to(path.parent)).encode(), f"name of {file}")
        if file.is_file() and not file.is_symlink():
            data = file.read_bytes()
            size += len(data)
            found += search(data, str(file))
    return found, size


def _only(network: str) -> bytes:
    """A packet filter that lets through what goes to or comes from addresses that begin with `network`."""
    numbers = [int(part) for part in network.split(".")]
    wanted = int.from_bytes(bytes(numbers + [0] * (4 - len(numbers))), "big")
    mask = 0xFFFFFFFF << 8 * (4 - len(numbers)) & 0xFFFFFFFF
    load, both, equal, answer = 0x20, 0x54, 0x15, 0x06
    steps = [
        (load, 0, 0, 26), (both, 0, 0, mask), (equal, 3, 0, wanted),
        (load, 0, 0, 30), (both, 0, 0, mask), (equal, 0, 1, wanted),
        (answer, 0, 0, 0x40000), (answer, 0, 0, 0),
    ]  # fmt: skip
    return b"".join(struct.pack("HBBI", *step) for step in steps)


_Flow = tuple[str, int, str, int]


@dataclass
class _Stream:
    pieces: dict[int, bytes] = field(default_factory=dict)  # by TCP sequence number

    def data(self) -> bytes:
        """The stream in order; what the kernel sent twice counts once."""
        if not self.pieces:
            return b""
        some = next(iter(self.pieces))
        first = min(self.pieces, key=lambda seq: (seq - some + 2**31) % 2**32)
        whole, end = bytearray(), 0
        for seq in sorted(self.pieces, key=lambda seq: (seq - first) % 2**32):
            at, piece = (seq - first) % 2**32, self.pieces[seq]
            if at > end:
                whole += b"\0"  # what the socket dropped, however much
                end = at
            whole += piece[end - at :]
            end = max(end, at + len(piece))
        return bytes(whole)


class Wire:
    """What goes over the loopback interface, to or from addresses that begin with `network`, while this is open.

    Linux; needs the right to open a packet socket.
    """

    def __init__(self, network: str = "127") -> None:
        """`network` is the first numbers of an address: "127", "127.0.0"."""
        self._network = network
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 256 * 1024 * 1024)  # SO_RCVBUFFORCE: lose nothing
        # Kept alive until the kernel has its copy.
        program = _only(network)
        held = ctypes.create_string_buffer(program)
        self._socket.setsockopt(
            socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
        )  # SO_ATTACH_FILTER
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.2)
        self._streams: dict[_Flow, list[_Stream]] = {}  # ports are used again: one for each connection
        self._stop = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    @staticmethod
    def can_watch() -> bool:
        """Whether this process may listen."""
        try:
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
        except (AttributeError, OSError):
            return False
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop = True
        self._thread.join()
        self._socket.close()

    @property
    def dropped(self) -> int:
        """Packets that the kernel could not hand over since this was last asked: what they held was not searched."""
        _, dropped = struct.unpack("II", self._socket.getsockopt(263, 6, 8))  # SOL_PACKET, PACKET_STATISTICS
        return int(dropped)

    def _catch_up(self) -> None:
        """Wait until all that was sent before now is taken in: what is sent now comes behind it."""
        if self._stop:
            return
        address = ".".join([*[*self._network.split("."), "0", "0"][:3], "1"])
        with socket.create_server((address, 0)) as server, socket.create_connection(server.getsockname()) as last:
            last.sendall(b"the last")
            flow = (*last.getsockname(), *server.getsockname())
            end = time.monotonic() + 30
            while not any(stream.pieces for stream in self._streams.get(flow, ())):
                if time.monotonic() > end:
                    raise AssertionError("the wire is not heard")
                time.sleep(0.01)

    def connections(self, address: str) -> set[tuple[str, int]]:
        """Who (address, port) spoke to `address`."""
        self._catch_up()
        spoke = [flow for flow, streams in list(self._streams.items()) if any(stream.pieces for stream in streams)]
        return {(source, port) for source, port, target, _ in spoke if target == address}

    def search(self, address: str, *, of: tuple[str, int] | None = None) -> tuple[list[Found], int]:
        """(every canary that went to or came from `address`, how many bytes were searched); `of` = what went there from
        this address and port alone."""
        self._catch_up()
        found: list[Found] = []
        size = 0
        for (source, port, target, to), streams in list(self._streams.items()):
            if not (address in (source, target) if of is None else (source, port, target) == (*of, address)):
                continue
            for stream in streams:
                data = stream.data()
                size += len(data)
                found += search(data, f"wire {source}:{port} > {target}:{to}")
        return found, size

    def _read(self) -> None:
        while not self._stop:
            try:
                frame, about = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                continue
            if about[2] == socket.PACKET_OUTGOING or frame[23] != socket.IPPROTO_TCP:
                continue  # each packet passes the loopback twice
            start = 14 + (frame[14] & 15) * 4
            length = 14 + int.from_bytes(frame[16:18], "big")
            if length == 14:
                length = len(frame)  # a segment over 64 KiB, which the loopback does not cut
            source, target = str(IPv4Address(frame[26:30])), str(IPv4Address(frame[30:34]))
            port, to, seq = struct.unpack_from(">HHI", frame, start)
            payload = frame[start + (frame[start + 12] >> 4) * 4 : length]
            streams = self._streams.setdefault((source, port, target, to), [_Stream()])
            if frame[start + 13] & 2 and streams[-1].pieces:  # SYN
                streams.append(_Stream())
            if payload:
                streams[-1].pieces[seq] = payload
