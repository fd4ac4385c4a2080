"""Folders of regional detail and their keys in; all the evidence there was, by entry, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from residency.adapters.detail_files import open_sealed
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail import parse_detail
from residency.audit.detail_head import Head
from residency.audit.recall import Told
from residency.errors import JournalFailed, SealError, VerificationError
from residency.wiring.details import detail_rows

__all__ = ["evidence_of"]


def evidence_of(folders: Iterable[str], keys: KeysFiles, origin: str | None = None) -> dict[str, Told]:
    """By entry id, what the details in `folders` ("VN=folder") tell of the evidence, and what commits to them.

    Only those of the log `origin`; None = of any, where a folder holds the details of one log. Takes memory for each
    entry. A detail that does not open is of another key, or half written, and is left out.

    Raises: VerificationError, JournalCorrupt, KeysUnavailable, BadParameter.
    """
    found: dict[str, Told] = {}
    for text in folders:
        country, equals, path = text.partition("=")
        folder = Path(path)
        if not equals or not ((folder / "journal").is_dir() or (folder / "details.db").is_file()):
            raise typer.BadParameter(
                "a country and its folder, as in VN=./residency-data/detail-vn", param_hint="--detail"
            )
        key = keys.secret(f"detail-{country.lower()}")
        for head, sealed in _records(folder):
            if origin is not None and head.origin != origin:
                continue
            try:
                fields = parse_detail(open_sealed(country, head, sealed, key))
            except SealError:
                continue
            evidence, collected = fields.get("evidence"), fields.get("collected")
            if isinstance(evidence, str):
                found[head.entry] = Told(head.commitment, evidence, collected if isinstance(collected, int) else None)
    return found


def _records(folder: Path) -> Iterator[tuple[Head, bytes]]:
    try:
        yield from detail_rows(folder)
    except JournalFailed as error:
        raise VerificationError(f"the regional detail cannot be read: {error}") from error
