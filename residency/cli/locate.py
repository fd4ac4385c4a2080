"""`residency locate`: addresses in, the country of each out, one line an address; or what the address data are."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, cast

import typer
from rich.console import Console

from residency.adapters.mmdb import EMBEDDED
from residency.cli.locate_compare import compare, told_generally, told_of
from residency.cli.locate_lines import Block, Source, blocks, locate_lines
from residency.cli.locate_progress import Telling
from residency.cli.locate_report import show_comparison, show_info
from residency.cli.locate_tables import Rows, SlowRows, info, open_rows, swift, whole
from residency.errors import AddressDataUnavailable
from residency.model.place import COUNTRIES

__all__ = ["locate"]

_INTERRUPTED: Final = 130
_PIPE_CLOSED: Final = 141
_WHAT_TO_GIVE: Final = "give a country database in mmdb form (GeoLite2, GeoIP2, DB-IP, IPinfo …) that is whole"


def locate(
    addresses: Annotated[
        list[str] | None, typer.Argument(help="Addresses; - reads one a line from stdin.", metavar="ADDRESS…")
    ] = None,
    db: Annotated[Path | None, typer.Option("--db", help="A country mmdb of your own.", metavar="FILE")] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", help="Read addresses from it, one a line.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    about: Annotated[bool, typer.Option("--info", help="What the table is: date, source, licence.")] = False,
    other: Annotated[
        Path | None,
        typer.Option("--compare", help="How far this database and another mmdb agree.", metavar="FILE"),
    ] = None,
    country: Annotated[
        str | None, typer.Option("--country", help="With --compare: on one country, as VN.", metavar="CODE")
    ] = None,
) -> None:
    """The country that the address table gives for each address; "-" in text and null in JSON where it gives none.

    Private, loopback and reserved addresses have none: in JSON their network
    is "special". Where the table knows the class of a network (hosting, vpn,
    tor …), or a second database's word, JSON has them as network and second.

    Without --db the table is the embedded one. An mmdb that is asked for many
    addresses is compiled in memory first; --db takes a compiled one too.

    --compare counts addresses (of IPv6, /48s) by what two databases say of
    them: "here" the one in use, "there" the other.

    Exit 0 = told, 1 = some were no addresses, 2 = wrong use, a file that
    cannot be read included.

    \b
    Examples:
      residency locate --json 14.160.0.1 2001:ee0::1
      cut -d' ' -f1 access.log | residency locate -
      residency locate --db Country.mmdb --file addresses.txt > countries.tsv
      residency locate --info
      residency locate --compare Country.mmdb --country VN
    """
    if country is not None and (other is None or country not in COUNTRIES):
        _wrong("--country takes one ISO 3166-1 code, as in --compare OTHER.mmdb --country VN")
    if not addresses and not file and not about and other is None:
        _wrong("no address given: residency locate [--db FILE] [--json] A… | - | --file FILE   (or --info, --compare)")
    try:
        if about:
            _info(db, as_json=as_json)
        if other is not None:
            _compare(db, other, country, as_json=as_json)
        if addresses or file:
            _locate(db, addresses or (), file or (), as_json=as_json)
    except AddressDataUnavailable as error:
        _wrong(f"{error}; {_WHAT_TO_GIVE if db or other else 'install the package again'}")
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:  # whoever read has seen enough; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_PIPE_CLOSED) from None


def _wrong(what: str) -> NoReturn:
    typer.echo(f"residency locate: {what}", err=True)
    raise typer.Exit(2)


def _locate(db: Path | None, addresses: Sequence[str], files: Sequence[Path], *, as_json: bool) -> None:
    table = open_rows(db)
    out = sys.stdout.buffer

    def write(lines: bytes) -> None:
        out.write(lines)
        out.flush()

    with ExitStack() as stack:
        sources = [stack.enter_context(_opened(path)) for path in files]
        sizes = [_size(source) for source in [*sources, *([_stdin()] if "-" in addresses else [])]]
        known = [size for size in sizes if size is not None]
        size = sum(known) if known and len(known) == len(sizes) else None
        telling = stack.enter_context(Telling(shared=sys.stdout.isatty(), size=size))

        def compiled(slow: SlowRows) -> Rows:
            telling.stage(f"compiling `{slow.path.name}`")
            table = swift(slow)
            telling.begin()
            return table

        sys.stdout.flush()
        asked = _asked(addresses, sources)
        counts = locate_lines(table, asked, as_json=as_json, write=write, located=telling.located, swift=compiled)
    if counts.bad:
        if files or "-" in addresses:
            typer.echo(f"residency locate: {counts.bad:,} of {counts.lines:,} lines are no IP addresses", err=True)
        for text in addresses:
            if Path(text).is_file():
                typer.echo(f"residency locate: `{text}` is a file: --file reads addresses from it", err=True)
        raise typer.Exit(1)


def _asked(addresses: Sequence[str], files: Sequence[Source]) -> Iterator[Block]:
    """What is asked, in the order it is written: each `-` stands for the lines of stdin, and files come last."""
    texts: list[str] = []
    for text in addresses:
        if text == "-":
            yield texts, 0
            texts = []
            yield from blocks(_stdin())
        else:
            texts.append(text)
    yield texts, 0
    for file in files:
        yield from blocks(file)


def _stdin() -> Source:
    return cast("Source", sys.stdin.buffer)


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        _wrong(f"there is no file `{path.name}`")
    except OSError as error:
        _wrong(f"`{path.name}` cannot be read: {error.strerror}")


def _size(source: Source) -> int | None:
    """How many bytes it has; None for what does not say, a pipe above all."""
    try:
        told = os.fstat(source.fileno())
    except (OSError, ValueError):
        return None
    return told.st_size if stat.S_ISREG(told.st_mode) else None


def _info(db: Path | None, *, as_json: bool) -> None:
    with Telling() as telling:
        telling.stage("reading the table")
        told = info(db, datetime.now(UTC))
    if as_json:
        print(json.dumps(told))
    else:
        show_info(told)


def _compare(db: Path | None, other: Path, country: str | None, *, as_json: bool) -> None:
    told: dict[str, Any] = {}
    layers = []
    with Telling() as telling:
        for side, path in (("here", EMBEDDED if db is None else db), ("there", other)):
            telling.stage(f"reading `{path.name}`")
            found = whole(path)
            told[side] = {"file": path.name, "date": found.date, "networks": found.layer.networks}
            layers.append(found.layer)
        telling.stage("laying one over the other")
        families = compare(*layers)
        if country is not None:
            told["country"] = country
        for name, family in families.items():
            told[name] = told_generally(family) if country is None else told_of(country, family)
    if as_json:
        print(json.dumps(told))
    else:
        show_comparison(told, Console())
