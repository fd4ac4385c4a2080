"""An OSError in, words about it out: which file it was, by its last three names, and what the system said."""

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
    """`journal/0/00000003.seg (EIO)`: which file, without where it all lies, and the error's name."""
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    if error.filename is None:
        return f"({name})"
    return f"{'/'.join(str(error.filename).split('/')[-3:])} ({name})"
