"""Circles of countries: never farther apart than two places in these countries."""

from __future__ import annotations

from math import acos, cos, radians, sin

import pytest

from residency.storage.distances import CIRCLES, least_km, reach_km

# Outermost towns of countries that the circles are to hold.
TOWNS = {
    "VN": ((23.39, 105.3), (8.6, 104.75), (10.22, 103.96), (21.52, 107.97)),
    "SG": ((1.47, 103.82), (1.24, 103.83)),
    "CN": ((39.47, 75.99), (47.34, 130.3), (18.25, 109.5), (53.48, 122.37)),
    "US": ((21.31, -157.86), (25.76, -80.19), (44.9, -66.98), (61.22, -149.9)),
    "RU": ((54.71, 20.51), (43.12, 131.89), (43.6, 39.73), (53.02, 158.65)),
    "ID": ((5.89, 95.32), (-2.53, 140.72), (-10.16, 123.6)),
    "DE": ((54.78, 9.43), (47.41, 10.28), (51.05, 13.74)),
    "FR": ((41.92, 8.74), (48.39, -4.49), (51.03, 2.38)),
    "JP": ((24.34, 124.16), (45.41, 141.67)),
    "LA": ((22.2, 100.98), (14.12, 105.86)),
    "TH": ((20.43, 99.88), (5.77, 101.07)),
    "KH": ((14.1, 103.5), (10.6, 103.5)),
}


def km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Between two points."""
    a, b, c, d = map(radians, (*one, *other))
    return 6371 * acos(min(1.0, sin(a) * sin(c) + cos(a) * cos(c) * cos(b - d)))


@pytest.mark.parametrize("country", TOWNS)
def test_a_country_s_circle_holds_its_outermost_towns(country: str) -> None:
    latitude, longitude, radius = CIRCLES[country]
    assert all(km((latitude, longitude), town) <= radius for town in TOWNS[country])


def test_no_two_towns_are_nearer_than_their_countries_are_said_to_be() -> None:
    for one, towns in TOWNS.items():
        for other, more in TOWNS.items():
            least = least_km(one, other)
            assert least is not None
            assert least == least_km(other, one)
            assert all(least <= km(a, b) + 1 for a in towns for b in more)


def test_a_country_and_its_own_parts_are_no_distance_apart() -> None:
    assert least_km("VN", "VN") == 0
    assert least_km("CA-QC", "CA") is None  # Canada is not in the table
    assert least_km("VN", "SG") == pytest.approx(563, abs=5)


def test_light_goes_a_hundred_kilometres_there_and_back_in_a_millisecond() -> None:
    assert reach_km(1_000) == 100
