"""Names of fields and kinds of media in, or a record with its values; which categories detectors find there, out.

An activity is decided on by what it declares: names alone (`detected`). Where values are at hand (`Finder`, for
`residency detect`) a detector with a validator asks that a value passes it, and adds points for the field's name
and for neighbours that are found too: one bare number proves little. What is found carries names and points, never
values.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Final, NamedTuple

from residency.policy.parsed import Detector
from residency.signals.recognisers import may_be, recognise

__all__ = [
    "MAX_DEPTH",
    "MAX_FIELDS",
    "Field",
    "Finder",
    "Hit",
    "Read",
    "detected",
    "plain_name",
    "read_record",
]

MAX_DEPTH: Final = 16
"""Mappings and lists in one another that are looked into; what lies deeper is not."""
MAX_FIELDS: Final = 10_000
"""Values of one record that are looked at; those after them are not."""
_NAME: Final = 30  # points for a name that matches
_NEIGHBOUR: Final = 5  # for each of at most two neighbours that are found without any
_NEIGHBOURS: Final = 2
_NAME_ALONE: Final = 70  # what a name proves where a detector has no validator and does not say
_ASKED: Final = 50  # what a detector asks for where it does not say
_LONGEST_NAME: Final = 64
_REMEMBERED: Final = 4096
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_WORD: Final = re.compile(r"[^0-9a-z]+")
_DIGITS: Final = re.compile(r"[0-9]")
_SHOWABLE: Final = re.compile(r"[^\W\d][\w\-]*")
_NOBODY: Final[frozenset[int]] = frozenset()
_MOST_DIGITS: Final = 4  # a key with more may be somebody's number


def detected(patterns: Iterable[str], media: Iterable[str], fields: Iterable[str], carried: Iterable[str]) -> bool:
    """Whether one of `fields` matches one of the globs `patterns` (case aside), or `carried` has one of `media`."""
    names = [name.casefold() for name in fields]
    if any(fnmatchcase(name, pattern.casefold()) for pattern in patterns for name in names):
        return True
    return not frozenset(media).isdisjoint(carried)


class Field(NamedTuple):
    """One value of a record. `path` may be shown: keys that may be values are `*` there, items of lists `[]`.

    `name` is its key and `above` the key around it, which says what a `value` or `number` is of.
    """

    path: str
    name: str
    above: str
    value: object


class Read(NamedTuple):
    """The values of a record, and whether those are all of them."""

    fields: tuple[Field, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """One detector's finding in one field, with 1 to 100 points. `named` = the field's name matches a glob of it."""

    path: str
    detector: Detector
    score: int
    named: bool


class Finder:
    """Detectors over many records of the same kind. Immutable but for the names that it remembers."""

    __slots__ = ("_detectors", "_known", "_validated", "_year")

    def __init__(self, detectors: Iterable[Detector], *, year: int) -> None:
        """Detectors that only know kinds of media find nothing in a record. `year` is the current one."""
        self._detectors = tuple(dict.fromkeys(d for d in detectors if d.fields or d.validator is not None))
        self._validated = tuple((n, d.validator) for n, d in enumerate(self._detectors) if d.validator is not None)
        self._year = year
        self._known: dict[str, frozenset[int]] = {}

    def hits(self, fields: Sequence[Field]) -> tuple[Hit, ...]:
        """What is found in the fields of one record: for each path and detector the most points, in order."""
        points: dict[tuple[str, int], tuple[int, bool]] = {}
        for field in fields:
            for number, score, name in self._points(field):
                points[field.path, number] = max(points.get((field.path, number), (0, False)), (score, name))
        alone = {path for (path, number), (score, _) in points.items() if score >= _asked(self._detectors[number])}
        hits = []
        for (path, number), (score, name) in points.items():
            detector = self._detectors[number]
            neighbours = min(_NEIGHBOURS, len(alone) - (path in alone))
            total = min(100, score + _NEIGHBOUR * neighbours)
            if total >= _asked(detector):
                hits.append(Hit(path, detector, total, name))
        return tuple(hits)

    def _points(self, field: Field) -> Iterator[tuple[int, int, bool]]:
        """What detectors say of a field by itself: their numbers, points, and whether its name matches."""
        own = self._named(field.name)
        for number in own:
            detector = self._detectors[number]
            if detector.validator is None:
                yield number, _NAME_ALONE if detector.score is None else detector.score, True
        if not may_be(field.value):
            return
        above = self._named(field.above)
        passed: dict[str, int] = {}
        for number, validator in self._validated:
            value = passed.get(validator)
            if value is None:
                value = passed[validator] = recognise(validator, field.value, year=self._year)
            if value:
                name = number in own or number in above
                yield number, min(100, value + (_NAME if name else 0)), name

    def _named(self, name: str) -> frozenset[int]:
        """The detectors that have a glob for a field's name."""
        known = self._known.get(name) if name else _NOBODY
        if known is None:
            forms = {name.casefold(), plain_name(name)}
            known = frozenset(n for n, d in enumerate(self._detectors) if detected(d.fields, (), forms, ()))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = known
        return known


def read_record(record: object) -> Read:
    """The values of a record as JSON gives it: leaves, and mappings under their names.

    A key that may be a value (a number, an address, a text) is looked at as one, under the name above it.
    """
    fields: list[Field] = []
    whole = True
    stack: list[tuple[Field, int]] = [(Field("", "", "", record), 0)]
    while stack:
        field, depth = stack.pop()
        if len(fields) >= MAX_FIELDS:
            return Read(tuple(fields), whole=False)
        value = field.value
        deeper = isinstance(value, Mapping | list) and bool(value)
        if not deeper or (field.path and isinstance(value, Mapping)):  # a list's name is that of its items
            fields.append(field)
        if deeper and depth >= MAX_DEPTH:
            whole = False
        elif deeper:
            below = islice(_inside(field), MAX_FIELDS + 1)
            stack += [(inner, depth + 1) for inner in below][::-1]
    return Read(tuple(fields), whole)


def _inside(field: Field) -> Iterator[Field]:
    """What lies directly in a field's mapping or list."""
    path, name, above, value = field
    if isinstance(value, list):
        yield from (Field(f"{path}[]", name, above, item) for item in value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str) and _is_name(key):
                yield Field(f"{path}.{key}" if path else key, key, name, inner)
                continue
            hidden = f"{path}.*" if path else "*"
            yield Field(hidden, "", name, key)
            yield Field(hidden, key[:_LONGEST_NAME] if isinstance(key, str) else "", name, inner)


def _asked(detector: Detector) -> int:
    """The points from which a detector speaks; without a validator the name is all that it asks."""
    if detector.validator is None:
        return 1
    return _ASKED if detector.score is None else detector.score


def plain_name(name: str) -> str:
    """A name as globs are written: `Số điện thoại` and `soDienThoai` as `so_dien_thoai`."""
    apart = unicodedata.normalize("NFKD", _CAMEL.sub("_", name).casefold().replace("đ", "d"))
    return _NOT_WORD.sub("_", "".join(c for c in apart if not unicodedata.combining(c))).strip("_")


def _is_name(key: str) -> bool:
    """Whether a key names a field and is no value itself, as in a mapping from phone numbers to people."""
    if len(key) > _LONGEST_NAME or _SHOWABLE.fullmatch(key) is None:
        return False
    return len(_DIGITS.findall(key)) <= _MOST_DIGITS
