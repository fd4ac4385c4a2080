"""Countries, blocs and sub-national units as codes, and which lies within which.

A place is an ISO 3166-1 alpha-2 code ("VN"), an ISO 3166-2 code ("CA-QC") or the bloc "EU".
A set of places is *normal* when no member lies within another; `only` duties are intersected on normal sets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["BLOCS", "COUNTRIES", "Region", "is_place", "meet", "normal", "within"]

BLOCS: Final[dict[str, frozenset[str]]] = {
    # Treaty on European Union, 27 members since 2020-02-01 (ISO 3166 reserves "EU" for the Union).
    "EU": frozenset("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()),
}

# ISO 3166-1 alpha-2, officially assigned codes, plus XK (user-assigned; used for Kosovo by every address database).
COUNTRIES: Final[frozenset[str]] = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW
    BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI
    FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN
    IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME
    MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF
    PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
    SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK
    YE YT ZA ZM ZW
    """.split()
)

_SUBDIVISION: Final = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Region:
    """Where bytes rest: the operator's own name for it and its place code."""

    name: str
    place: str


def is_place(code: str) -> bool:
    """Whether `code` is a country, a sub-national unit of one, or a bloc that this table knows."""
    if code in COUNTRIES or code in BLOCS:
        return True
    return _SUBDIVISION.fullmatch(code) is not None and code[:2] in COUNTRIES


def within(inner: str, outer: str) -> bool:
    """Whether place `inner` lies within place `outer` (every place lies within itself)."""
    if inner == outer:
        return True
    members = BLOCS.get(outer)
    if members is not None:
        return inner[:2] in members if inner not in BLOCS else False
    return len(inner) > 2 and inner[:2] == outer


def normal(places: frozenset[str]) -> frozenset[str]:
    """Drop every place that lies within another of the set."""
    return frozenset(p for p in places if not any(q != p and within(p, q) for q in places))


def meet(a: frozenset[str], b: frozenset[str]) -> frozenset[str]:
    """The places that lie within both sets, as a normal set: associative, commutative, idempotent on normal sets."""
    return normal(
        frozenset(p for p in a if any(within(p, q) for q in b))
        | frozenset(q for q in b if any(within(q, p) for p in a))
    )
