"""`residency test`: files of policy tests in; which hold, which do not and why, and what no test met, out."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from residency.adapters.policy_files import TESTS, PolicyFiles, read_file
from residency.cli.cases_report import Ran, coverage_lines, failure_lines, json_of, junit_of
from residency.errors import AddressDataUnavailable, PolicyError, Problem, Refused, UnknownStore
from residency.model import Decision, Effect, Signal
from residency.policy.casecover import Coverage, covered
from residency.policy.casefile import CaseFile
from residency.policy.caserun import Outcome, check_names, run_case
from residency.policy.compiler import Policy
from residency.policy.parser import parse_tests
from residency.signals.inet import canonical
from residency.storage.routing import choose
from residency.wiring import address_data

__all__ = ["run_tests"]

_SHARE: Final = re.compile(r"(100|[1-9]?[0-9](?:\.[0-9]+)?)%")
_POLL: Final = 0.5  # seconds between two looks at the files


def run_tests(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files, or folders of *_test.yaml; else ./policies.", metavar="PATH…")
    ] = None,
    coverage: Annotated[bool, typer.Option("--coverage", help="Tell what no test met.")] = False,
    min_coverage: Annotated[
        str | None, typer.Option("--min-coverage", help="Fail where fewer rules decided a test.", metavar="SHARE")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML too.", metavar="FILE")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Run again whenever a file changes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run the tests beside the policies: what must be decided, of whom, on which day.

    Coverage counts the rules that could have spoken on the days that the tests ask about, and which of them decided a
    test; and the pairs of activity and law. Exit 0 = all hold, 1 = one does not, or coverage is too low, 2 = wrong use.

    Example: residency test policies --coverage --min-coverage 90%
    """
    least = _least(min_coverage)
    roots = paths or [Path("policies")]
    missing = [root for root in roots if not root.exists()]
    if missing:
        _wrong(f"no such file or folder: {missing[0]}")
    if not _files(roots):
        _wrong(f"no test found: no file below {', '.join(map(str, roots))} is called …{TESTS}")

    def once() -> tuple[bool, list[PolicyFiles]]:
        ran, policies = _run(_files(roots))
        found = _coverage(policies.values()) if coverage or least is not None else {}
        if junit is not None:
            try:
                junit.write_text(junit_of(ran), encoding="utf-8")
            except OSError as error:
                _wrong(f"--junit {junit}: {error.strerror}")
        low = [name for name, each in found.items() if least is not None and each.rule_share < least]
        if as_json:
            typer.echo(json.dumps(json_of(ran, found) | {"too_low": low}, ensure_ascii=False))
        else:
            _tell(ran, found if coverage else {name: found[name] for name in low}, low, min_coverage)
        return all(each.holds for each in ran) and not low, [suite.files for suite in policies.values()]

    holds, read = once()
    if watch:
        _watch(lambda: once()[1], read, lambda: _files(roots))
    raise typer.Exit(0 if holds else 1)


@dataclass(slots=True)
class _Suite:
    """One deployment, read once for all files that test it, and what their cases came to."""

    files: PolicyFiles
    policy: Policy | None = None
    problems: tuple[Problem, ...] = ()
    outcomes: list[Outcome] = field(default_factory=list)


_Key = tuple[Path, tuple[tuple[str, str], ...]]


def _run(files: Sequence[Path]) -> tuple[list[Ran], dict[_Key, _Suite]]:
    """Run every file. What does not hold is told of its file, and the others are still run."""
    ran: list[Ran] = []
    suites: dict[_Key, _Suite] = {}
    for number, file in enumerate(files, start=1):
        if sys.stderr.isatty():
            typer.echo(f"{number} of {len(files)}: {file}", err=True)
        began = time.monotonic()
        try:
            cases = parse_tests(read_file(file), str(file))
            suite = _suite(file, cases, suites)
            policy = suite.policy
            if policy is None:
                raise PolicyError(
                    (cases.source.problem(("deployment",), "the deployment does not hold:"), *suite.problems)
                )
            check_names(cases, policy)
            network = _Network(policy, cases)
            outcomes = tuple(run_case(case, policy, network.of(case.path), _goes(policy)) for case in cases.cases)
        except PolicyError as error:
            ran.append(Ran(str(file), problems=error.problems))
            continue
        suite.outcomes += outcomes
        ran.append(Ran(str(file), outcomes, (), cases.source, time.monotonic() - began))
    return ran, suites


