"""`residency where`: a deployment file in, whether each sink lies where it says, and why that is thought, out."""

from __future__ import annotations

import json
import logging
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.table import Table

from residency.adapters.location_watch import LocationWatch
from residency.bootstrap import Residency, build
from residency.cli import asked
from residency.enforcement.ports import SinkPort
from residency.errors import PolicyError, ResidencyError
from residency.storage.location import Seen, Standing, Which
from residency.storage.marks import Itself
from residency.storage.queues import QueueSink
from residency.wiring.location import location_watch

__all__ = ["looked", "where"]

_PATIENCE = 10.0  # seconds for one sink
_MARKS = {Standing.CONSISTENT: "green", Standing.CONTRADICTED: "red", Standing.UNDETERMINED: "yellow"}


def where(
    file: asked.Argument = None,
    policy: asked.Option = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a sink.")] = False,
) -> None:
    """Look once whether every sink, what keeps digests of people beside them (locators, pins with a region), and each
    instance that people are handed over to lies where the deployment file says: the addresses of its name, the region
    that its bucket answers, its certificate, the time to connect. An attestation of the register counts where nothing
    is seen.

    Looks from this machine and connects to every sink; databases and caches are asked which server they are, and
    nothing of what they hold is read or written. Exit 0 = each sink is shown or
    attested to lie in its place, 1 = one is not, 2 = wrong use, a policy that does not hold included.

    Example: residency where residency.yaml
    """
    deployment = asked.deployment_asked("where", file, policy)
    try:
        runtime = build(deployment)
        watch = anyio.run(looked, runtime)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except ResidencyError as error:
        typer.echo(f"residency where: {error}", err=True)
        raise typer.Exit(1) from None
    rows = [_row(watch, name) for name in watch.places]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
    else:
        _show(watch, rows)
    raise typer.Exit(0 if all(row["standing"] == Standing.CONSISTENT.value for row in rows) else 1)


async def looked(runtime: Residency) -> LocationWatch:
    """The watch over the sinks of a runtime that is not open, after one look at all of them. Raises: Unavailable."""
    logging.getLogger("residency").addHandler(logging.NullHandler())  # what is found is told by whoever asks
    told = await _which(runtime)
    watch = location_watch(
        runtime.deployment,
        runtime.network,
        filings=lambda: runtime.facts.current().filings,
        now=runtime.clock.now,
        tell=lambda note: None,
        which=lambda: told,
        path=runtime.path,
    )
    await watch.look()
    return watch


async def _which(runtime: Residency) -> dict[str, Which]:
    """What the servers behind the sinks say of themselves; those that do not answer, nothing."""
    found: dict[str, Which] = {}

    async def ask(sink: SinkPort) -> None:
        try:
            with anyio.fail_after(_PATIENCE):
                if isinstance(sink, QueueSink):
                    await sink.start()  # it is connected to by nothing else
                if isinstance(sink, Itself):
                    found[sink.name] = await sink.which()
        except (ResidencyError, TimeoutError):
            pass
        finally:
            await sink.aclose()

    sinks = {sink.name: sink for store in runtime.stores.names for sink in runtime.stores.sinks_of(store)}
    async with anyio.create_task_group() as group:
        for sink in sinks.values():
            group.start_soon(ask, sink)
    return found


def _row(watch: LocationWatch, name: str) -> dict[str, object]:
    verdict, seen = watch.watched[name].verdict, watch.seen[name]
    return {
        "sink": name,
        "place": watch.places[name],
        "standing": verdict.standing.value,
        "attested": verdict.attested,
        "why": list(verdict.why),
        "notes": [*verdict.notes, *verdict.followed],
        "ways": [_way(each) for each in seen],
    }


def _way(seen: Seen) -> dict[str, object]:
    return {
        "addresses": [
            {"address": each.text, "country": each.country, "reach": each.reach, "system": each.system}
            for each in seen.addresses
        ],
        "bucket_region": None if seen.bucket is None else seen.bucket.region,
        "connect_ms": None if seen.round_trip is None else round(seen.round_trip / 1000, 3),
        "certificate": None if seen.certificate is None else seen.certificate.issued_by,
    }


def _show(watch: LocationWatch, rows: list[dict[str, object]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("sink", "in", "", "why"):
        table.add_column(column, overflow="fold")
    for row in rows:
        verdict = watch.watched[str(row["sink"])].verdict
        mark = _MARKS[verdict.standing]
        why = "; ".join((*verdict.why, *verdict.notes, *verdict.followed))
        table.add_row(str(row["sink"]), str(row["place"]), f"[{mark}]{verdict.standing.value}[/]", _plain(why))
    Console().print(table)
    unseen = [str(row["sink"]) for row in rows if row["standing"] == Standing.UNDETERMINED.value]
    if unseen:
        typer.echo(
            "What nobody can look at needs an attestation in the register: a filing of kind `location` with `sinks` "
            "and `expires`, of who has seen where it lies. See docs/how-to/location.md.\n"
            "  - {kind: location, number: NUMBER, date: YYYY-MM-DD, result: passed, "
            f"sinks: [{', '.join(unseen)}], expires: YYYY-MM-DD}}"
        )


def _plain(text: str) -> str:
    return text.replace("[", "\\[")  # what others wrote is no markup
