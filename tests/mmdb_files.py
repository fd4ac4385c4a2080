"""In: networks with their records. Out: the bytes of a small mmdb file (MaxMind DB format 2.0, 32-bit records)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

Value = bool | str | int | Mapping[str, "Value"] | Sequence["Value"]
METADATA = b"\xab\xcd\xefMaxMind.com"
BUILT = 1_790_000_000


def encoded(value: Value) -> bytes:
    """One value of the data section."""
    match value:
        case bool():
            return bytes([int(value), 7])  # extended type 14: boolean
        case str():
            raw = value.encode()
            assert len(raw) < 285
            return (bytes([0x40 | len(raw)]) if len(raw) < 29 else bytes([0x5D, len(raw) - 29])) + raw
        case int():
            raw = value.to_bytes((value.bit_length() + 7) // 8)
            return bytes([len(raw), 2]) + raw  # extended type 9: uint64
        case Mapping():
            return bytes([0xE0 | len(value)]) + b"".join(encoded(k) + encoded(v) for k, v in value.items())
        case _:
            return bytes([len(value), 4]) + b"".join(map(encoded, value))  # extended type 11: array


def mmdb(networks: Mapping[str, Value], *, built: int = BUILT, ip_version: int = 6) -> bytes:
    """A file that holds one record per network, none within another; `built` in seconds UTC."""
    data = b""
    nodes: list[list[int | None]] = [[None, None]]  # None = empty, negative = ~offset of a record
    for text, record in networks.items():
        network = ip_network(text)
        bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
        if network.version == 4 and ip_version == 6:
            bits = "0" * 96 + bits
        at = 0
        for bit in map(int, bits[:-1]):
            child = nodes[at][bit]
            if child is None:
                nodes.append([None, None])
                child = nodes[at][bit] = len(nodes) - 1
            at = child
        nodes[at][int(bits[-1])] = ~len(data)
        data += encoded(record)
    count = len(nodes)
    tree = b"".join(
        (count if side is None else side if side >= 0 else count + 16 + ~side).to_bytes(4)
        for node in nodes
        for side in node
    )
    metadata = bytes([0xE9]) + b"".join(  # a map of nine; readers insist on the width of each integer
        encoded(name) + value
        for name, value in {
            "binary_format_major_version": _uint16(2),
            "binary_format_minor_version": _uint16(0),
            "build_epoch": encoded(built),
            "database_type": encoded("Test"),
            "description": encoded({"en": "made by a test"}),
            "ip_version": _uint16(ip_version),
            "languages": encoded([]),
            "node_count": bytes([0xC4]) + count.to_bytes(4),
            "record_size": _uint16(32),
        }.items()
    )
    return tree + bytes(16) + data + METADATA + metadata


def countries(places: Mapping[str, str], *, built: int = BUILT, ip_version: int = 6) -> bytes:
    """A country database with lean records: network to country."""
    return mmdb({net: {"country_code": code} for net, code in places.items()}, built=built, ip_version=ip_version)


def _uint16(value: int) -> bytes:
    return bytes([0xA2]) + value.to_bytes(2)
