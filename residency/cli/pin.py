"""`residency pin`: a subject's remembered home, shown, or moved by an operator's act. The subject comes on stdin."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeVar

import anyio
import typer

from residency.adapters.move_journal import MoveJournalSqlite
from residency.bootstrap import Residency, build
from residency.cli import asked
from residency.cli.move_places import journal_of
from residency.cli.move_run import Movement
from residency.cli.patience import patient
from residency.enforcement.request import subject_id
from residency.errors import ResidencyError, StaleVersion
from residency.model import Pin, SubjectId
from residency.storage.moves import Step

__all__ = ["pin_app"]

pin_app = typer.Typer(
    no_args_is_help=True,
    help="A subject's remembered home: show it, or move it by an operator's act.\n\n"
    "Example: echo user-42 | residency pin show residency.yaml",
    rich_markup_mode=None,
)

_REASON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:#/-]{2,79}")

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@pin_app.command()
def show(file: asked.Argument = None, policy: asked.Option = None, as_json: Json = False) -> None:
    """Show the home of the subject whose id is read from stdin, so that no id stands in a shell's history.

    Exit 0 = there is a pin, 1 = there is none, 2 = wrong use.

    Example: echo user-42 | residency pin show residency.yaml
    """
    deployment = asked.deployment_asked("pin show", file, policy)
    subject = _subject()
    pin = _with(deployment, lambda runtime: _read(runtime, subject))
    if pin is None:
        typer.echo("null" if as_json else "no pin: this subject has no remembered home")
        raise typer.Exit(1)
    _print(pin, as_json=as_json)


@pin_app.command()
def move(
    *,
    file: asked.Argument = None,
    policy: asked.Option = None,
    to: Annotated[str, typer.Option("--to", help="The new home: the place of a region.", metavar="CODE")],
    reason: Annotated[
        str, typer.Option("--reason", help="A ticket or a short reason; no names: it is kept for ever.", metavar="TEXT")
    ],
    data_is_there: Annotated[
        bool, typer.Option("--data-is-there", help="All of the subject's data already lies at the new home.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Move the home of the subject whose id is read from stdin: an audited act, with a reason.

    The subject's rows and objects go along, as the deployment's `records` tell them: copied, compared, deleted where
    they lay. What it does not tell is yours to move first; then say --data-is-there, and the home alone is moved. A
    home that is there already is left as it is.

    Exit 0 = it is the home now, 1 = there is no pin, it was changed meanwhile, the new home has other records of
    the same keys, or a move before this one has not ended or left some where they lay, 2 = wrong use, or something
    cannot be reached (a sink that is away is tried again first).

    Example: echo user-42 | residency pin move residency.yaml --to VN --reason "ticket 1234"
    """
    deployment = asked.deployment_asked("pin move", file, policy)
    if not _REASON.fullmatch(reason):
        _wrong('--reason is 3 to 80 letters, digits, spaces and . _ : # / -, such as "ticket 1234"')
    subject = _subject()

    async def work(runtime: Residency) -> tuple[Pin, bool]:
        places = sorted({region.place for region in runtime.policy.deployment.regions.values()})
        if to not in places:
            _wrong(f"no region of this deployment lies in {to!r}; places: {', '.join(places) or 'none'}")
        before = await _read(runtime, subject)
        if before is None:
            raise StaleVersion("the subject has no pin to move")
        if before.home == to and before.moving is None:
            if not data_is_there and (places := await _left_behind(runtime, subject, to)):
                why = f"not all that lay in {', '.join(places)} is deleted: run `residency move DEPLOYMENT --go`"
                raise StaleVersion(f"the home is {to} already, and {why}")
            return before, False
        if not data_is_there:
            return await _move_records(runtime, subject, to, reason), True
        if step := await _under_way(runtime, before, to):
            why = f"a move of theirs from {step.source} to {step.target} has not ended"
            mend = "each place may hold what the other lacks: run `residency move DEPLOYMENT --go` first"
            raise StaleVersion(f"{why}, and {mend}")
        await anyio.to_thread.run_sync(runtime.open)
        return await runtime.point.homes.move(runtime.point.digest(subject), to, reason), True

    try:
        pin, moved = _with(deployment, work)
    except StaleVersion as error:
        typer.echo(f"residency pin: {error}", err=True)
        raise typer.Exit(1) from None
    if not moved:
        typer.echo(f"the home is {to} already: nothing was changed", err=as_json)
    _print(pin, as_json=as_json)


