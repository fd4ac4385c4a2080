"""`residency copies`: a deployment in; outboxes made and filled, copies made, told of and withdrawn, out."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import anyio
import typer

from residency.adapters.copies_worker import CopiesWorker, work_off
from residency.bootstrap import Residency
from residency.cli.listing import Listing
from residency.cli.upkeep import Deployment, Json, doing, fails, runtime_of, wrong
from residency.errors import ResidencyError, UsageError
from residency.storage.outbox import Round
from residency.storage.withdrawal import withdraw as withdraw_all
from residency.wiring.copies import check, doubt, outboxes_of, stores_of
from residency.wiring.copies_still import alone_in

__all__ = ["copies_app"]

copies_app = typer.Typer(
    no_args_is_help=True,
    help="Copies after the write at home: prepare the sinks, make what is due, see how it stands, withdraw.\n\n"
    "Example: residency copies prepare residency.yaml",
    rich_markup_mode=None,
)

Store = Annotated[list[str] | None, typer.Option("--store", metavar="NAME", help="Only this store. May repeat.")]


@copies_app.command()
def prepare(
    deployment: Deployment,
    fill: Annotated[
        bool,
        typer.Option(
            "--fill", help="Note all rows of all tables, not only of new ones, and list anew what was ever sent."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make what copies need in every sink that they are made from or in: tables beside yours, and triggers.

    Where a table's triggers are new, its rows are noted, so that those from before are copied too. Run it again after
    your migrations: what is there already is left alone. No copy is made by it.

    Exit 0 = all is there, 1 = a sink cannot be prepared, 2 = wrong use.

    Example: residency copies prepare residency.yaml
    """
    runtime = _runtime(deployment)
    told = _run(lambda: _prepare(runtime, fill), as_json)
    if as_json:
        print(json.dumps(told))
        return
    for each in told:
        made = f", triggers made for {', '.join(each['made'])}" if each["made"] else ""
        noted = f", {each['noted']:,} records noted" if each["noted"] else ""
        typer.echo(f"{each['store']} in {each['sink']}: ready{made}{noted}")


@copies_app.command()
def run(
    deployment: Deployment,
    store: Store = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing more is due.")] = False,
    go: Annotated[bool, typer.Option("--go", help="Make the copies. Without it nothing is changed.")] = False,
    as_json: Json = False,
) -> None:
    """Make the copies that are due, as every instance does in its background; without --go tell how many are.

    One worker at a time has an outbox: where an instance has it, this waits for its turn. Each subject's records are an
    act in the log. Whatever is killed, the next run goes on.

    Exit 0 = nothing is due any more, 1 = it cannot be done, or something is held, 2 = wrong use.

    Example: residency copies run residency.yaml --once --go
    """
    runtime = _runtime(deployment)
    if not go:
        told = _run(lambda: _standing(runtime, store or ()), as_json)
        _tell(told, as_json=as_json)
        if not as_json:
            typer.echo("nothing was changed: add --go to do it")
        return
    if not once:
        typer.echo("copying until this is interrupted", err=True)
    done, told = _run(lambda: _copy(runtime, store or (), once), as_json)
    if as_json:
        print(json.dumps({"copied": done.copied, "deleted": done.deleted, "outboxes": told}))
    else:
        typer.echo(f"{done.copied:,} records copied, {done.deleted:,} copies deleted")
        _tell(told, as_json=False)
    if any(each["held"] or each["pending"] for each in told):
        raise typer.Exit(1)


@copies_app.command()
def status(deployment: Deployment, store: Store = None, as_json: Json = False) -> None:
    """Tell, outbox by outbox, how many changes are to be copied, since when, and what is held and why.

    Exit 0 = told, 1 = a sink does not answer or is not prepared, 2 = wrong use.

    Example: residency copies status residency.yaml
    """
    runtime = _runtime(deployment)
    _tell(_run(lambda: _standing(runtime, store or ()), as_json), as_json=as_json)


@copies_app.command()
def withdraw(
    deployment: Deployment,
    store: Store = None,
    go: Annotated[bool, typer.Option("--go", help="Delete them. Without it nothing is changed.")] = False,
    as_json: Json = False,
) -> None:
    """Tell which copies may no more be where they are, and why; with --go delete them, whatever the policy says.

    Only what is noted as a copy is deleted. It stays noted at home, so that it is copied again once it may be. Copies
    of what home lost past its triggers (a dropped partition) are noted, for who makes copies to delete. Killed, it is
    simply run again.

    Exit 0 = no copy is where it may not be, 1 = some are, or it cannot be done, 2 = wrong use.

    Example: residency copies withdraw residency.yaml --store people --go
    """
    runtime = _runtime(deployment)
    found = _run(lambda: _withdraw(runtime, store or (), go), as_json)
    where = "{store} in {sink}: {copies:,} copies, {may_not_be_there:,} may not be there{why}, {deleted:,} deleted"
    noted = ": noted, and deleted by who makes copies (`residency copies run`, or any instance)"
    left = sum(each["may_not_be_there"] for each in found) - sum(each["deleted"] for each in found)
    lost = sum(each["lost_at_home"] for each in found)
    if as_json:
        print(json.dumps({"done": go, "sinks": found}))
    else:
        for each in found:
            why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(each["reasons"].items()))
            typer.echo(where.format(**each, why=f" ({why})" if why else ""))
            if each["lost_at_home"]:
                typer.echo(f"{each['lost_at_home']:,} more are of what home has no more" + (noted if go else ""))
        if not go and (left or lost):
            typer.echo("nothing was changed: add --go to do it")
    if left or lost:
        raise typer.Exit(1)


