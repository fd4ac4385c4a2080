"""`residency detect`: a policy and a sample of what a route carries in; which fields carry which category, out.

And what the route's activity does not declare. Names of fields and points are told, values never.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from residency.adapters.policy_files import load
from residency.cli import asked
from residency.cli.detect_samples import Source, records
from residency.cli.locate_progress import Telling
from residency.errors import PathError, PolicyError, UsageError
from residency.model import Activity
from residency.model.data import expand
from residency.policy.activities import Match
from residency.policy.compiler import Policy
from residency.policy.detect import MAX_DEPTH, MAX_FIELDS, Finder, detected, read_record
from residency.policy.parsed import Detector

__all__ = ["detect"]

_TOLD: Final = 256  # records between two looks at the bar
_MOST: Final = 10_000  # fields that are told apart; names without end are those of people, not of fields
_OTHERS: Final = "(others)"


def detect(
    file: asked.Argument = None,
    sample: Annotated[
        Path | None, typer.Argument(help="JSON, a list of records, or JSON lines; - is stdin.", metavar="SAMPLE")
    ] = None,
    policy: asked.Option = None,
    route: Annotated[
        str | None, typer.Option("--route", help='Compare with its activity: "POST /v1/people".', metavar="ROUTE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Find personal data in a sample of your payloads, by the detectors of your laws; values are never printed.

    With --route also what that route's activity does not declare. What is not
    found may be there all the same: detectors know names and numbers.

    Exit 0 = told, 1 = the activity does not declare what was found, 2 = wrong use,
    a policy that does not hold or a sample that is not JSON included.

    Example: residency detect residency.yaml sample.json --route "POST /v1/people"
    """
    if policy is not None and sample is None:
        file, sample = None, file
    if (file is None) == (policy is None) or sample is None:
        _wrong("a deployment file and a sample are needed, as in: residency detect residency.yaml sample.json")
    deployment = asked.deployment_asked("detect", file, policy)
    try:
        loaded = load(deployment)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    match = _matched(loaded, route) if route is not None else None
    looking = _Looking(_laws(loaded), match.activity if match is not None else None)
    if not looking.laws:
        _wrong("no law of this policy has detectors, nor has the deployment: nothing could be found")
    try:
        with _opened(sample) as (source, size):
            looking.through(source, size)
    except UsageError as error:
        _wrong(str(error))
    rows = looking.rows(compare=route is not None)
    if as_json:
        _tell_json(looking, rows, route)
    else:
        _tell(looking, rows)
        if match is not None:
            _compare(rows, route or "", match)
    if any(row.lacking for row in rows):
        raise typer.Exit(1)


@dataclass(slots=True)
class _Row:
    """One category in one field: the most points, by which (law, detector, name matched), in how many records."""

    path: str
    category: str
    score: int = 0
    records: int = 0
    by: dict[tuple[str, str | None, bool], None] = field(default_factory=dict)
    lacking: bool = False


class _Looking:
    """All records of a sample, under the detectors of each law."""

    def __init__(self, laws: dict[str, tuple[Detector, ...]], activity: Activity | None) -> None:
        year = datetime.now(UTC).year
        self.laws = laws
        self.activity = activity
        self.count = self.cut = 0
        self._finders = {name: Finder(detectors, year=year) for name, detectors in laws.items()}
        self._found: dict[tuple[str, str], _Row] = {}

    def through(self, source: Source, size: int | None) -> None:
        """Take in every record. Raises: UsageError."""
        taken = 0
        with Telling(size=size) as telling:
            telling.stage("reading")
            telling.begin()
            for record in records(source):
                self._take(record.value)
                taken += record.size
                if self.count % _TOLD == 0:
                    telling.located(_TOLD, taken)
                    taken = 0

    def _take(self, record: object) -> None:
        self.count += 1
        read = read_record(record)
        self.cut += not read.whole
        here: set[tuple[str, str]] = set()
        for law, finder in self._finders.items():
            for hit in finder.hits(read.fields):
                key = hit.path, hit.detector.data
                if key not in self._found and len(self._found) >= _MOST:
                    key = _OTHERS, hit.detector.data
                row = self._found.setdefault(key, _Row(*key))
                row.score = max(row.score, hit.score)
                row.by[law, hit.detector.validator, hit.named] = None
                here.add(key)
        for key in here:
            self._found[key].records += 1

    def rows(self, *, compare: bool) -> list[_Row]:
        """What was found, surest first; with `compare`, marked where the activity does not declare it."""
        for row in self._found.values():
            row.lacking = compare and not all(row.category in self._declared(law) for law, _, _ in row.by)
        return sorted(self._found.values(), key=lambda row: (not row.lacking, -row.score, row.path, row.category))

    def _declared(self, law: str) -> frozenset[str]:
        """What the activity carries, as that law hears it: by its categories, and by the names of its fields."""
        of = self.activity
        if of is None:
            return frozenset()
        named = (d.data for d in self.laws[law] if detected(d.fields, d.media, of.fields, of.media))
        return expand((*of.data, *named))


