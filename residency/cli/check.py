"""`residency check`: policy files in; every problem as `file:line:column: message`, or what holds, out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sized
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from residency import wiring
from residency.adapters.policy_files import load, read_bundle, read_file
from residency.cli.check_app import SeenApp, key_reports, seen_app
from residency.cli.explain_question import instant_of
from residency.errors import PolicyError, Problem, UsageError
from residency.model.data import expand
from residency.policy.bundle import MAX_BUNDLE, is_bundle
from residency.policy.casefile import CaseFile
from residency.policy.compiler import Policy
from residency.policy.documents import DOCUMENTS, json_schema
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc
from residency.policy.parser import parse_document, parse_register
from residency.policy.prove import Proof, prove
from residency.policy.prove_duties import duty_reports
from residency.policy.prove_near import near_reports
from residency.policy.prove_reports import Report, register_reports, report
from residency.policy.prove_rules import reading_reports, rule_reports
from residency.policy.prove_words import proof_data, proof_report
from residency.policy.uncarried import uncarried_reports

__all__ = ["check", "write_schema"]

_PATIENCE: Final = 1.0
"""Seconds after which it is told what is being done."""


def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Deployments, bundles, laws, registers or tests.", metavar="FILE…")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Prove from that day on, as 2026-09-01; else from now.", metavar="DATE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is an error: exit 1.")] = False,
    app: Annotated[
        str | None,
        typer.Option(
            "--app", help="Your app: look at the keys that its routes, models and source make.", metavar="M:A"
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata", help="Models that the app itself does not load: a MetaData or a class.", metavar="M:A"
        ),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--write-schema", help="Write the JSON Schemas into this folder.", metavar="DIR")
    ] = None,
) -> None:
    """Check policy files. A deployment is checked with its laws and registers, and its invariants (`must:`) are proved.

    With --app, your app is imported, and keys that are personal data are told with file and line: in its routes, its
    models (SQLAlchemy, Django), and where its source names objects, caches or people.

    Told too: each duty that a rule orders and nothing in this deployment carries out, at the rule's own line.

    Exit 0 = all hold (warnings and notes may be told), 1 = one does not, or with --strict is warned of, 2 = wrong use.

    Example: residency check residency.yaml --app shop.main:app
    """
    if not files and schema is None:
        usage = "residency check [--at DATE] [--app M:A] [--json] [--strict] [--write-schema DIR] F…"
        typer.echo(f"Usage: {usage}   (no file given)", err=True)
        raise typer.Exit(2)
    try:
        found = seen_app(app, metadata or ()) if app is not None or metadata else None
    except UsageError as error:
        typer.echo(f"residency check: {error}", err=True)
        raise typer.Exit(2) from None
    if schema is not None:
        for path in write_schema(schema):
            typer.echo(f"wrote {path}", err=True)
    # A whole second: what is proved from an instant on can be asked again at that instant.
    now = time.time_ns() // 1_000_000_000 * 1_000_000 if at is None else instant_of(at)[0]
    # Every file is told of, not only the first bad one.
    held = [_check(file, now, found, as_json=as_json, strict=strict) for file in files or ()]
    if not all(held):
        raise typer.Exit(1)


def write_schema(folder: Path) -> list[Path]:
    """Write the JSON Schema of each kind of file into `folder`; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in DOCUMENTS:
        path = folder / f"{kind}.json"
        path.write_text(json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _check(file: Path, now: int, app: SeenApp | None, *, as_json: bool, strict: bool) -> bool:
    """Check one file and print what was found; whether it holds."""
    result: dict[str, Any] = {"file": str(file), "holds": True, "problems": [], "findings": [], "proofs": []}
    try:
        summary, reports, proofs = _checked(file, now, app, _Progress(quiet=as_json))
        if strict:
            reports = [replace(found, level="error") if found.level == "warning" else found for found in reports]
        result |= {
            "holds": all(found.level != "error" for found in reports),
            "summary": summary,
            "findings": [_finding(found) for found in reports],
            "proofs": [proof_data(proof, str(file)) for proof in proofs],
        }
    except PolicyError as error:
        reports = []
        result["holds"] = False
        result["problems"] = [
            {"file": p.file, "line": p.line, "column": p.column, "message": p.message} for p in error.problems
        ]
        if not as_json:
            for problem in error.problems:
                typer.echo(str(problem))
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return bool(result["holds"])
    for found in reports:
        if found.level == "error":
            typer.echo(_line(found))
    if result["holds"]:
        typer.echo(f"{file}: holds: {result['summary']}")
    for found in reports:
        if found.level != "error":
            typer.echo(_line(found))
    return bool(result["holds"])


def _line(found: Report) -> str:
    where = found.problem
    return f"{where.file}:{where.line}:{where.column}: {found.level}: {where.message}"


def _finding(found: Report) -> dict[str, Any]:
    where = found.problem
    return {
        "level": found.level,
        "kind": found.kind,
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "message": where.message,
        "rules": list(found.rules),
        "activities": list(found.activities),
    }


class _Progress:
    """Tells on stderr what is being done, once it takes long."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._began = time.monotonic()

    def __call__(self, what: str) -> None:
        if not self._quiet and time.monotonic() - self._began > _PATIENCE:
            typer.echo(f"residency check: {what} …", err=True)


def _checked(
    file: Path, now: int, app: SeenApp | None, progress: Callable[[str], None]
) -> tuple[str, list[Report], tuple[Proof, ...]]:
    """(what the file holds, in a line; what is found; what is proved). Raises: PolicyError."""
    data = read_file(file, limit=MAX_BUNDLE)
    if is_bundle(data):
        bundle = read_bundle(file)
        summary, reports, proofs = _deployed(load(file), file, now, app, progress)
        return f"bundle {bundle.name}, version {bundle.version}: {summary}", reports, proofs
    document = parse_document(data, str(file), os.environ, file.stem)
    match document:
        case LawDoc():
            return f"{document.instrument}, {_several(document.rules, 'rule')}", [], ()
        case RegisterDoc():
            filings, orders = _several(document.filings, "filing"), _several(document.stop_orders, "stop order")
            return f"register {document.name}, {filings}, {orders}", [], ()
        case CaseFile():
            return f"{_several(document.cases, 'test')} of {document.deployment}: `residency test` runs them", [], ()
        case DeploymentDoc():
            return _deployed(load(file), file, now, app, progress)


def _deployed(
    policy: Policy, file: Path, now: int, app: SeenApp | None, progress: Callable[[str], None]
) -> tuple[str, list[Report], tuple[Proof, ...]]:
    """What is to be said of a deployment. Raises: PolicyError."""
    document = policy.deployment
    _check_places(document)
    proofs = prove(policy, now, progress=progress)
    reports = [found for proof in proofs if (found := proof_report(proof, str(file))) is not None]
    reports += _doubts(document)
    for doubt in wiring.mirror_doubts(policy):
        reports.append(report(document.source, ("audit", "mirror"), "warning", "mirror", doubt))
    reports += [Report("warning", "locator", doubt) for doubt in wiring.locator_doubts(document)]
    reports += [Report("warning", "provider", doubt) for doubt in wiring.provider_doubts(document)]
    reports += near_reports(policy)
    reports += key_reports(policy, app)
    for name, of in (
        ("duties", duty_reports), ("what is not carried out", uncarried_reports), ("rules", rule_reports),
        ("readings", reading_reports),
    ):  # fmt: skip
        progress(f"looking at {name}")
        reports += of(policy, now)
    reports += register_reports(policy, list(_registers(policy, file)), now)
    # Warnings before notes; the rest stays in the order of the questions.
    reports.sort(key=lambda found: ("error", "warning", "note").index(found.level))
    rules = [rule for law in policy.laws for rule in law.rules]
    proved = f", {sum(1 for p in proofs if p.holds)} of {len(proofs)} invariants proved" if proofs else ""
    return (
        f"deployment {document.name}, mode {document.mode}, {_several(document.activities, 'activity')}, "
        f"{_several(policy.laws, 'law')} with {_several(rules, 'rule')}, digest {policy.digest[:16]}{proved}",
        reports,
        proofs,
    )


def _several(things: Sized, word: str) -> str:
    """How many, with the word that goes with the number."""
    many = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{len(things)} {word if len(things) == 1 else many}"


def _registers(policy: Policy, file: Path) -> Iterator[RegisterDoc]:
    """The registers that the policy was made of, with the places of their files."""
    paths = [Path(policy.base) / text for text in policy.deployment.registers]
    files = {read_file(path): str(path) for path in paths if path.is_file()}
    for name, data in policy.sources:
        if name.startswith("register/"):
            yield parse_register(data, files.get(data, f"{file}/{name}"))


def _check_places(document: DeploymentDoc) -> None:
    """Whether what the deployment names outside itself could be asked at all. Raises: PolicyError with all that not."""
    problems: list[Problem] = []
    for check_place in (wiring.check_pins, wiring.check_keys, wiring.check_mirror, wiring.check_sinks):
        try:
            check_place(document)
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(tuple(problems))


def _doubts(document: DeploymentDoc) -> Iterator[Report]:
    """What holds and is yet likely not meant."""
    source = document.source
    if not document.laws:
        yield report(source, ("laws",), "note", "no_laws", "`laws: none`: nothing is decided by law here")
    if document.mode == "enforce" and document.pins.url.reveal() == "memory:":
        message = "`pins: memory:`: where each person's data lies is forgotten at every restart"
        yield report(source, ("pins",), "note", "pins", message)
    if document.mode == "observe" and document.must:
        message = "`mode: observe`: what is proved of `must` is what would be decided; nothing binds"
        yield report(source, ("mode",), "warning", "observe", message)
    for index, activity in enumerate(document.activities):
        if activity.subject.kind == "none" and "personal" in expand(activity.data):
            message = (
                f"activity `{activity.name}`: `subject: none` with personal data: the caller's address decides whose "
                "law it is"
            )
            yield report(source, ("activities", index), "note", "subject", message, activities=[activity.name])
