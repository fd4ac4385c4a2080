"""`residency erase`: a deployment and a person in; what goes and what a floor keeps, and with --go a receipt, out."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
import typer
from rich.console import Console
from rich.markup import escape

from residency.adapters.detail_store import DetailStore
from residency.audit.detail_head import Head
from residency.audit.note import parse_verifier_key
from residency.bootstrap import Residency
from residency.cli.audit.detail_place import Place, caught_up, held_by, note
from residency.cli.audit.written import write_out
from residency.cli.listing import Listing
from residency.cli.upkeep import (
    Copies,
    Json,
    Subject,
    SubjectFile,
    acts,
    begin_for,
    citations,
    copies_of,
    doing,
    fails,
    looking,
    runtime_of,
    signer_of,
    subject_of,
    terms_of,
    wrong,
)
from residency.enforcement.details import PIN
from residency.errors import ResidencyError, UsageError, VerificationError
from residency.model import OPEN, Pin, SubjectId
from residency.storage.erasure import Erasure, Part
from residency.storage.erasure import erase as erase_all
from residency.storage.mover_lease import MoverLease
from residency.storage.receipts import ERASURE, format_receipt, instant, parse_receipt
from residency.storage.retention import Person
from residency.wiring.copies_still import no_copying

__all__ = ["erase"]

_PATIENCE: Final = 300.0  # seconds for other erasures, which take moments, and for a move to end its batch


@dataclass(slots=True)
class _Beside:
    """What became of what the log keeps beside it: details erased and held, and whether alias and counts are gone."""

    erased: int = 0
    held: list[tuple[Place, Head]] = field(default_factory=list)
    unlinked: bool = False


def erase(
    deployment: Annotated[
        Path, typer.Argument(help="The deployment file; with --check the receipt's file.", metavar="DEPLOYMENT")
    ],
    subject: Subject = None,
    subject_file: SubjectFile = None,
    go: Annotated[bool, typer.Option("--go", help="Erase. Without it nothing is changed.")] = False,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="Where the receipt goes. Default: stdout.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="KEY", help="Instead: check a receipt by the log's verifier key, log.vkey."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what would be erased of a person in every copy, and what a law still keeps; with --go erase it.

    Every sink of every store that `records` names is gone through, then caches and locators, then the details beside
    the log. Each sink is an act in the log. Where nothing stays, the pin, the alias and the counts are forgotten too;
    where a floor keeps something it stays whole, and the signed receipt says what, until when and by which rules.

    Exit 0 = nothing of the person is left (or would be), 1 = something stays or it cannot be done, 2 = wrong use.

    Example: echo user-42 | residency erase residency.yaml --subject-file - --go --receipt user-42.receipt
    """
    if check is not None:
        _check(deployment, check, as_json=as_json)
        return
    runtime = runtime_of(deployment)
    who = subject_of(subject, subject_file)
    if go and runtime.deployment.mode == "observe":
        wrong("this deployment only observes, so nothing is erased: leave out --go, or enforce")
    if receipt is not None and receipt.exists():
        wrong("the file of --receipt is there already")
    try:
        if not go:
            done, copies = anyio.run(_plan, runtime, who)
            _tell(runtime, done, copies, None, as_json=as_json)
        else:
            done, copies, beside, signed = anyio.run(_go, runtime, who)
            if receipt is not None or not as_json:
                write_out(signed, receipt)
            if receipt is not None or as_json:
                _tell(runtime, done, copies, beside, as_json=as_json)
    except UsageError as error:
        wrong(str(error))
    except ResidencyError as error:
        fails(error, as_json=as_json)
    if not done.complete:
        raise typer.Exit(1)


async def _plan(runtime: Residency, who: SubjectId) -> tuple[Erasure, Copies]:
    async with looking(runtime) as people:
        copies = copies_of(runtime)
        terms = await terms_of(runtime)
        person = _asked_now((await people.one(who.value))[0], terms.now)
        return await erase_all(copies.all, terms, who.value, person, begin=None), copies


async def _go(runtime: Residency, who: SubjectId) -> tuple[Erasure, Copies, _Beside, str]:
    async with doing(runtime) as people, _lease(runtime).held(lambda text: typer.echo(text, err=True)):
        copies = copies_of(runtime)
        terms = await terms_of(runtime)
        # Nobody moves while the lease is held: whose pin says so was left on their way, and is erased at both ends.
        known, pin = await people.one(who.value)
        person = _asked_now(known, terms.now)
        async with no_copying(runtime) as outbox:
            await outbox.look(who.value)
            traces, begin = (*copies.traces, outbox), begin_for(acts(runtime), person.alias)
            done = await erase_all(copies.all, terms, who.value, person, begin=begin, traces=traces)
        beside = await _beside(runtime, person, pin, forget=done.complete and not copies.not_covered)
        signer, _ = await anyio.to_thread.run_sync(signer_of, runtime)
        document = _document(runtime, person, done, copies, beside, terms.now)
        return done, copies, beside, format_receipt(ERASURE, document, signer).decode()


def _lease(runtime: Residency) -> MoverLease:
    """While it is held nobody moves: what a mover had read would come to lie where it brings it after it was erased."""
    homes, place = runtime.point.homes, next(iter(runtime.deployment.sinks.values())).sink.place
    name = f"{socket.gethostname()}, process {os.getpid()}"
    digest, holder = runtime.point.perception.digest, homes.new_alias()
    return MoverLease(homes.pins, digest, holder, name, place, what="erasure", patience=_PATIENCE)


