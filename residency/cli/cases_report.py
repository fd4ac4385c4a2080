"""What the files of policy tests came to in; lines for people, an object for programs, JUnit's XML for CI, out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from residency.errors import Problem
from residency.policy.casecover import Coverage
from residency.policy.caserun import Failure, Outcome
from residency.policy.parsed import Source

__all__ = ["Ran", "coverage_lines", "failure_lines", "json_of", "junit_of"]

_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Ran:
    """One file of tests: what its cases came to, or the problems that kept them from being run. `seconds` it took."""

    file: str
    outcomes: tuple[Outcome, ...] = ()
    problems: tuple[Problem, ...] = ()
    source: Source = field(default_factory=lambda: Source(""))
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every case came out as expected."""
        return not self.problems and all(outcome.holds for outcome in self.outcomes)

    def place(self, outcome: Outcome) -> Problem:
        """Where a case stands in its file, with its name."""
        return self.source.problem(outcome.case.path, outcome.case.name)


def failure_lines(ran: Ran) -> Iterator[str]:
    """What did not come out as expected in one file; each with the articles of the rules that explain it."""
    for problem in ran.problems:
        yield str(problem)
    for outcome in ran.outcomes:
        if not outcome.holds:
            yield f"FAILED {ran.place(outcome)}"
            told: set[str] = set()
            for failure in outcome.failures:
                yield from _told(failure, told)


def _told(failure: Failure, told: set[str]) -> Iterator[str]:
    """One failure as a difference; the text of a rule stands where it is cited first."""
    yield f"    {failure.what}"
    yield f"      - {failure.expected}"
    yield f"      + {failure.got}"
    for rule in failure.rules:
        yield f"        {rule.id}: {rule.citation} ({rule.mode})"
        if rule.text and rule.id not in told:
            told.add(rule.id)
            yield f"          {rule.text}"


def coverage_lines(name: str, coverage: Coverage) -> Iterator[str]:
    """What the tests of one deployment left out."""
    met = coverage.rules - len(coverage.unmet)
    yield f"coverage of {name}: {met} of {coverage.rules} rules ({coverage.rule_share:.1%}) decided a test"
    for rule in coverage.unmet:
        yield f"    never: {rule.id}: {rule.citation} ({rule.mode})"
    cells = coverage.cells - len(coverage.unmet_cells)
    yield f"    {cells} of {coverage.cells} pairs of activity and law ({coverage.cell_share:.1%}) met"
    for activity, group in groupby(coverage.unmet_cells, key=lambda cell: cell[0]):
        yield f"    never: {activity} under {', '.join(law for _, law in group)}"


def json_of(ran: Sequence[Ran], coverage: dict[str, Coverage]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "holds": all(each.holds for each in ran),
        "tests": [_case(each, outcome) for each in ran for outcome in each.outcomes],
        "problems": [
            {"file": p.file, "line": p.line, "column": p.column, "message": p.message}
            for each in ran
            for p in each.problems
        ],
        "coverage": {name: _coverage(found) for name, found in coverage.items()},
    }


def _case(ran: Ran, outcome: Outcome) -> dict[str, Any]:
    place, decision = ran.place(outcome), outcome.decision
    return {
        "file": ran.file,
        "line": place.line,
        "name": outcome.case.name,
        "holds": outcome.holds,
        "effect": None if decision is None else decision.effect.word,
        "reason": None if decision is None or decision.reason is None else decision.reason.value,
        "failures": [
            {
                "what": failure.what,
                "expected": failure.expected,
                "got": failure.got,
                "rules": [{"id": rule.id, "citation": rule.citation, "mode": rule.mode} for rule in failure.rules],
            }
            for failure in outcome.failures
        ],
    }


def _coverage(found: Coverage) -> dict[str, Any]:
    return {
        "rules": found.rules,
        "rules_met": found.rules - len(found.unmet),
        "never": [{"id": rule.id, "citation": rule.citation, "mode": rule.mode} for rule in found.unmet],
        "cells": found.cells,
        "cells_met": found.cells - len(found.unmet_cells),
        "never_cells": [{"activity": activity, "law": law} for activity, law in found.unmet_cells],
    }


def junit_of(ran: Sequence[Ran]) -> str:
    """The same as JUnit's XML: a suite for each file, an error for a file that could not be run."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {_counts(ran)}>"]
    for each in ran:
        lines.append(f"  <testsuite name={_quoted(each.file)} {_counts([each])}>")
        for outcome in each.outcomes:
            place = each.place(outcome)
            heading = (
                f"    <testcase classname={_quoted(each.file)} name={_quoted(outcome.case.name)} "
                f'file={_quoted(each.file)} line="{place.line}" time="{_share(each):.6f}"'
            )
            if outcome.holds:
                lines.append(f"{heading}/>")
                continue
            told: set[str] = set()
            text = "\n".join(line for failure in outcome.failures for line in _told(failure, told))
            first = f"message={_quoted(str(outcome.failures[0]))}"
            lines += [f"{heading}>", f'      <failure type="policy" {first}>{_text(text)}</failure>', "    </testcase>"]
        if each.problems:
            text = "\n".join(map(str, each.problems))
            message = f"message={_quoted(each.problems[0].message)}"
            lines += [
                f'    <testcase classname={_quoted(each.file)} name="the file holds" time="0">',
                f'      <error type="PolicyError" {message}>{_text(text)}</error>',
                "    </testcase>",
            ]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _counts(ran: Sequence[Ran]) -> str:
    errors = sum(1 for each in ran if each.problems)
    tests = sum(len(each.outcomes) for each in ran) + errors
    failures = sum(1 for each in ran for outcome in each.outcomes if not outcome.holds)
    seconds = sum(each.seconds for each in ran)
    return f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="0" time="{seconds:.6f}"'


def _share(ran: Ran) -> float:
    return ran.seconds / max(1, len(ran.outcomes))


def _quoted(text: str) -> str:
    return quoteattr(_NOT_IN_XML.sub("?", text), {"\n": "&#10;"})


def _text(text: str) -> str:
    return escape(_NOT_IN_XML.sub("?", text))
