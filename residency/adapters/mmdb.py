"""Country databases: the path of an mmdb file in, a country table out.

Reads the shapes in use: `country.iso_code` (GeoLite2, GeoIP2 Country, City and Enterprise, DB-IP), else
`registered_country.iso_code`, else a bare `country_code` or `country` text (ip-location-db and others).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import maxminddb

from residency.errors import AddressDataUnavailable
from residency.model.place import COUNTRIES

__all__ = ["EMBEDDED", "MmdbCountries", "country_of", "embedded"]

_CACHE: Final = 65_536
_CHECKED: Final = 256  # records read at open, from the start of the tree and spread over IPv4
EMBEDDED: Final = Path(__file__).resolve().parent.parent / "data" / "country" / "iptoasn-country.mmdb"
"""The table that ships with this package; SOURCE.json beside it says whence, of when, and under which licence."""
_BAD: Final = (OSError, ValueError, RuntimeError, TypeError, KeyError, IndexError, EOFError)
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


def embedded() -> MmdbCountries:
    """The table that ships with this package. Raises AddressDataUnavailable."""
    try:
        source = json.loads((EMBEDDED.parent / "SOURCE.json").read_bytes())
    except _BAD as error:
        raise AddressDataUnavailable("the embedded country data's SOURCE.json cannot be read") from error
    return MmdbCountries(EMBEDDED, source=source)


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
