"""Where a receipt gets what the log does not hold: a person's id in, their alias out; regional details, opened, out."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable
from pathlib import Path

import anyio
import typer

from residency.adapters.detail_files import open_detail
from residency.adapters.keys_files import KeysFiles
from residency.audit.journal import RECORDS_AT, scan
from residency.audit.proof_document import Detail
from residency.bootstrap import build
from residency.cli.audit.shared import fail
from residency.enforcement.request import subject_id
from residency.errors import ResidencyError, SealError, VerificationError

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
        runtime = build(policy)
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
        fail("no pin names an alias of that person; the alias was destroyed, or never was", as_json=False)
    return alias


def opened(folders: Iterable[str], keys: KeysFiles, wanted: Container[str]) -> dict[str, Detail]:
    """By entry id, the details in `folders` ("VN=folder") of the entries `wanted`, opened by `keys`.

    One that does not open is of another key, or half written, and is left out.

    Raises: VerificationError, KeysUnavailable, BadParameter.
    """
    found: dict[str, Detail] = {}
    for text in folders:
        country, equals, path = text.partition("=")
        folder = Path(path) / "journal"
        if not equals or not folder.is_dir():
            raise typer.BadParameter("a country and its folder, as in VN=./detail-vn", param_hint="--detail")
        key = keys.secret(f"detail-{country.lower()}")
        try:
            for segment in sorted(folder.glob("*/*.seg")):
                for record in scan(segment.read_bytes(), RECORDS_AT, None).records:
                    try:
                        entry, data = open_detail(country, bytes(record.payload), key)
                    except SealError:
                        continue
                    if entry in wanted:
                        found[entry] = Detail(country, data.decode())
        except OSError as error:
            raise VerificationError(f"the regional detail cannot be read (errno {error.errno})") from error
    return found
