"""`residency sinks locate`: a store's records in, whose each of them is noted with the locator of its country, out."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from residency.adapters.keys_files import KeysFiles
from residency.adapters.policy_files import load
from residency.bootstrap import Residency
from residency.cli.sinks_mark import check_mark
from residency.cli.upkeep import look_first, must_be_home
from residency.enforcement.ports import SinkPort
from residency.errors import PolicyError, ResidencyError, UsageError
from residency.policy.compiler import Policy
from residency.policy.parsed import locator_name
from residency.storage.locator import Locators
from residency.storage.records import Record, Records
from residency.vault.subjects import subject_digest
from residency.wiring.locators import open_locators
from residency.wiring.records import records_of

__all__ = ["locate"]

_SUBJECTS: Final = 500  # in one question


def locate(
    deployment: Annotated[Path, typer.Argument(help="The deployment file.", metavar="DEPLOYMENT")],
    store: Annotated[str, typer.Option("--store", help="The store whose records are noted.", metavar="NAME")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Note whose every record of a store is, so that about(row=…) finds it: for data that was there before, and what
    was inserted past the ORM. It may be run again, while the app serves; what is noted already costs a look-up.

    Exit 0 = all are noted, 1 = a sink or a locator failed, 2 = wrong use.

    Example: residency sinks locate residency.yaml --store people
    """
    try:
        policy = load(deployment)
        rows = anyio.run(_located, policy, store)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except UsageError as error:
        typer.echo(f"residency sinks: {error}", err=True)
        raise typer.Exit(2) from None
    except ResidencyError as error:
        typer.echo(f"residency sinks: {error}", err=True)
        raise typer.Exit(1) from None
    for row in rows:
        if as_json:
            typer.echo(json.dumps(row))
        else:
            why = f" ({row['why']})" if row["why"] else ""
            typer.echo(f"{row['sink']}: {row['records']:,} records, {row['noted']:,} newly noted{why}")
    if any(row["why"] for row in rows):
        raise typer.Exit(1)


async def _located(policy: Policy, store: str) -> list[dict[str, Any]]:
    base = Path(policy.base)
    if store not in policy.deployment.records:
        raise UsageError(f"the deployment tells no `records:` of store {store!r}, so nobody can say whose they are")
    keys = KeysFiles(base / policy.deployment.keys_folder, create=True)
    secret = keys.secret("subjects")
    runtime = Residency(policy)
    await look_first(runtime)
    wanted = runtime.stores.sinks_of(store)
    locators = open_locators(
        policy.deployment,
        runtime.path,
        lambda text: subject_digest(secret, text),
        runtime.judging,
        barred=lambda place: policy.deployment.mode != "observe" and locator_name(place) in runtime.stores.misplaced,
    )
    if locators is None:
        raise UsageError(f"store {store!r} has no locator")
    rows = []
    try:
        with _progress() as progress:
            for sink in wanted:
                rows.append(await _one(runtime, locators, store, sink, progress))
    finally:
        for sink in wanted:
            await sink.aclose()
        await locators.aclose()
    return rows


async def _one(
    runtime: Residency, locators: Locators, store: str, sink: SinkPort, progress: Progress
) -> dict[str, Any]:
    records = records_of(sink, runtime.deployment.records[store])
    task = progress.add_task(sink.name, total=None)
    told = {"records": 0, "noted": 0}

    def tell(read: int, noted: int) -> None:
        told.update(records=read, noted=noted)
        progress.update(task, completed=read)

    why = ""
    try:
        must_be_home(runtime, sink.name)
        await sink.start()
        await check_mark(sink)
        progress.update(task, total=sum((await records.count()).values()))
        await locators.rebuild(store, sink.region.place, _all(records), tell)
    except UsageError:
        raise
    except ResidencyError as error:
        why = str(error)
    return {"sink": sink.name, "place": sink.region.place, **told, "why": why}


async def _all(records: Records) -> AsyncIterator[Record]:
    """Every record that is somebody's, a few hundred people at a time."""
    after = ""
    while people := await records.subjects(after=after, limit=_SUBJECTS):
        # Whole, so that no connection stays in use where what they are noted with fails.
        for record in [each async for each in records.read(people)]:
            yield record
        after = people[-1]


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
