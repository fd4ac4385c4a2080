"""`residency audit prove`: a log folder and an entry's number in, a document that proves the entry out."""

from __future__ import annotations

import base64
import json
from typing import Annotated

import typer

from residency.audit.verify import prove_entry, read_checkpoint
from residency.cli.audit.shared import Folder, Key, fail
from residency.cli.log_folder import reader, verifier_key
from residency.errors import IntegrityError

__all__ = ["prove"]


def prove(
    folder: Folder,
    index: Annotated[int, typer.Argument(metavar="INDEX", help="The entry's number in the log, from 0.")],
    key: Key = None,
) -> None:
    """Print one JSON document: an entry, its inclusion proof and the signed checkpoint it leads to.

    Exit 0 = printed, 1 = the log does not hold, 2 = wrong use.

    Example: residency audit prove ./demo-data/log 0 > proof.json
    """
    read = reader(folder)
    try:
        verifier = verifier_key(folder, key)
        checkpoint = read_checkpoint(read, verifier)
        if not 0 <= index < checkpoint.size:
            raise typer.BadParameter(f"the log has {checkpoint.size} entries, numbered from 0", param_hint="INDEX")
        note = read("checkpoint")
        entry, proof = prove_entry(read, index, checkpoint)
    except IntegrityError as error:
        fail(str(error), as_json=True)
    document = {
        "index": index,
        "entry": entry.decode(),
        "proof": [base64.b64encode(node).decode() for node in proof],
        "checkpoint": "" if note is None else note.decode(),
    }
    print(json.dumps(document, ensure_ascii=False, indent=2))
