"""Address data as it comes (mmdb files and lists, whole in memory) in, the bytes of one address table out.

Who prevails where several sources speak of an address: a special-purpose network before all; then what an operator
wrote in a list, the longer prefix first; then the anonymous-IP database; then the autonomous system. Of countries none
prevails: the second database's is kept beside the first's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, Final, Protocol

from residency.errors import AddressDataUnavailable
from residency.signals.network import CLASSES, SPECIAL, NetworkList, asn_of, class_of, parse_list
from residency.signals.table import FORMAT, Row
from residency.signals.table_build import build, count_in
from residency.signals.table_layers import SPECIAL as SPECIAL_CLASS
from residency.signals.table_layers import Layer, layer_of, overlay

__all__ = ["Mmdb", "MmdbHead", "SourceFile", "compiled", "date_text", "digest_of", "judge", "special_layer"]

_COMPILER: Final = 1  # grows when equal sources are to give another table


class MmdbHead(Protocol):
    """What an mmdb file says of itself."""

    @property
    def type(self) -> str:
        """Its database type."""

    @property
    def built_at(self) -> int:
        """When it was built, seconds since the epoch, UTC."""


class Mmdb(Protocol):
    """What this needs of the mmdb adapter; that module is one."""

    def read_head(self, data: bytes) -> MmdbHead:
        """What a whole file says of itself. Raises AddressDataUnavailable."""

    def read_layer(self, data: bytes, value_of: Callable[[object], str | None]) -> Layer:
        """What every leaf of a whole file says. Raises AddressDataUnavailable."""

    def country_of(self, record: object) -> str | None:
        """The country of one record."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One source, whole, and not parsed yet. `role` is database, second, list, anonymous_ip or asn."""

    role: str
    name: str
    data: bytes
    sha256: str = ""
    """Made from `data` where it is left out."""

    def __post_init__(self) -> None:
        if not self.sha256:
            object.__setattr__(self, "sha256", hashlib.sha256(self.data).hexdigest())


def digest_of(files: Iterable[SourceFile]) -> str:
    """32 hexadecimal digits that name the table which these sources make: equal sources, equal table."""
    told = [f"{FORMAT} {_COMPILER}", *(f"{file.role} {file.name} {file.sha256}" for file in files)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]


def special_layer() -> Layer:
    """The special-purpose networks."""
    return layer_of((ip_network(text), SPECIAL_CLASS) for text in SPECIAL)


def compiled(files: Sequence[SourceFile], mmdb: Mmdb) -> bytes:
    """The table of `files`, of which exactly one is the database.

    Raises AddressDataUnavailable, naming the file, for one that does not parse whole or holds nothing of its kind.
    """
    by_role: dict[str, list[SourceFile]] = {}
    for file in files:
        by_role.setdefault(file.role, []).append(file)
    heads = {file.sha256: _head(file, mmdb) for file in files if file.role != "list"}
    (database,) = by_role["database"]
    country = _countries(database, mmdb)
    counted = {"database": _vietnam(country)}
    second = None
    if "second" in by_role:
        second = _countries(by_role["second"][0], mmdb)
        counted["second"] = _vietnam(second)
    laid = overlay(country, classes=[special_layer(), *_classes(by_role, mmdb)], second=second)
    meta = {
        "source": database.name,
        "sha256": database.sha256,
        "type": heads[database.sha256].type,
        "built_at": heads[database.sha256].built_at,
        "networks": country.networks,
        "second": second is not None,
        "sources": [
            {
                "role": file.role,
                "file": file.name,
                "sha256": file.sha256,
                "built_at": heads[file.sha256].built_at if file.role != "list" else None,  # a list does not say
            }
            for file in files
        ],
        "vietnam": counted,
    }
    return build(laid.v4, laid.v6, laid.rows, meta, laid.aliases)


def _head(file: SourceFile, mmdb: Mmdb) -> MmdbHead:
    try:
        return mmdb.read_head(file.data)
    except AddressDataUnavailable as error:
        raise AddressDataUnavailable(f"`{file.name}` is damaged, or no mmdb file: {error}", file.role) from error