def _asked_now(person: Person, now: int) -> Person:
    """The person who asks for erasure now, unless the register knows that they did before."""
    return person if "erasure_request" in person.events else person._replace(events={"erasure_request": now})


async def _beside(runtime: Residency, person: Person, pin: Pin | None, *, forget: bool) -> _Beside:
    """Erase the details that no law holds, and where nothing of the person is left forget who they were."""
    beside = _Beside()
    alias = person.alias
    if alias is not None:
        places = [
            Place(runtime, country, runtime.path(kept.folder), kept.seal_to)
            for country, kept in runtime.deployment.audit.detail.items()
        ]
        if forget:
            await note(runtime, f"alias unlinked: {alias}")
        for place in places:
            beside.erased += await anyio.to_thread.run_sync(_details, place, alias, forget, beside.held)
    if forget:
        beside.unlinked = await acts(runtime).forget(person.digest, pin)
    return beside


def _details(place: Place, alias: str, forget: bool, held: list[tuple[Place, Head]]) -> int:
    store: DetailStore = caught_up(place.folder)
    # What tells of the pin goes with the pin and not before: from there a store that lost it would get it back.
    meant = [head for head, _ in store.rows(alias=alias) if forget or head.keeping != PIN]
    kept = set(store.held(head for head in meant if head.keeping != PIN))
    held += [(place, head) for head in meant if head in kept]
    return store.erase([head for head in meant if head not in kept])


def _document(
    runtime: Residency, person: Person, done: Erasure, copies: Copies, beside: _Beside, now: int
) -> dict[str, Any]:
    rules = {rule for part in done.kept for rule in part.rules}
    for place, head in beside.held:
        rules.update(held_by(place, head))
    return {
        "at": instant(now),
        "deployment": runtime.deployment.name,
        "policy": runtime.policy.digest,
        "alias": person.alias,
        "complete": done.complete,
        "erased": [part.document() for part in done.erased],
        "kept": [part.document() for part in done.kept],
        "left": done.left,
        "copies": [
            {"store": copy.store, "sink": copy.sink.name, "region": copy.sink.region, "scope": copy.sink.scope}
            for copy in copies.all
        ],
        "not_covered": list(copies.not_covered),
        "traces": done.traces,
        "details": {"erased": beside.erased, "kept": _held(beside.held)},
        "unlinked": beside.unlinked,
        "rules": citations(runtime, sorted(rules)),
    }


def _held(held: Sequence[tuple[Place, Head]]) -> list[dict[str, Any]]:
    """How many details of each country are kept, until when and by which rules."""
    counts: dict[tuple[str, int | None, tuple[str, ...]], int] = {}
    for place, head in held:
        key = (place.country, head.keep_until, held_by(place, head))
        counts[key] = counts.get(key, 0) + 1
    return [
        {"country": country, "count": count, "retained_until": _day(until), "rules": list(rules)}
        for (country, until, rules), count in sorted(counts.items(), key=lambda each: (each[0][0], each[0][1] or 0))
    ]


def _day(until: int | None) -> str | None:
    told = Part("", "", "", "", 0, OPEN if until is None else until).document()
    return None if told["retained_until"] is None else str(told["retained_until"])


def _tell(runtime: Residency, done: Erasure, copies: Copies, beside: _Beside | None, *, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {
            "done": beside is not None,
            "complete": done.complete,
            "erased": [part.document() for part in done.erased],
            "kept": [part.document() for part in done.kept],
            "left": done.left,
            "not_covered": list(copies.not_covered),
        }
        if beside is not None:
            told |= {
                "traces": done.traces,
                "details": {"erased": beside.erased, "kept": _held(beside.held)},
                "unlinked": beside.unlinked,
            }
        print(json.dumps(told))
        return
    console = Console()
    went = "erased" if beside is not None else "would go"
    table = Listing("store", "sink", "region", "record", went, "stays", "until")
    cited = citations(runtime, sorted({rule for part in done.kept for rule in part.rules}))
    for part in done.erased:
        table.row(part.store, part.sink, part.region, part.record, str(part.count), "", "")
    for part in done.kept:
        until = part.document()["retained_until"] or "no end known"
        why = "; ".join(f"{rule} ({cited[rule]})" if rule in cited else rule for rule in part.rules)
        table.row(part.store, part.sink, part.region, part.record, "", str(part.count), f"{until} by {why}")
    if table:
        table.show(console)
    else:
        console.print("Nothing of this person is in any copy.")
    if done.left:
        console.print(
            f"[bold red]{done.left} records could not be erased: they changed, or what stays refers to them.[/]"
        )
    for store in copies.not_covered:
        console.print(
            f"[yellow]Not covered:[/] store {escape(store)}; `records` of the deployment tells nothing of it."
        )
    if beside is None:
        console.print("Nothing was changed. With --go it is erased.")
        return
    console.print(f"{beside.erased} details beside the log erased, {len(beside.held)} held by a law.")
    for name, count in sorted(done.traces.items()):
        console.print(f"{count} keys removed: {escape(name)}.")
    if beside.unlinked:
        console.print("Pin, alias and counts are forgotten.")


def _check(receipt: Path, key: Path, *, as_json: bool) -> None:
    try:
        document = parse_receipt(ERASURE, receipt.read_bytes(), parse_verifier_key(key.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        wrong("the receipt or the key cannot be read")
    except VerificationError as error:
        # Nothing was to be done here: "not done" would be heard as "not erased".
        if as_json:
            print(json.dumps({"holds": False, "problem": str(error)}))
        else:
            Console(stderr=True).print(f"[bold red]Does not hold:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(document))
    else:
        Console().print_json(data=document)
