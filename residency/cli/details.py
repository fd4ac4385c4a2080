"""Folders of regional detail and their keys in; all the evidence there was, by entry, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from residency.adapters.detail_files import open_detail
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail import commit, parse_detail
from residency.audit.journal import RECORDS_AT, scan
from residency.audit.recall import Told
from residency.errors import SealError, VerificationError

__all__ = ["evidence_of"]


def evidence_of(folders: Iterable[str], keys: KeysFiles) -> dict[str, Told]:
    """By entry id, what the details in `folders` ("VN=folder") tell of the evidence, and what commits to them.

    Takes memory for each entry. A detail that does not open is of another key, or half written, and is left out.

    Raises: VerificationError, KeysUnavailable, BadParameter.
    """
    found: dict[str, Told] = {}
    for text in folders:
        country, equals, path = text.partition("=")
        folder = Path(path) / "journal"
        if not equals or not folder.is_dir():
            raise typer.BadParameter(
                "a country and its folder, as in VN=./residency-data/detail-vn", param_hint="--detail"
            )
        key = keys.secret(f"detail-{country.lower()}")
        for record in _records(folder):
            try:
                entry, data = open_detail(country, record, key)
            except SealError:
                continue
            fields = parse_detail(data)
            evidence, collected = fields.get("evidence"), fields.get("collected")
            if isinstance(evidence, str):
                found[entry] = Told(commit(data), evidence, collected if isinstance(collected, int) else None)
    return found


def _records(folder: Path) -> Iterator[bytes]:
    try:
        for segment in sorted(folder.glob("*/*.seg")):
            for record in scan(segment.read_bytes(), RECORDS_AT, None).records:
                yield bytes(record.payload)
    except OSError as error:
        raise VerificationError(f"the regional detail cannot be read (errno {error.errno})") from error
