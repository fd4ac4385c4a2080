"""`residency audit check-proof`: a proof or receipt and the reader's verifier key in, whether it holds out."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from residency.audit.checkpoint import Checkpoint
from residency.audit.proof import Verdict, judge
from residency.cli.audit.page import document_in
from residency.cli.audit.shared import Json, document, fail, when
from residency.errors import VerificationError

__all__ = ["check_proof"]


def check_proof(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A proof or receipt: JSON, tlog-proof or a page; - = standard input.")
    ],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The log's verifier key, from somewhere else.")],
    witness: Annotated[
        list[Path] | None,
        typer.Option(
            "--witness", metavar="FILE", help="Witnesses' verifier keys, one a line: each must have cosigned."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a proof or receipt without the log: with nothing but the file and the log's key.

    The page that `residency audit page` writes checks the same in a browser.
    Exit 0 = holds, 1 = does not hold, 2 = wrong use.

    Example: residency audit check-proof entry-0.proof.json --key ./log.vkey
    """
    try:
        given = key.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter("cannot be read", param_hint="--key") from None
    try:
        witnesses = [line for path in witness or () for line in path.read_text(encoding="utf-8").split()]
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter("cannot be read", param_hint="--witness") from None
    if witness is not None and not witnesses:
        raise typer.BadParameter("holds no key", param_hint="--witness")
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError:
        raise typer.BadParameter("cannot be read", param_hint="FILE") from None
    try:
        verdict = judge(document_in(data), given, witnesses)
    except VerificationError as error:
        fail(str(error), as_json, failed="document")
    checkpoint = verdict.checkpoint
    if not verdict.holds or checkpoint is None:
        where = "" if verdict.item is None or verdict.kind == "proof" else f" (the file's entry {verdict.item + 1})"
        fail(f"{verdict.problem}{where}", as_json, failed=verdict.failed, item=verdict.item)
    if as_json:
        _tell_json(verdict, checkpoint)
    else:
        _tell(verdict, checkpoint)


def _tell_json(verdict: Verdict, checkpoint: Checkpoint) -> None:
    told = {
        "holds": True,
        "kind": verdict.kind,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "witnesses": [
            {"name": seen.key.name, "kind": seen.key.kind.name.lower(), "time": seen.time} for seen in verdict.witnesses
        ],
        "root": base64.b64encode(checkpoint.root).decode(),
        "entries": [
            {"index": index, **document(entry), "detail_fields": fields}
            for (index, entry), fields in zip(verdict.entries, verdict.details, strict=True)
        ],
    }
    print(json.dumps(told, ensure_ascii=False))


def _tell(verdict: Verdict, checkpoint: Checkpoint) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold green]The {verdict.kind} holds.[/]")
    table = Table(show_header=False, box=None)
    table.add_row("log", escape(_shown(checkpoint.origin)))
    table.add_row("its size then", f"{checkpoint.size} entries")
    for seen in verdict.witnesses:
        kind = seen.key.kind.name.lower().replace("_", "-")
        table.add_row("cosigned", escape(_shown(f"{seen.key.name}, {when(seen.time * 1_000_000)} UTC ({kind})")))
    table.add_row("proved here", f"{len(verdict.entries)}")
    console.print(table)
    for (index, entry), fields in zip(verdict.entries, verdict.details, strict=True):
        what = entry.activity or entry.note or ""
        where = f" -> {entry.sink}" if entry.sink is not None else ""
        why = f" [{entry.reason}]" if entry.reason is not None else ""
        said = entry.act or entry.effect or ""
        line = f"{index:>6}  {when(entry.at)}  {entry.kind:<8} {said:<9} {what}{where}{why}".rstrip()
        console.print(_shown(line), markup=False)
        for name, value in sorted((fields or {}).items()):
            console.print(_shown(f"{'':8}{name}: {_detail(name, value)}"), markup=False)


def _detail(name: str, value: object) -> str:
    """A field of a detail, as people read it."""
    if name == "at" and isinstance(value, int):
        return f"{when(value)} UTC"
    return "not known" if value is None else "none" if value == "" else str(value)


def _shown(text: str) -> str:
    """Text of a file that somebody sent, with nothing in it that a terminal would follow."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
