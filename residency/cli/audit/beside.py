"""The audit folder around a log in; which of its files are not what they were written as, out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from residency.audit.archived import ARCHIVE_FOLDERS, check_archived
from residency.audit.checkpoint import Checkpoint
from residency.audit.sequencer import STATE_PATH, parse_state
from residency.cli.log_folder import read_plain
from residency.errors import VerificationError

__all__ = ["audit_folder", "changed_beside", "has_archive"]


def audit_folder(log: Path) -> Path | None:
    """The audit folder that a log's folder lies in, or, as in a mirror, is; None where there is none."""
    try:
        own = log.resolve()
    except OSError:
        return None
    if has_archive(own.parent) or (own.parent / STATE_PATH).is_file():
        return own.parent
    return own if has_archive(own) else None


def has_archive(audit: Path) -> bool:
    """Whether policies were archived in this audit folder."""
    return (audit / "policies").is_dir()


def changed_beside(audit: Path, checkpoint: Checkpoint) -> Iterator[str]:
    """A sentence for each archived file, and for the sequencer's state, that is not what it was written as."""
    for folder in ARCHIVE_FOLDERS:
        for path in sorted((audit / folder).glob("*.json")):
            data = _bytes(path)
            try:
                check_archived(f"{folder}/{path.name}", data)
            except VerificationError as error:
                yield str(error)
    state = audit / STATE_PATH
    if state.exists():
        try:
            known = parse_state(_bytes(state))
        except VerificationError as error:
            yield str(error)
            return
        if known.origin != checkpoint.origin or known.size < checkpoint.size:
            yield f"{STATE_PATH} is not of this log, or older than its checkpoint"
        elif known.size == checkpoint.size and known.root != checkpoint.root:
            yield f"{STATE_PATH} has another root than the checkpoint"


def _bytes(path: Path) -> bytes:
    try:
        return read_plain(path)
    except OSError as error:
        raise VerificationError(f"{path.name} cannot be read (errno {error.errno})") from error
