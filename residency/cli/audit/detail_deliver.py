"""`residency audit detail deliver` and `detail-key`: what was spooled abroad, sealed, in; the home's own store out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from residency.adapters.entropy_system import SystemEntropy
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail import commit
from residency.audit.detail_head import Head, seal_context
from residency.cli.audit.detail_place import Country, Place, Policy, caught_up, fails, moment, place_of
from residency.cli.audit.shared import Json
from residency.errors import ResidencyError, SealError, VerificationError
from residency.model.place import is_place
from residency.vault.hpke import open_box, public_key
from residency.vault.seal import Sealer
from residency.wiring.details import detail_rows, detail_store

__all__ = ["deliver", "detail_key"]

_BATCH: Final = 500
Row = tuple[Head, bytes]


def detail_key(
    country: Annotated[str, typer.Option("--country", metavar="CODE", help="The country whose key it is.")],
    keys: Annotated[Path, typer.Option("--keys", metavar="DIR", help="The folder of that country's keys, at home.")],
    as_json: Json = False,
) -> None:
    """Print a country's public key, for `seal_to` of instances abroad; the private half is made once, in DIR.

    Exit 0 = printed, 1 = the key cannot be made or read, 2 = wrong use.

    Example: residency audit detail-key --country VN --keys ./keys
    """
    if not is_place(country):
        raise typer.BadParameter("a country's code, such as VN", param_hint="--country")
    try:
        public = base64.b64encode(public_key(KeysFiles(keys, create=True).secret(_name(country)))).decode()
    except ResidencyError as error:
        fails(error, as_json=as_json)
    print(json.dumps({"country": country, "seal_to": public}) if as_json else f"seal_to: {public}")


def deliver(
    spool: Annotated[
        Path, typer.Argument(metavar="SPOOL", help="The folder of details that an instance abroad spooled, or a copy.")
    ],
    policy: Policy,
    country: Country,
    erase: Annotated[
        bool, typer.Option("--erase", help="Erase from SPOOL what lies at home then; SPOOL must be writable.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring spooled details home: open each with this country's key, seal it anew, keep it in this country's store.

    --policy is the deployment at home. What is there already is not doubled, so it can be run again, after a kill too.

    Exit 0 = all of it lies at home, 1 = some does not open, 2 = wrong use.

    Example: residency audit detail deliver /mnt/spool-vn --policy home.yaml --country VN
    """
    if not (spool / "journal").is_dir() and not (spool / "details.db").is_file():
        raise typer.BadParameter("no details were spooled there", param_hint="SPOOL")
    place = place_of(policy, country)
    if place.seal_to is not None:
        raise typer.BadParameter(f"this deployment spools details of {country} itself", param_hint="--policy")
    counts = {"read": 0, "new": 0, "erased": 0}
    try:
        if erase:
            caught_up(spool)  # out of a journal nothing can be erased
        private = place.keys.secret(_name(country))
        own = Sealer(place.key(create=True), SystemEntropy().token)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=as_json or not console.is_terminal) as bar:
            task = bar.add_task("bringing details home", total=None)
            for batch in _batches(detail_rows(spool)):
                rows = [_resealed(place, head, sealed, private, own) for head, sealed in batch]
                # A kill after this leaves rows that are there twice, sealed, until this is run again.
                counts["new"] += place.store.file(rows, moment())
                counts["read"] += len(batch)
                if erase:
                    counts["erased"] += detail_store(spool).erase([head for head, _ in batch])
                bar.update(task, completed=counts["read"])
    except ResidencyError as error:
        fails(error, as_json=as_json)
    if as_json:
        print(json.dumps({"done": True, **counts}))
    else:
        print(
            f"{counts['new']} details brought home, of {counts['read']} read; {counts['erased']} erased from the spool"
        )


def _resealed(place: Place, head: Head, sealed: bytes, private: bytes, own: Sealer) -> Row:
    context = seal_context(place.country, head)
    try:
        detail = open_box(private, sealed, context)
    except SealError as error:
        raise SealError(f"entry {head.entry} of {head.origin}: {error}") from None
    if commit(detail) != head.commitment:
        raise VerificationError(f"entry {head.entry} of {head.origin}: its detail is not the one it commits to")
    return head, own.seal(detail, context)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    each = iter(rows)
    while batch := list(islice(each, _BATCH)):
        yield batch


def _name(country: str) -> str:
    return f"detail-home-{country.lower()}"
