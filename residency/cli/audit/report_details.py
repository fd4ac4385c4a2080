"""Folders of regional detail in; what is kept there of one log, counted, out. Nothing is opened, and no key needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from residency.cli.audit.period import iso
from residency.policy.compiler import Policy
from residency.wiring.details import detail_rows

__all__ = ["detail_folders", "details_at_hand", "held_details"]


def detail_folders(given: Iterable[str]) -> dict[str, Path]:
    """By country, the folders of regional detail that `--detail` names as in VN=./detail-vn. Raises: BadParameter."""
    found = {}
    for text in given:
        country, equals, path = text.partition("=")
        if not equals or not _kept_in(Path(path)):
            raise typer.BadParameter("a country and its folder, as in VN=./detail-vn", param_hint="--detail")
        found[country] = Path(path)
    return found


def details_at_hand(policy: Policy) -> dict[str, Path]:
    """By country, the folders of detail that a deployment names and that are there; those that it only spools to other
    countries' keys are not what these keep."""
    places = policy.deployment.audit.detail
    folders = {str(country): Path(policy.base, doc.folder) for country, doc in places.items() if doc.seal_to is None}
    return {country: folder for country, folder in folders.items() if _kept_in(folder)}


def held_details(folders: Mapping[str, Path], origin: str, until: int) -> list[dict[str, Any]]:
    """What is kept beside the log `origin`, by country and class: how many details, the oldest and the newest, how many
    a law still asks to keep at `until` (microseconds), and of how many the latest day has passed by then.

    Raises: JournalFailed, JournalCorrupt.
    """
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for country, folder in sorted(folders.items()):
        for head, _ in detail_rows(folder):
            if head.origin != origin:
                continue
            row = told.setdefault(
                (country, head.keeping),
                {"country": country, "class": head.keeping, "count": 0, "oldest": head.at, "newest": head.at,
                 "floor_runs": 0, "ceiling_passed": 0},
            )  # fmt: skip
            row["count"] += 1
            row["oldest"], row["newest"] = min(row["oldest"], head.at), max(row["newest"], head.at)
            row["floor_runs"] += head.held(until)
            row["ceiling_passed"] += head.erase_by is not None and head.erase_by <= until
    return [{**row, "oldest": iso(row["oldest"]), "newest": iso(row["newest"])} for _, row in sorted(told.items())]


def _kept_in(folder: Path) -> bool:
    return (folder / "journal").is_dir() or (folder / "details.db").is_file()
