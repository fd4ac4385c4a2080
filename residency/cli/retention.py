"""`residency retention`: a deployment in; what is past its ceiling told, and with --go deleted, out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from residency.adapters.sweep_sqlite import SweepSqlite
from residency.audit.sequencer import CHECKPOINT_PATH
from residency.bootstrap import Residency
from residency.cli.listing import Listing
from residency.cli.upkeep import (
    Copies,
    Deployment,
    Json,
    acts,
    begin_for,
    copies_of,
    doing,
    fails,
    looking,
    runtime_of,
    terms_of,
    wrong,
)
from residency.errors import ResidencyError, UsageError
from residency.storage.retention import Copy
from residency.storage.sweep import Swept, sweep

__all__ = ["retention_app"]

retention_app = typer.Typer(
    no_args_is_help=True,
    help="How long records stay: find what is past its ceiling, and delete it where no floor holds it.\n\n"
    "Example: residency retention run residency.yaml --store people",
    rich_markup_mode=None,
)

_DAY: Final = 86_400_000_000
_FILE: Final = "retention.db"
_QUIET: Final = 30
"""Days without a word in the log after which it is asked whether the clock is right."""


@retention_app.callback()
def _group() -> None:
    """A group, though it has one command."""


@retention_app.command()
def run(
    deployment: Deployment,
    store: Annotated[
        list[str] | None, typer.Option("--store", metavar="NAME", help="Only this store. May repeat.")
    ] = None,
    go: Annotated[bool, typer.Option("--go", help="Delete. Without it nothing is changed.")] = False,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="Delete at most N records a second.", min=0.1)
    ] = None,
    clock_is_right: Annotated[
        bool,
        typer.Option("--clock-is-right", help="Delete though the log was last written long ago by this clock."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell, copy by copy, which records are past a ceiling of the laws in use; with --go delete them.

    What a floor holds stays, whatever a ceiling says; a record that changes meanwhile stays too. Each batch is an act
    in the log, with the rules that ask for it. A run that is broken off goes on where it was for a day.

    Exit 0 = told, or all of it deleted; 1 = some could not be deleted; 2 = wrong use.

    Example: residency retention run residency.yaml --store people --go --rate 500
    """
    runtime = runtime_of(deployment)
    if go and runtime.deployment.mode == "observe":
        wrong("this deployment only observes, so nothing is deleted: leave out --go, or enforce")
    if go and not clock_is_right and (days := _quiet(runtime)) > _QUIET:
        wrong(
            f"the audit log was last written {days} days ago by this machine's clock, and a clock that is ahead would "
            "delete what may not go yet: see that it is right, and say so by --clock-is-right"
        )
    try:
        found, copies = anyio.run(_run, runtime, tuple(store or ()), go, rate, not as_json)
    except UsageError as error:
        wrong(str(error))
    except ResidencyError as error:
        fails(error, as_json=as_json)
    _tell(found, copies, go, as_json=as_json)
    if go and any(sum(each.past.values()) > each.deleted for each in found):
        raise typer.Exit(1)


def _quiet(runtime: Residency) -> int:
    """Whole days since the log was last written; 0 where there is none."""
    try:
        written = (runtime.path(runtime.deployment.audit.folder) / "log" / CHECKPOINT_PATH).stat().st_mtime_ns
    except OSError:
        return 0
    return max(0, runtime.clock.now() - written // 1000) // _DAY


async def _run(
    runtime: Residency, stores: tuple[str, ...], go: bool, rate: float | None, progress: bool
) -> tuple[list[Swept], Copies]:
    found = []
    async with AsyncExitStack() as stack:
        people = await stack.enter_async_context(doing(runtime) if go else looking(runtime))
        copies = copies_of(runtime, stores)
        terms = await terms_of(runtime)
        journal = SweepSqlite(runtime.path(runtime.deployment.audit.folder) / _FILE)
        names = dict.fromkeys(copy.store for copy in copies.all)
        with _Shown(progress) as shown:
            for name in names:
                if go:
                    journal.begin(name, runtime.clock.now(), runtime.policy.digest, _DAY)
                for copy in (each for each in copies.all if each.store == name):
                    await shown.begin(copy)
                    swept = Swept(copy.store, copy.sink.name)
                    async for swept in sweep(
                        copy,
                        terms,
                        people.many,
                        begin=begin_for(acts(runtime), None) if go else None,
                        done=journal if go else None,
                        throttle=None if rate is None else _throttle(rate),
                    ):
                        shown.at(swept)
                    found.append(swept)
                if go:
                    journal.end(name)
    return found, copies


def _throttle(rate: float) -> Callable[[int], Awaitable[None]]:
    async def throttle(records: int) -> None:
        await anyio.sleep(records / rate)

    return throttle


class _Shown:
    """Progress on stderr, where that is a terminal."""

    def __init__(self, wanted: bool) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True,
            disable=not (wanted and console.is_terminal),
        )  # fmt: skip
        self._task: Any = None

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    async def begin(self, copy: Copy) -> None:
        """A copy is begun: its records are counted first, where anybody looks."""
        if not self._bar.disable:
            total = sum((await copy.records.count()).values())
            self._task = self._bar.add_task(f"{copy.store} in {copy.sink.name}", total=total)

    def at(self, swept: Swept) -> None:
        """So far it has come."""
        if self._task is not None:
            self._bar.update(self._task, completed=swept.records)


def _tell(found: list[Swept], copies: Copies, go: bool, *, as_json: bool) -> None:
    if as_json:
        told = [
            {
                "store": each.store, "sink": each.sink, "subjects": each.subjects, "records": each.records,
                "past": each.past, "held": each.held, "deleted": each.deleted, "rules": each.by,
            }
            for each in found
        ]  # fmt: skip
        print(json.dumps({"done": go, "copies": told, "not_covered": list(copies.not_covered)}))
        return
    table = Listing("store", "sink", "subjects", "records", "past a ceiling", "held by a floor", "deleted", "rules")
    for each in found:
        table.row(
            each.store, each.sink, str(each.subjects), str(each.records), _counts(each.past), _counts(each.held),
            str(each.deleted) if go else "-", ", ".join(sorted(each.by)),
        )  # fmt: skip
    console = Console()
    table.show(console)
    for store in copies.not_covered:
        console.print(f"Not covered: store {store}; `records` of the deployment tells nothing of it.")
    if not go and any(each.past for each in found):
        console.print("Nothing was changed. With --go what is past a ceiling is deleted.")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "0"
