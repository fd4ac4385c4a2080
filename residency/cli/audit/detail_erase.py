"""`residency audit detail erase` and `unlink`: whose details in; what is erased, and what a law still holds, out."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Annotated, Final

import anyio
import anyio.to_thread
import typer
from rich.console import Console
from rich.markup import escape

from residency.adapters.detail_files import open_sealed
from residency.adapters.detail_store import DetailStore
from residency.audit.detail import parse_detail
from residency.audit.detail_head import FOREVER, Head
from residency.bootstrap import Residency
from residency.cli.audit.detail_place import (
    Alias,
    Country,
    EntryId,
    Place,
    Policy,
    caught_up,
    fails,
    held_by,
    note,
    place_of,
    places_of,
    subject_in,
)  # fmt: skip
from residency.cli.audit.shared import Json, when
from residency.enforcement.details import PIN
from residency.errors import ResidencyError, SealError

__all__ = ["erase", "unlink"]

_REASON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:#/-]{2,79}")


def erase(
    policy: Policy,
    country: Country,
    alias: Alias = None,
    entry: EntryId = None,
    account: Annotated[
        bool, typer.Option("--account", help="Of the account whose id is on stdin; every detail is opened for it.")
    ] = False,
    order: Annotated[
        str | None,
        typer.Option("--order", metavar="REASON", help="Erase what a law still holds too: by whose order; no names."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Erase details: what no law holds any more, and by an order what one does. The log's proofs still hold.

    The log tells how many were erased, and the order. What a law holds stays, and is told with the law and the day.

    Exit 0 = all are erased, 1 = some are held, or it cannot be done, 2 = wrong use.

    Example: residency audit detail erase --policy deployment.yaml --country VN --alias 6f0c…
    """
    if (alias, entry, account) == (None, None, False):
        raise typer.BadParameter("say whose: --alias, --entry or --account")
    if order is not None and not _REASON.fullmatch(order):
        raise typer.BadParameter("3 to 80 letters, digits, spaces and . _ : # / -", param_hint="--order")
    place = place_of(policy, country)
    if account and place.seal_to is not None:
        raise typer.BadParameter(f"details of {country} are sealed to its own key: whose they are is known there alone")
    who = subject_in().value if account else None
    try:
        store = caught_up(place.folder)
        rows = store.rows(alias=alias, entry=entry)
        meant = [head for head, sealed in rows if who is None or _account(place, head, sealed) == who]
        held = store.held(meant)
        kept = frozenset(held if order is None else ())
        gone = [head for head in meant if head not in kept]
        if gone:
            text = f"details erased: {len(gone)} in {country}"
            if order is not None:
                text += f", {len(held)} of them held by a law, by order: {order}"
            anyio.run(_erase, place.runtime, text, store, gone)
    except ResidencyError as error:
        fails(error, as_json=as_json)
    left = [] if order is not None else [(place, head) for head in held]
    _tell(len(gone), left, as_json=as_json)
    if left:
        raise typer.Exit(1)


def unlink(policy: Policy, as_json: Json = False) -> None:
    """Destroy the alias of the subject whose id is read from stdin: nothing kept then tells whose entries they are.

    Erased are the pin, the details that tell of it, and the details of its entries that no law holds. What a law holds
    names the account until its day has come, and is told. The subject has no remembered home afterwards.

    Exit 0 = unlinked, 1 = there is no pin, or it cannot be done, 2 = wrong use.

    Example: echo user-42 | residency audit detail unlink --policy deployment.yaml
    """
    places = places_of(policy)
    if not places:
        raise typer.BadParameter("the deployment keeps no details", param_hint="--policy")
    subject = subject_in()
    try:
        done = anyio.run(_unlink, places, subject.value)
    except ResidencyError as error:
        fails(error, as_json=as_json)
    if done is None:
        typer.echo("null" if as_json else "no pin: this subject has no alias")
        raise typer.Exit(1)
    if not as_json:
        print("Unlinked: the pin is erased, and the alias with it.")
    _tell(*done, as_json=as_json)


async def _erase(runtime: Residency, text: str, store: DetailStore, gone: Collection[Head]) -> None:
    """The log tells of it first: an erasure that nobody knows of is worse than one that is told and did not happen."""
    try:
        await anyio.to_thread.run_sync(runtime.open)
        await note(runtime, text)
        await anyio.to_thread.run_sync(store.erase, gone)
    finally:
        await runtime.aclose()


async def _unlink(places: Collection[Place], subject: str) -> tuple[int, list[tuple[Place, Head]]] | None:
    runtime = next(iter(places)).runtime
    async with runtime.reading_pins() as (pins, digest):
        pin = await pins.get(digest(subject))
    if pin is None:
        return None
    erased = 0
    held: list[tuple[Place, Head]] = []
    try:
        await anyio.to_thread.run_sync(runtime.open)
        await note(runtime, f"alias unlinked: {pin.alias}")
        # What tells of the pin goes before the pin: from there a store that lost it would get it back.
        for place in places:
            store = await anyio.to_thread.run_sync(caught_up, place.folder)
            meant = [head for head, _ in store.rows(alias=pin.alias)]
            kept = set(store.held(head for head in meant if head.keeping != PIN))
            erased += await anyio.to_thread.run_sync(store.erase, [head for head in meant if head not in kept])
            held += [(place, head) for head in meant if head in kept]
        await runtime.point.homes.pins.forget(pin.subject, pin.version)
    finally:
        await runtime.aclose()
    return erased, held


def _account(place: Place, head: Head, sealed: bytes) -> object:
    try:
        return parse_detail(open_sealed(place.country, head, sealed, place.key())).get("account")
    except SealError:
        return None  # of another key: whose it is cannot be known here


def _tell(erased: int, held: Collection[tuple[Place, Head]], *, as_json: bool) -> None:
    laws = {(place.country, head.keeping): held_by(place, head) for place, head in held}
    if as_json:
        left = [
            {"country": place.country, "entry": head.entry, "keeping": head.keeping, "keep_until": head.keep_until,
             "rules": laws[place.country, head.keeping]}
            for place, head in held
        ]  # fmt: skip
        print(json.dumps({"done": True, "erased": erased, "held": left}))
        return
    console = Console()
    console.print(f"{erased} details erased.")
    for place, head in held:
        rules = ", ".join(laws[place.country, head.keeping]) or head.keeping
        until = "with no end known" if head.keep_until == FOREVER else f"until {when(head.keep_until or 0)} (UTC)"
        console.print(escape(f"  held: {place.country} {head.entry} {until} by {rules}"))
