"""`residency audit prove`: a log folder and an entry's number in, one file that proves the entry by itself out."""

from __future__ import annotations

import base64
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from residency.audit.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from residency.audit.entry import parse_entry
from residency.audit.proof_document import Item, format_proof, format_tlog_proof
from residency.audit.sequencer import CHECKPOINT_PATH
from residency.audit.verify import prove_entry
from residency.cli.audit.page import page_with
from residency.cli.audit.shared import Key, fail
from residency.cli.audit.written import write_out
from residency.cli.log_folder import Read
from residency.cli.log_places import reader_of, verifier_key_at
from residency.errors import EntryError, IntegrityError, VerificationError

__all__ = ["Place", "checkpoint_note", "prove"]

Place = Annotated[
    str,
    typer.Argument(metavar="DIR|URL", help="Where the log lies: a folder, s3://BUCKET/PREFIX or https://HOST/PATH."),
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
    form: Annotated[Form, typer.Option("--format", help="JSON, or the text of C2SP tlog-proof.")] = Form.JSON,
) -> None:
    """Write one file that proves an entry by itself: the entry, its inclusion proof, the signed checkpoint, the key.

    Exit 0 = written, 1 = the log does not hold, 2 = wrong use.

    Example: residency audit prove ./demo-data/audit/log 0 --out entry-0.proof.json
    """
    if html and form is not Form.JSON:
        raise typer.BadParameter("a page carries the JSON form", param_hint="--format")
    read = reader_of(place)
    try:
        verifier = verifier_key_at(read, key)
        note, checkpoint = checkpoint_note(read, verifier)
        if not 0 <= index < checkpoint.size:
            raise typer.BadParameter(f"the log has {checkpoint.size} entries, numbered from 0", param_hint="INDEX")
        entry, nodes = prove_entry(read, index, checkpoint)
        parse_entry(entry)
    except EntryError as error:
        fail(f"entry {index}: {error}", as_json=True)
    except IntegrityError as error:
        fail(str(error), as_json=True)
    item = Item(index, entry.decode(), tuple(base64.b64encode(node).decode() for node in nodes))
    text = format_tlog_proof(note, item) if form is Form.TLOG_PROOF else format_proof(note, verifier, item)
    write_out(page_with(text) if html else text, out)


def checkpoint_note(read: Read, key: VerifierKey) -> tuple[bytes, Checkpoint]:
    """The log's newest checkpoint, as the note that it was signed in and as what it says. Raises: VerificationError."""
    note = read(CHECKPOINT_PATH)  # once: a running log replaces it
    if note is None:
        raise VerificationError("the log has no checkpoint")
    return note, verify_checkpoint(note, key)
