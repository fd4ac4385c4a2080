"""A number or a SIM names one country or none; a prefix that several share names none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.model.place import COUNTRIES
from residency.signals import calling_codes
from residency.signals.calling_codes import phone_country, sim_country


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("+84912345678", "VN"),
        ("+84 (0)91 234-56.78", "VN"),
        ("tel:+84-91-234-5678", "VN"),
        ("+84", "VN"),
        (" VN ", "VN"),
        ("vn", "VN"),
        ("+856 20 1234 5678", "LA"),
        ("+855 12 345 678", "KH"),
        ("+66812345678", "TH"),
        ("+6598765432", "SG"),
        ("+8613912345678", "CN"),
        ("+85261234567", "HK"),
        ("+886912345678", "TW"),
        ("+4915112345678", "DE"),
        ("+358412345678", "FI"),
        ("+3581812345", "AX"),
        ("+390669812345", "VA"),
        ("+390612345678", "IT"),
        ("+77011234567", "KZ"),
        ("+79161234567", "RU"),
        ("+18765551234", "JM"),
        ("+17875551234", "PR"),
        ("+442079460000", "GB"),
        ("+441534456789", "JE"),
    ],
)
def test_a_number_names_its_country(text: str, country: str) -> None:
    assert phone_country(text) == country


@pytest.mark.parametrize(
    "text",
    [
        "+12015550123",  # Canada and the United States
        "+447400123456",  # the United Kingdom, Guernsey, Jersey, Man
        "+79401234567",  # Abkhazia
        "+7",
        "+1",
        "+262639012345",  # Réunion, Mayotte
        "+870123456",  # satellites
        "+88213300655",
        "+999123456",
        "0912345678",  # no country: whose trunk prefix it is, it does not say
        "0084912345678",
        "84912345678",
        "+0849",
        "++84",
        "+",
        "",
        "+84x912345678",
        "+84;ext=1",
        "+\u0668\u0664912345678",  # digits of another script
        "Vietnam",
        "QQQ",
        "XX",
        "EU",
        "+84" + "1" * 99,
    ],
)
def test_a_shared_code_or_no_number_names_no_country(text: str) -> None:
    assert phone_country(text) is None


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("452", "VN"),
        ("452-04", "VN"),
        ("45204", "VN"),
        ("452 04", "VN"),
        ("310-410", "US"),
        ("310410", "US"),
        ("457", "LA"),
        ("456-01", "KH"),
        ("460", "CN"),
        ("461", "CN"),
        ("404-10", "IN"),
        ("VN", "VN"),
    ],
)
def test_a_sim_names_its_networks_country(text: str, country: str) -> None:
    assert sim_country(text) == country


@pytest.mark.parametrize(
    "text", ["901-01", "999", "001-01", "234-15", "505-01", "425-05", "45", "4520", "452-0", "452-0404", "+84", "", "x"]
)
def test_a_shared_network_or_no_code_names_no_country(text: str) -> None:
    assert sim_country(text) is None


def test_the_tables_name_countries_only() -> None:
    for table in (calling_codes._CALLING, calling_codes._MOBILE):
        assert {country for country in table.values() if country} <= COUNTRIES
        assert all(code.isascii() and code.isdigit() for code in table)
    assert all(len(code) == 3 for code in calling_codes._MOBILE)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    for read in (phone_country, sim_country):
        for said in (text, "+" + text, "452" + text):
            assert read(said) is None or read(said) in COUNTRIES
