"""An OSError in, words about it out: which file it was, by its last two names, and what the system said."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["fault", "naming"]


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Whatever OSError comes out of this names `path`, where it names no file of its own."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def fault(error: OSError) -> str:
    """`0/00000003.seg (EIO)`: folder and file, without where they lie, and the error's name."""
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    if error.filename is None:
        return f"({name})"
    return f"{'/'.join(str(error.filename).split('/')[-2:])} ({name})"
