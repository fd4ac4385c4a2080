"""Alpha-2, alpha-3 and what passports write name the same countries; nothing else names one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.model.place import COUNTRIES
from residency.signals import country_codes
from residency.signals.country_codes import country


def test_every_country_has_one_alpha_3_code_of_its_own() -> None:
    pairs = [pair.split(":") for pair in country_codes._ALPHA_3.split()]
    assert sorted(alpha_2 for alpha_2, _ in pairs) == sorted(COUNTRIES)
    assert len({alpha_3 for _, alpha_3 in pairs}) == len(COUNTRIES)
    assert all(len(alpha_3) == 3 and alpha_3.isupper() for _, alpha_3 in pairs)
    assert all(country(alpha_3) == country(alpha_2) == alpha_2 for alpha_2, alpha_3 in pairs)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("VNM", "VN"),
        ("vnm", "VN"),
        ("vn", "VN"),
        ("LAO", "LA"),
        ("AUT", "AT"),  # not Australia
        ("AUS", "AU"),
        ("CHE", "CH"),  # not China or Chile
        ("CHN", "CN"),
        ("PRK", "KP"),
        ("KOR", "KR"),
        ("SVK", "SK"),
        ("SVN", "SI"),
        ("XKX", "XK"),
        ("RKS", "XK"),
        ("D<<", "DE"),
        ("D", "DE"),
        ("GBN", "GB"),
    ],
)
def test_a_code_names_its_country(text: str, code: str) -> None:
    assert country(text) == code


@pytest.mark.parametrize(
    "text", ["", "<", "<<<", "V", "QQQ", "XXA", "XXB", "XXX", "UNO", "EUE", "EU", "VNM ", "VN<M", "V\u0130M"]
)
def test_what_is_nobodys_country_names_none(text: str) -> None:
    assert country(text) is None


@given(st.text(max_size=5))
def test_no_text_raises_or_names_what_is_no_country(text: str) -> None:
    assert country(text) in COUNTRIES | {None}
