"""The demo's people: real addresses of the country they are said to be in, the same ones for the same seed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import maxminddb
import pytest

from residency.adapters.mmdb import EMBEDDED, country_of
from residency.demo.traffic import COUNTRIES, Addresses, people


@pytest.fixture(scope="module")
def addresses() -> Iterator[Addresses]:
    found = Addresses(EMBEDDED, 7)
    yield found
    found.close()


def test_every_address_is_public_and_of_its_country_by_the_table(addresses: Addresses) -> None:
    with maxminddb.open_database(str(EMBEDDED)) as table:
        for country in (*COUNTRIES, None):
            for _ in range(50):
                address = addresses.of(country)
                assert ipaddress.ip_address(address).is_global
                assert country_of(table.get(address)) == country


def test_both_families_of_addresses_are_sampled(addresses: Addresses) -> None:
    assert {ipaddress.ip_address(addresses.of("VN")).version for _ in range(100)} == {4, 6}


def test_every_kind_of_person_comes_early(addresses: Addresses) -> None:
    kinds = {(person.country, person.citizenship) for person in people(addresses, 14, 1)}
    assert {("VN", "VN"), ("DE", "VN"), ("VN", "DE"), (None, None), ("US", None), ("LA", "LA"), ("CN", "CN")} <= kinds


def test_nobody_is_there_twice(addresses: Addresses) -> None:
    crowd = [*people(addresses, 40, 1), *people(addresses, 40, 2, first=41, mixed=True)]
    assert len({person.key for person in crowd}) == len({person.name for person in crowd}) == 80
    assert len({person.email for person in crowd}) == 80


def test_the_same_seed_gives_the_same_people() -> None:
    first, second = (Addresses(EMBEDDED, 3) for _ in range(2))
    try:
        assert people(first, 20, 5) == people(second, 20, 5)
    finally:
        first.close()
        second.close()
