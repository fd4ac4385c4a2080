"""mmdb files: a whole file's bytes in, a layer of the address table out; or a path in, one address's country out.

Reads the shapes in use: `country.iso_code` (GeoLite2, GeoIP2 Country, City and Enterprise, DB-IP), else
`registered_country.iso_code`, else a bare `country_code` or `country` text (ip-location-db and others).
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress, islice
from operator import ne
from pathlib import Path
from typing import Final

import maxminddb
from maxminddb.decoder import Decoder

from residency.errors import AddressDataUnavailable
from residency.model.place import COUNTRIES
from residency.signals.network import asn_of
from residency.signals.table import AddressTable
from residency.signals.table_layers import ALIASED, Alias, Intervals, Layer

__all__ = [
    "EMBEDDED",
    "EMBEDDED_TABLE",
    "MmdbCountries",
    "MmdbHead",
    "country_of",
    "embedded",
    "embedded_table",
    "read_head",
    "read_layer",
    "records",
    "system_at",
]

_CACHE: Final = 65_536
_CHECKED: Final = 256  # records read at open, from the start of the tree and spread over IPv4
EMBEDDED: Final = Path(__file__).resolve().parent.parent / "data" / "country" / "iptoasn-country.mmdb"
"""The table that ships with this package; SOURCE.json beside it says whence, of when, and under which licence."""
EMBEDDED_TABLE: Final = EMBEDDED.with_suffix(".table")
"""The same, compiled: what serves."""
_SYSTEM_NAMES: Final = ("autonomous_system_organization", "as_name", "name")
_NAME: Final = 60  # characters of a system's name that are told
_BAD: Final = (OSError, ValueError, RuntimeError, TypeError, KeyError, IndexError, EOFError, struct.error)
"""What maxminddb raises on a file that is not what it must be: InvalidDatabaseError is a RuntimeError, text that is
not UTF-8 a ValueError, and its pure-Python reader lets struct and index errors through."""


class MmdbCountries:
    """A country table over one mmdb file, with a bounded cache that is cleared when full.

    Raises AddressDataUnavailable, naming the file without its folder, for a file that is missing, unreadable,
    truncated, holds no countries, or opens and then fails at lookup.
    """

    def __init__(self, path: Path | str, *, source: Mapping[str, object] | None = None) -> None:
        path = Path(path)
        self._name = path.name
        self._source = source
        self._seen: dict[str, str | None] = {}
        try:
            # 1. Read whole: a disk error shows now, and `info` can say which bytes these are.
            self._sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            # 2. Open: needs intact metadata, which lie at the end of the file.
            self._reader = maxminddb.open_database(path, maxminddb.MODE_AUTO)
            self._metadata = self._reader.metadata()
            self._ipv6 = self._metadata.ip_version == 6
            # 3. Look up: the tree and the data section must answer, and with countries.
            codes = {country_of(record) for _, record in islice(self._reader, _CHECKED)}
            codes |= {country_of(self._reader.get(f"{block}.0.0.1")) for block in range(1, 224)}
        except _BAD as error:
            raise self._unavailable("cannot be read") from error
        if source is not None and source.get("sha256") != self._sha256:
            raise self._unavailable("is not the file that its SOURCE.json describes")
        if codes <= {None}:
            raise self._unavailable("holds no country in a form that is known here")

    def _unavailable(self, what: str) -> AddressDataUnavailable:
        return AddressDataUnavailable(f"country database `{self._name}` {what}")

    def country(self, address: str) -> str | None:
        """The ISO 3166-1 code of a canonical `address`, None where the file knows none.

        Raises AddressDataUnavailable where the file fails at this lookup.
        """
        try:
            return self._seen[address]
        except KeyError:
            pass
        # An IPv4 file knows nothing of IPv6: unknown, not broken.
        code = None
        if self._ipv6 or ":" not in address:
            try:
                code = country_of(self._reader.get(address))
            except _BAD as error:
                raise self._unavailable("fails at lookup") from error
        if len(self._seen) >= _CACHE:
            self._seen.clear()
        self._seen[address] = code
        return code

    @property
    def built_at(self) -> int:
        """When the file says that it was built, in seconds since the epoch, UTC."""
        return int(self._metadata.build_epoch)

    def info(self) -> dict[str, str | int | bool | None]:
        """What this table is: file, type, build date (UTC), source, licence, networks, checksum, caution.

        `networks`, `source`, `licence` and `caution` are None for a file of one's own: an mmdb does not say.
        """
        told = self._source or {}
        networks = told.get("networks")
        return {
            "file": self._name,
            "bundled": self._source is not None,
            "type": self._metadata.database_type,
            "date": datetime.fromtimestamp(self.built_at, UTC).date().isoformat(),
            "source": _text(told.get("source")),
            "version": _text(told.get("version")),
            "licence": _text(told.get("licence")),
            "networks": networks if isinstance(networks, int) else None,
            "nodes": self._metadata.node_count,
            "ip_version": self._metadata.ip_version,
            "sha256": self._sha256,
            "caution": _text(told.get("caution")),
        }

    def close(self) -> None:
        """Release the file; idempotent."""
        self._reader.close()


def system_at(file: Path, address: str) -> str | None:
    """The autonomous system that an mmdb places a canonical `address` in, as `AS64500 name`; None where it knows none,
    or cannot be read now."""
    try:
        with maxminddb.open_database(file) as reader:
            record = reader.get(address)
        number = asn_of(record)
    except _BAD:
        return None
    if number is None or not isinstance(record, Mapping):
        return None
    name = next((str(record[key]) for key in _SYSTEM_NAMES if key in record), "")
    return f"AS{number} {''.join(filter(str.isprintable, name))[:_NAME]}".rstrip()


def embedded() -> MmdbCountries:
    """The table that ships with this package. Raises AddressDataUnavailable."""
    try:
        source = json.loads((EMBEDDED.parent / "SOURCE.json").read_bytes())
    except _BAD as error:
        raise AddressDataUnavailable("the embedded country data's SOURCE.json cannot be read") from error
    return MmdbCountries(EMBEDDED, source=source)


def embedded_table() -> AddressTable:
    """What ships, compiled, mapped from its file. Raises AddressDataUnavailable."""
    try:
        with EMBEDDED_TABLE.open("rb") as file:
            return AddressTable(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise AddressDataUnavailable("the embedded address table cannot be read") from error


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def country_of(record: object) -> str | None:
    """The country of one record, None where it names none that ISO 3166-1 assigns ("EU", "AP", "A1", "ZZ")."""
    if not isinstance(record, Mapping):
        return None
    for key in ("country", "registered_country"):
        value = record.get(key)
        if isinstance(value, Mapping) and isinstance(code := value.get("iso_code"), str):
            return code if code in COUNTRIES else None
    for key in ("country_code", "country"):
        value = record.get(key)
        if isinstance(value, str):
            return value if value in COUNTRIES else None
    return None


@dataclass(frozen=True, slots=True)
class MmdbHead:
    """What a file says of itself: type, when it was built (seconds since the epoch, UTC), and the tree's measures."""

    type: str
    built_at: int
    ip_version: int
    nodes: int
    record_bits: int


