"""`residency check`: policy files in, every problem as `file:line:column: message` or what holds, out."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from residency import wiring
from residency.adapters.policy_files import load, read_file
from residency.errors import PolicyError, Problem
from residency.model.data import expand
from residency.policy.casefile import CaseFile
from residency.policy.documents import DOCUMENTS, json_schema
from residency.policy.explain import foreseen_conflicts
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc
from residency.policy.parser import parse_document

__all__ = ["check", "write_schema"]


def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Deployments, laws, registers or tests.", metavar="FILE…")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
    schema: Annotated[
        Path | None, typer.Option("--write-schema", help="Write the JSON Schemas into this folder.", metavar="DIR")
    ] = None,
) -> None:
    """Check policy files. A deployment is checked with its laws and registers.

    Exit 0 = all hold, 1 = one does not, 2 = wrong use.

    Example: residency check policies/deployments/social-api.yaml
    """
    if not files and schema is None:
        typer.echo("Usage: residency check [--json] [--write-schema DIR] F…   (no file given)", err=True)
        raise typer.Exit(2)
    if schema is not None:
        for path in write_schema(schema):
            typer.echo(f"wrote {path}", err=True)
    held = [_check(file, as_json=as_json) for file in files or ()]  # every file is told of, not only the first bad one
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


def _check(file: Path, *, as_json: bool) -> bool:
    """Check one file and print what was found; whether it holds."""
    result: dict[str, Any] = {"file": str(file), "holds": True, "problems": [], "notes": []}
    try:
        summary, notes = _summary(file)
        result |= {"summary": summary, "notes": notes}
    except PolicyError as error:
        result["holds"] = False
        result["problems"] = [
            {"file": p.file, "line": p.line, "column": p.column, "message": p.message} for p in error.problems
        ]
        if not as_json:
            for problem in error.problems:
                typer.echo(str(problem))
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    elif result["holds"]:
        typer.echo(f"{file}: holds: {result['summary']}")
        for note in result["notes"]:
            typer.echo(f"{file}: note: {note}")
    return bool(result["holds"])


def _summary(file: Path) -> tuple[str, list[str]]:
    document = parse_document(read_file(file), str(file), os.environ, file.stem)
    match document:
        case LawDoc():
            return f"{document.instrument}, {len(document.rules)} rules", []
        case RegisterDoc():
            filings, orders = len(document.filings), len(document.stop_orders)
            return f"register {document.name}, {filings} filings, {orders} stop orders", []
        case CaseFile():
            return f"{len(document.cases)} tests of {document.deployment}: `residency test` runs them", []
        case DeploymentDoc():
            policy = load(file)
            _check_places(document)
            rules = sum(len(law.rules) for law in policy.laws)
            activities = len(document.activities)
            notes = [*_doubts(document), *foreseen_conflicts(policy, time.time_ns() // 1000)]
            return (
                f"deployment {document.name}, mode {document.mode}, {activities} activities, "
                f"{len(policy.laws)} laws with {rules} rules, digest {policy.digest[:16]}"
            ), notes


def _check_places(document: DeploymentDoc) -> None:
    """Whether what the deployment names outside itself could be asked at all. Raises: PolicyError with all that not."""
    problems: list[Problem] = []
    for check_place in (wiring.check_pins, wiring.check_keys):
        try:
            check_place(document)
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(tuple(problems))


def _doubts(document: DeploymentDoc) -> list[str]:
    """What holds and is yet likely not meant."""
    notes = []
    if not document.laws:
        notes.append("`laws: none`: nothing is decided by law here")
    if document.mode == "enforce" and document.pins.url.reveal() == "memory:":
        notes.append("`pins: memory:`: where each person's data lies is forgotten at every restart")
    notes += [
        f"activity `{activity.name}`: `subject: none` with personal data: the caller's address decides whose law it is"
        for activity in document.activities
        if activity.subject.kind == "none" and "personal" in expand(activity.data)
    ]
    return notes