def _layer(file: SourceFile, mmdb: Mmdb, value_of: Callable[[object], str | None], nothing: str) -> Layer:
    try:
        layer = mmdb.read_layer(file.data, value_of)
    except AddressDataUnavailable as error:
        raise AddressDataUnavailable(f"`{file.name}` does not parse whole: {error}", file.role) from error
    if nothing and len(layer.words) < 2:  # the first is None
        raise AddressDataUnavailable(f"`{file.name}` {nothing}", file.role)
    return layer


def _countries(file: SourceFile, mmdb: Mmdb) -> Layer:
    return _layer(file, mmdb, mmdb.country_of, "holds no country in a form that is known here")


def _classes(by_role: Mapping[str, Sequence[SourceFile]], mmdb: Mmdb) -> Iterator[Layer]:
    lists = [_list(file) for file in by_role.get("list", ())]
    networks = [named for one in lists for named in one.networks]
    networks.sort(key=lambda named: -CLASSES.index(named[1]))  # of equal networks `layer_of` keeps the last
    yield layer_of(networks)
    for file in by_role.get("anonymous_ip", ()):
        yield _layer(file, mmdb, class_of, "flags no network: it is no anonymous-IP database")
    systems = _systems(lists, known="asn" in by_role)
    for file in by_role.get("asn", ()):
        yield _of_systems(file, systems, mmdb)


def _list(file: SourceFile) -> NetworkList:
    try:
        return parse_list(file.data, file.name)
    except AddressDataUnavailable as error:
        raise AddressDataUnavailable(str(error), file.role) from error


def _systems(lists: Iterable[NetworkList], *, known: bool) -> dict[int, str]:
    """The class of each autonomous system that a list names."""
    systems: dict[int, str] = {}
    for one in lists:
        for number, (word, at) in one.asns.items():
            if not known:  # ignored, the line would look as if it did something
                why = f"{at}: an AS needs a database that knows them: signals.networks.asn"
                raise AddressDataUnavailable(why, "list")
            systems[number] = min(systems.get(number, word), word, key=CLASSES.index)
    return systems


def _of_systems(file: SourceFile, classes: Mapping[int, str], mmdb: Mmdb) -> Layer:
    seen: set[int] = set()

    def word(record: object) -> str | None:
        number = asn_of(record)
        if number is None:
            return None
        seen.add(number)
        return classes.get(number)

    layer = _layer(file, mmdb, word, "")
    if not seen:
        raise AddressDataUnavailable(f"`{file.name}` knows no autonomous system: it is no ASN database", file.role)
    return layer


def _vietnam(layer: Layer) -> tuple[int, int]:
    """(IPv4 addresses, IPv6 /64s) in Vietnam by one database."""
    return count_in("VN", layer.v4, layer.v6, [Row(word) for word in layer.words])


def judge(old: Mapping[str, Any], new: Mapping[str, Any], max_change: float) -> tuple[str, str]:
    """(outcome, why) of a new table beside the one in force, both by their `meta`: `taken`; `older` where an mmdb that
    differs is not newer; `moved_too_much` where a country database's Vietnam changed by `max_change` (0 to 1) or more.
    """
    before = {(source["role"], source["file"]): source for source in old.get("sources", ())}
    changed = set()
    for source in new["sources"]:
        was = before.get((source["role"], source["file"]))
        if was is None or was["sha256"] == source["sha256"]:
            continue
        changed.add(source["role"])
        if source["built_at"] is not None and source["built_at"] <= was["built_at"]:
            dates = f"it was built {date_text(source['built_at'])}, what is in force {date_text(was['built_at'])}"
            return "older", f"`{source['file']}` is not newer: {dates}"
    for role, counts in new["vietnam"].items():
        if role not in changed:
            continue
        for family, had, has in zip(("IPv4 addresses", "IPv6 /64s"), old["vietnam"][role], counts, strict=True):
            # From none, any number is too many: nothing says that it is right.
            if had != has and (had == 0 or abs(has - had) / had >= max_change):
                return "moved_too_much", f"{family} in Vietnam went from {had:,} to {has:,} (signals.geoip.max_change)"
    return "taken", ""


def date_text(seconds: int) -> str:
    """A build date for people, UTC; a number that is no date is called so."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")
    except (ValueError, OverflowError, OSError):
        return "at no date"
