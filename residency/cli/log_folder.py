"""A log folder's path in; a reader of its files, its verifier key and its entries, checked as they come, out."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import Progress

from residency.audit.checkpoint import Checkpoint, VerifierKey, format_verifier_key, parse_verifier_key
from residency.audit.entry import Entry
from residency.audit.entry_reader import EntryReader, Shape, Values
from residency.audit.pairs import Pairs
from residency.audit.sequencer import CHECKPOINT_PATH, VKEY_PATH
from residency.audit.verify import verify_bundles
from residency.errors import EntryError, VerificationError

__all__ = ["Read", "entries", "read_plain", "reader", "scanned", "verifier_key", "verifier_key_at"]

_LIMIT: Final = 64 * 2**20  # of bundles, the largest files of a log, none reaches 17

Read = Callable[[str], bytes | None]
"""From a path below the folder to its bytes, None where there is no such file. Raises: VerificationError."""


def reader(folder: Path, hint: str = "DIR") -> Read:
    """A reader of the files below `folder`. Raises: BadParameter, naming `hint`, where it is no folder."""
    if not folder.is_dir():
        # Other folders are asked for by options of their own.
        log = "" if hint.startswith("--") else "; a log lies in `log` under `audit.folder`: residency-data/audit/log"
        raise typer.BadParameter(f"{folder} is no folder{log}", param_hint=hint)

    def read(path: str) -> bytes | None:
        try:
            return read_plain(folder / path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise VerificationError(f"{path} cannot be read ({_why(error)})") from error

    return read


def read_plain(path: Path, limit: int = _LIMIT) -> bytes:
    """The bytes of a file that somebody else may have put there, `limit` of them at most.

    A pipe would be waited for, and a device, or a hole of terabytes, would be all of memory. Raises: OSError.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a file")
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"more than {limit} bytes")
        return file.read()


def _why(error: OSError) -> str:
    return str(error.strerror) if error.errno in (errno.EINVAL, errno.EFBIG) else f"errno {error.errno}"


def verifier_key(folder: Path, key: Path | None) -> VerifierKey:
    """The key in the file `key`, or the one that lies in the folder. Raises: VerificationError, BadParameter."""
    return verifier_key_at(reader(folder), key)


def verifier_key_at(read: Read, key: Path | None) -> VerifierKey:
    """The key in the file `key`, or the one that lies beside the log. Raises: VerificationError, BadParameter."""
    beside = read(VKEY_PATH)
    if key is None:
        if beside is None:
            _ask_for_the_log(read)
            raise VerificationError(f"{VKEY_PATH} is missing from the log; give a key with --key")
        try:
            verifier = parse_verifier_key(beside.decode())
        except (UnicodeDecodeError, VerificationError) as error:
            why = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise VerificationError(f"{VKEY_PATH} beside the log: {why}") from None
    else:
        try:
            verifier = parse_verifier_key(key.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            raise typer.BadParameter("cannot be read", param_hint="--key") from None
        except VerificationError as error:  # says nothing about the log
            raise typer.BadParameter(f"holds no key of a log: {error}", param_hint="--key") from None
        if beside is None:
            _ask_for_the_log(read)
    # Who has no key of their own will take the log's: one that differs is a finding even where the log holds.
    if beside is not None and beside != (format_verifier_key(verifier) + "\n").encode():
        given = "the key that was given" if key is not None else "a key and a line feed"
        raise VerificationError(f"{VKEY_PATH} beside the log is not {given}")
    return verifier


def _ask_for_the_log(read: Read) -> None:
    """Raises: BadParameter, where the folder is the audit folder, and the log a folder in it."""
    if read(CHECKPOINT_PATH) is None and read(f"log/{CHECKPOINT_PATH}") is not None:
        raise typer.BadParameter("not a log, but a folder with one in it: give its folder `log`", param_hint="DIR")


def entries(read: Read, checkpoint: Checkpoint, pairs: Pairs, *, progress: bool, what: str) -> Iterator[Entry]:
    """Every entry, parsed and taken in by `pairs`; the log holds once this is exhausted. `what` is shown meanwhile.

    Raises: VerificationError.
    """
    for start, shapes, values in scanned(read, checkpoint, progress=progress, what=what):
        for index, (shape, held) in enumerate(zip(shapes, values, strict=True), start):
            entry = shape.build(held)
            try:
                pairs.add(index, entry)
            except EntryError as error:
                raise VerificationError(f"entry {index}: {error}") from None
            yield entry


def scanned(
    read: Read, checkpoint: Checkpoint, *, progress: bool, what: str
) -> Iterator[tuple[int, list[Shape], list[Values]]]:
    """As `entries`, bundle by bundle and unbuilt (see `EntryReader.scan`): fast, and nothing asked of pairs.

    Raises: VerificationError.
    """
    scan = EntryReader().scan
    console = Console(stderr=True)  # where it is no terminal, rich would leave an empty line behind
    shown = progress and console.is_terminal
    with Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(what, total=checkpoint.size)
        for start, bundle in verify_bundles(read, checkpoint):
            if shown:
                bar.update(task, completed=start)
            yield start, *scan(start, bundle)
