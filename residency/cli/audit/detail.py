"""`residency audit detail`: a deployment and a country in; what is kept there of persons, listed or opened, out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from residency.adapters.detail_files import open_sealed
from residency.audit.detail import commit, parse_detail
from residency.audit.detail_head import Head
from residency.cli.audit import detail_clock, detail_deliver, detail_erase
from residency.cli.audit.detail_place import Alias, Country, EntryId, Place, Policy, fails, place_of
from residency.cli.audit.shared import Json, cell, when
from residency.cli.listing import Listing
from residency.errors import ResidencyError, SealError, VerificationError
from residency.wiring.details import detail_rows

__all__ = ["detail_app"]

detail_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="What is kept of persons beside the log, in their country: list, open, erase, unlink, bring home, clock.\n\n"
    "Example: residency audit detail list --policy deployment.yaml --country VN",
)


@detail_app.command("list")
def list_details(
    policy: Policy, country: Country, alias: Alias = None, entry: EntryId = None, as_json: Json = False
) -> None:
    """List details by entry, with class and terms. Nothing is opened, and no key is needed.

    Exit 0 = listed, 1 = they cannot be read, 2 = wrong use.

    Example: residency audit detail list --policy deployment.yaml --country VN --alias 6f0c… --json
    """
    place = place_of(policy, country)
    table = Listing("entry", "class", "recorded (UTC)", "kept until", "erased", title=f"Details in {country}")
    try:
        counted, now = place.store.progress().time, time.time_ns() // 1000
        now = now if counted is None else min(now, counted)
        for head, _ in found(place, alias, entry):
            if as_json:
                print(json.dumps({**asdict(head), "due": head.due, "held": head.held(now)}))
            else:
                floor = when(head.keep_until) if head.keep_until is not None else "-"
                table.row(cell(head.entry), cell(head.keeping), when(head.at), floor, when(head.due))
    except ResidencyError as error:
        fails(error, as_json=as_json)
    if not as_json:
        if table:
            table.show()
        else:
            Console().print(f"No details in {country}.")


@detail_app.command()
def export(
    policy: Policy,
    country: Country,
    alias: Alias = None,
    entry: EntryId = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A new file, readable by its owner. Default: stdout.")
    ] = None,
) -> None:
    """Open details and write them as JSON lines: personal data, so mind where it goes.

    Each is held against what the log's entry commits to. Exit 0 = written, 1 = a detail does not open, 2 = wrong use.

    Example: residency audit detail export --policy deployment.yaml --country VN --alias 6f0c… --out person.jsonl
    """
    place = place_of(policy, country)
    if place.seal_to is not None:
        raise typer.BadParameter(
            f"details of {country} are sealed to its own key, and open there alone", param_hint="--country"
        )
    try:
        key = place.key()
        target = sys.stdout if out is None else open(out, "x", encoding="utf-8", opener=_private)  # noqa: SIM115 - closed below
        try:
            for head, sealed in found(place, alias, entry):
                target.write(json.dumps(_opened(place.country, head, sealed, key), ensure_ascii=False) + "\n")
        finally:
            if out is not None:
                target.close()
    except FileExistsError:
        raise typer.BadParameter("there already", param_hint="--out") from None
    except (ResidencyError, OSError) as error:
        fails(error)


def found(place: Place, alias: str | None, entry: str | None) -> Iterator[tuple[Head, bytes]]:
    """Every (head, sealed detail) of the alias and the entry that are given, each once. Raises: JournalFailed."""
    fresh: set[tuple[str, str, str]] = set()
    for row in detail_rows(place.folder, alias=alias, entry=entry):
        head = row[0]
        name = (head.origin, head.entry, head.commitment)
        if (alias is not None and head.alias != alias) or (entry is not None and head.entry != entry) or name in fresh:
            continue
        if len(fresh) < 100_000:  # what comes twice comes from a journal first, and these are short
            fresh.add(name)
        yield row


def _opened(country: str, head: Head, sealed: bytes, key: bytes) -> dict[str, object]:
    try:
        detail = open_sealed(country, head, sealed, key)
    except SealError as error:
        raise SealError(f"entry {head.entry}: {error}") from None
    if commit(detail) != head.commitment:
        raise VerificationError(f"entry {head.entry}: its detail is another than the one that is committed to")
    return {**asdict(head), "detail": parse_detail(detail)}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


for _command in (detail_erase.erase, detail_erase.unlink, detail_deliver.deliver, detail_clock.clock):
    detail_app.command()(_command)
