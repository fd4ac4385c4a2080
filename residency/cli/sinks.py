"""`residency sinks`: a deployment in; its sinks listed, asked to answer, given an app's tables or migrations out.

No URL is printed or put on a command line: a migration program finds it in its environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import anyio
import typer

from residency import wiring
from residency.adapters import policy_files
from residency.cli.app_source import imported
from residency.cli.app_tables import metadata_of
from residency.cli.sinks_locate import locate
from residency.cli.sinks_mark import check_mark, mark, marked_as
from residency.cli.sinks_probe import probe, sinks_of
from residency.enforcement.ports import SinkPort
from residency.errors import PolicyError, ResidencyError, SinkUnavailable, UnknownStore, UsageError
from residency.policy.compiler import Policy
from residency.policy.problems import nearest
from residency.storage import Stores
from residency.wiring.marks import seen_marks

__all__ = ["sinks_app"]

sinks_app = typer.Typer(
    no_args_is_help=True,
    help="The sinks of a deployment: list them, ask whether they answer, make an app's tables in all of a store's.\n\n"
    "Example: residency sinks ping residency.yaml",
    rich_markup_mode=None,
)

sinks_app.command()(locate)
sinks_app.command()(mark)

URL_VARIABLE: Final = "RESIDENCY_SINK_URL"
NAME_VARIABLE: Final = "RESIDENCY_SINK"
_LIBPQ: Final = ("PGHOSTADDR", "PGSERVICE")  # which go before the host of a URL
_PING_LIMIT: Final = 15.0  # seconds

Deployment = Annotated[Path, typer.Argument(help="The deployment file.", metavar="DEPLOYMENT")]
StoreName = Annotated[str, typer.Option("--store", help="The store whose sinks are meant.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of one sink."""

    sink: str
    state: str
    ok: bool
    why: str = ""


@sinks_app.command("list")
def list_sinks(deployment: Deployment, as_json: Json = False) -> None:
    """List every sink: its kind, region, country, role and the stores that use it. Nothing is opened.

    Exit 0 = listed, 2 = wrong use, a policy that does not hold included.

    Example: residency sinks list residency.yaml
    """
    policy, sinks = _load(deployment)
    _print([_row(policy, sink) for sink in sinks.values()], as_json=as_json)


@sinks_app.command()
def ping(deployment: Deployment, as_json: Json = False) -> None:
    """Ask every sink whether it can serve now, and how long its answer took: rows and objects, whether they take a
    write; a cache, whether it answers; a service, whether it takes a connection. `marked` = it bears its own mark (see
    `residency sinks mark`); `lost` = an instance that keeps its audit log here has seen that, and it bears none now.
    Nothing is written, but a SQLite file that is not there yet is made.

    Exit 0 = all can, 1 = one cannot, bears another's mark or has lost its own, 2 = wrong use.

    Example: residency sinks ping residency.yaml
    """
    policy, sinks = _load(deployment)
    rows = anyio.run(_pinged, policy, sinks)
    _print(rows, as_json=as_json)
    if not all(row["reachable"] and row["marked"] != "lost" for row in rows):
        raise typer.Exit(1)


@sinks_app.command("create-all")
def create_all(
    deployment: Deployment,
    store: StoreName,
    metadata: Annotated[
        str, typer.Option("--metadata", help="Your models: a MetaData, or a class that has one.", metavar="M:A")
    ],
    as_json: Json = False,
) -> None:
    """Make the tables that are missing in every sink of a store, sink by sink; each gets all of them or none.

    A table whose key counts up alike in several sinks is refused before any is made. Where a sink fails, or bears the
    mark of another, it is named, and the others are made all the same. Exit 0 = all have them, 1 = one has not, 2 =
    wrong use.

    Example: residency sinks create-all residency.yaml --store people --metadata app.models:Base
    """
    from residency.integrations import sqlalchemy as sql  # an optional extra

    stores = _stores(deployment, store)
    try:
        tables = metadata_of(imported(metadata), metadata)
        sinks = sql.row_sinks(tables, stores, store)
    except (UsageError, UnknownStore) as error:
        _wrong(str(error))
    count = len(tables.sorted_tables)

    async def make(sink: Any) -> _Done:
        await sink.start()
        await check_mark(sink)
        await sql.create_in(tables, sink)
        return _Done(sink.name, f"has its {count} tables", True)

    _finish(anyio.run(_each, sinks, make, as_json), as_json=as_json)


@sinks_app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def migrate(
    context: typer.Context,
    deployment: Deployment,
    store: StoreName,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Try the other sinks where one fails.")] = False,
    as_json: Json = False,
) -> None:
    """Run a migration program once for each sink of a store: what stands behind `--`.

    It finds the sink's URL, with a driver that blocks, in RESIDENCY_SINK_URL and the sink's name in RESIDENCY_SINK. It
    connects by itself: where the URL leads, and whose mark the sink bears, is looked at right before.
    The first that fails is the last, unless --keep-going. Exit 0 = all ran, 1 = one failed, 2 = wrong use.

    Example: residency sinks migrate residency.yaml --store people -- alembic upgrade head
    """
    program = context.args
    if not program:
        _wrong("say what to run behind `--`, as in: -- alembic upgrade head")
    # The program goes where the sink's URL leads, so that and no member is looked at before.
    stores = _stores(deployment, store, members=False)
    try:
        sinks = stores.sinks_of(store)
    except UnknownStore as error:
        _wrong(str(error))
    done: list[_Done] = []
    for sink in sinks:
        if done and not done[-1].ok and not keep_going:
            done.append(_Done(sink.name, "not tried", False))
        else:
            if not as_json:
                typer.echo(f"{sink.name}: {' '.join(program)}")
            done.append(_migrated(sink, program))
        _tell(done[-1], as_json=as_json)
    _finish(done, as_json=as_json)


