"""`residency audit verify`: a log folder in, whether it holds out."""

from __future__ import annotations

import base64
import json
from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from residency.audit.checkpoint import Checkpoint
from residency.audit.pairs import Pairs
from residency.audit.verify import read_checkpoint
from residency.cli.audit.shared import WORK, Folder, Json, Key, fail
from residency.cli.log_folder import entries, reader, verifier_key
from residency.errors import IntegrityError

__all__ = ["verify"]


def verify(folder: Folder, key: Key = None, as_json: Json = False) -> None:
    """Recompute the whole log: signature, tree, entries, intents and outcomes.

    Exit 0 = the log holds, 1 = it does not, 2 = wrong use.

    Example: residency audit verify ./demo-data/log --key ./log.vkey
    """
    checkpoint: Checkpoint | None = None
    kinds: Counter[str] = Counter()
    pairs = Pairs()
    read = reader(folder)
    try:
        verifier = verifier_key(folder, key)
        checkpoint = read_checkpoint(read, verifier)
        for entry in entries(read, checkpoint, pairs, progress=not as_json, what=WORK):
            kinds[entry.kind] += 1
        pairs.finish()
    except IntegrityError as error:
        fail(str(error), as_json, size=None if checkpoint is None else checkpoint.size)
    report = {
        "holds": True,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": base64.b64encode(checkpoint.root).decode(),
        "key": verifier.name,
        "key_given": key is not None,
        "entries": dict(sorted(kinds.items())),
        "open_intents": len(pairs.open),
    }
    if as_json:
        print(json.dumps(report))
        return
    console = Console()
    console.print("[bold green]The log holds.[/]")
    table = Table(show_header=False, box=None)
    table.add_row("origin", escape(checkpoint.origin))
    table.add_row("entries", f"{checkpoint.size}  ({', '.join(f'{k} {n}' for k, n in sorted(kinds.items()))})")
    table.add_row("root", str(report["root"]))
    table.add_row("signature", f"Ed25519, holds under {escape(verifier.name)}")
    table.add_row("open intents", str(len(pairs.open)) + ("  (see: residency audit open)" if pairs.open else ""))
    console.print(table)
    if key is None:
        console.print("[yellow]The key came from the log folder itself: give the one you were handed with --key.[/]")