async def _move_records(runtime: Residency, subject: SubjectId, to: str, reason: str) -> Pin:
    """Bring all records of the subject to the place `to`, and the home with them. Raises: StaleVersion where that
    cannot be done."""
    if not runtime.deployment.records:
        _wrong("a home that moves before its data answers empty: move the data, then add --data-is-there")
    journal = MoveJournalSqlite(journal_of(runtime))
    try:
        await patient(runtime.start)
        moved = await Movement(runtime, journal, why=f"operator: {reason}").one(subject.value, to)
    finally:
        journal.close()
    pin = await runtime.point.homes.fetch(runtime.point.digest(subject))
    if pin is None or not moved.home:
        why = "the new home has other records of the same keys" if moved.conflict else "it is on its way: run it again"
        raise StaleVersion(f"the subject's records could not be moved: {why}")
    return pin


async def _left_behind(runtime: Residency, subject: SubjectId, to: str) -> list[str]:
    """The places where a move of this subject to `to` may have left something: it ended between the pin and the
    deleting. Raises: PinsUnavailable, KeysUnavailable."""
    path = journal_of(runtime)
    if not path.exists():
        return []
    async with runtime.reading_pins() as (_, digest):
        whose = digest(subject.value)
    journal = MoveJournalSqlite(path)
    try:
        steps = await journal.unfinished()
    finally:
        journal.close()
    return sorted({step.source for step in steps if (step.subject, step.target) == (whose, to)})


async def _under_way(runtime: Residency, pin: Pin, to: str) -> Step | None:
    """A move of this subject that left something, or may have, where they live or are to live.

    Raises: PinsUnavailable.
    """
    path = journal_of(runtime)
    if not path.exists():
        return None
    journal = MoveJournalSqlite(path)
    try:
        found = [await journal.left(place, [pin.subject]) for place in (pin.home, to)]
    finally:
        journal.close()
    return next((step for left in found for step in left.values()), None)


def _with(policy: Path, work: Callable[[Residency], Awaitable[T]]) -> T:
    """Run `work` on the runtime of a deployment, not open yet; what cannot be had is told, and exits 2."""

    async def run() -> T:
        runtime = build(policy)
        runtime.copies.works = False  # servers make copies, and not who moves what they copy
        try:
            return await work(runtime)
        finally:
            await runtime.aclose()

    try:
        return anyio.run(run)
    except StaleVersion:
        raise
    except ResidencyError as error:
        typer.echo(f"residency pin: {error}", err=True)
        raise typer.Exit(2) from None


async def _read(runtime: Residency, subject: SubjectId) -> Pin | None:
    """The subject's pin, and nothing written anywhere. Raises: PinsUnavailable, KeysUnavailable."""
    async with runtime.reading_pins() as (pins, digest):
        return await pins.get(digest(subject.value))


def _subject() -> SubjectId:
    if sys.stdin.isatty():
        typer.echo("subject id: ", err=True, nl=False)
    subject = subject_id(sys.stdin.readline().rstrip("\r\n"))
    if subject is None:
        _wrong("stdin holds no subject id: its first line is the id as your app knows it")
    return subject


def _print(pin: Pin, *, as_json: bool) -> None:
    at = datetime.fromtimestamp(pin.at / 1e6, UTC).isoformat(timespec="seconds")
    anchors = [
        {"anchor": anchor.value, "place": place, "trust": trust.name.lower()} for anchor, place, trust in pin.anchors
    ]
    told = {
        "home": pin.home,
        "version": pin.version,
        "set_by": pin.set_by,
        "at": at,
        "policy": pin.policy,
        "alias": pin.alias,
        "remembers": anchors,
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"home {pin.home}, version {pin.version}, set by {pin.set_by} at {at}")
    typer.echo(f"in the log as {pin.alias}, under policy {pin.policy[:16]}")
    for each in anchors:
        hint = each["trust"] == "hint"  # a place that adds its law to what the rest of the pin says
        why = "also covered since something was written there," if hint else "remembers"
        typer.echo(f"  {why} {each['anchor']}: {each['place']} ({each['trust']})")


def _wrong(message: str) -> NoReturn:
    typer.echo(f"residency pin: {message}", err=True)
    raise typer.Exit(2)
