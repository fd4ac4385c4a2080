"""The country table and a seed in, people of the demo out: who, from which real address, whose citizen.

Addresses are sampled from the networks that the shipped table gives to a country, so that what the demo shows is what
the table says of the real Internet. Nobody is real; names are common ones, numbered.
"""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import maxminddb

from residency.adapters.mmdb import country_of

__all__ = ["COUNTRIES", "Addresses", "Person", "people", "somebody"]

COUNTRIES = ("VN", "SG", "DE", "US", "LA", "CN")
_POOL = 400  # networks kept per country
Network = tuple[int, int, int]  # address family, first address as a number, prefix length

_NAMES: dict[str | None, tuple[str, ...]] = {
    "VN": ("Nguyễn Thị Lan", "Trần Văn Minh", "Lê Thu Hà", "Phạm Quốc Anh", "Võ Ngọc Mai", "Đặng Hoàng Long"),
    "SG": ("Tan Wei Ling", "Lim Jun Hao", "Nur Aisyah", "Priya Raman"),
    "DE": ("Anna Schäfer", "Jonas Weber", "Mia Köhler", "Lukas Brandt"),
    "US": ("Emily Carter", "Jamal Brooks", "Sofia Ramirez", "Owen Miller"),
    "LA": ("Khamla Vongsa", "Noy Phommachanh", "Bounmy Sisouk"),
    "CN": ("Li Na", "Wang Lei", "Zhang Min", "Chen Jie"),
    None: ("Alex Doe", "Sam Roe", "Kim Poe"),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the demo. `country` is what the table says of `source` (None = it announces nothing there);
    `citizenship` is what they declare when they sign up (None = nobody asked); `verified` = their phone was checked.
    """

    key: str
    name: str
    email: str
    source: str
    country: str | None
    citizenship: str | None
    verified: bool

    @property
    def where(self) -> str:
        """Place and citizenship in a few characters, for the screen."""
        place = self.country or "unannounced"
        return place if self.citizenship is None else f"{place}, citizen of {self.citizenship}"


class Addresses:
    """Samples source addresses by country, the same ones for the same seed and table."""

    def __init__(self, table: Path, seed: int) -> None:
        """Reads the whole table once; about a second for the shipped one."""
        self._random = random.Random(seed)
        self._networks: dict[str, list[Network]] = {country: [] for country in COUNTRIES}
        self._reader = maxminddb.open_database(str(table), maxminddb.MODE_AUTO)
        seen = dict.fromkeys(COUNTRIES, 0)
        for country, network in self._walk():
            # Reservoir sampling: every network of the country has the same chance to be kept.
            seen[country] += 1
            pool = self._networks[country]
            if len(pool) < _POOL:
                pool.append(network)
            elif (at := self._random.randrange(seen[country])) < _POOL:
                pool[at] = network

    def _walk(self) -> Iterator[tuple[str, Network]]:
        # Each answer says how long the network's prefix is, so the next question is about the address after it. The
        # reader's own iterator builds an object for each of a million networks, which takes several times as long.
        for family, packed, at, end in (
            (socket.AF_INET, 4, 1 << 24, 224 << 24),
            (socket.AF_INET6, 16, 0x2000 << 112, 0x4000 << 112),  # global unicast
        ):
            bits = packed * 8
            while at < end:
                record, prefix = self._reader.get_with_prefix_len(socket.inet_ntop(family, at.to_bytes(packed, "big")))
                country = country_of(record)
                if country is not None and country in self._networks:
                    yield country, (family, at, prefix)
                at = ((at >> (bits - prefix)) + 1) << (bits - prefix)

    def of(self, country: str | None) -> str:
        """A public address in `country`, or one that the table announces nowhere (None)."""
        if country is None:
            return self._unannounced()
        while True:
            family, first, prefix = self._random.choice(self._networks[country])
            packed = 4 if family == socket.AF_INET else 16
            address = first + self._random.randrange(1 << (packed * 8 - prefix))
            text = socket.inet_ntop(family, address.to_bytes(packed, "big"))
            if ipaddress.ip_address(text).is_global:
                return text

    def _unannounced(self) -> str:
        while True:
            address = ipaddress.IPv4Address(self._random.getrandbits(32))
            if address.is_global and not address.is_multicast and self._reader.get(str(address)) is None:
                return str(address)

    def close(self) -> None:
        """Let the table go."""
        self._reader.close()


def people(addresses: Addresses, count: int, seed: int, first: int = 1, *, mixed: bool = False) -> list[Person]:
    """`count` people, numbered from `first`. Each kind that a law tells apart comes early (at home, abroad, a guest,
    nobody knows where), unless they are `mixed` from the start.
    """
    chance = random.Random(seed)
    # (country, citizenship): a citizen abroad, foreigners in Vietnam, and people whom nobody asked.
    kinds: list[tuple[str | None, str | None]] = [
        ("VN", "VN"), ("SG", "SG"), ("DE", "VN"), ("US", None), ("VN", "DE"), (None, None), ("CN", "CN"),
        ("LA", "LA"), ("VN", None), ("DE", "DE"), ("US", "VN"), ("SG", None), (None, "SG"), ("VN", "US"),
    ]  # fmt: skip
    weights = [6, 3, 2, 2, 1, 1, 2, 2, 4, 2, 1, 2, 1, 1]
    drawn = chance.choices(kinds, weights, k=count)
    chosen = drawn if mixed else [*kinds, *drawn][:count]
    return [
        somebody(chance, number, addresses.of(country), country, citizenship, verified=chance.random() < 0.75)
        for number, (country, citizenship) in enumerate(chosen, start=first)
    ]


def somebody(
    chance: random.Random, number: int, source: str, country: str | None, citizenship: str | None, *, verified: bool
) -> Person:
    """Person `number`, with a name that is common where they come from."""
    name = chance.choice(_NAMES[citizenship or country])
    email = f"person{number:04d}@example.org"
    return Person(f"p{number:04d}", f"{name} {number:04d}", email, source, country, citizenship, verified)
