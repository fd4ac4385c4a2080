"""The network speaks of territory and collection, for public addresses of a known country, and of nothing else."""

from __future__ import annotations

import pytest

from residency.errors import AddressDataUnavailable
from residency.model.finding import Anchor, Signal, Trust
from residency.signals.country import network_signals


class Table:
    """A country table that knows one country, or fails."""

    def __init__(self, answer: str | None, *, fails: bool = False) -> None:
        self.answer, self.fails = answer, fails

    def country(self, address: str) -> str | None:
        if self.fails:
            raise AddressDataUnavailable("country database `x` fails at lookup")
        return self.answer


def test_a_public_address_speaks_of_territory_and_collection() -> None:
    assert network_signals("14.160.0.1", Table("VN")) == (
        Signal(Anchor.TERRITORY, "VN", Trust.NETWORK, "address"),
        Signal(Anchor.COLLECTION, "VN", Trust.NETWORK, "address"),
    )


@pytest.mark.parametrize("address", [None, "10.0.0.1", "127.0.0.1", "::1", "192.0.2.1", "240.0.0.1"])
def test_an_address_that_is_not_public_says_nothing_whatever_the_table_says(address: str | None) -> None:
    assert network_signals(address, Table("VN")) == ()


def test_an_unannounced_address_says_nothing() -> None:
    assert network_signals("14.160.0.1", Table(None)) == ()


def test_a_table_that_cannot_answer_is_not_an_unknown_country() -> None:
    with pytest.raises(AddressDataUnavailable):
        network_signals("14.160.0.1", Table(None, fails=True))
