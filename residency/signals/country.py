"""The country of an address: a canonical address and a table in, network signals out.

`NetworkSource` is what serving asks (address data that is watched, with network classes and an age); `network_signals`
does for whoever has a bare country table and a single question.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

from residency.model.finding import Anchor, Signal, Trust
from residency.signals.inet import is_public

__all__ = ["CountryTable", "NetworkSource", "network_signals"]


class CountryTable(Protocol):
    """Which country announces an address. Immutable as seen by one request."""

    def country(self, address: str) -> str | None:
        """The ISO 3166-1 code of a canonical `address`; None = unknown or unannounced.

        Raises AddressDataUnavailable where the table cannot answer: that is not the same as unknown.
        """


class NetworkSource(Protocol):
    """What the network says of an address, at the trust that the data's age and the network's class allow."""

    def signals(self, address: str | None) -> tuple[Signal, ...]:
        """The signals of a client address, () where it is None, no address, special-purpose or in no known country.

        The same address answers equal tuples until the data changes. Raises AddressDataUnavailable where the data is
        too old for the deployment: that is not the same as unknown.
        """


def network_signals(address: str | None, table: CountryTable) -> tuple[Signal, ...]:
    """What the network says of territory of use and place of collection; nothing for an address that is unknown,
    private, loopback, reserved or multicast. Says nothing of citizenship or residence.

    Raises AddressDataUnavailable where the table cannot answer.
    """
    if address is None or not is_public(address):
        return ()
    country = table.country(address)
    return () if country is None else _signals(country)


@cache  # bounded by the number of countries
def _signals(country: str) -> tuple[Signal, ...]:
    return (
        Signal(Anchor.TERRITORY, country, Trust.NETWORK, "address"),
        Signal(Anchor.COLLECTION, country, Trust.NETWORK, "address"),
    )
