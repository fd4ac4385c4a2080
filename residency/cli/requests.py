"""`residency requests`: what authorities and persons asked for in; what is due when, by which law, out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import anyio
import typer
from rich.console import Console
from rich.markup import escape

from residency.bootstrap import Residency
from residency.cli.listing import Listing
from residency.cli.upkeep import Deployment, Json, citations, facts_of, runtime_of, subject_of, wrong
from residency.errors import ResidencyError
from residency.policy.explain_tasks import task as task_words
from residency.storage.receipts import instant
from residency.storage.requests import Request, State, answered, extended, kinds, steps_for
from residency.wiring.requests import requests_of

__all__ = ["requests_app"]

requests_app = typer.Typer(
    no_args_is_help=True,
    help="Requests of authorities and persons, with the deadlines that laws set: add, list, show, answer.\n\n"
    "Example: residency requests list residency.yaml",
    rich_markup_mode=None,
)

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:#/-]{1,79}")
_STYLE: Final = {
    State.OVERDUE: "bold red", State.SOON: "yellow", State.OPEN: "", State.LATE: "dim red", State.DONE: "dim",
}  # fmt: skip
Number = Annotated[int, typer.Argument(help="The request's number.", metavar="N", min=1)]


@requests_app.command()
def add(
    deployment: Deployment,
    kind: Annotated[str, typer.Option("--kind", metavar="TASK", help="What is due, such as subject.erase.")],
    place: Annotated[str, typer.Option("--place", metavar="CODE", help="Whose law sets the terms, such as VN.")],
    received: Annotated[
        str | None,
        typer.Option(
            "--received", metavar="TIME", help="When it came or came to pass, 2026-11-22T09:30+07:00. Default: now."
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="TEXT", help="A file number; no names: it is kept.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="Whom it is about; kept is their alias alone.")
    ] = None,
    subject_file: Annotated[
        str | None,
        typer.Option("--subject-file", metavar="FILE", help="Instead: a file whose first line is the id, - = stdin."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Register a request. Its steps and when each is due come from the laws in use, as they stood when it came.

    Exit 0 = registered, 2 = wrong use, a kind that no law sets a term for included: then those that there are are told.

    Example: residency requests add residency.yaml --kind authority.deliver_urgent --place VN --reference 12/A05
    """
    runtime = runtime_of(deployment)
    if reference is not None and not _PLAIN.fullmatch(reference):
        wrong("--reference is 2 to 80 letters, digits, spaces and . _ : # / -, and names nobody")
    at = _instant(received, runtime.clock.now())
    alias = None
    try:
        if subject is not None or subject_file is not None:
            alias = anyio.run(_alias, runtime, subject_of(subject, subject_file).value)
            if alias is None:
                typer.echo("residency: this subject has no pin, so no alias: registered as of nobody", err=True)
        steps = steps_for(runtime.policy, facts_of(runtime), kind, place, at)
        made = requests_of(runtime.deployment, runtime.path).add(Request(kind, place, at, steps, alias, reference))
    except ResidencyError as error:
        wrong(str(error))
    _show(runtime, made, as_json=as_json)


@requests_app.command("list")
def list_requests(
    deployment: Deployment,
    every: Annotated[bool, typer.Option("--all", help="Those that are answered too.")] = False,
    as_json: Json = False,
) -> None:
    """List requests that are open, the most urgent first; overdue ones are red.

    Exit 0 = none is overdue, 1 = one is, 2 = wrong use.

    Example: residency requests list residency.yaml --all
    """
    runtime = runtime_of(deployment)
    now = runtime.clock.now()
    try:
        found = requests_of(runtime.deployment, runtime.path).all(open_only=not every)
    except ResidencyError as error:
        wrong(str(error))
    ordered = sorted(found, key=lambda request: (request.closed, _due(request), request.number))
    if as_json:
        for request in ordered:
            print(json.dumps(_document(request, now)))
    else:
        _print(ordered, now)
    if any(request.state(now) is State.OVERDUE for request in found):
        raise typer.Exit(1)


@requests_app.command()
def show(deployment: Deployment, number: Number, as_json: Json = False) -> None:
    """Show one request: each step, when it is due, by which rules, and when it was done.

    Exit 0 = shown, 1 = a step of it is overdue, 2 = wrong use.

    Example: residency requests show residency.yaml 3
    """
    runtime = runtime_of(deployment)
    try:
        request = requests_of(runtime.deployment, runtime.path).get(number)
    except ResidencyError as error:
        wrong(str(error))
    _show(runtime, request, as_json=as_json)
    if request.state(runtime.clock.now()) is State.OVERDUE:
        raise typer.Exit(1)


