"""For tests: a log that grows on disk as a sequencer makes it, and a check that a place holds all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from residency.adapters.log_files import LogFiles
from residency.audit.checkpoint import format_verifier_key
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.audit.verify import read_checkpoint, verify_entries
from tests.audit_log import ORIGIN, SIGNER, VERIFIER


class GrowingLog:
    """A log below `folder`; `grow(n)` publishes `n` entries more, as the sequencer does, pruning included."""

    def __init__(self, folder: Path, first: bytes = b"entry 0") -> None:
        self.files = LogFiles(folder)
        self.files.write("log.vkey", (format_verifier_key(VERIFIER) + "\n").encode())
        self.entries: list[bytes] = []
        self._first = first
        self._tree = Tree()

    def grow(self, count: int) -> None:
        """Publish `count` entries more."""
        start = len(self.entries)
        new = [b"entry %d" % number if number else self._first for number in range(start, start + count)]
        self._tree, steps = plan_commit(self._tree, new, {}, SIGNER, ORIGIN)
        for step in steps:
            if step.kind is StepKind.PRUNE:
                self.files.prune(step.path)
            elif step.kind is not StepKind.STATE:
                self.files.write(step.path, step.data)
        self.entries += new


def held(read: Callable[[str], bytes | None]) -> list[bytes]:
    """The entries that a place holds under its checkpoint, verified. Raises: VerificationError."""
    return list(verify_entries(read, read_checkpoint(read, VERIFIER)))
