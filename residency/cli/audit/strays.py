"""A log folder that holds under its checkpoint in; files of it that nobody read, and that are not what they were, out.

A partial tile or bundle may be left behind where the full one, or a wider one, has replaced it: a crash before pruning
leaves such files. They tell the beginning of what replaced them, or somebody changed them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from residency.audit.checkpoint import Checkpoint
from residency.audit.tiles import TILE_WIDTH, bundle_path, tile_path
from residency.cli.log_folder import Read

__all__ = ["changed_strays"]

_PATH: Final = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})\.p/([1-9][0-9]{0,2})")


def changed_strays(folder: Path, read: Read, checkpoint: Checkpoint) -> Iterator[str]:
    """A sentence for each partial file that is narrower than what the checkpoint covers there, and not its beginning.

    Files that the checkpoint does not cover at all are no part of the log: a sequencer may be writing them.

    Raises: VerificationError where a file cannot be read.
    """
    for path in sorted(_partial(folder)):
        match = _PATH.fullmatch(path)
        if match is None:
            continue
        level, width = match[1], int(match[3])
        number = int(match[2].replace("/", "").replace("x", ""))
        reaches = checkpoint.size >> (0 if level == "entries" else 8 * int(level))
        covered = min(TILE_WIDTH, reaches - number * TILE_WIDTH)
        if covered <= width:
            continue
        if level == "entries":
            wider = read(bundle_path(number, covered)) or read(bundle_path(number))
        else:
            wider = read(tile_path(int(level), number, covered)) or read(tile_path(int(level), number))
        data = read(path)
        if data is not None and not _begins(wider or b"", data, width, framed=level == "entries"):
            yield f"{path} is not the beginning of what replaced it"


def _partial(folder: Path) -> Iterator[str]:
    """The paths of files in folders of partial ones. A sequencer may remove such a folder meanwhile: then there are
    none in it, where `Path.glob` would raise."""
    for home, _, names in os.walk(folder / "tile"):
        if home.endswith(".p"):
            yield from (Path(home, name).relative_to(folder).as_posix() for name in names)


def _begins(wider: bytes, data: bytes, width: int, *, framed: bool) -> bool:
    if not framed:
        return len(data) == width * 32 and wider.startswith(data)
    end = 0
    for _ in range(width):
        end += 2 + int.from_bytes(wider[end : end + 2], "big")
    return data == wider[:end]
