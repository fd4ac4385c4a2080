"""`residency status`: a deployment file in, what was decided, refused, or would have been, out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from residency.adapters import policy_files
from residency.adapters.clock_system import SystemClock
from residency.adapters.log_files import LogFiles
from residency.audit.checkpoint import parse_verifier_key
from residency.audit.continuity import Continuity
from residency.audit.entry import Entry
from residency.audit.verify import read_checkpoint
from residency.cli import asked
from residency.cli.log_folder import scanned
from residency.errors import PolicyError, ResidencyError
from residency.policy.archive import facts_path, parse_facts
from residency.policy.compiler import Policy
from residency.policy.terms import begun_terms, moment
from residency.storage.marks_seen import SeenMarks

__all__ = ["status"]

_NEVER: Final = 1 << 62  # of times, what is odd is not asked here
_TABLES = (
    ("refused", "Refused", "reason"),
    ("would_refuse", "Would have been refused in mode enforce", "reason"),
    ("would_move", "Would have gone to another sink in mode enforce", "sinks"),
)


def status(
    file: asked.Argument = None,
    policy: asked.Option = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What this deployment decided and refused; in `mode: observe`, what it would have refused or sent elsewhere;
    which terms run and until when, what has escalated, which exemptions were used; which sinks have lost their mark.

    Reads the published log (a running instance publishes within a second). Exit 0 = told, 1 = the log does not
    verify, 2 = wrong use, a policy that does not hold included.

    Example: residency status policies/deployments/social-api.yaml
    """
    console = Console()
    try:
        loaded = policy_files.load(asked.deployment_asked("status", file, policy))
        audit = Path(loaded.base) / loaded.deployment.audit.folder
        stored = {activity.name for activity in loaded.deployment.activities if activity.stores}
        summary = _summary(audit / "log", stored, partial(_standing, LogFiles(audit), loaded), progress=not as_json)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except ResidencyError as error:
        typer.echo(f"residency status: {error}", err=True)
        raise typer.Exit(1) from None
    report = {"name": loaded.deployment.name, "mode": loaded.deployment.mode, "policy": loaded.digest, **summary}
    report["marks"] = _marks(SeenMarks(LogFiles(audit)), loaded.deployment.sinks)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
    else:
        _show(console, report, loaded.deployment.mode)
        if report["entries"] == 0:
            place = f"{audit / 'log'} has no entries"
            typer.echo(f"{place}: nothing was served under this file yet, or it was with another `audit.folder`.")


def _marks(seen: SeenMarks, sinks: Iterable[str]) -> list[dict[str, str]]:
    """The sinks whose marks are not as they should be, by what an instance here saw last."""
    found = []
    for sink in sinks:
        try:
            problem = seen.of(sink).problem
        except (OSError, ValueError) as error:
            problem = f"what was seen of its mark cannot be read ({type(error).__name__})"
        if problem:
            found.append({"sink": sink, "problem": problem})
    return found


def _standing(archive: LogFiles, policy: Policy, digest: str | None) -> dict[str, object]:
    """The terms that have begun and the escalations that are up by the facts of that digest, as they were archived."""
    data = None if digest is None else archive.read(facts_path(digest))
    if digest is None or data is None:
        return {"terms": [], "escalated": []}
    facts = parse_facts(data, digest)
    now = SystemClock().now()
    terms = [
        {"clock": term.token, "until": moment(term.deadline), "runs": now < term.deadline}
        for term in begun_terms(policy.laws, facts)
        if term.deadline is not None
    ]
    return {"terms": terms, "escalated": sorted(facts.escalated)}


