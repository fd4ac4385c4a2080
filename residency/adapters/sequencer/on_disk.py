"""The log and its state as they lie on disk in; the tree to go on from, out, and the steps of a commit carried out.

What each file is, and why a crash between two of them is harmless, `residency.audit.sequencer` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.audit.checkpoint import VerifierKey, format_verifier_key, note_signer, verify_checkpoint
from residency.audit.cosignature import SECOND_VKEY_PATH, find_cosignature, log_signer
from residency.audit.merkle import EMPTY_ROOT
from residency.audit.note import together
from residency.audit.sequencer import (
    CHECKPOINT_PATH,
    STATE_PATH,
    VKEY_PATH,
    Cursor,
    State,
    Step,
    StepKind,
    Tree,
    load_tree,
    parse_state,
    plan_publication,
)
from residency.errors import VerificationError

__all__ = ["OnDisk", "Store"]


class Store(Protocol):
    """Durable, atomic files by path; `residency.adapters.log_files.LogFiles` has the contract."""

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None."""

    def write_all(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Replace each (path, data) whole and durably."""

    def swap(self, path: str, data: bytes) -> None:
        """Replace `path` whole; a power cut may bring the old one back."""

    def prune(self, path: str) -> None:
        """Remove the folder `path`."""


class OnDisk:
    """The log `origin` in `log`, and how far it got in `state`, under the keys that its checkpoints are signed by."""

    __slots__ = ("_log", "_origin", "_second", "_state", "_verifier", "signer")

    def __init__(
        self, log: Store, state: Store, origin: str, key: Ed25519PrivateKey, second_key: MLDSA44PrivateKey | None
    ) -> None:
        self._log = log
        self._state = state
        self._origin = origin
        self.signer, self._verifier = note_signer(origin, key)
        """Signs checkpoints, by all keys."""
        self._second: VerifierKey | None = None
        if second_key is not None:
            second, self._second = log_signer(origin, second_key)
            self.signer = together((self.signer, second))

    def cursors(self) -> Mapping[int, Cursor]:
        """Per slot, up to where its journal is in the tree, whoever put it there.

        Raises: VerificationError, OSError.
        """
        stored = self._state.read(STATE_PATH)
        return {} if stored is None else parse_state(stored).cursors

    def carry_out(self, steps: Iterable[Step]) -> None:
        """Do the steps, those of one kind together, each kind durable before the next begins."""
        for kind, group in groupby(steps, lambda step: step.kind):
            files = [(step.path, step.data) for step in group]
            if kind is StepKind.TILE:
                self._log.write_all(files)
            elif kind is StepKind.STATE:
                self._state.write_all(files)
            else:
                for path, data in files:
                    if kind is StepKind.CHECKPOINT:
                        # Where a power cut brings the older one back, it lags behind the state, and the next start
                        # publishes this one again.
                        self._log.swap(path, data)
                    else:
                        self._log.prune(path)

    def load(self) -> tuple[Tree, dict[int, Cursor]]:
        """The tree to go on from, and `cursors`; a checkpoint that lags behind the state is published again.

        Raises: VerificationError, OSError.
        """
        self._publish_key()
        stored = self._state.read(STATE_PATH)
        note = self._log.read(CHECKPOINT_PATH)
        try:
            published = None if note is None else verify_checkpoint(note, self._verifier)
        except VerificationError as error:
            raise VerificationError(f"{CHECKPOINT_PATH}: {error}") from None
        if stored is None:
            if published is not None and published.size:
                raise VerificationError(f"{STATE_PATH} is missing, though the log holds {published.size} entries")
            state = State(self._origin, 0, EMPTY_ROOT, {})
        else:
            state = parse_state(stored)
        tree = load_tree(state.size, self._log.read)
        if state.origin != self._origin:
            raise VerificationError(f"{STATE_PATH} is the state of another log, {state.origin}")
        if tree.root() != state.root:
            raise VerificationError(f"{STATE_PATH} and the log's last tiles differ on the root of {state.size} entries")
        if published is not None and published.size > state.size:
            # Going on from here would sign a second history of the same log.
            raise VerificationError(f"{STATE_PATH} knows {state.size} entries, the checkpoint {published.size}")
        if published is not None and published.size == state.size and published.root != state.root:
            raise VerificationError(f"{STATE_PATH} and the checkpoint differ on the root of {state.size} entries")
        if note is None or published is None or published.size < state.size or self._lacks_second(note):
            self.carry_out(plan_publication(state, self.signer))
        return tree, dict(state.cursors)

    def _publish_key(self) -> None:
        for path, key in ((VKEY_PATH, self._verifier), (SECOND_VKEY_PATH, self._second)):
            if key is None:
                continue
            text = (format_verifier_key(key) + "\n").encode()
            present = self._log.read(path)
            if present is None:
                # A crash before the first checkpoint leaves a key without a log, and the next start goes on from there.
                self._log.write_all([(path, text)])
            elif present != text:
                raise VerificationError(f"{path} is not the key of this sequencer: the log belongs to another")

    def _lacks_second(self, note: bytes) -> bool:
        return self._second is not None and find_cosignature(note, self._second) is None