_MARKER: Final = b"\xab\xcd\xefMaxMind.com"
_METADATA_AT_MOST: Final = 128 * 1024
_SEPARATOR: Final = 16
_ALIAS: Final = 0xFFFFFFFF  # no node's and no record's number: no file is that large
_SHARED: Final = (
    4  # how often, on the average, a node may be reached: files share subtrees, bombs share them without end
)


def read_head(data: bytes) -> MmdbHead:
    """What the file `data` says of itself. Raises AddressDataUnavailable."""
    at = data.rfind(_MARKER, max(0, len(data) - _METADATA_AT_MOST))
    if at < 0:
        raise AddressDataUnavailable("the file has no mmdb metadata at its end")
    at += len(_MARKER)
    try:
        metadata, _ = Decoder(data, at).decode(at)
        if not isinstance(metadata, dict):
            raise TypeError
        head = MmdbHead(
            str(metadata["database_type"]),
            int(metadata["build_epoch"]),  # type: ignore[arg-type]  # int() judges it
            int(metadata["ip_version"]),  # type: ignore[arg-type]  # int() judges it
            int(metadata["node_count"]),  # type: ignore[arg-type]  # int() judges it
            int(metadata["record_size"]),  # type: ignore[arg-type]  # int() judges it
        )
    except _BAD as error:
        raise AddressDataUnavailable("the file's mmdb metadata cannot be read") from error
    if head.record_bits not in (24, 28, 32) or head.ip_version not in (4, 6) or head.nodes < 1:
        raise AddressDataUnavailable("the file's mmdb metadata describe no tree that is known here")
    if head.nodes * head.record_bits // 4 + _SEPARATOR > at:
        raise AddressDataUnavailable("the file is shorter than its mmdb tree")
    return head


class _Values(dict[int, int]):
    """The index, in `words`, of what a tree's pointer leads to; each record is decoded once."""

    def __init__(self, data: bytes, head: MmdbHead, value_of: Callable[[object], str | None]) -> None:
        self.empty = head.nodes
        self[self.empty] = 0
        self.words: dict[str | None, int] = {None: 0}
        tree = head.nodes * head.record_bits // 4
        self._decode = Decoder(data, tree + _SEPARATOR).decode
        self._first = head.nodes + _SEPARATOR  # pointers below it lead nowhere
        self._offset = tree - head.nodes
        self._end = data.rfind(_MARKER)
        self._value_of = value_of

    def __missing__(self, pointer: int) -> int:
        at = pointer + self._offset
        if pointer < self._first or at >= self._end:
            raise ValueError
        record, _ = self._decode(at)
        word = self._value_of(record)
        self[pointer] = index = self.words.setdefault(word, len(self.words))
        return index


