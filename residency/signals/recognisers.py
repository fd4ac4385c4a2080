"""A bare value and the name of a validator in; how far the value is of that kind, 0 to 100, out.

Points say what structure and check digits say, nothing else: none reaches what a law asks of a finding by itself, for
one number in sixty to one in three of random digits has the shape of something (tests/unit/signals/test_recognisers.py
measures how many). The name of the field and its neighbours are added by `policy.detect`.

What is not known is said by fewer points, never by none: a prefix that is in no list here may be a birth abroad.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["LONGEST", "PROVINCES", "VALIDATORS", "may_be", "recognise"]

LONGEST: Final = 64
"""Characters of a value that is looked at; what is longer is none of these."""

# Circular 07/2016 annex 1: the codes of a personal ID, unchanged by the merger of 2025; gaps are not assigned.
PROVINCES: Final = frozenset(
    "001 002 004 006 008 010 011 012 014 015 017 019 020 022 024 025 026 027 030 031 033 034 035 036 037 038 040 042 "
    "044 045 046 048 049 051 052 054 056 058 060 062 064 066 067 068 070 072 074 075 077 079 080 082 083 084 086 087 "
    "089 091 092 093 094 095 096".split()
)
"""Province codes, three digits each: the place of registration of a birth in Vietnam."""

_SEPARATORS: Final = str.maketrans("", "", " .-\u00a0()")
_SIX_DIGITS: Final = re.compile(r"(?:[0-9][^0-9]*){6}")
_SAME: Final = re.compile(r"([0-9])\1*")
_MST_WEIGHTS: Final = (31, 29, 23, 19, 17, 13, 7, 5, 3)
# Blocks in use without the leading 0; 095 is open. The 11 digits of 012x to 019x died in 2018.
_MOBILE: Final = re.compile(r"3[0-9]|5[1689]|52[238]|559|7[06-9]|8[1-8]|89[6-9]|9[0-9]")
_AREA: Final = re.compile(
    r"2(?:0[3-9]|1[0-689]|2[0-25-9]|[38][2-9]|4[2-8]|5[124-9]|6[0-39]|7[0-7]|9[0-4679])"
)  # as the phone books of 2017 on have them
_PASSPORT: Final = re.compile(r"[A-Z](?:[0-9]{7}|[0-9]{8})")
_PLATE: Final = re.compile(r"(?:1[1-9]|[2-9][0-9])(?:[A-ZĐ]{1,2}[0-9]?[0-9]{4,5}|[0-9]{3}(?:NG|QT|NN|CV)[0-9]{2,3})")
# Visa, Mastercard, American Express, JCB, UnionPay, Napas. What another issued passes with fewer points.
_ISSUERS: Final = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}|35(?:2[89]|[3-8][0-9])[0-9]{12}|62[0-9]{14,17}|9704[0-9]{12}(?:[0-9]{3})?"
)


def may_be(value: object) -> bool:
    """Whether some validator may have points for `value`: all want six digits. Spares most values ten looks."""
    if isinstance(value, str):
        return len(value) <= LONGEST and _SIX_DIGITS.search(value) is not None
    return isinstance(value, int) and 100_000 <= value < 10**19


def recognise(validator: str, value: object, *, year: int) -> int:
    """How far `value` is of the kind `validator` names, 0 (it is not) to 100; `year` is the current one.

    Text and whole numbers are looked at, all else is 0, and so is an unknown validator. A number has lost the zeros
    that it began with, so that one or two are tried at fewer points. Never raises; linear in the length.
    """
    check = VALIDATORS.get(validator)
    if check is None:
        return 0
    if isinstance(value, str):
        return check(value.strip(), year) if len(value) <= LONGEST else 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**19:
        return 0
    text = str(value)
    width = _WIDTHS.get(validator, 0)
    if 0 < width - len(text) <= _MOST_LOST:
        return max(check(text, year), check(text.zfill(width), year) - _LOST)
    return check(text, year)


def _digits(text: str) -> str:
    """The digits of a number as people write it, empty where it is none or one digit throughout."""
    bare = text.translate(_SEPARATORS)
    if not (bare.isascii() and bare.isdigit()) or _SAME.fullmatch(bare):
        return ""
    return bare


def _cccd(text: str, year: int) -> int:
    digits = _digits(text)
    if len(digits) != 12:
        return 0
    born = 1900 + 100 * (int(digits[3]) // 2) + int(digits[4:6])
    if born > year:
        return 0
    return 55 if digits[:3] in PROVINCES else 35


def _cmnd(text: str, _year: int) -> int:
    digits = _digits(text)
    if len(digits) != 9:
        return 0
    return 20 if "01" <= digits[:2] <= "38" else 10


def _mst(text: str, year: int) -> int:
    digits = _digits(text)
    if len(digits) == 12:  # from July 2025 the personal ID is a person's tax code
        return min(30, _cccd(text, year))
    branch = len(digits) == 13 and digits[10:] != "000"
    if len(digits) != 10 and not branch:
        return 0
    rest = sum(weight * int(digit) for weight, digit in zip(_MST_WEIGHTS, digits, strict=False)) % 11
    if int(digits[9]) != 10 - rest:  # what leaves no rest is never issued, and no digit is 10
        return 0
    if branch:
        return 40
    # One in eleven mobile numbers passes too, and Ho Chi Minh City's tax codes begin as mobile numbers do.
    return 20 if _mobile(text, year) else 30


def _bhxh(text: str, year: int) -> int:
    digits = _digits(text)
    if len(digits) == 12:  # the law moves to the personal ID
        return min(15, _cccd(text, year))
    return 5 if len(digits) == 10 else 0


def _national(text: str) -> tuple[str, bool]:
    """A Vietnamese phone number without 0 and country code, empty where it is none; whether it says its country."""
    digits = _digits(text.removeprefix("+"))
    if text.startswith("+") or digits.startswith("0084"):
        digits = digits.removeprefix("00")
        return (digits[2:].removeprefix("0"), True) if digits.startswith("84") else ("", False)
    if digits.startswith("84") and len(digits) >= 11:
        return digits[2:], False
    return (digits[1:], False) if digits.startswith("0") else ("", False)


def _mobile(text: str, _year: int) -> int:
    number, abroad = _national(text)
    if len(number) != 9 or _MOBILE.match(number) is None:
        return 0
    return 65 if abroad else 50


def _landline(text: str, _year: int) -> int:
    number, abroad = _national(text)
    if len(number) != 10 or not number.startswith("2"):
        return 0
    return (45 if _AREA.match(number) else 30) + (10 if abroad else 0)


def _passport(text: str, _year: int) -> int:
    bare = text.upper().replace(" ", "")
    if _PASSPORT.fullmatch(bare) is None:
        return 0
    return 20 if len(bare) == 8 or bare[0] in "BCEPK" else 10


def _plate(text: str, _year: int) -> int:
    return 25 if _PLATE.fullmatch(text.upper().translate(_SEPARATORS)) else 0


def _luhn(text: str, _year: int) -> int:
    digits = _digits(text)
    if not 13 <= len(digits) <= 19:
        return 0
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    if (doubled + sum(map(int, digits[::-2]))) % 10:
        return 0
    return 75 if _ISSUERS.fullmatch(digits) else 55


def _bank_account(text: str, _year: int) -> int:
    return 5 if 6 <= len(_digits(text)) <= 19 else 0


VALIDATORS: Final[Mapping[str, Callable[[str, int], int]]] = MappingProxyType(
    {
        "vn.cccd": _cccd,
        "vn.cmnd": _cmnd,
        "vn.mst": _mst,
        "vn.bhxh": _bhxh,
        "vn.mobile": _mobile,
        "vn.landline": _landline,
        "vn.passport": _passport,
        "vn.plate": _plate,
        "vn.bank_account": _bank_account,
        "luhn": _luhn,
        "cccd": _cccd,  # as the language's first examples have it
    }
)
"""What a detector's `validator` may be. Take their points by `recognise`, which bounds what they are given."""
_WIDTHS: Final[Mapping[str, int]] = MappingProxyType({"vn.cccd": 12, "cccd": 12, "vn.mst": 10, "vn.mobile": 10})
_MOST_LOST: Final = 2
_LOST: Final = 10
