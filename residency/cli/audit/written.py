"""A text and where it shall go in; the text there, whole or not at all, out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

__all__ = ["write_out"]


def write_out(text: str, out: Path | None) -> None:
    """Write `text` to the file `out`, which only its owner may read, or to standard output.

    Raises: BadParameter where the file cannot be written.
    """
    if out is None:
        sys.stdout.write(text)
        return
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        # A receipt can hold personal detail: nobody else reads it, not for a moment either.
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise typer.BadParameter(f"cannot be written (errno {error.errno})", param_hint="--out") from None
