"""In: an mmdb of lean records. Out: the same search tree with records like those of MaxMind's Country databases.

Most databases in use have such records: continent, country and registered country, each with names in eight languages.
What a reader pays to decode them is most of its lookup. The names here are stand-ins.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Final

from maxminddb.decoder import Decoder

from residency.adapters.mmdb import country_of, read_head, records

__all__ = ["shaped"]

_METADATA: Final = b"\xab\xcd\xefMaxMind.com"
_LANGUAGES: Final = {
    "de": "Land",
    "en": "Country",
    "es": "País",
    "fr": "Pays",
    "ja": "国名",
    "pt-BR": "País",
    "ru": "Страна",
    "zh-CN": "国家",
}

Value = str | int | Mapping[str, "Value"] | list["Value"]


class _Same(dict[int, int]):
    """What it does not hold stays as it is."""

    def __missing__(self, key: int) -> int:
        return key


def shaped(data: bytes) -> bytes:
    """`data` again, every record in MaxMind's form; a record without a country stays without one."""
    head = read_head(data)
    sides = records(data, head)
    decode = Decoder(data, head.nodes * head.record_bits // 4 + 16).decode
    base = head.nodes * head.record_bits // 4 - head.nodes
    places: dict[str | None, int] = {}
    section = bytearray()
    moved = _Same()
    for pointer in sorted({pointer for side in sides for pointer in side if pointer > head.nodes}):
        code = country_of(decode(pointer + base)[0])
        if code not in places:
            places[code] = len(section)
            section += _encoded(_record(code))
        moved[pointer] = head.nodes + 16 + places[code]
    width = 3 if head.nodes + 16 + len(section) < 1 << 24 else 4
    tree = bytearray(2 * width * head.nodes)
    for at, side in enumerate(sides):
        flat = array("I", map(moved.__getitem__, side)).tobytes()
        for byte in range(width):  # little-endian in, big-endian out
            tree[at * width + width - 1 - byte :: 2 * width] = flat[byte::4]
    return bytes(tree) + bytes(16) + bytes(section) + _METADATA + _metadata(head.nodes, width * 8, head.ip_version)


def _record(code: str | None) -> Value:
    if code is None:
        return {}

    def place(number: int) -> dict[str, Value]:
        names: dict[str, Value] = {language: f"{word} {code}" for language, word in _LANGUAGES.items()}
        return {"geoname_id": number, "names": names}

    number = 1_000_000 + int.from_bytes(code.encode())
    return {
        "continent": {"code": "AS", **place(6_255_147)},
        "country": {"iso_code": code, **place(number)},
        "registered_country": {"iso_code": code, **place(number)},
    }


def _encoded(value: Value) -> bytes:
    match value:
        case str():
            raw = value.encode()
            return _control(2, len(raw)) + raw
        case int():
            raw = value.to_bytes((value.bit_length() + 7) // 8)
            return _control(6, len(raw)) + raw
        case Mapping():
            return _control(7, len(value)) + b"".join(_encoded(key) + _encoded(item) for key, item in value.items())
        case _:
            return bytes([len(value), 4]) + b"".join(map(_encoded, value))


def _control(kind: int, size: int) -> bytes:
    return bytes([kind << 5 | size]) if size < 29 else bytes([kind << 5 | 29, size - 29])


def _metadata(nodes: int, record_bits: int, ip_version: int) -> bytes:
    def short(number: int) -> bytes:
        return b"\xa2" + number.to_bytes(2)

    fields = {
        "binary_format_major_version": short(2),
        "binary_format_minor_version": short(0),
        "build_epoch": b"\x08\x02" + (1_780_000_000).to_bytes(8),
        "database_type": _encoded("GeoLite2-Country"),
        "description": _encoded({"en": "the same tree, with records of the usual form"}),
        "ip_version": short(ip_version),
        "languages": _encoded(list(_LANGUAGES)),
        "node_count": b"\xc4" + nodes.to_bytes(4),
        "record_size": short(record_bits),
    }
    return _control(7, len(fields)) + b"".join(_encoded(name) + value for name, value in fields.items())