def _runtime(deployment: Any) -> Residency:
    runtime = runtime_of(deployment)
    if not runtime.deployment.copies:
        wrong("`copies:` of the deployment asks for none")
    if runtime.deployment.mode == "observe":
        wrong("this deployment only observes, so nothing is copied: enforce first")
    return runtime


def _run(work: Callable[[], Awaitable[Any]], as_json: bool) -> Any:
    try:
        return anyio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except UsageError as error:
        wrong(str(error))
    except ResidencyError as error:
        fails(error, as_json=as_json)


async def _prepare(runtime: Residency, fill: bool) -> list[dict[str, Any]]:
    told = []
    try:
        await runtime.stores.start()
        for store, sink, outbox, ledger in outboxes_of(runtime.deployment, runtime.stores, runtime.clock):
            made, noted = [], 0
            if ledger is not None:
                await ledger.prepare()
            if outbox is not None:
                made, noted = await outbox.prepare(fill=fill)
                if fill:
                    await doubt(runtime.deployment, runtime.stores, store, sink)
            told.append({"store": store, "sink": sink, "made": made, "noted": noted})
        await check(runtime.deployment, runtime.stores, runtime.clock)
    finally:
        with anyio.CancelScope(shield=True):
            await runtime.stores.aclose()
    return told


async def _standing(runtime: Residency, only: Any) -> list[dict[str, Any]]:
    try:
        await runtime.stores.start()
        await check(runtime.deployment, runtime.stores, runtime.clock)
        return [
            _told(store, sink, await outbox.standing())
            for store, sink, outbox, _ in outboxes_of(runtime.deployment, runtime.stores, runtime.clock)
            if outbox is not None and (not only or store in only)
        ]
    finally:
        with anyio.CancelScope(shield=True):
            await runtime.stores.aclose()


def _told(store: str, sink: str, standing: Any) -> dict[str, Any]:
    held = dict(standing.held)
    return {"store": store, "sink": sink, "pending": standing.pending, "held": held, "since": standing.oldest}


async def _copy(runtime: Residency, only: Any, once: bool) -> tuple[Round, list[dict[str, Any]]]:
    total = Round()

    def add(done: Round) -> None:
        total.copied += done.copied
        total.deleted += done.deleted
        if done.copied or done.deleted:
            typer.echo(f"{total.copied:,} copied, {total.deleted:,} deleted", err=True)

    async with doing(runtime):
        stores = [each for each in stores_of(runtime) if not only or each.store in only]
        holder = f"command-{os.getpid()}-{runtime.entropy.token(8).hex()}"
        if not once:
            await CopiesWorker(stores, holder).run()
        for each in stores:
            for target in each.targets:
                add(await withdraw_all(target, each.homes, each.deciding, ended=target.withdraw))
            for copier in each.copiers:
                await copier.outbox.release()
                while not await work_off(copier, holder, add):  # noqa: ASYNC110 - another process has it
                    await anyio.sleep(0.5)
        return total, [
            _told(each.store, copier.home.name, await copier.outbox.standing())
            for each in stores
            for copier in each.copiers
        ]


async def _withdraw(runtime: Residency, only: Any, go: bool) -> list[dict[str, Any]]:
    found = []
    async with doing(runtime):
        for each in stores_of(runtime):
            if only and each.store not in only:
                continue
            for target in each.targets:
                done = await withdraw_all(target, each.homes, each.deciding, go=go, alone=alone_in(runtime))
                found.append(
                    {
                        "store": each.store, "sink": target.sink.name, "copies": done.notes,
                        "may_not_be_there": sum(done.held.values()), "reasons": done.held, "deleted": done.deleted,
                        "lost_at_home": sum(done.gone.values()),
                    }
                )  # fmt: skip
    return found


def _tell(told: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(told))
        return
    table = Listing("store", "sink", "to be copied", "since", "held")
    for each in told:
        since = "" if each["since"] is None else f"{datetime.fromtimestamp(each['since'] / 1e6, UTC):%Y-%m-%d %H:%M:%S}"
        held = ", ".join(f"{count:,} {reason}" for reason, count in sorted(Counter(each["held"]).items()))
        table.row(each["store"], each["sink"], f"{each['pending']:,}", since, held or "-")
    table.show()
