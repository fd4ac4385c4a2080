"""Recognisers: what has the structure and what has not, and how often random strings have it.

All numbers are made up: serial parts count up or repeat, and what has check digits got them computed here. The test
card numbers are those that card companies publish for tests.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.signals.recognisers import LONGEST, PROVINCES, VALIDATORS, may_be, recognise

YEAR = 2026

HELD = [
    ("vn.cccd", "001099000001", 55),  # Ha Noi, a man of 1999
    ("vn.cccd", "079 304 000 002", 55),  # Ho Chi Minh City, a woman of 2004, in groups
    ("vn.cccd", "096226000003", 55),  # Ca Mau, a boy of this year
    ("vn.cccd", "999190000004", 35),  # a prefix that is in no list: born abroad, perhaps
    ("cccd", "001099000001", 55),
    ("vn.cmnd", "012345678", 20),
    ("vn.cmnd", "381234567", 20),
    ("vn.cmnd", "991234567", 10),
    ("vn.mst", "0100000003-001", 40),
    ("vn.mst", "0100000003", 30),
    ("vn.mst", "001099000001", 30),  # a person's tax code since July 2025
    ("vn.bhxh", "0123456789", 5),
    ("vn.bhxh", "001099000001", 15),
    ("vn.mobile", "0912345678", 50),
    ("vn.mobile", "0912 345 678", 50),
    ("vn.mobile", "84912345678", 50),
    ("vn.mobile", "+84 912-345-678", 65),
    ("vn.mobile", "+84 (0)912 345 678", 65),
    ("vn.mobile", "0084912345678", 65),
    ("vn.mobile", "0522345678", 50),
    ("vn.mobile", "0559345678", 50),
    ("vn.mobile", "0896345678", 50),
    ("vn.landline", "02432345678", 45),
    ("vn.landline", "+84 28 3234 5678", 55),
    ("vn.landline", "02301234567", 30),  # an area not in use
    ("vn.passport", "B1234567", 20),
    ("vn.passport", "c12345678", 20),
    ("vn.passport", "Z12345678", 10),
    ("vn.plate", "29A-123.45", 25),
    ("vn.plate", "59-X1 123.45", 25),
    ("vn.plate", "29MĐ1-12345", 25),
    ("vn.plate", "80-011-NG-01", 25),
    ("vn.bank_account", "0001 2345 6789", 5),
    ("luhn", "4111 1111 1111 1111", 75),  # Visa's test number
    ("luhn", "5555555555554444", 75),  # Mastercard's
    ("luhn", "378282246310005", 75),  # American Express's
    ("luhn", "6011111111111117", 55),  # Discover's: an issuer that is not in the list
]

NOT_HELD = [
    ("vn.cccd", "001227000001"),  # born next year
    ("vn.cccd", "001499000001"),  # of the 2100s
    ("vn.cccd", "00109900001"),
    ("vn.cccd", "000000000000"),
    ("vn.cmnd", "12345678"),
    ("vn.mst", "0100000004"),  # the check digit is another
    ("vn.mst", "0100000003-000"),
    ("vn.mst", "0000000000"),
    ("vn.mobile", "0122345678"),
    ("vn.mobile", "01212345678"),  # dead since 2018
    ("vn.mobile", "0521345678"),
    ("vn.mobile", "0551345678"),
    ("vn.mobile", "0891345678"),
    ("vn.mobile", "+66912345678"),
    ("vn.mobile", "912345678"),
    ("vn.landline", "0241234567"),
    ("vn.landline", "0912345678"),
    ("vn.passport", "12345678"),
    ("vn.passport", "BB123456"),
    ("vn.plate", "10A-12345"),
    ("vn.plate", "29-12345"),
    ("vn.bank_account", "12345"),
    ("luhn", "4111111111111112"),
    ("luhn", "0000000000000000"),
    ("nobody.knows", "0912345678"),
    ("vn.mobile", "٠٩١٢٣٤٥٦٧٨"),
    ("vn.mobile", "0912345678" + " " * LONGEST),
]


@pytest.mark.parametrize(("word", "value", "points"), HELD)
def test_what_has_the_structure_gets_its_points(word: str, value: str, points: int) -> None:
    assert recognise(word, value, year=YEAR) == points
    assert may_be(value)


@pytest.mark.parametrize(("word", "value"), NOT_HELD)
def test_what_has_not_gets_none(word: str, value: str) -> None:
    assert recognise(word, value, year=YEAR) == 0


def test_the_sixty_three_provinces_are_known() -> None:
    assert len(PROVINCES) == 63


def test_the_year_is_the_callers() -> None:
    assert recognise("vn.cccd", "001227000001", year=2027) == 55


def test_a_number_that_lost_its_zeros_is_recognised_at_fewer_points() -> None:
    assert recognise("vn.cccd", 1099000001, year=YEAR) == 45
    assert recognise("vn.mobile", 912345678, year=YEAR) == 40
    assert recognise("vn.mst", 100000003, year=YEAR) == 20
    assert recognise("luhn", 4111111111111111, year=YEAR) == 75


@pytest.mark.parametrize("value", [None, True, 1.5, -912345678, 10**400, b"0912345678", ["0912345678"], {}])
def test_what_is_neither_text_nor_a_whole_number_is_nothing(value: object) -> None:
    assert [recognise(word, value, year=YEAR) for word in VALIDATORS] == [0] * len(VALIDATORS)


@pytest.mark.parametrize("word", VALIDATORS)
@given(value=st.one_of(st.text(), st.from_regex(r"[+0-9A-ZĐ .()-]{0,70}"), st.integers()), year=st.integers(1, 9999))
def test_any_value_has_from_nothing_to_a_hundred_points(word: str, value: object, year: int) -> None:
    points = recognise(word, value, year=year)
    assert 0 <= points <= 100
    assert may_be(value) or not points


def digits(length: int) -> Callable[[random.Random], str]:
    return lambda chance: "".join(chance.choices(string.digits, k=length))


def mobile(chance: random.Random) -> str:
    while not recognise("vn.mobile", number := "0" + digits(9)(chance), year=YEAR):
        pass
    return number


def letters(length: int) -> Callable[[random.Random], str]:
    return lambda chance: "".join(chance.choices(string.ascii_uppercase + string.digits, k=length))


# Points, random strings, and how many in 10,000 of them have so many points or more: from, to. Those without a check
# digit or prefix are what they are by their length: the name of the field must say it.
RANDOM = [
    ("vn.cccd", 55, digits(12), 130, 190),  # 63 in 1,000 prefixes, and 127 in 500 centuries and years
    ("vn.cccd", 1, digits(12), 2400, 2700),
    ("vn.cmnd", 20, digits(9), 3700, 3900),
    ("vn.cmnd", 1, digits(9), 10000, 10000),
    ("vn.mst", 1, digits(10), 860, 960),
    ("vn.mst", 1, mobile, 860, 980),
    ("vn.mst", 30, mobile, 0, 0),  # phone before tax code
    ("vn.mst", 40, digits(13), 860, 960),
    ("vn.bhxh", 1, digits(10), 10000, 10000),
    ("vn.mobile", 1, digits(10), 340, 420),
    ("vn.landline", 45, digits(11), 50, 90),
    ("vn.landline", 1, digits(11), 80, 200),
    ("vn.passport", 1, letters(8), 0, 20),
    ("vn.plate", 1, letters(8), 0, 40),
    ("vn.bank_account", 1, digits(12), 10000, 10000),
    ("luhn", 75, digits(16), 180, 250),
    ("luhn", 1, digits(16), 960, 1040),
]


@pytest.mark.parametrize(("word", "points", "draw", "least", "most"), RANDOM)
def test_random_strings_pass_no_more_often_than_is_known(
    word: str, points: int, draw: Callable[[random.Random], str], least: int, most: int
) -> None:
    chance = random.Random(20261122)
    passed = sum(recognise(word, draw(chance), year=YEAR) >= points for _ in range(20_000))
    assert least <= passed / 2 <= most
