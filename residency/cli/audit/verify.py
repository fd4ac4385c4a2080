"""`residency audit verify`: logs and what somebody knows of them in, whether they hold out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from residency.audit.fleet import FleetFinding
from residency.cli.audit.shared import Json, Key, fail
from residency.cli.audit.verify_fleet import differs, read_fleet
from residency.cli.audit.verify_log import Asked, Verified, keep, verify_log
from residency.errors import IntegrityError, Unavailable

__all__ = ["verify"]

_HOUR: Final = 3_600_000_000
# What a fleet's log leaves unsaid is told; everything else means that the fleet is not what the register lists.
_UNSAID: Final = "unsaid"


def verify(
    places: Annotated[
        list[str], typer.Argument(metavar="DIR|URL…", help="A log: checkpoint, tile/, log.vkey. Several with --fleet.")
    ],
    key: Key = None,
    remember: Annotated[
        Path | None,
        typer.Option(
            "--remember", metavar="FILE", help="The log must continue this checkpoint; then keep the new one."
        ),
    ] = None,
    since: Annotated[
        list[Path] | None,
        typer.Option("--since", metavar="FILE", help="A checkpoint that somebody else kept: the log must continue it."),
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(
            "--audit", metavar="DIR", help="The audit folder, with policies/ and facts/. Default: around DIR."
        ),
    ] = None,
    replay: Annotated[bool, typer.Option(help="Make every recorded decision again.")] = True,
    max_gap: Annotated[
        float, typer.Option("--max-gap", min=0, metavar="HOURS", help="Tell of a longer time without an entry.")
    ] = 24,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on findings too.")] = False,
    fleet: Annotated[
        Path | None, typer.Option("--fleet", metavar="FILE", help="A signed register of logs: which are missing?")
    ] = None,
    fleet_key: Annotated[
        Path | None, typer.Option("--fleet-key", metavar="FILE", help="The verifier key of that register.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute a whole log: signature, tree, entries, numbers, intents and outcomes; make its decisions again.

    What is odd and proves nothing (a clock set back, a long silence, an act without an outcome) is a finding: told, and
    exit 0 unless --strict. Exit 0 = the log holds, 1 = it does not, 2 = wrong use.

    Example: residency audit verify ./demo-data/log --key ./log.vkey --remember ./seen.checkpoint
    """
    if (fleet is None) != (fleet_key is None):
        raise typer.BadParameter("--fleet and --fleet-key go together", param_hint="--fleet")
    if fleet is None and len(places) > 1:
        raise typer.BadParameter("several logs go with --fleet", param_hint="DIR|URL")
    if fleet is not None and (key is not None or remember is not None or since or audit is not None):
        raise typer.BadParameter("--key, --remember, --since and --audit go with one log", param_hint="--fleet")
    remembered = () if remember is None or not remember.exists() else (remember,)
    asked = Asked(
        key=key,
        seen=(*remembered, *(since or ())),
        audit=audit,
        replay=replay,
        max_gap=round(max_gap * _HOUR),
        now=time.time_ns() // 1000,
        progress=not as_json,
    )
    if fleet is not None and fleet_key is not None:
        _fleet(places, asked, fleet, fleet_key, strict=strict, as_json=as_json)
        return
    try:
        verified = verify_log(places[0], asked)
    except (IntegrityError, Unavailable) as error:
        fail(str(error), as_json)
    report = {**verified.data(), "key_given": key is not None, "seen": len(asked.seen)}
    if strict and verified.findings:
        _not_strict(len(verified.findings), report, [verified], as_json)
    if remember is not None:
        keep(remember, verified.note)
    if as_json:
        print(json.dumps({"holds": True, **report}))
        return
    console = Console()
    _show(console, verified, asked)
    if key is None:
        console.print("[yellow]The key came from the log folder itself: give the one you were handed with --key.[/]")
    if remember is not None:
        console.print(f"Kept as seen: {escape(str(remember))}", soft_wrap=True)


def _fleet(places: list[str], asked: Asked, register: Path, key: Path, *, strict: bool, as_json: bool) -> None:
    logs = []
    place = ""
    try:
        listed = read_fleet(register, key)
        for place in places:
            logs.append(verify_log(place, asked))
            if not as_json:
                _show(Console(), logs[-1], asked)
        place = ""
        found = differs(listed, logs)
    except (IntegrityError, Unavailable) as error:
        fail(f"{place}: {error}" if place else str(error), as_json)
    wrong = [finding for finding in found if finding.what != _UNSAID]
    report: dict[str, Any] = {
        "fleet": {"name": listed.name, "version": listed.version, "logs": len(listed.logs)},
        "logs": [{"place": log.place, **log.data()} for log in logs],
        "fleet_findings": [{"what": f.what, "origin": f.origin, "message": f.message} for f in found],
    }
    if wrong:
        fail("the fleet is not what its register lists: " + "; ".join(map(_told, wrong)), as_json, **report)
    odd = len(found) + sum(len(log.findings) for log in logs)
    if strict and odd:
        _not_strict(odd, report, (), as_json)
    if as_json:
        print(json.dumps({"holds": True, **report}))
        return
    console = Console()
    console.print(f"[bold green]The fleet is whole:[/] {len(logs)} logs, register version {listed.version}.")
    for finding in found:
        console.print(f"[yellow]Finding:[/] {escape(_told(finding))}", soft_wrap=True)


def _told(finding: FleetFinding) -> str:
    return f"{finding.what}: {finding.origin}: {finding.message}"


def _not_strict(number: int, report: dict[str, Any], shown: list[Verified] | tuple[()], as_json: bool) -> NoReturn:
    if not as_json:
        for log in shown:
            _findings(Console(stderr=True), log)
    fail(f"{number} findings, and --strict was given", as_json, **report)


def _show(console: Console, log: Verified, asked: Asked) -> None:
    # Coverage first: what was not checked says how much the rest is worth.
    again = log.redecide
    if again is not None:
        whole = again.replayed == again.decisions
        share = "" if whole or not again.decisions else f" ({again.replayed / again.decisions:.2%})"
        told = f"{again.replayed:,} of {again.decisions:,} decisions were made again{share}, all as recorded."
        console.print(told if whole else f"[yellow]{told}[/]", highlight=False)
    elif asked.replay:
        console.print("[bold yellow]No decision was made again: there is no archive of policies beside the log.[/]")
        console.print("[yellow]Name the audit folder with --audit; without it, a decision is only what is written.[/]")
    else:
        console.print("[yellow]No decision was made again, as was asked.[/]")
    console.print("[bold green]The log holds.[/]")
    size, kinds = log.checkpoint.size, sorted(log.kinds.items())
    table = Table(show_header=False, box=None)
    table.add_row("origin", escape(log.checkpoint.origin))
    table.add_row("entries", f"{size}" + (f"  ({', '.join(f'{k} {n}' for k, n in kinds)})" if kinds else ""))
    table.add_row("root", str(log.data()["root"]))
    table.add_row("signature", f"Ed25519, holds under {escape(log.key.name)}")
    table.add_row("open intents", str(log.open) + ("  (see: residency audit open)" if log.open else ""))
    if asked.seen:
        table.add_row("continues", f"{len(asked.seen)} checkpoints that were seen earlier")
    console.print(table)
    _findings(console, log)


def _findings(console: Console, log: Verified) -> None:
    for finding in log.findings:
        console.print(f"[yellow]Finding:[/] {escape(finding.message)}", soft_wrap=True)
