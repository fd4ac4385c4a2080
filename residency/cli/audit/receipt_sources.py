"""Where a receipt gets what the log does not hold: a person's id in, their alias out; regional details, opened, out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
import typer

from residency.adapters.detail_files import open_sealed
from residency.adapters.keys_files import KeysFiles
from residency.audit.proof_document import Detail
from residency.bootstrap import build
from residency.cli.audit.report_details import detail_folders
from residency.enforcement.request import subject_id
from residency.errors import JournalFailed, ResidencyError, SealError, VerificationError
from residency.wiring.details import detail_rows

__all__ = ["alias_of", "opened"]


def alias_of(policy: Path, source: str) -> str:
    """The alias of the person whose id is the first line of the file `source` ("-" = standard input), by the pins of
    the deployment in `policy`. Ends the command where there is none."""
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter("cannot be read", param_hint="--subject-from") from None
    subject = subject_id(text.rstrip("\r\n"))
    if subject is None:
        raise typer.BadParameter("its first line is no id as your app knows it", param_hint="--subject-from")

    async def find() -> str | None:
        runtime = build(policy, reload=False)
        try:
            async with runtime.reading_pins() as (pins, digest):
                pin = await pins.get(digest(subject.value))
        finally:
            await runtime.aclose()
        return None if pin is None else pin.alias

    try:
        alias = anyio.run(find)
    except ResidencyError as error:
        raise typer.BadParameter(str(error), param_hint="--policy") from None
    if alias is None:
        typer.echo("No pin names an alias of that person: it was destroyed, or never was.", err=True)
        raise typer.Exit(1)
    return alias


def opened(folders: Iterable[str], keys: KeysFiles, origin: str, wanted: Mapping[str, str]) -> dict[str, Detail]:
    """By entry id, the details in `folders` ("VN=folder") of the log `origin`, opened by `keys`: of each entry in
    `wanted` the one that it commits to (hex).

    One that does not open is of another key, or half written, and is left out.

    Raises: VerificationError, JournalCorrupt, KeysUnavailable, BadParameter.
    """
    found: dict[str, Detail] = {}
    for country, folder in detail_folders(folders).items():
        key = keys.secret(f"detail-{country.lower()}")
        try:
            for head, sealed in detail_rows(folder):
                if head.origin != origin or wanted.get(head.entry) != head.commitment:
                    continue
                try:
                    found[head.entry] = Detail(country, open_sealed(country, head, sealed, key).decode())
                except SealError:
                    continue
        except JournalFailed as error:
            raise VerificationError(f"the regional detail cannot be read: {error}") from error
    return found