def _summary(
    log: Path, stored: Collection[str], standing: Callable[[str | None], dict[str, object]], *, progress: bool
) -> dict[str, object]:
    """What the log holds. `stored` = the activities that name a store; `standing` tells what facts of a digest say."""
    files = LogFiles(log)
    key = files.read("log.vkey")
    if key is None:
        nothing: dict[str, object] = {"entries": 0, "open_intents": 0, "kinds": {}, "exemptions_used": {}}
        return nothing | {"refused": [], "would_refuse": [], "would_move": [], "no_act": []} | standing(None)
    checkpoint = read_checkpoint(files.read, parse_verifier_key(key.decode().strip()))
    kinds: Counter[str] = Counter()
    refused: Counter[tuple[str, str, str]] = Counter()
    would: Counter[tuple[str, str, str]] = Counter()
    moved: Counter[tuple[str, str, str]] = Counter()
    continuity = Continuity(now=_NEVER, max_gap=_NEVER)
    idle: Counter[str] = Counter()
    acted: set[str] = set()
    exemptions: Counter[str] = Counter()
    newest: tuple[int, str | None] = (0, None)
    for start, shapes, values in scanned(files.read, checkpoint, progress=progress, what="reading the log"):
        continuity.take(start, shapes, values)
        for shape, held in zip(shapes, values, strict=True):
            if shape.entry.facts is not None:
                newest = max(newest, (int(held[0]), shape.entry.facts))
        # All that is counted here entries of one shape have in common.
        for shape, count in Counter(shapes).items():
            entry = shape.entry
            kinds[entry.kind] += count
            if entry.kind in ("decision", "intent"):
                exemptions.update(dict.fromkeys(entry.exemptions, count))
            if entry.activity is not None and entry.activity in stored:
                if entry.kind == "intent":
                    acted.add(entry.activity)
                elif entry.kind == "decision" and entry.effect == "permit":
                    idle[entry.activity] += count
            if entry.kind == "refusal":
                refused[_what(entry)] += count
            elif entry.mode == "observe" and entry.kind in ("decision", "intent") and entry.effect != "permit":
                # An intent without a reason repeats what the request's own entry has said, or tells where it would go.
                target = (entry.note or "").removeprefix("enforce:")
                if entry.reason is not None:
                    would[_what(entry)] += count
                elif target:
                    moved[(entry.activity or "", f"{entry.sink} -> {target}", ", ".join(entry.rules))] += count
    return {
        "entries": checkpoint.size,
        "open_intents": len(continuity.open),
        "kinds": dict(sorted(kinds.items())),
        "refused": _rows(refused),
        "would_refuse": _rows(would),
        "would_move": _rows(moved, "sinks"),
        "no_act": sorted(set(idle) - acted),
        "exemptions_used": dict(exemptions.most_common()),
        **standing(newest[1]),
    }


def _what(entry: Entry) -> tuple[str, str, str]:
    return entry.activity or "(no activity)", entry.reason or entry.effect or "", ", ".join(entry.rules)


def _rows(counted: Counter[tuple[str, str, str]], what: str = "reason") -> list[dict[str, object]]:
    return [
        {"activity": activity, what: reason, "rules": rules, "count": count}
        for (activity, reason, rules), count in counted.most_common()
    ]


def _show(console: Console, report: dict[str, object], mode: str) -> None:
    console.print(
        f"[bold]{report['name']}[/] in mode [bold]{mode}[/], policy {str(report['policy'])[:12]}…, "
        f"{report['entries']} entries published, {report['open_intents']} open intents"
    )
    for key, title, what in _TABLES:
        rows = report[key]
        if not isinstance(rows, list) or (not rows and key != "refused" and mode != "observe"):
            continue
        if not rows:
            console.print(f"{title}: nothing")
            continue
        table = Table(title=title, title_justify="left")
        for column in ("activity", what, "rules"):
            table.add_column(column, overflow="fold")
        table.add_column("count", justify="right")
        for row in rows:
            table.add_row(*(str(row[c]) for c in ("activity", what, "rules", "count")))
        console.print(table)
    _show_facts(console, report)
    marks = report["marks"]
    for each in marks if isinstance(marks, list) else ():
        console.print(f"Sink {each['sink']} {each['problem']}.", highlight=False, markup=False)
    if report["would_move"]:
        typer.echo("Who wrote while this observed is at home where their data lies now. Until it")
        typer.echo("is moved, or the filing asked for is registered, enforcing refuses them.")
    idle = report["no_act"]
    if isinstance(idle, list) and idle:
        console.print(f"Permitted, yet never an act on the store they name: {', '.join(idle)}.", highlight=False)
        console.print("Where such a route opens a database of its own, nothing of that is seen, moved or recorded.")


def _show_facts(console: Console, report: dict[str, object]) -> None:
    terms, escalated, exemptions = report["terms"], report["escalated"], report["exemptions_used"]
    if isinstance(terms, list) and terms:
        table = Table(title="Terms that have begun", title_justify="left")
        for column in ("clock", "until", ""):
            table.add_column(column, overflow="fold")
        for term in terms:
            table.add_row(term["clock"], term["until"], "runs" if term["runs"] else "has run out")
        console.print(table)
        typer.echo("What leans on a term is refused once it has run out, unless the filing asked for is registered.")
    if isinstance(escalated, list) and escalated:
        console.print(f"Escalated by the number of subjects: {', '.join(escalated)}.", highlight=False, markup=False)
    if isinstance(exemptions, dict) and exemptions:
        used = ", ".join(f"{number} ({times} times)" for number, times in exemptions.items())
        console.print(f"Exemptions used: {used}.", highlight=False, markup=False)
