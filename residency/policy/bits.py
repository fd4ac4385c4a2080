"""Sets of small numbers as the bits of integers: numbers in, integers out, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Final, TypeVar

__all__ = ["all_bits", "bits_of", "bits_where", "chosen"]

_BINARY: Final = bytes.maketrans(b"01", b"\x00\x01")
_FEW: Final = 24
_Thing = TypeVar("_Thing")


def bits_of(numbers: Iterable[int]) -> int:
    """The integer that has these bits."""
    found = bytearray()
    for number in numbers:  # byte by byte: adding up long integers would copy each of them
        if number >> 3 >= len(found):
            found.extend(bytes((number >> 3) + 1 - len(found)))
        found[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(found, "little")


def bits_where(holds: Iterable[bool]) -> int:
    """The integer whose bits stand where something holds."""
    return bits_of(number for number, held in enumerate(holds) if held)


def all_bits(each: Iterable[int]) -> int:
    """All bits of several integers."""
    found = 0
    for bits in each:
        found |= bits
    return found


def chosen(things: Sequence[_Thing], bits: int) -> Sequence[_Thing]:
    """Those of `things` whose bits are set, in their order."""
    if bits.bit_count() > _FEW:
        return tuple(compress(things, bin(bits)[:1:-1].encode().translate(_BINARY)))
    found = []
    while bits:
        lowest = bits & -bits
        found.append(things[lowest.bit_length() - 1])
        bits ^= lowest
    return found
