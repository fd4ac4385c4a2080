"""A checked file of policy tests in; its cases as frozen values, out. Days become microseconds here.

What a case is given comes in layers, key by key: the file's `given`, then the person's, then its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from residency.errors import PolicyError, Problem
from residency.jurisdiction.precedence import SPEAKS
from residency.model import Anchor, Event, Exemption, FactSet, Filing, FilingResult, Order, Signal, StopOrder, Trust
from residency.policy import documents_tests as files
from residency.policy.docwalk import items, mapping, on_calendar, unknown, walk
from residency.policy.parsed import Source
from residency.policy.parsed_reading import reading
from residency.policy.problems import at
from residency.policy.times import instant
from residency.policy.words import SEEN
from residency.policy.yamldoc import Path, YamlDoc

__all__ = ["Case", "CaseFile", "Expected", "Refused", "Some", "case_references", "casefile"]

_DAYS: Final = frozenset({"date", "requested", "collected", "expires", "lifted", "since", "from"})
_DERIVED: Final = ("known:", "basis:", "ai:", "sink:", "clock:")
_NOON: Final = 12 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Some:
    """Which of several are expected: `exactly` these, or (None) those of `includes` and none of `excludes`."""

    exactly: frozenset[str] | None = None
    includes: frozenset[str] = frozenset()
    excludes: frozenset[str] = frozenset()

    @property
    def named(self) -> frozenset[str]:
        """Every word that stands in it."""
        return self.includes | self.excludes | (self.exactly or frozenset())


@dataclass(frozen=True, slots=True)
class Refused:
    """How one sink is expected to be refused; None asks nothing."""

    reason: str | None
    rules: Some | None
    unmet: Some | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of a decision; None asks nothing. `several` by their names, duties as `duties.copies`."""

    effect: str | None
    reason: str | None
    first: str | None
    refused: Mapping[str, Refused]
    several: Mapping[str, Some]


