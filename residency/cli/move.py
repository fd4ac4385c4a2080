"""`residency move`: a deployment in; what of whom lies where it should not, and, with --go, all of it at home, out."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import anyio
import typer

from residency.adapters.move_journal import MoveJournalSqlite
from residency.bootstrap import Residency, build
from residency.cli.move_places import (
    Known,
    exposed,
    few_collections,
    journal_of,
    looking,
    not_covered,
    obstacles,
    places_of,
    waiting,
)
from residency.cli.move_run import Movement, Outcome
from residency.cli.patience import patient
from residency.errors import ResidencyError
from residency.model import Anchor, Signal
from residency.signals.identity import OWN_NAMES, OWN_WORDS, identity
from residency.storage.misplaced import Exposure, Homing, survey

__all__ = ["move"]

_WORDS: Final = OWN_WORDS | {"territory"}


def move(
    deployment: Annotated[Path, typer.Argument(help="The deployment file.", metavar="DEPLOYMENT")],
    store: Annotated[
        list[str] | None, typer.Option("--store", help="Look in this store; may be repeated. Usually in all.")
    ] = None,
    to_home: Annotated[
        bool, typer.Option("--to-home", help="May be said: it is the one direction there is.", show_default=False)
    ] = True,
    find: Annotated[bool, typer.Option("--find", help="Only tell what lies wrong, with an estimate.")] = False,
    go: Annotated[bool, typer.Option("--go", help="Do it. Without it nothing is changed anywhere.")] = False,
    known: Annotated[
        Path | None,
        typer.Option(
            "--known",
            help="What the app knows: JSON lines of subject, territory, residence, citizenship.",
            metavar="FILE",
        ),
    ] = None,
    rate: Annotated[int, typer.Option("--rate", min=0, help="Records a second at most; 0 = as fast as it goes.")] = 0,
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=5000, help="Subjects copied at a time; fewer who have much.")
    ] = 2000,
    drain: Annotated[
        float, typer.Option("--drain", min=0, help="Seconds at most that writers get who had begun.")
    ] = 1.5,
    linger: Annotated[float, typer.Option("--linger", min=0, help="Seconds that readers get who had begun.")] = 2.0,
    proof: Annotated[
        Path | None,
        typer.Option("--proof", help="Afterwards: look again, and write down what was found.", metavar="FILE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Bring the records of people to where the law wants them, while the app serves.

    Without --go it is a dry run: it tells who lies where they should not and where they would go. With --go it copies,
    compares byte by byte, turns the pin, deletes, and records each step; a run that is killed is simply run again.
    A sink that is away for a moment is tried again a few times, which stderr tells.

    Exit 0 = everybody lies at home, 1 = somebody does not, 2 = wrong use, or something cannot be reached.

    Example: residency move policies/deployments/social-api.yaml --store people --to-home --find
    """
    if go and find:
        _wrong("--find only looks, and --go does it: one of the two")
    try:
        runtime = build(deployment, reload=False)
        runtime.copies.works = False  # servers make copies, and not who moves what they copy
        places = places_of(runtime, store or ())
        if not places:
            _wrong("`records:` of the deployment tells of no store whose records they are: see docs/how-to/move.md")
        said = _read(known)
        how = (said, rate, batch, drain, linger, as_json)
        ended = anyio.run(_go, runtime, store or [], *how) if go else {}
        found = anyio.run(patient, lambda: _find(deployment, store or [], said))
        told = {**found, **ended}
        if proof is not None:
            text = json.dumps(told, indent=2, sort_keys=True) + "\n"
            anyio.run(_prove, deployment, text)
            proof.write_text(text)
    except OSError:
        _wrong("the file of --proof cannot be written")
    except ResidencyError as error:
        _wrong(str(error))
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _print(told, go=go, wanted=not find)
    wrong = sum(each["wrong"] + each["nowhere"] for each in told["sinks"])
    raise typer.Exit(1 if wrong or told.get("conflicts") else 0)


async def _find(deployment: Path, stores: list[str], known: Known) -> dict[str, Any]:
    begun = time.monotonic()
    runtime = build(deployment, reload=False)
    found: list[Exposure] = []
    async with looking(runtime) as (pin_of, digest):
        homing = Homing(runtime.policy, list(runtime.deployment.records), runtime.facts.current(), runtime.clock.now())
        for place in places_of(runtime, stores):
            pages = [exposure async for exposure, _ in survey(place, homing, pin_of, digest, known)]
            found.append(pages[-1])
        keys = await obstacles(runtime, found)
        jobs = await waiting(runtime, homing, pin_of, digest, known)
    return {
        "deployment": runtime.deployment.name,
        "policy": runtime.policy.digest,
        "at": runtime.clock.now(),
        "sinks": [exposed(each) for each in found],
        "not_covered": not_covered(runtime),
        "jobs": [asdict(each) for each in jobs],
        "foreign_keys": keys,
        "seconds": round(time.monotonic() - begun, 3),
    }


