"""`residency audit verify`: logs and what somebody knows of them in, whether they hold out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from residency.audit.findings import Finding, span
from residency.audit.fleet import check_follows
from residency.cli.audit.shared import Json, Key, fail, holding, unreached
from residency.cli.audit.verify_fleet import differs, read_fleet
from residency.cli.audit.verify_log import Asked, Verified, keep, verify_log
from residency.cli.audit.verify_show import show, show_findings
from residency.cli.audit.verify_witness import second_signature, witnessed
from residency.errors import IntegrityError, Unavailable

__all__ = ["verify"]

_HOUR: Final = 3_600_000_000
# What a fleet's log leaves unsaid is told; everything else means that the fleet is not what the register lists.
_UNSAID: Final = "unsaid"


def verify(
    places: Annotated[
        list[str], typer.Argument(metavar="DIR|URL…", help="Where the log lies, or with --fleet the logs lie.")
    ],
    key: Key = None,
    remember: Annotated[
        Path | None,
        typer.Option(
            "--remember",
            metavar="FILE",
            help="The log must continue this checkpoint; then keep the new one. With --fleet: the register.",
        ),
    ] = None,
    since: Annotated[
        list[Path] | None,
        typer.Option("--since", metavar="FILE", help="A checkpoint that somebody else kept: the log must continue it."),
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(
            "--audit",
            metavar="DIR",
            help="The folder of policies/ and facts/. Default, and always with --fleet: above the log, or in it.",
        ),
    ] = None,
    replay: Annotated[bool, typer.Option(help="Make every recorded decision again.")] = True,
    max_gap: Annotated[
        float, typer.Option("--max-gap", min=0, metavar="HOURS", help="Tell of a longer time without an entry.")
    ] = 24,
    silent_for: Annotated[
        float | None,
        typer.Option("--silent-for", min=0, metavar="HOURS", help="Tell where the newest entry is older than that."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on findings too.")] = False,
    witness: Annotated[
        list[Path] | None,
        typer.Option(
            "--witness", metavar="FILE", help="Verifier keys of witnesses, one a line; they must have cosigned."
        ),
    ] = None,
    quorum: Annotated[
        int | None,
        typer.Option("--quorum", metavar="N", min=1, help="How many witnesses must have cosigned. Default: all."),
    ] = None,
    cosigned: Annotated[
        Path | None,
        typer.Option("--cosigned", metavar="FILE", help="The checkpoint that they cosigned. Default: the log's own."),
    ] = None,
    second_key: Annotated[
        Path | None,
        typer.Option("--second-key", metavar="FILE", help="The log's ML-DSA-44 key: it must have signed too."),
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option("--fleet", metavar="FILE", help="A signed register of logs: tells which are missing.")
    ] = None,
    fleet_key: Annotated[
        Path | None, typer.Option("--fleet-key", metavar="FILE", help="The verifier key of that register.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute a whole log: signature, tree, entries, numbers, intents and outcomes; make its decisions again.

    What is odd and proves nothing (a clock set back, a long silence, an act without an outcome) is a finding: told, and
    exit 0 unless --strict. Exit 0 = the log holds, 1 = it does not, 2 = wrong use, or a place that cannot be reached:
    then nothing is known.

    Example: residency audit verify ./demo-data/audit/log --key ./log.vkey --remember ./seen.checkpoint
    """
    if (fleet is None) != (fleet_key is None):
        raise typer.BadParameter("--fleet and --fleet-key go together", param_hint="--fleet")
    if fleet is None and len(places) > 1:
        raise typer.BadParameter("several logs go with --fleet", param_hint="DIR|URL")
    if not witness and (quorum is not None or cosigned is not None):
        raise typer.BadParameter("goes with --witness", param_hint="--cosigned" if quorum is None else "--quorum")
    if fleet is not None:
        about_one = {"--key": key, "--audit": audit, "--witness": witness, "--second-key": second_key}
        if given := [option for option, value in about_one.items() if value]:
            why = "with --fleet each log has its own: the key that the register lists, the archive around it"
            raise typer.BadParameter(f"says something of one log; {why}", param_hint=", ".join(given))
    remembered = () if remember is None or not remember.exists() else (remember,)
    seen = (*remembered, *(since or ()))
    asked = Asked(
        key=key,
        seen=seen if fleet is None else (),
        audit=audit,
        replay=replay,
        max_gap=round(max_gap * _HOUR),
        now=time.time_ns() // 1000,
        progress=not as_json,
    )
    if fleet is not None and fleet_key is not None:
        lost = _lost(remember)
        note = _fleet(places, asked, fleet, fleet_key, seen, lost, silent_for, strict=strict, as_json=as_json)
        if remember is not None:
            keep(remember, note)
        return
    with holding(as_json):
        verified = verify_log(places[0], asked)
        second = second_signature(verified, second_key)
        seen_by = witnessed(verified, witness, quorum, cosigned, asked.now) if witness else None
    more = [_lost(remember), _silent(verified, silent_for, asked.now)]
    if second is False:
        more.append(Finding("second_signature", "a second key lies beside the log, and it did not sign the checkpoint"))
    verified = changed(verified, findings=(*verified.findings, *(each for each in more if each is not None)))
    report = {
        **verified.data(),
        "key_given": key is not None,
        "seen": len(asked.seen),
        "second_signature": second,
        "witnessed": None if seen_by is None else seen_by.data(),
    }
    if strict and verified.findings:
        _not_strict(verified.findings, report, as_json)
    if remember is not None:
        keep(remember, verified.note)
    if as_json:
        print(json.dumps({"holds": True, **report}))
        return
    console = Console()
    show(console, verified, asked, second, seen_by)
    if key is None:
        console.print("[yellow]The key came from the log folder itself: give the one you were handed with --key.[/]")
    if remember is not None:
        console.print(f"Kept as seen: {escape(str(remember))}", soft_wrap=True)


