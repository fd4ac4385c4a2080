"""`residency audit prove`: a log folder and an entry's number in, one file that proves the entry by itself out."""

from __future__ import annotations

import base64
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from residency.audit.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from residency.audit.entry import parse_entry
from residency.audit.merkle import inclusion_proof, leaf_hash, verify_inclusion
from residency.audit.proof_document import Item, format_proof, format_tlog_proof
from residency.audit.sequencer import CHECKPOINT_PATH
from residency.audit.verify import read_entry, tile_subtree
from residency.cli.audit.page import page_with
from residency.cli.audit.shared import Key, Place, fail, holding
from residency.cli.audit.written import write_out
from residency.cli.log_folder import Read
from residency.cli.log_places import reader_of, verifier_key_at
from residency.errors import EntryError, VerificationError

__all__ = ["Checkpointed", "checkpoint_note", "prove", "prover"]

Checkpointed = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint", metavar="FILE", help="Prove under this one, such as a cosigned one. Default: the newest."
    ),
]


class Form(StrEnum):
    """How a proof is written."""

    JSON = "json"
    TLOG_PROOF = "tlog-proof"


def prove(
    place: Place,
    index: Annotated[int, typer.Argument(metavar="INDEX", help="The entry's number in the log, from 0.")],
    key: Key = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: standard output.")] = None,
    html: Annotated[bool, typer.Option("--html", help="A page that carries the proof and checks it.")] = False,
    at: Checkpointed = None,
    form: Annotated[Form, typer.Option("--format", help="JSON, or the text of C2SP tlog-proof.")] = Form.JSON,
) -> None:
    """Write one file that proves an entry by itself: the entry, its inclusion proof, the signed checkpoint, the key.

    Exit 0 = written, 1 = the log does not hold, 2 = wrong use, or a place that cannot be reached.

    Example: residency audit prove ./demo-data/audit/log 0 --out entry-0.proof.json
    """
    if html and form is not Form.JSON:
        raise typer.BadParameter("a page carries the JSON form", param_hint="--format")
    read = reader_of(place)
    with holding(as_json=True):
        verifier = verifier_key_at(read, key)
        newest, (note, checkpoint) = checkpoint_note(read, verifier, at)
        if not 0 <= index < checkpoint.size:
            raise typer.BadParameter(f"the log has {checkpoint.size} entries, numbered from 0", param_hint="INDEX")
        entry = read_entry(read, index, newest.size)
        nodes = prover(read, newest, checkpoint)(index, entry)
        try:
            parse_entry(entry)
        except EntryError as error:
            fail(f"entry {index}: {error}", as_json=True)
    item = Item(index, entry.decode(), nodes)
    text = format_tlog_proof(note, item) if form is Form.TLOG_PROOF else format_proof(note, verifier, item)
    write_out(page_with(text) if html else text, out)


def checkpoint_note(
    read: Read, key: VerifierKey, kept: Path | None = None
) -> tuple[Checkpoint, tuple[bytes, Checkpoint]]:
    """The log's newest checkpoint, and the one to prove under, as its note and as what it says: that in the file
    `kept`, None = the newest. Raises: VerificationError, BadParameter where the file cannot be read."""
    note = read(CHECKPOINT_PATH)  # once: a running log replaces it
    if note is None:
        raise VerificationError("the log has no checkpoint")
    newest = verify_checkpoint(note, key)
    if kept is None:
        return newest, (note, newest)
    try:
        note = kept.read_bytes()
    except OSError:
        raise typer.BadParameter("cannot be read", param_hint="--checkpoint") from None
    checkpoint = verify_checkpoint(note, key)
    if checkpoint.size > newest.size:
        raise VerificationError(f"the checkpoint speaks of {checkpoint.size} entries, the log has {newest.size}")
    return newest, (note, checkpoint)


def prover(read: Read, newest: Checkpoint, checkpoint: Checkpoint) -> Callable[[int, bytes], tuple[str, ...]]:
    """From an entry's number and bytes to its inclusion proof (base64) under `checkpoint`, checked; the log's tiles are
    those of `newest`. Raises: VerificationError."""
    subtree = tile_subtree(read, newest.size)

    def prove(index: int, entry: bytes) -> tuple[str, ...]:
        nodes = inclusion_proof(index, checkpoint.size, subtree)
        verify_inclusion(leaf_hash(entry), index, checkpoint.size, nodes, checkpoint.root)
        return tuple(base64.b64encode(node).decode() for node in nodes)

    return prove
