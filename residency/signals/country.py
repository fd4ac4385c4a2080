"""The country of an address: a canonical address and a table in, network signals out."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from residency.model.finding import Anchor, Signal, Trust
from residency.signals.inet import is_public

__all__ = ["CountryTable", "network_signals"]


class CountryTable(Protocol):
    """Which country announces an address. Immutable as seen by one request."""

    def country(self, address: str) -> str | None:
        """The ISO 3166-1 code of a canonical `address`; None = unknown or unannounced.

        Raises AddressDataUnavailable where the table cannot answer: that is not the same as unknown.
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