def _fleet(
    places: list[str],
    asked: Asked,
    register: Path,
    key: Path,
    seen: Sequence[Path],
    lost: Finding | None,
    silent_for: float | None,
    *,
    strict: bool,
    as_json: bool,
) -> bytes:
    """Verify a fleet against its register, which must follow those that were `seen`; the register's note."""
    logs = []
    place = ""
    try:
        listed, note = read_fleet(register, key)
        for path in seen:
            check_follows(listed, read_fleet(path, key, "--since")[0])
        for place in places:
            log = verify_log(place, asked, listed)
            known = listed.log(log.checkpoint.origin)
            silent = None if known is not None and known.closed is not None else _silent(log, silent_for, asked.now)
            logs.append(log if silent is None else changed(log, findings=(*log.findings, silent)))
            if not as_json:
                show(Console(), logs[-1], asked)
        place = ""
        found = differs(listed, logs)
    except (IntegrityError, Unavailable) as error:
        end = fail if isinstance(error, IntegrityError) else unreached
        end(f"{place}: {error}" if place else str(error), as_json)
    wrong = [finding for finding in found if finding.what != _UNSAID]
    report: dict[str, Any] = {
        "fleet": {"name": listed.name, "version": listed.version, "logs": len(listed.logs)},
        "logs": [{"place": log.place, **log.data()} for log in logs],
        "fleet_findings": [
            *({"what": f.what, "origin": f.origin, "message": f.message} for f in found),
            *([] if lost is None else [{"what": lost.what, "origin": None, "message": lost.message}]),
        ],
    }
    if wrong:
        fail(
            "the fleet is not what its register lists: "
            + "; ".join(f"{f.what}: {f.origin}: {f.message}" for f in wrong),
            as_json,
            **report,
        )
    odd = [*(finding for log in logs for finding in log.findings)]
    of_fleet = [Finding(finding.what, f"{finding.origin}: {finding.message}") for finding in found]
    of_fleet += [] if lost is None else [lost]
    odd += of_fleet
    if strict and odd:
        _not_strict(odd, report, as_json)
    if as_json:
        print(json.dumps({"holds": True, **report}))
        return note
    console = Console()
    console.print(f"[bold green]The fleet is whole:[/] {len(logs)} logs, register version {listed.version}.")
    show_findings(console, of_fleet)
    return note


def _lost(remember: Path | None) -> Finding | None:
    """Who asks to remember and has nothing to remember, is there for the first time, or has been robbed."""
    if remember is None or remember.exists():
        return None
    told = f"{remember.name} (--remember) is not there, so nothing ties this to what was seen earlier"
    else_ = "if this is not the first time, somebody removed it: give a copy, or what a witness kept, by --since"
    return Finding("nothing_remembered", f"{told}; {else_}")


def _silent(log: Verified, hours: float | None, now: int) -> Finding | None:
    """A log whose newest entry is older than `hours` may be one that entries no longer reach."""
    if hours is None or (log.newest is not None and now - log.newest <= hours * _HOUR):
        return None
    old = "there is no entry" if log.newest is None else f"the newest entry is {span(now - log.newest)} old"
    return Finding("silent", f"{old}, and --silent-for says {hours:g} hours: is the service still recording?")


def _not_strict(findings: Sequence[Finding], report: dict[str, Any], as_json: bool) -> NoReturn:
    if not as_json:
        show_findings(Console(stderr=True), findings)
    fail(f"{len(findings)} findings, and --strict was given", as_json, **report)