@dataclass(frozen=True, slots=True)
class Case:
    """One test. Times are microseconds; `facts` come beside the deployment's register, or (`alone`) in its place.

    The request is of the activity of that name or takes that `route`; both None = a route that no activity names.
    `address` and `claims` are read as a request's would be, beside `signals` and `evidence`.
    """

    name: str
    path: Path
    signals: tuple[Signal, ...]
    address: str | None
    claims: Mapping[str, Any]
    verified: bool
    evidence: frozenset[str]
    activity: str | None
    route: tuple[str, str] | None
    now: int
    requested: int | None
    collected: int | None
    facts: FactSet
    alone: bool
    expect: Expected


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The tests of one file. `deployment` is a path from its folder; `env` answers `${VAR}` in that deployment."""

    deployment: str
    env: Mapping[str, str]
    cases: tuple[Case, ...]
    source: Source = field(compare=False, repr=False)


def casefile(model: files.TestFile, source: Source) -> CaseFile:
    """The tests of a checked file.

    Raises:
        PolicyError: where a case lacks what only all layers together could say: its day, its activity.
    """
    problems: list[Problem] = []
    cases: list[Case] = []
    for index, one in enumerate(model.tests):
        path: Path = ("tests", index)
        person = model.people.get(one.who) if one.who is not None else None
        given = _layered(model.given, person, one)
        if given.date is None:
            problems.append(source.problem(path, "no `date`: neither the case nor the file's `given` says the day"))
        elif (given.activity is None) == (given.route is None):
            problems.append(source.problem(path, "expected either `activity`, by its name, or `route`, as requested"))
        else:
            cases.append(_case(one, given, model.time_zone, path))
    if problems:
        raise PolicyError(tuple(problems))
    return CaseFile(model.deployment, dict(model.env), tuple(cases), source)


def case_references(doc: YamlDoc) -> list[Problem]:
    """Problems of a file of tests: days that are none, names that stand twice, what could say nothing."""
    found: list[Problem] = []
    people = mapping(doc, "people")
    for path, value in walk(doc.value, ()):
        if path and path[-1] in _DAYS and isinstance(value, str) and "claims" not in path:
            found += on_calendar(doc, path, value)
        if path and path[-1] == "evidence":
            found += _derived(doc, path)
        if path and path[-1] in list(Anchor):
            found += _mute(doc, path)
    seen: dict[str, int] = {}
    for path in items(doc, ("tests",)):
        name, who = at(doc.value, (*path, "name")), at(doc.value, (*path, "who"))
        if isinstance(name, str):
            if name in seen:
                found.append(doc.problem((*path, "name"), f"a test of this name stands already in line {seen[name]}"))
            seen.setdefault(name, doc.mark(path)[0])
        if isinstance(who, str) and who not in people:
            found.append(doc.problem((*path, "who"), unknown("person", who, people)))
        expect = at(doc.value, (*path, "expect"))
        if isinstance(expect, dict) and all(value == {} for value in expect.values()):
            found.append(doc.problem((*path, "expect"), "nothing is expected: such a test would always hold"))
        for inner, value in walk(expect, (*path, "expect")):
            if value is None and expect is not None:
                found.append(doc.problem(inner, "`null` expects nothing: write [] for none, or leave the key out"))
    return found


def _derived(doc: YamlDoc, path: Path) -> Iterator[Problem]:
    value = at(doc.value, path)
    for index, token in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(token, str) and token.startswith(_DERIVED):
            where = (*path, index) if isinstance(value, list) else path
            yield doc.problem(where, f"`{token}` follows from the request and is nobody's to give")


def _mute(doc: YamlDoc, path: Path) -> Iterator[Problem]:
    """Signals that are too weak for their anchor would be discarded, and the test be of somebody else."""
    value, anchor = at(doc.value, path), Anchor(str(path[-1]))
    for word in value if isinstance(value, list) else [value]:
        match = SEEN.fullmatch(word) if isinstance(word, str) else None
        if match is not None and Trust[match[2].upper()] < SPEAKS[anchor]:
            least = SPEAKS[anchor].name.lower()
            yield doc.problem(path, f"{anchor}: `{match[2]}` says nothing of it; expected {least} or more")


def _layered(*layers: files.Given | None) -> files.Given:
    """One Given in which each key is that of the last layer that writes it; of activity and route only one is."""
    merged: dict[str, Any] = {}
    for layer in layers:
        if layer is None:
            continue
        said = layer.model_fields_set & files.Given.model_fields.keys()
        for one, other in (("activity", "route"), ("route", "activity")):
            if one in said and other not in said:
                merged.pop(other, None)
        merged |= {key: getattr(layer, key) for key in said}
    return files.Given.model_construct(**merged)


def _case(one: files.CaseFields, given: files.Given, zone: str, path: Path) -> Case:
    def noon(text: str | None) -> int | None:
        return None if text is None else instant(text, zone) + _NOON

    route = None if given.route is None else given.route.partition(" ")
    return Case(
        name=one.name,
        path=path,
        signals=tuple(
            Signal(anchor, match[1], Trust[match[2].upper()], "test")
            for anchor in Anchor
            for word in getattr(given, anchor.value)
            if (match := SEEN.fullmatch(word)) is not None
        ),
        address=given.address,
        claims=given.claims,
        verified=given.claims_verified,
        evidence=reading(frozenset(given.evidence), tuple(given.read_from)),
        activity=given.activity,
        route=None if route is None else (route[0], route[2]),
        now=noon(given.date) or 0,
        requested=noon(given.requested),
        collected=noon(given.collected),
        facts=_facts(given, zone),
        alone=given.register_ == "empty",
        expect=_expected(one.expect),
    )


def _facts(given: files.Given, zone: str) -> FactSet:
    """The register that a case is given; what has no day of its own stands for long, and for long to come."""

    def day(text: str | None, otherwise: int = -(1 << 62)) -> int:
        return otherwise if text is None else instant(text, zone)

    def until(text: str | None) -> int | None:
        return None if text is None else instant(text, zone)

    def only(names: list[str] | None) -> frozenset[str] | None:
        return None if names is None else frozenset(names)

    return FactSet(
        epoch=0,
        filings=tuple(
            Filing(f.kind, f.number, day(f.date), FilingResult(f.result), until(f.expires), sinks=only(f.sinks))
            for f in given.filings
        ),
        orders=tuple(Order(o.kind, "T-1", day(o.date, 0), until(o.lifted)) for o in given.orders),
        stop_orders=tuple(StopOrder("T-1", o.sink, day(o.since), until(o.lifted)) for o in given.stop_orders),
        exemptions=tuple(
            Exemption(
                e.number,
                frozenset(e.rules),
                "a test",
                "a test",
                day(e.from_),
                1 << 62 if e.expires is None else instant(e.expires, zone, days=1),
                only(e.activities),
                only(e.sinks),
            )
            for e in given.exemptions
        ),
        events=tuple(Event(e.kind, e.jurisdiction, instant(e.date, zone)) for e in given.events),
        escalated=frozenset(given.escalations),
    )


def _some(some: files.Some | None) -> Some | None:
    if some is None:
        return None
    exactly = None if some.exactly is None else frozenset(map(_clause, some.exactly))
    return Some(exactly, frozenset(map(_clause, some.includes)), frozenset(map(_clause, some.excludes)))


def _clause(text: str) -> str:
    """A clause in whatever order its tokens are written."""
    return " or ".join(sorted(text.split(" or ")))


def _expected(expect: files.Expect) -> Expected:
    written = {name: getattr(expect, name) for name in files.Expect.model_fields}
    written |= {f"duties.{slot}": getattr(expect.duties, slot) for slot in files.Duties.model_fields}
    found = {name: _some(value) for name, value in written.items() if isinstance(value, files.Some)}
    return Expected(
        effect=expect.effect,
        reason=expect.reason,
        first=expect.first,
        refused={
            name: Refused(refusal.reason, _some(refusal.rules), _some(refusal.unmet))
            for name, refusal in expect.refused.items()
        },
        several={name: some for name, some in found.items() if some is not None},
    )
