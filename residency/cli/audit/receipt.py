"""`residency audit receipt`: a log and whom or what it is about in, one file for a person or a regulator out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from residency.adapters.keys_files import KeysFiles
from residency.audit.checkpoint import Checkpoint
from residency.audit.entry import Entry, format_entry
from residency.audit.pairs import Pairs
from residency.audit.proof_document import Item, format_receipt
from residency.audit.recall import Beside, Recall
from residency.cli.archive_folder import Archive
from residency.cli.audit.page import page_with
from residency.cli.audit.prove import Checkpointed, checkpoint_note, prover
from residency.cli.audit.receipt_sources import alias_of, opened
from residency.cli.audit.receipt_stories import Stories
from residency.cli.audit.shared import Key, Place, holding
from residency.cli.audit.written import write_out
from residency.cli.log_folder import Read, entries
from residency.cli.log_places import archive_of, reader_of, verifier_key_at
from residency.policy.recorded import Recorded, When

__all__ = ["receipt"]

_ALIAS: Final = re.compile(r"(?:[0-9a-f]{2}){8,64}")


@dataclass(frozen=True, slots=True)
class _Kept:
    """An entry of the receipt, and the decision that it tells of, if it does."""

    index: int
    entry: Entry
    taken: tuple[Recorded, When] | Beside


def receipt(
    place: Place,
    alias: Annotated[
        str | None, typer.Option("--alias", metavar="HEX", help="The person's alias, as entries name it.")
    ] = None,
    subject_from: Annotated[
        str | None,
        typer.Option("--subject-from", metavar="FILE", help="A file with the person's id, - = stdin; with --policy."),
    ] = None,
    policy: Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="The deployment file.")] = None,
    index: Annotated[
        list[int] | None, typer.Option("--index", metavar="N", min=0, help="Instead: an entry's number. May repeat.")
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(
            "--audit", metavar="DIR", help="Where policies/ and facts/ lie. Default: above the log, or in it."
        ),
    ] = None,
    detail: Annotated[
        list[str] | None, typer.Option("--detail", metavar="P=DIR", help="Open regional detail, with --keys: VN=DIR.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="DIR", help="The folder of keys that opens it.")
    ] = None,
    key: Key = None,
    at: Checkpointed = None,
    html: Annotated[bool, typer.Option("--html", help="A page that carries the receipt and checks it.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: standard output.")] = None,
) -> None:
    """Write one file about one person, or about some entries: each with its proof, told in English and Vietnamese.

    The whole log is checked on the way. No id of a person is taken from the command line: it would stay in the
    shell's history. With --detail the file holds personal data; only its owner may read it. Exit 0 = written, 1 = the
    log does not hold or knows nothing of it, 2 = wrong use, or a place that cannot be reached.

    Example: residency audit receipt ./audit/log --alias 9f2c… --html --out receipt.html
    """
    if sum(given is not None for given in (alias, subject_from, index)) != 1:
        raise typer.BadParameter("one of --alias, --subject-from and --index says what the receipt is about")
    if (subject_from is None) != (policy is None):
        raise typer.BadParameter("--subject-from and --policy go together")
    if (detail is None) != (keys is None):
        raise typer.BadParameter("--detail and --keys go together")
    if subject_from is not None and policy is not None:
        alias = alias_of(policy, subject_from)
    if alias is not None and _ALIAS.fullmatch(alias) is None:
        raise typer.BadParameter("16 to 128 hex digits, as entries name a person", param_hint="--alias")
    read = reader_of(place)
    with holding(as_json=False):
        verifier = verifier_key_at(read, key)
        newest, (note, checkpoint) = checkpoint_note(read, verifier, at)
        numbers = None if index is None else frozenset(index)
        if numbers is not None and max(numbers) >= checkpoint.size:
            raise typer.BadParameter(f"the log has {checkpoint.size} entries, numbered from 0", param_hint="--index")
        kept = [each for each in _kept(read, newest, alias, numbers) if each.index < checkpoint.size]
        if not kept:
            typer.echo("The log has no entry of that person.", err=True)
            raise typer.Exit(1)
        stories = Stories(Archive(archive_of(place, audit, "--audit")))
        wanted = {each.entry.id: each.entry.detail for each in kept if each.entry.detail is not None}
        details = {} if keys is None else opened(detail or (), KeysFiles(keys), checkpoint.origin, wanted)
        prove = prover(read, newest, checkpoint)
        items = []
        for each in kept:
            raw = format_entry(each.entry)
            story = stories.of(each.index, each.taken)
            nodes = prove(each.index, raw)
            items.append(Item(each.index, raw.decode(), nodes, details.get(each.entry.id), story))
    text = format_receipt(note, verifier, items, alias, stories.told)
    write_out(page_with(text) if html else text, out)
    _summary(kept, len(details), len(wanted), stories.gaps)


def _kept(read: Read, checkpoint: Checkpoint, alias: str | None, numbers: frozenset[int] | None) -> list[_Kept]:
    """The entries that are asked for, once the whole log was checked; outcomes go with their intents."""
    kept: list[_Kept] = []
    intents: set[str] = set()
    recall = Recall()
    for index, entry in enumerate(entries(read, checkpoint, Pairs(), progress=True, what="reading the log")):
        taken = recall.take(entry)
        mine = entry.subject == alias if numbers is None else index in numbers
        if mine or (entry.of in intents and entry.subject is None):
            kept.append(_Kept(index, entry, taken))
            if entry.kind == "intent":
                intents.add(entry.id)
    return kept


def _summary(kept: list[_Kept], opened_details: int, wanted: int, gaps: Counter[str]) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{len(kept)} entries; {opened_details} of {wanted} personal details opened")
    for why, count in gaps.most_common():
        console.print(f"{count} not told in words: {why}", markup=False)
