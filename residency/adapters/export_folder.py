"""Pieces of files in; a new folder or zip file with all of them, whole or not at all, out. Only its owner reads it."""

from __future__ import annotations

import os
import secrets
import shutil
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["ExportFolder"]


class ExportFolder:
    """What will be `out`: a context manager. Until `finish` everything lies in a folder of its own beside it, which is
    removed where `finish` was not reached. `out` ends in `.zip` = a zip file."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._at = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")

    def __enter__(self) -> Self:
        """Raises: FileExistsError where `out` is there, OSError."""
        if os.path.lexists(self._out):
            raise FileExistsError(self._out.name)
        self._at.mkdir(mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._at, ignore_errors=True)

    def append(self, path: str, data: bytes) -> None:
        """Add `data` to the end of the file `path`. Raises: OSError."""
        target = self._at / path
        for folder in reversed(Path(path).parents):
            (self._at / folder).mkdir(mode=0o700, exist_ok=True)
        fd = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.write(data)

    def finish(self) -> None:
        """Put everything in its place. Raises: FileExistsError where something came there meanwhile, OSError."""
        made = self._at
        if self._out.suffix == ".zip":
            made = self._at / "all.zip"
            files = [path for path in sorted(self._at.rglob("*")) if path.is_file()]
            fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    archive.write(path, path.relative_to(self._at).as_posix())
            os.link(made, self._out)  # which does not replace what is there
            return
        self._out.mkdir(mode=0o700)  # nor does this; and an empty folder may be renamed over
        made.rename(self._out)
