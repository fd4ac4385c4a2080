"""In: networks, one within another if need be, with their records. Out: an mmdb file of any record size, with aliases.

`mmdb_files` makes the plain ones; these are the shapes that a reader must not trip over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from tests.mmdb_files import BUILT, METADATA, Value, encoded

ALIASES = ("::ffff:0:0/96", "2001::/32", "2002::/16", "64:ff9b::/96")

Network = IPv4Network | IPv6Network


def tree(
    networks: Mapping[Network, Value],
    *,
    ip_version: int = 6,
    record_bits: int = 24,
    aliases: Sequence[str] = (),
    repeated: bool = False,
) -> bytes:
    """A file in which the longer prefix wins; `repeated` stores equal records once per network, not once in all."""
    root: list[Any] = [None, None]  # a node is a list of two; None is empty; an int is the number of a record
    records: list[bytes] = []
    for network, record in sorted(networks.items(), key=lambda item: item[0].prefixlen):
        data = encoded(record)
        if repeated or data not in records:
            records.append(data)
            number = len(records) - 1
        else:
            number = records.index(data)
        _put(root, _bits(network, ip_version), number)
    ipv4: Any = root
    for _ in range(96 if ip_version == 6 else 0):
        ipv4 = ipv4[0] if isinstance(ipv4, list) else ipv4
    if isinstance(ipv4, list) and ip_version == 6:
        for alias in aliases:
            _put(root, _bits(ip_network(alias), 6), ipv4)
    return _written(root, records, ip_version, record_bits)


def _bits(network: Network, ip_version: int) -> str:
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
    return "0" * 96 + bits if network.version == 4 and ip_version == 6 else bits


def _put(node: list[Any], bits: str, value: Any) -> None:
    for bit in map(int, bits[:-1]):
        if not isinstance(node[bit], list):
            node[bit] = [node[bit], node[bit]]
        node = node[bit]
    node[int(bits[-1])] = value


def _written(root: list[Any], records: Sequence[bytes], ip_version: int, record_bits: int) -> bytes:
    numbers = {id(root): 0}
    nodes = [root]
    for node in nodes:  # which grows
        for side in node:
            if isinstance(side, list) and id(side) not in numbers:
                numbers[id(side)] = len(nodes)
                nodes.append(side)
    count = len(nodes)
    offsets = [sum(map(len, records[:at])) for at in range(len(records))]

    def number(side: Any) -> int:
        if side is None:
            return count
        return numbers[id(side)] if isinstance(side, list) else count + 16 + offsets[side]

    written = bytearray()
    for left, right in (map(number, node) for node in nodes):
        if record_bits == 28:
            written += (left & 0xFFFFFF).to_bytes(3) + bytes([left >> 24 << 4 | right >> 24])
            written += (right & 0xFFFFFF).to_bytes(3)
        else:
            written += left.to_bytes(record_bits // 8) + right.to_bytes(record_bits // 8)
    metadata = {
        "binary_format_major_version": b"\xa2" + (2).to_bytes(2),
        "binary_format_minor_version": b"\xa2" + (0).to_bytes(2),
        "build_epoch": encoded(BUILT),
        "database_type": encoded("Test"),
        "description": encoded({"en": "made by a test"}),
        "ip_version": b"\xa2" + ip_version.to_bytes(2),
        "languages": encoded([]),
        "node_count": b"\xc4" + count.to_bytes(4),
        "record_size": b"\xa2" + record_bits.to_bytes(2),
    }
    head = bytes([0xE0 | len(metadata)]) + b"".join(encoded(name) + value for name, value in metadata.items())
    return bytes(written) + bytes(16) + b"".join(records) + METADATA + head
