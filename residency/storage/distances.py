"""Two countries in; how far apart they are at least, in kilometres, out. None where one of them is not in the table.

Each country is a circle that holds all of it where servers stand (the mainland and larger islands, rounded up). So the
distance between two circles is never more than that between two places in these countries.
"""

from __future__ import annotations

from math import acos, cos, radians, sin
from typing import Final

__all__ = ["CIRCLES", "FIBRE", "least_km", "reach_km"]

FIBRE: Final = 200_000
"""Kilometres that light makes in a second in glass, rounded up; radio links of the ground are not twice as fast."""
_EARTH: Final = 6371.0

CIRCLES: Final[dict[str, tuple[float, float, float]]] = {
    # latitude and longitude in degrees, radius in kilometres
    "AE": (24.3, 54.3, 350), "AT": (47.6, 13.4, 350), "AU": (-26.0, 134.0, 2400), "BD": (23.7, 90.3, 400),
    "BE": (50.6, 4.7, 200), "BR": (-11.0, -53.0, 2700), "CH": (46.8, 8.2, 220), "CN": (36.0, 104.0, 2900),
    "CZ": (49.8, 15.4, 300), "DE": (51.1, 10.3, 520), "DK": (56.0, 10.8, 350), "ES": (39.5, -3.5, 1750),
    "FI": (64.5, 26.3, 700), "FR": (46.6, 2.5, 850), "GB": (54.5, -3.0, 750), "HK": (22.35, 114.15, 60),
    "ID": (-2.5, 118.0, 2750), "IE": (53.3, -8.0, 300), "IN": (22.5, 80.5, 1900), "IT": (42.5, 12.5, 820),
    "JP": (36.5, 137.0, 1900), "KH": (12.6, 105.0, 350), "KR": (36.0, 127.7, 420), "LA": (18.3, 104.2, 620),
    "MM": (19.5, 96.5, 1150), "MO": (22.16, 113.56, 20), "MY": (4.0, 109.0, 1250), "NG": (9.2, 8.3, 850),
    "NL": (52.2, 5.4, 220), "NO": (64.5, 16.0, 1150), "NZ": (-41.0, 173.0, 1000), "PH": (12.3, 122.5, 1150),
    "PL": (52.0, 19.3, 480), "PT": (39.5, -8.1, 1600), "RU": (62.0, 96.0, 4500), "SE": (62.5, 16.5, 900),
    "SG": (1.35, 103.85, 50), "TH": (13.5, 101.0, 950), "TR": (39.0, 35.2, 900), "TW": (23.7, 120.9, 320),
    "US": (44.0, -104.0, 5700), "VN": (16.0, 106.9, 1050), "ZA": (-29.0, 25.0, 1000),
}  # fmt: skip


def least_km(one: str, other: str) -> float | None:
    """How far apart two countries are at least, 0 where their circles meet; of a sub-national place, its country."""
    here, there = CIRCLES.get(one[:2]), CIRCLES.get(other[:2])
    if here is None or there is None:
        return None
    (lat1, lon1), (lat2, lon2) = (tuple(map(radians, each[:2])) for each in (here, there))
    angle = acos(max(-1.0, min(1.0, sin(lat1) * sin(lat2) + cos(lat1) * cos(lat2) * cos(lon1 - lon2))))
    return max(0.0, _EARTH * angle - here[2] - there[2])


def reach_km(round_trip: int) -> float:
    """How far away at most something is that answered within so many microseconds: there and back in glass."""
    return round_trip / 1_000_000 * FIBRE / 2