def _laws(policy: Policy) -> dict[str, tuple[Detector, ...]]:
    known = {law.name: law.detectors for law in policy.laws}
    known[f"deployment {policy.deployment.name}"] = policy.deployment.detectors
    return {name: detectors for name, detectors in known.items() if detectors}


def _matched(policy: Policy, route: str) -> Match:
    """What the route is to the policy."""
    method, _, path = route.partition(" ")
    if not method or not path.startswith("/") or "?" in path or "#" in path:
        _wrong('--route is a method and a path without a query, as in "POST /v1/people"')
    try:
        return policy.activities.match(method, path)
    except PathError as error:
        _wrong(f"--route: {error}")


@contextmanager
def _opened(sample: Path) -> Iterator[tuple[Source, int | None]]:
    """The sample, and its size where it is a file. Raises: UsageError."""
    if str(sample) == "-":
        yield sys.stdin.buffer, None
        return
    try:
        file = sample.open("rb")
    except OSError as error:
        raise UsageError(f"the sample cannot be read: {error.strerror}") from None
    with file:
        try:
            yield file, sample.stat().st_size
        except OSError as error:  # while it is read
            raise UsageError(f"the sample cannot be read: {error.strerror}") from None


def _tell_json(looking: _Looking, rows: Sequence[_Row], route: str | None) -> None:
    told: dict[str, Any] = {"records": looking.count, "whole": not looking.cut}
    if route is not None:
        name = None if looking.activity is None else looking.activity.name
        told |= {"route": route, "activity": name, "lacking": _lacking(rows)}
    told["found"] = [
        {
            "field": row.path,
            "category": row.category,
            "score": row.score,
            "records": row.records,
            "declared": None if route is None else not row.lacking,
            "by": [{"law": law, "validator": word, "name": named} for law, word, named in row.by],
        }
        for row in rows
    ]
    typer.echo(json.dumps(told, ensure_ascii=False))


def _tell(looking: _Looking, rows: Sequence[_Row]) -> None:
    wide = max((len(row.path) for row in rows), default=0)
    for row in rows:
        by = dict.fromkeys(f"{law} ({_how(word, named=named)})" for law, word, named in row.by)
        many = f"in {row.records:,} of {looking.count:,}"
        typer.echo(f"{row.path:{wide}}  {row.category:17}  {row.score:3}  {many}  {', '.join(by)}")
    if not rows:
        typer.echo(f"nothing found in {looking.count:,} records; detectors know names and numbers, no more")
    if looking.cut:
        limits = f"{MAX_FIELDS:,} values or {MAX_DEPTH} levels"
        typer.echo(f"{looking.cut:,} records have more than {limits} and were looked at in part", err=True)


def _compare(rows: Sequence[_Row], route: str, match: Match) -> None:
    """What the activity does not declare, or that it declares all."""
    lacking = _lacking(rows)
    told = ", ".join(lacking)
    if not lacking:
        typer.echo(f"{route}: all that was found is declared")
    elif match.activity is not None:
        data = ", ".join([*sorted(match.activity.data), *lacking])
        typer.echo(f"{route}: not declared: {told}. It would say: data: [{data}]")
    elif match.exempt is not None:
        typer.echo(f"{route}: exempt as {match.exempt}, and it carries {told}")
    else:
        typer.echo(f"{route}: no activity names it, and it carries {told}")


def _lacking(rows: Sequence[_Row]) -> list[str]:
    return sorted({row.category for row in rows if row.lacking})


def _how(validator: str | None, *, named: bool) -> str:
    """By what: the name, what the value passes, or both."""
    return " and ".join(filter(None, ("name" if named else "", validator)))


def _wrong(message: str) -> NoReturn:
    """End the command: it was used wrongly."""
    typer.echo(f"residency detect: {message}", err=True)
    raise typer.Exit(2)
