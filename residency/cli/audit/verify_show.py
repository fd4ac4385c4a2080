"""A log that holds in; what `residency audit verify` says of it to people, out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from residency.audit.findings import Finding, span
from residency.cli.audit.shared import shown, when
from residency.cli.audit.verify_log import Asked, Verified
from residency.cli.audit.verify_witness import Witnessed

__all__ = ["show", "show_findings"]


def show(
    console: Console,
    log: Verified,
    asked: Asked,
    second: bool | None = None,
    seen_by: Witnessed | None = None,
) -> None:
    """Print that a log holds: what was not checked first, then what is in it, then what is odd. `second` is whether it
    bears its second signature, None where it has none."""
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
    table.add_row("origin", shown(log.checkpoint.origin))
    table.add_row("entries", f"{size}" + (f"  ({', '.join(f'{k} {n}' for k, n in kinds)})" if kinds else ""))
    if log.newest is not None:
        ago = span(max(0, asked.now - log.newest))
        table.add_row("newest entry", f"{when(log.newest)} UTC, {ago} ago")
    table.add_row("root", str(log.data()["root"]))
    table.add_row("signature", f"Ed25519, holds under {shown(log.key.name)}")
    if second is not None:
        table.add_row("second signature", "ML-DSA-44, holds" if second else "ML-DSA-44, NOT THERE")
    if seen_by is not None:
        table.add_row("witnesses", f"{len(seen_by.names)} cosigned the first {seen_by.checkpoint.size} entries")
    table.add_row("open intents", str(log.open) + ("  (see: residency audit open)" if log.open else ""))
    if asked.seen:
        table.add_row("continues", f"{len(asked.seen)} checkpoints that were seen earlier")
    console.print(table)
    show_findings(console, log.findings)


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print what is odd, a line each."""
    for finding in findings:
        console.print(f"[yellow]Finding:[/] {shown(finding.message)}", soft_wrap=True)