@requests_app.command()
def answer(
    deployment: Deployment,
    number: Number,
    step: Annotated[str | None, typer.Option("--step", metavar="TASK", help="Only this step. Default: all.")] = None,
    how: Annotated[
        str | None, typer.Option("--how", metavar="TEXT", help="What became of it, in a few words; no names.")
    ] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Instead: extend the term of --step, once, as the law lets it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Note that a request, or one step of it, was answered now; or that its term was extended.

    Exit 0 = noted, 2 = wrong use: it is answered already, or the law knows no extension of it.

    Example: residency requests answer residency.yaml 3 --step subject.reply
    """
    runtime = runtime_of(deployment)
    if how is not None and not _PLAIN.fullmatch(how):
        wrong("--how is 2 to 80 letters, digits, spaces and . _ : # / -, and names nobody")
    if extend and step is None:
        wrong("say which term is extended: --step TASK")
    now = runtime.clock.now()

    def make(request: Request) -> Request:
        if extend and step is not None:
            return extended(runtime.policy, facts_of(runtime), request, step, now)
        return answered(request, step, now, how)

    try:
        made = requests_of(runtime.deployment, runtime.path).change(number, make)
    except ResidencyError as error:
        wrong(str(error))
    _show(runtime, made, as_json=as_json)


@requests_app.command("kinds")
def list_kinds(
    deployment: Deployment,
    place: Annotated[str, typer.Option("--place", metavar="CODE", help="Whose law, such as VN.")],
    as_json: Json = False,
) -> None:
    """List what may be asked under the laws in use, and within which time it must be done.

    Exit 0 = listed, 2 = wrong use.

    Example: residency requests kinds residency.yaml --place VN
    """
    runtime = runtime_of(deployment)
    try:
        found = kinds(runtime.policy, facts_of(runtime), place, runtime.clock.now())
    except ResidencyError as error:
        wrong(str(error))
    if as_json:
        print(json.dumps({task: _term(due.term) for task, due in found.items()}))
        return
    table = Listing("kind", "what", "within")
    for task, due in found.items():
        table.row(task, task_words(task, "en"), _term(due.term))
    if not table:
        Console().print(f"The laws of {place} in use here set no terms.")
        return
    table.show()


async def _alias(runtime: Residency, subject: str) -> str | None:
    async with runtime.reading_pins() as (pins, digest):
        pin = await pins.get(digest(subject))
    return None if pin is None else pin.alias


def _instant(text: str | None, now: int) -> int:
    if text is None:
        return now
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        wrong("--received is a time with its zone, such as 2026-11-22T09:30+07:00")
    if at.tzinfo is None:
        wrong("--received needs its zone, such as 2026-11-22T09:30+07:00: a deadline is an instant")
    told = int(at.timestamp() * 1_000_000)
    if told > now:
        wrong("--received lies in the future")
    return told


def _due(request: Request) -> int:
    return min((step.due for step in request.steps if step.done is None), default=1 << 62)


def _document(request: Request, now: int) -> dict[str, Any]:
    return {
        "number": request.number,
        "kind": request.kind,
        "place": request.place,
        "received": instant(request.received),
        "state": request.state(now).value,
        "alias": request.alias,
        "reference": request.reference,
        "answer": request.answer,
        "steps": [
            {
                "task": step.task,
                "due": instant(step.due),
                "state": step.state(request.received, now).value,
                "done": None if step.done is None else instant(step.done),
                "extended": step.extended,
                "rules": list(step.rules),
            }
            for step in request.steps
        ],
    }


def _print(found: Sequence[Request], now: int) -> None:
    table = Listing("no.", "kind", "law of", "received (UTC)", "next due (UTC)", "left", "state", "reference")
    for request in found:
        state, due = request.state(now), _due(request)
        table.row(
            str(request.number), request.kind, request.place, instant(request.received),
            "-" if request.closed else instant(due), "-" if request.closed else _left(due - now), state.value,
            escape(request.reference or ""), style=_STYLE[state],
        )  # fmt: skip
    if not table:
        Console().print("No request is open.")
        return
    table.show()


def _show(runtime: Residency, request: Request, *, as_json: bool) -> None:
    now = runtime.clock.now()
    if as_json:
        print(json.dumps(_document(request, now)))
        return
    console = Console()
    console.print(f"Request {request.number}: {request.kind} under the law of {request.place}")
    console.print(f"  received {instant(request.received)}, {request.state(now).value}")
    for label, value in (("alias", request.alias), ("reference", request.reference), ("answer", request.answer)):
        if value is not None:
            console.print(f"  {label}: {value}", markup=False)
    cited = citations(runtime, sorted({rule for step in request.steps for rule in step.rules}))
    table = Listing("step", "due (UTC)", "left", "state", "by")
    for step in request.steps:
        state = step.state(request.received, now)
        by = ", ".join(dict.fromkeys(cited.get(rule, rule) for rule in step.rules))
        left = "-" if step.done is not None else _left(step.due - now)
        table.row(
            step.task, instant(step.due), left, state.value + (", extended" if step.extended else ""), by,
            style=_STYLE[state],
        )  # fmt: skip
    table.show(console)


def _left(microseconds: int) -> str:
    hours = abs(microseconds) // 3_600_000_000
    told = f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {abs(microseconds) // 60_000_000 % 60} min"
    return told if microseconds >= 0 else f"{told} ago"


def _term(term: Any) -> str:
    parts = [
        (term.months, "months"), (term.days, "working days" if term.working else "days"), (term.hours, "hours"),
    ]  # fmt: skip
    return ", ".join(f"{amount} {unit}" for amount, unit in parts if amount)
