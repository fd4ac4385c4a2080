"""For tests: a small log on disk, made without a sequencer. Entries in, a log folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.adapters.log_files import LogFiles
from residency.audit.checkpoint import format_verifier_key, note_signer
from residency.audit.entry import Entry
from residency.audit.sequencer import StepKind, Tree, plan_commit

ORIGIN = "log.example"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNER, VERIFIER = note_signer(ORIGIN, KEY)
INTENT = Entry(id="0.0", kind="intent", at=1_795_000_000_000_000, effect="permit", policy="ab" * 32, sink="people-vn")
ENTRIES = [
    INTENT,
    replace(INTENT, id="0.1", kind="outcome", act="committed", of="0.0"),
    replace(INTENT, id="0.2"),
    replace(INTENT, id="0.3", kind="refusal", effect="deny", reason="only", rules=("vn.d333.19.2",)),
]
"""An act that was committed, one that is open, a refusal."""


def write_log(folder: Path, entries: Sequence[bytes]) -> Path:
    """The log of these entries in `folder`, with its key beside it; `folder`."""
    log = LogFiles(folder)
    for step in plan_commit(Tree(), entries, {}, SIGNER, ORIGIN)[1]:
        if step.kind in (StepKind.TILE, StepKind.CHECKPOINT):
            log.write(step.path, step.data)
    log.write("log.vkey", (format_verifier_key(VERIFIER) + "\n").encode())
    return folder
