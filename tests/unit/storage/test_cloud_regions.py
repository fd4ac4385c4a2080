"""Regions of clouds by their names."""

from __future__ import annotations

import pytest

from residency.model.place import COUNTRIES
from residency.storage.cloud_regions import _AWS, _GOOGLE, country_of


@pytest.mark.parametrize(
    ("region", "country"),
    [
        ("ap-southeast-1", "SG"),
        ("us-east-1", "US"),
        ("eu-west-1", "IE"),
        ("us-east1", "US"),
        ("asia-southeast2", "ID"),
        ("eu", None),
        ("asia", None),
        ("eur4", None),
        ("han-1", None),
    ],
)
def test_a_region_lies_in_the_country_that_its_cloud_says(region: str, country: str | None) -> None:
    assert country_of(region) == country


def test_every_region_lies_in_a_country() -> None:
    assert set(_AWS.values()) | set(_GOOGLE.values()) <= COUNTRIES


def test_no_name_is_of_two_clouds() -> None:
    assert not _AWS.keys() & _GOOGLE.keys()