def read_layer(data: bytes, value_of: Callable[[object], str | None]) -> Layer:
    """All that the mmdb file `data` says: the word that `value_of` makes of each record (None: nothing).

    Every leaf is visited and each distinct record decoded once. Parts of the tree that lead to its IPv4 part are
    aliases. Raises AddressDataUnavailable for a file that is torn or refers to itself.
    """
    head = read_head(data)
    values = _Values(data, head, value_of)
    try:
        left, right = records(data, head)
        if head.record_bits == 32 and (_ALIAS in left or _ALIAS in right):
            raise ValueError
        if head.ip_version == 4:
            v4, networks = _intervals(*_leaves(left, right, 0, 32), values)
            return Layer(tuple(values.words), v4, networks=networks)
        root = 0
        for _ in range(96):
            root = left[root] if root < head.nodes else root
        starts, pointers = _leaves(left, right, root, 32)
        v4, networks = _intervals(starts, pointers, values)
        if root >= head.nodes:  # all of IPv4 is one leaf, and IPv6 has it as it is
            v6, more = _intervals(*_leaves(left, right, 0, 128), values)
            return Layer(tuple(values.words), v4, v6, networks=more)
        for marks in (left, right):
            _mark(marks, root)
        starts, pointers = _leaves(left, right, 0, 128)
        values[_ALIAS] = ALIASED
        aliases = _aliases(starts, pointers)
        v6, more = _intervals(starts, pointers, values)
    except _BAD as error:
        raise AddressDataUnavailable("the file's mmdb tree or records cannot be read") from error
    return Layer(tuple(values.words), v4, v6, aliases, networks + more - len(aliases))


def records(data: bytes, head: MmdbHead) -> tuple[array[int], array[int]]:
    """Left and right records of all nodes, unpacked by strided copies: no loop over a million nodes."""
    size = head.record_bits // 4
    tree = data[: head.nodes * size]
    # Places of a record's bytes in its node, the lowest first.
    bytes_of = {24: ((2, 1, 0), (5, 4, 3)), 28: ((2, 1, 0), (6, 5, 4)), 32: ((3, 2, 1, 0), (7, 6, 5, 4))}
    sides = []
    for side, places in enumerate(bytes_of[head.record_bits]):
        flat = bytearray(4 * head.nodes)
        for to, place in enumerate(places):
            flat[to::4] = tree[place::size]
        if head.record_bits == 28:  # the middle byte has both records' highest bits
            flat[3::4] = tree[3::7].translate(bytes((i & 15 if side else i >> 4) for i in range(256)))
        unpacked = array("I")
        unpacked.frombytes(flat)
        if sys.byteorder != "little":
            unpacked.byteswap()
        sides.append(unpacked)
    return sides[0], sides[1]


def _mark(records: array[int], root: int) -> None:
    """Put _ALIAS wherever a record leads to `root`."""
    width = records.itemsize
    flat, sought = records.tobytes(), root.to_bytes(width, sys.byteorder)
    at = flat.find(sought)
    while at >= 0:
        if at % width == 0:
            records[at // width] = _ALIAS
        at = flat.find(sought, at + 1)


def _leaves(left: array[int], right: array[int], root: int, bits: int) -> tuple[list[int], list[int]]:
    """First address and pointer of each leaf below `root`, in the order of addresses.

    Raises: ValueError for a tree deeper than `bits` or one that shares its nodes without end.
    """
    nodes = len(left)
    starts: list[int] = []
    pointers: list[int] = []
    if root >= nodes:
        return [0], [root]
    later: list[tuple[int, int, int]] = []  # right sides still to be visited
    node, size, start = root, 1 << bits, 0
    for _ in range(nodes * _SHARED):
        size >>= 1
        below = left[node]
        beside = right[node]
        if below < nodes:
            if size <= 1:
                break
            later.append((beside, size, start + size))
            node = below
            continue
        starts.append(start)
        pointers.append(below)
        start += size
        while beside >= nodes:
            starts.append(start)
            pointers.append(beside)
            if not later:
                return starts, pointers
            beside, size, start = later.pop()
        if size <= 1:
            break
        node = beside
    raise ValueError


def _aliases(starts: list[int], pointers: list[int]) -> tuple[Alias, ...]:
    """(first address, prefix length) of each leaf that stands for the IPv4 part."""
    found: list[Alias] = []
    at = -1
    for _ in range(pointers.count(_ALIAS)):
        at = pointers.index(_ALIAS, at + 1)
        end = starts[at + 1] if at + 1 < len(starts) else 1 << 128
        found.append((starts[at], 129 - (end - starts[at]).bit_length()))
    return tuple(found)


def _intervals(starts: list[int], pointers: list[int], values: _Values) -> tuple[Intervals, int]:
    """Leaves as intervals of values, equal neighbours as one; and how many leaves have a record."""
    indexes = list(map(values.__getitem__, pointers))
    first = [True, *map(ne, indexes, indexes[1:])]
    intervals = Intervals(list(compress(starts, first)), list(compress(indexes, first)))
    return intervals, len(pointers) - pointers.count(values.empty)
