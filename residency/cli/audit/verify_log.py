"""One log and what somebody knows of it in; what holds of it, and what is odd, out."""

from __future__ import annotations

import base64
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from residency.audit.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from residency.audit.continuity import Continuity
from residency.audit.entry import Entry
from residency.audit.findings import Finding, findings_of
from residency.audit.fleet import FIRST_ENTRY, Fleet
from residency.audit.remembered import check_continues, check_not_older
from residency.audit.sequencer import CHECKPOINT_PATH, VKEY_PATH
from residency.audit.verify import read_signed
from residency.cli.audit.beside import audit_folder, changed_beside, has_archive, odd_beside
from residency.cli.audit.period import iso
from residency.cli.audit.shared import WORK
from residency.cli.audit.strays import changed_strays
from residency.cli.log_folder import Read, scanned
from residency.cli.log_places import archive_of, folder_of, reader_of, verifier_key_at
from residency.errors import VerificationError

if TYPE_CHECKING:
    from residency.audit.redecide import Redecide
    from residency.cli.archive_folder import Archive

__all__ = ["Asked", "Verified", "keep", "verify_log"]

_FIRST: Final = FIRST_ENTRY.encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody gave: the key, checkpoints that were seen earlier (files), the audit folder, whether decisions are
    made again, the longest silence (microseconds) that is not odd, what time it is (microseconds)."""

    key: Path | None
    seen: tuple[Path, ...]
    audit: Path | None
    replay: bool
    max_gap: int
    now: int
    progress: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A log that holds. `note` is its checkpoint as it was signed, `first` its entry `0.0` and `newest` the latest time
    of an entry (microseconds), None where there is none; `redecide` is None where no decision was made again."""

    place: str
    read: Read
    key: VerifierKey
    note: bytes
    checkpoint: Checkpoint
    first: Entry | None
    newest: int | None
    kinds: Counter[str]
    open: int
    redecide: Redecide | None
    findings: tuple[Finding, ...]

    def data(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "origin": self.checkpoint.origin,
            "size": self.checkpoint.size,
            "root": base64.b64encode(self.checkpoint.root).decode(),
            "key": self.key.name,
            "newest_entry": iso(self.newest),
            "entries": dict(sorted(self.kinds.items())),
            "open_intents": self.open,
            "coverage": None if self.redecide is None else _coverage(self.redecide),
            "findings": [finding.data() for finding in self.findings],
        }


def verify_log(place: str, asked: Asked, listed: Fleet | None = None) -> Verified:
    """The log at `place`, read to its end; `listed` has the key of one that comes without.

    Raises: VerificationError where it does not hold, with what and where; BadParameter on wrong use.
    """
    read = reader_of(place)
    # 1. The checkpoint: its signature, and that it is not older than what was seen.
    key = verifier_key_at(read, asked.key) if listed is None or read(VKEY_PATH) is not None else _listed(read, listed)
    note, checkpoint = read_signed(read, key)
    seen = [_seen(path, key) for path in asked.seen]
    for each in seen:
        check_not_older(checkpoint, each)
    # 2. What lies beside it. Over a network that cannot be listed: what is asked for is looked at as it comes.
    folder = folder_of(place)
    audit = asked.audit if asked.audit is not None else None if folder is None else audit_folder(folder)
    archive: Archive | None = None
    if audit is not None:
        for sentence in changed_beside(audit, checkpoint):
            raise VerificationError(sentence)
    if asked.replay and (folder is None if audit is None else has_archive(audit)):
        # Policies and what decides by them take longer to load than all else here: not where nothing is decided.
        from residency.cli.archive_folder import Archive

        archive = Archive(archive_of(place, audit, "--audit"))
    redecide = None if archive is None else _redecide(archive)
    # 3. The tree, the form of each entry, what entries say about each other, and each decision.
    continuity = Continuity(asked.now, asked.max_gap)
    first: Entry | None = None
    for start, shapes, values in scanned(read, checkpoint, progress=asked.progress, what=WORK):
        continuity.take(start, shapes, values)
        if redecide is not None:
            redecide.take(start, shapes, values)
        if first is None:
            # Another slot than the first may have been integrated before it.
            cut = zip(shapes, values, strict=True)
            first = next((shape.build(held) for shape, held in cut if held[shape.at_own] == _FIRST), None)
    continuity.finish()
    if redecide is not None:
        redecide.finish()
        if redecide.wrongs:
            index, fields, expected = redecide.wrong[0]
            told = f"{redecide.wrongs} recorded decisions are not what their policy decides"
            of = "; ".join(f"{field}: {right} was expected" for field, right in zip(fields, expected, strict=True))
            raise VerificationError(f"{told}; the first is entry {index} ({of})")
    if folder is not None:
        for sentence in changed_strays(folder, read, checkpoint):
            raise VerificationError(sentence)
    # 4. That it goes on from what was seen: its tiles are verified, so that only another history is to blame.
    for each in seen:
        check_continues(read, checkpoint, each)
    if audit is None and redecide is not None and redecide.nothing_known:
        redecide = None  # over a network, that there is no archive shows only now
    findings = findings_of(continuity, redecide, asked.now, asked.max_gap)
    if audit is not None:
        findings += tuple(odd_beside(audit))
    if not asked.replay:
        findings = tuple(finding for finding in findings if finding.what != "not_replayed")
    return Verified(
        place, read, key, note, checkpoint, first, continuity.newest, continuity.kinds, len(continuity.open), redecide,
        findings,
    )  # fmt: skip


def keep(path: Path, note: bytes) -> None:
    """Replace the remembered checkpoint in `path`. Raises: BadParameter."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        # A crash before the rename leaves a hidden file; what was remembered stays.
        with os.fdopen(handle, "wb") as file:
            file.write(note)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except OSError as error:
        raise typer.BadParameter(f"cannot be written (errno {error.errno})", param_hint="--remember") from None


def _listed(read: Read, fleet: Fleet) -> VerifierKey:
    """The key that the register lists for this log. Raises: VerificationError where it lists none."""
    origin = (read(CHECKPOINT_PATH) or b"").partition(b"\n")[0].decode(errors="replace")
    known = fleet.log(origin)
    if known is None:
        raise VerificationError(f"{VKEY_PATH} is missing from the log, and the register lists no log of its origin")
    return known.key


def _seen(path: Path, key: VerifierKey) -> Checkpoint:
    try:
        note = path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read (errno {error.errno})", param_hint="--since") from None
    try:
        return verify_checkpoint(note, key)
    except VerificationError as error:
        raise VerificationError(f"the checkpoint in {path.name} is not one of this log: {error}") from None


def _redecide(archive: Archive) -> Redecide:
    from residency.audit.redecide import Redecide
    from residency.policy.replay import Replayer

    return Redecide(Replayer(archive.policy, archive.facts))


def _coverage(redecide: Redecide) -> dict[str, Any]:
    share = redecide.replayed / redecide.decisions if redecide.decisions else None
    return {
        "decisions": redecide.decisions,
        "replayed": redecide.replayed,
        "share": share,
        "not_replayed": {gap.name.lower(): count for gap, count in sorted(redecide.gaps.items())},
        "not_decisions": dict(sorted(redecide.beside.items())),
    }