async def _go(
    runtime: Residency, stores: list[str], known: Known, rate: int, batch: int, drain: float, linger: float, quiet: bool
) -> dict[str, Any]:
    begun = told = time.monotonic()

    def tell(outcome: Outcome) -> None:
        nonlocal told
        if not quiet and time.monotonic() - told >= 1:
            told = time.monotonic()
            pace = outcome.records / (told - begun)
            typer.echo(
                f"{outcome.subjects:,} subjects home, {outcome.records:,} records, {pace:,.0f} a second; "
                f"{outcome.pinned:,} pinned where they are",
                err=True,
            )

    journal = MoveJournalSqlite(journal_of(runtime))
    try:
        await patient(runtime.start)
        moves = Movement(runtime, journal, rate=rate, batch=batch, drain=drain, linger=linger, told=tell)
        with few_collections():
            outcome = await moves.run(places_of(runtime, stores), known)
        totals = [
            {"from": a, "to": b, "state": c.value, "subjects": d, "records": e} for a, b, c, d, e in journal.totals()
        ]
        runtime.point.recorder.system(
            f"move: {outcome.subjects} subjects home, {outcome.records} records, {len(outcome.conflict)} conflicts"
        )
    finally:
        journal.close()
        with anyio.CancelScope(shield=True):
            await runtime.aclose()
    return {
        "moved": outcome.subjects,
        "records": outcome.records,
        "pinned": outcome.pinned,
        "conflicts": len(outcome.conflict),
        "on_their_way": outcome.again,
        "waiting": Counter(key or "rows of others refer to what they left" for key in outcome.waits.values()),
        "journal": totals,
        "move_seconds": round(time.monotonic() - begun, 3),
    }


async def _prove(deployment: Path, text: str) -> None:
    """Record the digest of what was found in the log, which is published and witnessed as all else."""
    runtime = build(deployment, reload=False)
    runtime.copies.works = False
    try:
        await patient(runtime.start)
        note = f"move: what was found afterwards has sha256 {hashlib.sha256(text.encode()).hexdigest()}"
        await runtime.point.recorder.durable(runtime.point.recorder.system(note))
    finally:
        with anyio.CancelScope(shield=True):
            await runtime.aclose()


def _read(file: Path | None) -> Known:
    """Signals by subject, of JSON lines. Exits 2 for a line that is none."""
    if file is None:
        return {}
    known: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    try:
        lines = sys.stdin.readlines() if str(file) == "-" else file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        _wrong("the file of --known cannot be read")
    for number, line in enumerate(lines, start=1):
        try:
            claims = json.loads(line)
            subject = claims.pop("subject")
        except (ValueError, KeyError, AttributeError):
            _wrong(f"--known: line {number} is no JSON object with a `subject`")
        if unknown := sorted(set(claims) - _WORDS):
            _wrong(f"--known: line {number} has {unknown[0]!r}; words: {', '.join(sorted(_WORDS))}")
        key = json.dumps(claims, sort_keys=True)
        if key not in shared:
            shared[key] = _signals(claims)
        known[str(subject)] = shared[key]
    return known


def _signals(claims: dict[str, object]) -> tuple[Signal, ...]:
    """What the app knows of somebody, as declared; `territory` is where they use the service, for which `identify` has
    no word: there the request's own address tells."""
    used = identity({"residence": claims.pop("territory", None)}, OWN_NAMES, verified=False, source="app").signals
    said = identity(claims, OWN_NAMES, verified=False, source="app").signals
    return (*said, *[replace(each, anchor=Anchor.TERRITORY) for each in used])


def _print(told: dict[str, Any], *, go: bool, wanted: bool) -> None:
    if go:
        typer.echo(
            f"moved {told['moved']:,} subjects with {told['records']:,} records in {told['move_seconds']} s; "
            f"{told['pinned']:,} lay where they should, and their home is remembered"
        )
        if told["conflicts"]:
            typer.echo(
                f"{told['conflicts']:,} could not be moved: something else stands against them at their home, or came "
                "late where they were; docs/how-to/move.md, 4, tells what to do"
            )
        if told["on_their_way"]:
            typer.echo(f"{told['on_their_way']:,} are on their way: run it again")
            for why, count in sorted(told["waiting"].items()):
                typer.echo(f"  {count:,} stay until others have moved, or for good: {why}")
    for each in told["sinks"]:
        typer.echo(
            f"{each['store']} in {each['sink']}: {each['subjects']:,} subjects, {each['wrong']:,} in the wrong place"
        )
        for place, count in sorted(each["to"].items()):
            typer.echo(f"  {count:,} {'should lie' if not wanted or go else 'would go'} in {place}")
        for category, count in sorted(each["records_by_category"].items()):
            typer.echo(f"  about {count:,} records of category {category}")
        for rule, count in sorted(each["rules"].items()):
            typer.echo(f"  {count:,} against {rule}")
        if each["since"] is not None:
            typer.echo(f"  the oldest record there is of {datetime.fromtimestamp(each['since'] / 1e6, UTC):%Y-%m-%d}")
        if each["nowhere"]:
            typer.echo(f"  {each['nowhere']:,} may lie nowhere: see `residency explain`")
    for each in told["jobs"]:
        typer.echo(
            f"{each['store']} in {each['sink']}: {each['jobs']:,} jobs wait in {each['place']} of {each['subjects']:,} "
            "subjects whose home is elsewhere; they stay, and a worker of that place does them"
        )
    for line in told["foreign_keys"]:
        typer.echo(line)
    for store in told["not_covered"]:
        typer.echo(f"not covered: store {store!r}, of whose records the deployment tells nothing")
    wrong = sum(each["wrong"] for each in told["sinks"])
    if wanted and not go and wrong:
        typer.echo("nothing was changed: add --go to do it")


def _wrong(message: str) -> NoReturn:
    typer.echo(f"residency move: {message}", err=True)
    raise typer.Exit(2)