def _suite(file: Path, cases: CaseFile, suites: dict[_Key, _Suite]) -> _Suite:
    """The deployment that the cases are about, from what was read before where another file was about it too."""
    path = file.parent / cases.deployment
    key = path.resolve(), tuple(sorted(cases.env.items()))
    known = suites.get(key)
    if known is None:
        # Tests are of what is being written: signed it is later.
        known = suites[key] = _Suite(PolicyFiles(path, {**os.environ, **cases.env}, unsigned=True))
        try:
            known.policy = known.files.read().policy
        except PolicyError as error:
            known.problems = error.problems
    return known


class _Network:
    """What the network says of the addresses in one file of tests, by the data that the deployment names."""

    def __init__(self, policy: Policy, cases: CaseFile) -> None:
        self._policy, self._cases = policy, cases
        self._moment = 0
        self._data = address_data(policy.deployment, Path(policy.base).joinpath, lambda: self._moment)
        self._opened = False

    def of(self, path: tuple[str | int, ...]) -> Callable[[str], tuple[Signal, ...]]:
        """The signals of an address that the case at `path` gives."""

        def signals(address: str) -> tuple[Signal, ...]:
            known = canonical(address)
            if known is None:
                raise PolicyError((self._cases.source.problem((*path, "address"), f"`{address}` is no address"),))
            try:
                if not self._opened:
                    self._data.open()
                    # As fresh as on the day it was built: whether it is too old today is not what is tested.
                    self._moment = self._data.built_at * 1_000_000
                    self._data.look()
                    self._opened = True
                return self._data.signals(known)
            except AddressDataUnavailable as error:
                raise PolicyError((self._cases.source.problem((*path, "address"), str(error)),)) from None

        return signals


def _goes(policy: Policy) -> Callable[[Decision], str | None]:
    """The sink that a first act would use; None where none would be."""

    def sink(decision: Decision) -> str | None:
        if decision.activity is None or not decision.activity.stores or decision.effect is not Effect.PERMIT:
            return None
        try:
            verdict = choose(decision, None, None, order=policy.deployment.stores[decision.activity.stores[0]])
        except (Refused, UnknownStore):
            return None
        return verdict.sink.name if verdict.effect is Effect.PERMIT else None

    return sink


def _coverage(suites: Iterable[_Suite]) -> dict[str, Coverage]:
    """What the tests left out, by deployment; nothing of one of which no test could be run."""
    ran = ((str(suite.files.path), suite.policy, suite.outcomes) for suite in suites if suite.outcomes)
    return {path: covered(policy, outcomes) for path, policy, outcomes in ran if policy is not None}


def _tell(ran: Sequence[Ran], shown: dict[str, Coverage], low: Sequence[str], least: str | None) -> None:
    for each in ran:
        for line in failure_lines(each):
            typer.echo(line)
    for name, found in shown.items():
        for line in coverage_lines(name, found):
            typer.echo(line)
    for name in low:
        typer.echo(f"{name}: coverage is below {least}")
    outcomes = [outcome for each in ran for outcome in each.outcomes]
    failed = sum(1 for outcome in outcomes if not outcome.holds)
    broken = sum(1 for each in ran if each.problems)
    parts = [f"{len(outcomes) - failed} hold"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{_count(broken, 'file')} could not be run"] if broken else []
    typer.echo(f"{_count(len(outcomes), 'test')} in {_count(len(ran), 'file')}: {', '.join(parts)}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _watch(once: Callable[[], list[PolicyFiles]], read: list[PolicyFiles], files: Callable[[], list[Path]]) -> NoReturn:
    """Run again whenever a file of tests, or anything that their deployments read, has changed; until interrupted."""
    typer.echo("watching; end with Ctrl-C", err=True)
    before = _stamp(files(), read)
    while True:
        time.sleep(_POLL)
        now = _stamp(files(), read)
        if now != before:
            typer.echo("")
            read = once()
            before = _stamp(files(), read)


def _stamp(files: Sequence[Path], read: Sequence[PolicyFiles]) -> Hashable:
    """What the file system says of all that a run looks at."""
    stamps = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        stamps.append((file, found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(stamps), tuple(each.stamp() for each in read)


def _files(roots: Sequence[Path]) -> list[Path]:
    """The files of tests among and below `roots`, each once."""
    found: dict[Path, None] = {}
    for root in roots:
        found |= dict.fromkeys(sorted(root.rglob(f"*{TESTS}")) if root.is_dir() else [root])
    return list(found)


def _least(text: str | None) -> float | None:
    if text is None:
        return None
    match = _SHARE.fullmatch(text)
    if match is None:
        _wrong("--min-coverage is a share such as 90%")
    return float(match[1]) / 100


def _wrong(message: str) -> NoReturn:
    """End the command: it was used wrongly."""
    typer.echo(f"residency test: {message}", err=True)
    raise typer.Exit(2)
