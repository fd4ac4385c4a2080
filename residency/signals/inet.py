"""Addresses and networks: text or bytes in, one canonical spelling, a yes or a no out.

The one module of the core that takes `inet_pton` and `inet_ntop` from socket: both are pure functions of their
arguments, strict (no "1.2.3", no octal), and ten times faster than `ipaddress`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from residency.errors import AddressError

__all__ = ["MAX_HOP", "Ranges", "canonical", "is_public", "read", "read_hop"]

MAX_HOP: Final = 110
"""Longest element of a forwarding header that is read: an IPv6 address with zone, brackets, port and spaces."""

_MAPPED: Final = bytes(10) + b"\xff\xff"
_NAT64: Final = bytes.fromhex("0064ff9b") + bytes(8)  # RFC 6052's well-known prefix; 64:ff9b:1::/48 maps to anything
_WRAPPED: Final = (_MAPPED, _NAT64)
_number: Final = int.from_bytes


def _pack(text: str) -> bytes | None:
    """4 or 16 bytes, an address that wraps an IPv4 one as its 4, a zone id dropped; None where `text` is no address."""
    try:
        if ":" not in text:
            return inet_pton(AF_INET, text)
        if "%" in text:
            text, _, zone = text.partition("%")
            if not zone:
                return None
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):  # ValueError: an embedded NUL, a surrogate
        return None
    return packed[12:] if packed.startswith(_WRAPPED) else packed


def canonical(text: str) -> str | None:
    """The one spelling of an address: lower case, shortest form, no zone id; IPv4-mapped IPv6 and NAT64 as IPv4.

    None where `text` is not an address. Never raises; idempotent.
    """
    found = read(text)
    return None if found is None else found[0]


def read(text: str) -> tuple[str, bytes] | None:
    """The `canonical` spelling of an address and its 4 or 16 bytes, None where `text` is not an address."""
    packed = None if len(text) > MAX_HOP else _pack(text)
    if packed is None:
        return None
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed), packed


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def read_hop(element: bytes) -> tuple[str, bytes] | None:
    """The canonical address of one X-Forwarded-For element, and its 4 or 16 bytes: `1.2.3.4`, `1.2.3.4:555`, `::1`,
    `[::1]`, `[::1]:555`.

    None for anything else, obfuscated names and `unknown` included. Never raises, whatever the bytes.
    """
    if len(element) > MAX_HOP:
        return None
    try:
        text = element.decode("ascii").strip(" \t")
        if ":" not in text:
            return text, inet_pton(AF_INET, text)  # which takes each IPv4 address in one spelling only
    except (OSError, ValueError):
        return None
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in text or (rest and not (rest.startswith(":") and _is_port(rest[1:]))):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(port):
            return None
    return read(text)


@lru_cache(maxsize=65_536)
def is_public(address: str) -> bool:
    """Whether a canonical `address` is globally reachable unicast: only then can it say anything of a country."""
    parsed = ip_address(address)
    return parsed.is_global and not parsed.is_multicast


@dataclass(frozen=True, slots=True, init=False)
class Ranges:
    """An immutable set of networks, written as CIDRs or single addresses.

    Raises AddressError, naming the text, for one that cannot be read or has host bits set.
    """

    texts: tuple[str, ...]
    # Per prefix length in use: (bits to shift away, network numbers). Operators name a handful of lengths, so a
    # lookup is a few shifts and set probes.
    _v4: tuple[tuple[int, frozenset[int]], ...] = field(init=False, repr=False, compare=False)
    _v6: tuple[tuple[int, frozenset[int]], ...] = field(init=False, repr=False, compare=False)
    # The first bytes of addresses that may lie in one: of most clients it is enough to know that theirs is none.
    _first: frozenset[int] = field(init=False, repr=False, compare=False)

    def __init__(self, texts: Iterable[str]) -> None:
        kept = tuple(texts)
        tables: dict[int, dict[int, set[int]]] = {32: {}, 128: {}}
        first: set[int] = set()
        for text in kept:
            bits, shift, number = _network(text)
            tables[bits].setdefault(shift, set()).add(number)
            lowest = number << shift
            first.update(range(lowest >> bits - 8, (lowest + (1 << shift) - 1 >> bits - 8) + 1))
        object.__setattr__(self, "_first", frozenset(first))
        object.__setattr__(self, "texts", kept)
        for name, bits in (("_v4", 32), ("_v6", 128)):
            table = tuple((shift, frozenset(numbers)) for shift, numbers in sorted(tables[bits].items()))
            object.__setattr__(self, name, table)

    def __bool__(self) -> bool:
        """Whether there is any network at all."""
        return bool(self.texts)

    def contains(self, address: str) -> bool:
        """Whether `address` lies in one of the networks; one that wraps an IPv4 address counts as that. What is no
        address lies in none: it is not to be trusted."""
        packed = _pack(address)
        return packed is not None and self.contains_packed(packed)

    def contains_packed(self, packed: bytes) -> bool:
        """Whether the address of these 4 or 16 bytes, as `read_hop` gives them, lies in one of the networks."""
        if packed[0] not in self._first:
            return False
        number = _number(packed)
        for shift, numbers in self._v4 if len(packed) == 4 else self._v6:  # noqa: SIM110 - a third of what any() costs
            if number >> shift in numbers:
                return True
        return False


def _network(text: str) -> tuple[int, int, int]:
    """(address bits, bits to shift away, network number) of one CIDR. Raises AddressError."""
    host, slash, length = text.partition("/")
    try:
        packed = None if "%" in host else inet_pton(AF_INET6 if ":" in host else AF_INET, host)
    except (OSError, ValueError):
        packed = None
    if packed is None:
        raise AddressError(f"`{text}` is not an address or a network")
    bits = len(packed) * 8
    prefix = bits
    if slash:
        if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits):
            raise AddressError(f"`{text}` has no prefix length from 0 to {bits}")
        prefix = int(length)
    shift = bits - prefix
    number = int.from_bytes(packed)
    if number & ((1 << shift) - 1):
        raise AddressError(f"`{text}` has host bits set: write its network address")
    if bits == 128 and packed.startswith(_WRAPPED):
        if prefix < 96:
            raise AddressError(f"`{text}` cuts through the addresses that wrap IPv4: write it as IPv4")
        bits, number = 32, number & 0xFFFFFFFF
    return bits, shift, number >> shift
