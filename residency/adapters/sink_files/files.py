"""Keys in, paths of files out and back; temporary files and what is told of a file. All of it blocks its thread.

A key becomes a file name by an encoding that is one-to-one, knows no separator and no letter case, and cannot leave
the folder: every byte outside `a-z 0-9 _ -` is written as `%` and two hex digits, and a name longer than file systems
take is cut into folders whose names end in `+`, a character that the encoding never writes.

The content type is an attribute of the file (`user.residency.type`), set before the file gets its name; a file system
without attributes tells `application/octet-stream` of everything.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from residency.enforcement.ports import OCTETS, ObjectMeta

__all__ = ["make_temporary", "meta_of", "path_of", "place", "remove_left", "sync_folder", "walk"]

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
_PIECE: Final = 200  # bytes of one path part; ext4, APFS and NTFS take 255
_NAME: Final = re.compile(r"(?:[a-z0-9_-]|%[0-9a-f]{2})+")
_TEMPORARY: Final = ".tmp-"
_TYPE: Final = "user.residency.type"


def path_of(folder: Path, key: str) -> Path:
    """The file below `folder` in which the value of `key` lies, a key that `check_key` took."""
    name = "".join(chr(b) if b in _PLAIN else f"%{b:02x}" for b in key.encode())
    pieces = [name[i : i + _PIECE] for i in range(0, len(name), _PIECE)]
    return folder.joinpath(*(f"{piece}+" for piece in pieces[:-1]), pieces[-1])


def walk(folder: Path, before: str = "") -> Iterator[tuple[str, Path]]:
    """(key, file) of every value, in no order. Raises: OSError, also where a file lies there that no key names."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_TEMPORARY):
                continue
            if entry.name.endswith("+") and entry.is_dir():
                yield from walk(Path(entry.path), before + entry.name[:-1])
                continue
            name = before + entry.name
            if _NAME.fullmatch(name) is None:
                raise OSError("a file here was not written by this sink")
            yield re.sub(rb"%([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), name.encode()).decode(), Path(entry.path)


def make_temporary(folder: Path) -> BinaryIO:
    """A new file that no key names, in the folder where the value will lie, locked for as long as it is open."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
        os.close(handle)
        # Another process that starts may take it for one left behind, until it is locked: then there is another one.
        try:
            file = Path(name).open("r+b")  # noqa: SIM115 - closed by whom it is given to
        except FileNotFoundError:
            continue
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def remove_left(folder: Path) -> None:
    """Remove the temporary files of processes that are gone: they may hold personal data that no key leads to."""
    for path in folder.rglob(f"{_TEMPORARY}*"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def place(file: BinaryIO, path: Path, folder: Path, key: str, content_type: str) -> ObjectMeta:
    """Give a temporary file, written to its end, the name of its key below `folder`, on disk before this returns.

    A crash before this leaves the old value and a temporary file, one after it the old value or the new one, each
    whole.
    """
    file.flush()
    if content_type != OCTETS:
        with suppress(AttributeError, OSError):
            os.setxattr(file.fileno(), _TYPE, content_type.encode())
    # An inode may come back within one tick of the file system's clock, and an etag must not.
    os.utime(file.fileno(), ns=(now := time.time_ns(), now))
    os.fsync(file.fileno())
    meta = meta_of(key, file.fileno())
    Path(file.name).replace(path)
    # A folder made for a long name is an entry of its parent, which must be on disk too.
    while True:
        path = path.parent
        sync_folder(path)
        if path == folder:
            return meta


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def meta_of(key: str, where: int | Path) -> ObjectMeta:
    """What is told of the value in a file, open or not. Raises: OSError."""
    found = os.stat(where)  # noqa: PTH116 - of an open file too
    try:
        content_type = os.getxattr(where, _TYPE).decode()
    except (OSError, AttributeError):  # none was set, or nobody keeps any here
        content_type = OCTETS
    etag = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
    return ObjectMeta(key, found.st_size, etag, found.st_mtime_ns // 1000, content_type)