def _migrated(sink: SinkPort, program: list[str]) -> _Done:
    url = getattr(sink, "blocking_url", None)
    if url is None:
        return _Done(sink.name, "failed", False, "it holds no rows")
    told = {name: value for name, value in os.environ.items() if name not in _LIBPQ}
    told |= {URL_VARIABLE: url.render_as_string(hide_password=False), NAME_VARIABLE: sink.name}
    try:
        anyio.run(_own, sink)
    except SinkUnavailable as error:
        return _Done(sink.name, "failed", False, str(error))
    try:
        # What the program prints is for who runs it; the program is theirs, and so is what stands in it.
        code = subprocess.run(program, env=told, check=False).returncode  # noqa: S603 - what the operator wrote
    except OSError as error:
        return _Done(sink.name, "failed", False, f"{program[0]} cannot be run: {error.strerror}")
    return _Done(sink.name, "migrated", True) if code == 0 else _Done(sink.name, "failed", False, f"exit {code}")


async def _own(sink: Any) -> None:
    """Return where a sink of rows does not bear another's mark. Raises: SinkUnavailable, also where it is away, or
    leads to another country and that is refused."""
    try:
        await sink.start()
        await check_mark(sink)
    finally:
        await sink.aclose()


async def _each(sinks: tuple[Any, ...], work: Callable[[Any], Awaitable[_Done]], as_json: bool) -> list[_Done]:
    done = []
    for sink in sinks:
        try:
            done.append(await work(sink))
        except SinkUnavailable as error:
            done.append(_Done(sink.name, "failed", False, str(error)))
        finally:
            await sink.aclose()
        _tell(done[-1], as_json=as_json)
    return done


def _tell(done: _Done, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"sink": done.sink, "state": done.state, "ok": done.ok, "why": done.why}))
    else:
        typer.echo(f"{done.sink}: {done.state}" + (f" ({done.why})" if done.why else ""))


def _finish(done: list[_Done], *, as_json: bool) -> None:
    failed = [each.sink for each in done if not each.ok]
    if failed and not as_json:
        typer.echo(f"residency sinks: {len(failed)} of {len(done)} sinks are not done: {', '.join(failed)}", err=True)
    if failed:
        raise typer.Exit(1)


def _load(deployment: Path, *, members: bool = True) -> tuple[Policy, dict[str, SinkPort]]:
    """The policy and its sinks, none of them started; what does not hold is told, and exits 2."""
    try:
        policy = policy_files.load(deployment)
        return policy, sinks_of(policy, members=members)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except ResidencyError as error:
        _wrong(str(error))


def _stores(deployment: Path, wanted: str, *, members: bool = True) -> Stores:
    policy, sinks = _load(deployment, members=members)
    stores = policy.deployment.stores
    if wanted not in stores:
        known = nearest(wanted, stores) or f"; it names {', '.join(stores) or 'none'}"
        _wrong(f"the deployment names no store {wanted!r}{known}")
    return Stores(sinks, stores)


def _row(policy: Policy, sink: SinkPort) -> dict[str, Any]:
    told = policy.deployment.sinks[sink.name].sink
    kind = wiring.kind_of(policy.deployment.sinks[sink.name])
    used = [store for store, names in policy.deployment.stores.items() if sink.name in names]
    return {
        "sink": sink.name,
        "kind": kind,
        "region": told.region,
        "country": told.place,
        "role": told.scope,
        "stores": ", ".join(used),
    }


async def _pinged(policy: Policy, sinks: dict[str, SinkPort]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    seen = seen_marks(policy.deployment, lambda written: Path(policy.base) / written)
    for sink in sinks.values():
        row, began = _row(policy, sink), time.monotonic()
        marked, why = "-", ""
        try:
            with anyio.fail_after(_PING_LIMIT):
                await probe(sink, row["kind"])
                marked = await marked_as(sink, seen)
        except TimeoutError:
            why = f"sink {sink.name!r} did not answer within {_PING_LIMIT:.0f} s"
        except ResidencyError as error:
            why = str(error)
        finally:
            await sink.aclose()
        took = round((time.monotonic() - began) * 1000, 1)
        rows.append({**row, "reachable": not why, "ms": took, "marked": marked, "why": why})
    return rows


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    names = list(rows[0]) if rows else []
    lines = [names] + [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _wrong(message: str) -> NoReturn:
    typer.echo(f"residency sinks: {message}", err=True)
    raise typer.Exit(2)
