"""The audit folder around a log in; which of its files are not what they were written as, or are odd, out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from residency.audit.archived import ARCHIVE_FOLDERS, check_archived
from residency.audit.checkpoint import Checkpoint
from residency.audit.findings import Finding
from residency.audit.open_intents import OPEN_INTENTS_PATH, parse_open_intents
from residency.audit.sequencer import STATE_PATH, parse_state
from residency.cli.log_folder import read_plain
from residency.errors import VerificationError

__all__ = ["audit_folder", "changed_beside", "has_archive", "odd_beside"]

_DIGEST: Final = re.compile(rb"[0-9a-f]{64}\n")


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
    """A sentence for each file of the archive and of what the sequencer keeps that is not what it was written as."""
    for folder in ARCHIVE_FOLDERS:
        for path in sorted((audit / folder).glob("*.json")):
            data = _bytes(path)
            try:
                check_archived(f"{folder}/{path.name}", data)
            except VerificationError as error:
                yield str(error)
    for path in _versions(audit):
        if _DIGEST.fullmatch(_bytes(path)) is None:
            yield f"{path.relative_to(audit)} is not the digest of a policy"
    intents = audit / OPEN_INTENTS_PATH
    if intents.exists():
        try:
            parse_open_intents(_bytes(intents), checkpoint.origin)
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


def odd_beside(audit: Path) -> Iterator[Finding]:
    """A finding for each version of a policy that came into force and is not archived: somebody removed the policy, or
    changed what the version says."""
    for path in _versions(audit):
        digest = _bytes(path).decode("ascii", "replace").strip()
        if not (audit / "policies" / f"{digest}.json").exists():
            told = f"{path.relative_to(audit)} names a policy that is not archived: {digest[:16]}"
            yield Finding("version_not_archived", told)


def _versions(audit: Path) -> list[Path]:
    return sorted((audit / "versions").glob("*/[0-9]*"))  # no temporary, which begins with a dot


def _bytes(path: Path) -> bytes:
    try:
        return read_plain(path)
    except OSError as error:
        raise VerificationError(f"{path.name} cannot be read (errno {error.errno})") from error
