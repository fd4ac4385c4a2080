"""What `residency locate` answers from: a database file's path in, a table of rows and what is to be told of it out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from residency.adapters import mmdb
from residency.adapters.mmdb import EMBEDDED_TABLE, MmdbCountries, embedded
from residency.errors import AddressDataUnavailable
from residency.model.place import COUNTRIES
from residency.signals.inet import Ranges, canonical
from residency.signals.network import SPECIAL
from residency.signals.table import MAGIC, AddressTable, Row
from residency.signals.table_build import count_in
from residency.signals.table_layers import SPECIAL as SPECIAL_CLASS
from residency.signals.table_layers import Layer
from residency.signals.table_sources import SourceFile, compiled

__all__ = ["Rows", "SlowRows", "Whole", "info", "open_rows", "swift", "whole"]

_KIND: Final = MAGIC[:-1]  # without the format's number: a table of another format is still one, and says so
T = TypeVar("T")


class Rows(Protocol):
    """A row for each address."""

    @property
    def rows(self) -> Sequence[Row]:
        """Rows by their index; the first is Row(None)."""

    @property
    def lookup(self) -> Callable[[str], int]:
        """Gives the row index of an address; 0 for what is unknown or no address."""


class SlowRows:
    """An mmdb file as it is: open at once, and slow for many addresses. Raises AddressDataUnavailable."""

    rows: Sequence[Row]
    lookup: Callable[[str], int]

    def __init__(self, path: Path) -> None:
        self.path = path
        countries = MmdbCountries(path)
        special = Ranges(SPECIAL)
        codes = sorted(COUNTRIES)
        self.rows = (Row(None), Row(None, SPECIAL_CLASS), *map(Row, codes))
        index: dict[str | None, int] = {None: 0}
        index.update((code, at) for at, code in enumerate(codes, 2))

        def lookup(text: str) -> int:
            address = canonical(text)
            if address is None:
                return 0
            return 1 if special.contains(address) else index[countries.country(address)]

        self.lookup = lookup


def open_rows(db: Path | None) -> Rows:
    """The table at `db`, or the embedded one where it is None. Raises AddressDataUnavailable."""
    if db is None:
        return AddressTable(read(EMBEDDED_TABLE))
    data = read(db)
    return _named(db, lambda: AddressTable(data)) if is_table(data) else SlowRows(db)


def swift(slow: SlowRows) -> Rows:
    """The same answers from a compiled table, in memory only. Takes seconds; raises AddressDataUnavailable."""
    file = SourceFile("database", slow.path.name, read(slow.path))
    return AddressTable(compiled((file,), mmdb), check=False)


def read(path: Path) -> bytes:
    """A whole file. Raises AddressDataUnavailable, naming it without its folder."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise AddressDataUnavailable(f"there is no file `{path.name}`") from error
    except OSError as error:
        raise AddressDataUnavailable(f"`{path.name}` cannot be read: {error.strerror}") from error


def is_table(data: bytes) -> bool:
    """Whether these are the bytes of a compiled table, of whatever format, and no mmdb file's."""
    return data.startswith(_KIND)


@dataclass(frozen=True, slots=True)
class Whole:
    """An mmdb file, read to its last network."""

    head: mmdb.MmdbHead
    layer: Layer
    sha256: str

    @property
    def date(self) -> str | None:
        """The day on which it was built, UTC; None where it names no day."""
        return _date(self.head.built_at)


def whole(path: Path) -> Whole:
    """All that an mmdb file says of countries. Takes seconds; raises AddressDataUnavailable."""
    data = read(path)
    if is_table(data):
        raise AddressDataUnavailable(f"`{path.name}` is a compiled table, and its mmdb is wanted")
    head = _named(path, lambda: mmdb.read_head(data))
    layer = _named(path, lambda: mmdb.read_layer(data, mmdb.country_of))
    if len(layer.words) < 2:  # the first is None
        raise AddressDataUnavailable(f"`{path.name}` holds no country in a form that is known here")
    return Whole(head, layer, hashlib.sha256(data).hexdigest())


def info(db: Path | None, now: datetime) -> dict[str, Any]:
    """What the table at `db`, or the embedded one, is; `now` in UTC gives its age.

    What a file does not tell is None. Reads an mmdb of one's own whole, which takes seconds. Raises
    AddressDataUnavailable.
    """
    if db is None:
        told: dict[str, Any] = embedded().info()
        four, six = _meta(AddressTable(read(EMBEDDED_TABLE)))["vietnam"]["database"]
    elif is_table(data := read(db)):
        meta = _meta(_named(db, lambda: AddressTable(data)))
        told = {"file": db.name, "bundled": False, "type": meta["type"], "date": _date(meta["built_at"])}
        told |= {"networks": meta["networks"], "sha256": hashlib.sha256(data).hexdigest()}
        told["sources"] = [{key: source[key] for key in ("role", "file", "sha256")} for source in meta["sources"]]
        four, six = meta["vietnam"]["database"]
    else:
        found = whole(db)
        told = {"file": db.name, "bundled": False, "type": found.head.type, "date": found.date}
        told |= dict.fromkeys(("source", "version", "licence"))
        told |= {"networks": found.layer.networks, "nodes": found.head.nodes, "ip_version": found.head.ip_version}
        told |= {"sha256": found.sha256, "caution": None}
        four, six = count_in("VN", found.layer.v4, found.layer.v6, list(map(Row, found.layer.words)))
    date = told["date"]
    told["age_days"] = None if date is None else (now.date() - datetime.fromisoformat(date).date()).days
    return told | {"vietnam": {"ipv4_addresses": four, "ipv6_64s": six}}


def _named(path: Path, opened: Callable[[], T]) -> T:
    try:
        return opened()
    except AddressDataUnavailable as error:
        raise AddressDataUnavailable(f"`{path.name}`: {error}") from error


def _meta(table: AddressTable) -> Any:
    return table.meta


def _date(seconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None
