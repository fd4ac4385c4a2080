"""`residency locate`: addresses in, the country of each out, one line an address."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from residency.adapters.mmdb import MmdbCountries, embedded
from residency.errors import AddressDataUnavailable
from residency.signals.country import network_signals
from residency.signals.inet import canonical

__all__ = ["locate"]


def locate(
    addresses: Annotated[list[str] | None, typer.Argument(help="Addresses; - reads one a line from stdin.")] = None,
    db: Annotated[Path | None, typer.Option("--db", help="A country mmdb of your own.", metavar="FILE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    info: Annotated[bool, typer.Option("--info", help="What the table is: date, source, licence.")] = False,
) -> None:
    """The country that the address table gives for each address; "-" in text and null in JSON where it gives none.

    Private, loopback and reserved addresses have none. Exit 0 = all were addresses, 1 = one was not, 2 = wrong
    use, a table that cannot be read included.

    Example: residency locate --json 14.160.0.1 2001:ee0::1
    """
    if not addresses and not info:
        typer.echo("Usage: residency locate [--db FILE] [--json] [--info] A… | -   (no address given)", err=True)
        raise typer.Exit(2)
    try:
        table = embedded() if db is None else MmdbCountries(db)
        if info:
            _print_info(table, as_json=as_json)
        with _progress() as bar:
            asked = bar.track(_each(addresses or ()), total=None, description="located")
            bad = sum(_print_country(text, table, as_json=as_json) for text in asked)
    except AddressDataUnavailable as error:
        typer.echo(f"residency locate: {error}", err=True)
        raise typer.Exit(2) from None
    if bad:
        raise typer.Exit(1)


def _progress() -> Progress:
    """A counter on stderr, where somebody looks at it and does not see the lines themselves."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} addresses"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=sys.stdout.isatty() or not console.is_terminal)


def _each(addresses: Iterable[str]) -> Iterator[str]:
    """The addresses asked for; in place of `-`, the lines of stdin as they come, empty lines left out."""
    for text in addresses:
        if text == "-":
            yield from filter(None, map(str.strip, sys.stdin))
        else:
            yield text


def _print_country(text: str, table: MmdbCountries, *, as_json: bool) -> bool:
    """Print one line; whether `text` was no address."""
    address = canonical(text)
    if address is None:
        print(json.dumps({"address": text, "error": "not an IP address"}) if as_json else f"{text}\tnot an IP address")
        return True
    signals = network_signals(address, table)
    country = signals[0].place if signals else None
    print(json.dumps({"address": address, "country": country}) if as_json else f"{address}\t{country or '-'}")
    return False


def _print_info(table: MmdbCountries, *, as_json: bool) -> None:
    told = table.info()
    if as_json:
        print(json.dumps(told))
        return
    for key, value in told.items():
        print(f"{key + ':':<12}{'unknown' if value is None else value}")
