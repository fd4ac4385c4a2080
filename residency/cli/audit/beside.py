"""The audit folder around a log in; which of its files are not what they were written as, out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from residency.audit.checkpoint import Checkpoint
from residency.audit.sequencer import STATE_PATH, parse_state
from residency.cli.log_folder import read_plain
from residency.errors import VerificationError
from residency.policy.archive import digest_of, format_archive

__all__ = ["audit_folder", "changed_beside", "has_archive"]

_NAME: Final = re.compile(r"([0-9a-f]{64})\.json")


def audit_folder(place: str) -> Path | None:
    """The audit folder that the log folder `place` lies in, None where it lies in none."""
    try:
        around = Path(place).resolve().parent
    except OSError:
        return None
    return around if has_archive(around) or (around / STATE_PATH).is_file() else None


def has_archive(audit: Path) -> bool:
    """Whether policies were archived in this audit folder."""
    return (audit / "policies").is_dir()


def changed_beside(audit: Path, checkpoint: Checkpoint) -> Iterator[str]:
    """A sentence for each archived file, and for the sequencer's state, that is not what it was written as."""
    for folder, check in (("policies", _is_policy), ("facts", _is_facts)):
        for path in sorted((audit / folder).glob("*.json")):
            match = _NAME.fullmatch(path.name)
            if match is None:
                yield f"{folder}/{path.name} is not named after a digest"
            elif not check(_bytes(path), match[1]):
                yield f"{folder}/{path.name} is not what its digest names"
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


def _is_policy(data: bytes, digest: str) -> bool:
    try:
        sources = [(name, text.encode()) for name, text in json.loads(data)["sources"]]
        return digest_of(sources) == digest and format_archive(sources) == data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _is_facts(data: bytes, digest: str) -> bool:
    return hashlib.sha256(data).hexdigest() == digest


def _bytes(path: Path) -> bytes:
    try:
        return read_plain(path)
    except OSError as error:
        raise VerificationError(f"{path.name} cannot be read (errno {error.errno})") from error
