"""`residency audit rebuild`: where a log lies whose hash tiles are missing or changed in, the tiles made again out."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from residency.adapters.log_files import LogFiles
from residency.adapters.log_objects import LogObjects
from residency.audit.rebuild import check_bundles, tiles_of
from residency.audit.tiles import TILE_WIDTH
from residency.audit.verify import read_checkpoint
from residency.cli.audit.shared import Json, Key, Place, fail, holding
from residency.cli.log_folder import Read
from residency.cli.log_places import folder_of, reader_of, verifier_key_at

__all__ = ["rebuild"]

_SHOWN = 20


def rebuild(
    place: Place,
    key: Key = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write also over tiles that differ; each is named.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the hash tiles of a log again from its bundles, under its signed checkpoint.

    Nothing is written unless the entries lead to the root that is signed. A tile that is there and differs is named and
    left as it is, unless --replace. To a web address nothing can be written: what is missing or differs is named. Exit
    0 = every tile is there, 1 = not, 2 = wrong use, or a place that cannot be reached.

    Example: residency audit rebuild ./residency-data/audit/log --key ./log.vkey
    """
    read = reader_of(place)
    log = _writer(place)
    if replace and log is None:
        raise typer.BadParameter("nothing can be written there", param_hint="--replace")
    missing: list[str] = []
    written: list[str] = []
    differ: list[str] = []
    with holding(as_json, written=written):  # as it is by the time that something fails
        checkpoint = read_checkpoint(read, verifier_key_at(read, key))
        # 1. All of it once, and nothing written: only what leads to the signed root is the log.
        console = Console(stderr=True)
        shown = not as_json and console.is_terminal
        with Progress(console=console, transient=True, disable=not shown) as bar:
            task = bar.add_task("hashing the bundles", total=checkpoint.size)
            for hashed in check_bundles(read, checkpoint):
                bar.update(task, completed=hashed)
        # 2. A crash in here leaves some tiles written, each whole; the next run goes on.
        for path, data in tiles_of(read, checkpoint):
            there = _there(read, path, data)
            if there == data:
                continue
            if there is not None:
                differ.append(path)
                if not replace:
                    continue
            if log is None:
                if there is None:
                    missing.append(path)
                continue
            try:
                log.write(path, data)
            except OSError as error:
                fail(f"a tile cannot be written (errno {error.errno})", as_json, written=written)
            written.append(path)
    left = [] if replace else differ
    if as_json:
        told = {"holds": not (left or missing), "size": checkpoint.size, "written": written, "differ": differ}
        problem = "tiles differ; --replace writes over them" if left else "tiles are missing" if missing else None
        print(json.dumps(told | {"missing": missing} | ({} if problem is None else {"problem": problem})))
    else:
        console = Console()
        _list(console, "replaced, it differed" if replace else "differs, left as it is", differ)
        _list(console, "missing, and nothing can be written there", missing)
        _list(console, "written", [path for path in written if path not in differ])
        console.print(f"{len(written)} tiles written, under the checkpoint of {checkpoint.size} entries.")
        if left:
            console.print("[bold red]Tiles differ[/] from what the entries hash to; --replace writes over them.")
    if left or missing:
        raise typer.Exit(1)


def _writer(place: str) -> LogFiles | LogObjects | None:
    """What writes to the log at `place`, None where nothing can."""
    folder = folder_of(place)
    if folder is not None:
        return LogFiles(folder)
    return LogObjects(place) if place.startswith("s3:") else None


def _there(read: Read, path: str, data: bytes) -> bytes | None:
    """The tile's bytes as they are read: of a partial one also from the full one that replaced it."""
    there = read(path)
    if there is None and ".p/" in path:
        full = read(path.partition(".p/")[0])
        if full is not None and len(full) == TILE_WIDTH * 32:
            return full[: len(data)]
    return there


def _list(console: Console, what: str, paths: list[str]) -> None:
    for path in paths[:_SHOWN]:
        console.print(f"{escape(path)}: {what}", highlight=False)
    if len(paths) > _SHOWN:
        console.print(f"… and {len(paths) - _SHOWN} more: {what}", highlight=False)
