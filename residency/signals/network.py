"""What kind of network an address is in: list files and database records in, class words out; a table's rows in, the
signals that each stands for out.

| what the table knows                        | trust   | source                  |
|---------------------------------------------|---------|-------------------------|
| one country, an ordinary network            | network | address                 |
| both databases, the same country            | network | address                 |
| two databases, two countries                | network | address, address (second): contested, so both laws cover |
| one of two databases knows a country        | hint    | address (unconfirmed), or address (second) |
| a network of any class but `special`        | hint    | address (tor), address (hosting) …         |
| data older than `max_age`                   | hint    | address (stale)         |
| a special-purpose address, no country at all| nothing |                         |

Of a client that may be at one of several addresses, each of these as a hint; and what else is of the network's trust
(a SIM) is a hint beside them, for it would outrank what it only equals.

A hint may add the law of the country it names and excludes no other (ADR 0006): the Vietnamese egress of a relay is
no evidence of Vietnam, and no evidence against any other place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Protocol

from residency.errors import AddressDataUnavailable
from residency.model.finding import Anchor, Signal, Trust
from residency.signals.peer import ClientAddress
from residency.signals.table import Row

__all__ = [
    "CLASSES",
    "SPECIAL",
    "NetworkList",
    "NetworkSource",
    "asn_of",
    "beside",
    "class_of",
    "parse_list",
    "signals_by_row",
]

CLASSES: Final = ("special", "tor", "relay", "vpn", "anonymiser", "satellite", "hosting")
"""The classes of networks, the one that prevails first, should sources name several for one address. `special` is
built in and cannot be written in a list."""

SPECIAL: Final = (
    # What the IANA special-purpose registries (IPv4 and IPv6, 2025-10) do not call globally reachable, whole blocks:
    # what little is reachable inside 192.0.0.0/24 and 2001::/23 is infrastructure, and nobody's place.
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",  # documentation, as 198.51.100.0/24 and 203.0.113.0/24
    "192.88.99.0/24",  # 6to4 relay anycast, withdrawn
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",  # multicast, reserved, broadcast
    "::/96",  # unspecified, loopback, and the withdrawn IPv4-compatible addresses
    "64:ff9b:1::/48",  # NAT64 of one's own
    "100::/64",  # discard
    "100:0:0:1::/64",  # dummy prefix
    "2001::/23",  # protocol assignments: Teredo's relay, benchmarking, ORCHID …
    "2001:db8::/32",  # documentation, as 3fff::/20
    "3fff::/20",
    "5f00::/16",  # segment routing
    "fc00::/7",
    "fe80::/9",  # link-local, site-local
    "ff00::/8",  # multicast
)
"""Networks that say nothing of where a person is."""

_FLAGS: Final = (  # GeoIP2 Anonymous-IP and Anonymous-Plus: a flag is there only where it is true
    ("is_tor_exit_node", "tor"),
    ("is_anonymous_vpn", "vpn"),
    ("is_public_proxy", "anonymiser"),
    ("is_residential_proxy", "anonymiser"),
    ("is_hosting_provider", "hosting"),
    ("is_anonymous", "anonymiser"),  # last: it stands beside each of the others
)
_WRITABLE: Final = frozenset(CLASSES) - {"special"}


def class_of(record: object) -> str | None:
    """The class of one Anonymous-IP record, None where it flags nothing."""
    if isinstance(record, Mapping):
        for flag, word in _FLAGS:
            if record.get(flag) is True:
                return word
    return None


def asn_of(record: object) -> int | None:
    """The autonomous system number of one record (`autonomous_system_number`, or `asn` as a number or "AS64500")."""
    if not isinstance(record, Mapping):
        return None
    for key in ("autonomous_system_number", "asn"):
        value = record.get(key)
        if isinstance(value, str):
            return _asn(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


class NetworkSource(Protocol):
    """What the network says of an address, at the trust that the data's age and the network's class allow."""

    def signals_of(self, client: ClientAddress) -> tuple[Signal, ...]:
        """The signals of a client's address, () where it is None, no address, special-purpose or in no known country;
        hints of each where it may be `either` of several.

        The same address answers equal tuples until the data changes. Raises AddressDataUnavailable where the data is
        too old for the deployment: that is not the same as unknown.
        """


@dataclass(frozen=True, slots=True)
class NetworkList:
    """What list files say: networks with their class, and autonomous systems with theirs and the line that says so."""

    networks: tuple[tuple[IPv4Network | IPv6Network, str], ...]
    asns: Mapping[int, tuple[str, str]]
    """Number to (class, `file:line`)."""


def parse_list(data: bytes, name: str) -> NetworkList:
    """Read one list file: a `CIDR class` or `AS64500 class` a line, `#` starts a comment. `name` is for messages.

    Raises AddressDataUnavailable, `name:line: what`, for a line that cannot be read, for one thing given two classes,
    and for a file that says nothing at all.
    """
    networks: dict[IPv4Network | IPv6Network, str] = {}
    asns: dict[int, tuple[str, str]] = {}
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AddressDataUnavailable(f"{name}:{line}: is not UTF-8 text") from error
    for number, text in enumerate(lines, 1):
        words = text.partition("#")[0].split()
        if not words:
            continue
        at = f"{name}:{number}"
        if len(words) != 2:
            raise AddressDataUnavailable(f"{at}: expected `CIDR class` or `AS64500 class`")
        what, word = words
        if word not in _WRITABLE:
            known = ", ".join(sorted(_WRITABLE))
            raise AddressDataUnavailable(f"{at}: the class is none of {known}")
        if what[:2].upper() == "AS":
            asn = _asn(what)
            if asn is None:
                raise AddressDataUnavailable(f"{at}: expected AS and a number up to 4294967295")
            earlier = asns.setdefault(asn, (word, at))[0]
        else:
            earlier = networks.setdefault(_network(what, at), word)
        if earlier != word:
            raise AddressDataUnavailable(f"{at}: was called {earlier} in an earlier line")
    if not networks and not asns:
        raise AddressDataUnavailable(f"{name}:1: the list is empty")
    return NetworkList(tuple(networks.items()), asns)


def _asn(text: str) -> int | None:
    digits = text[2:] if text[:2].upper() == "AS" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        return None
    return number if 0 < (number := int(digits)) < 2**32 else None


def _network(text: str, at: str) -> IPv4Network | IPv6Network:
    prefix = text.partition("/")[2]
    if "%" in text or (prefix and not prefix.isdigit()):  # no zones, no netmasks
        raise AddressDataUnavailable(f"{at}: expected a network as an address, a slash and a prefix length")
    try:
        network = ip_network(text)
    except ValueError as error:
        what = "has host bits set" if "host bits" in str(error) else "cannot be read"
        raise AddressDataUnavailable(f"{at}: the network {what}") from error
    if isinstance(network, IPv6Network) and network.overlaps(_MAPPED):
        raise AddressDataUnavailable(f"{at}: write IPv4-mapped addresses as IPv4")
    return network


_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def signals_by_row(rows: Iterable[Row], *, second: bool, stale: bool) -> tuple[tuple[Signal, ...], ...]:
    """For each row of an address table the signals it stands for; the module's docstring has the rules.

    `second`: a second database is compiled in, so a country that only one of them knows is unconfirmed.
    `stale`: the data is older than the deployment allows.
    """
    return tuple(_signals(row, second, stale) for row in rows)


def _signals(row: Row, two: bool, stale: bool) -> tuple[Signal, ...]:
    if row.network == "special":
        return ()
    unconfirmed = two and (row.country is None or row.second is None)
    why = row.network or ("stale" if stale else "unconfirmed" if unconfirmed else None)
    trust = Trust.NETWORK if why is None else Trust.HINT
    said: tuple[Signal, ...] = ()
    if row.country is not None:
        said = _both(row.country, trust, "address" if why is None else f"address ({why})")
    if row.second is not None and row.second != row.country:
        said += _both(row.second, trust, "address (second)")
    return said


def beside(client: ClientAddress, signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
    """All signals of one request, as they count beside those of this client's address."""
    if not client.either:
        return signals
    return tuple(replace(each, trust=Trust.HINT) if each.trust is Trust.NETWORK else each for each in signals)


@cache  # bounded by the number of countries, trusts and words
def _both(place: str, trust: Trust, source: str) -> tuple[Signal, ...]:
    return (Signal(Anchor.TERRITORY, place, trust, source), Signal(Anchor.COLLECTION, place, trust, source))
