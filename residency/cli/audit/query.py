"""`residency audit query`: where a log lies and what is asked of it in; the entries that answer, proven, out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer
from rich.console import Console
from rich.progress import Progress

from residency.adapters.log_index import LogIndex, index_secret
from residency.audit.bundles import ProvenBundles
from residency.audit.checkpoint import Checkpoint
from residency.audit.entry import Entry
from residency.audit.entry_reader import EntryReader
from residency.audit.merkle import consistency_proof, verify_consistency
from residency.audit.pairs import Pairs
from residency.audit.tiles import TILE_WIDTH
from residency.audit.verify import read_checkpoint, tile_subtree
from residency.cli.audit.filters import Filter, filtered
from residency.cli.audit.shared import WORK, Json, Key, Place, document, holding
from residency.cli.audit.show import told
from residency.cli.log_folder import Read, entries
from residency.cli.log_places import folder_of, reader_of, verifier_key_at
from residency.errors import ResidencyError, VerificationError
from residency.model import SubjectId

__all__ = ["query"]

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_BUILD: Final = "building the index"


@filtered
def query(
    place: Place,
    asked: Filter,
    key: Key = None,
    subject: Annotated[
        bool, typer.Option("--subject", help="Of the subject whose id is read from stdin; with --policy.")
    ] = False,
    subject_digest: Annotated[
        str | None,
        typer.Option("--subject-digest", metavar="HEX", help="Of the subject of that digest; with --policy."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="How many entries, the newest; 0 = all.")
    ] = 100,
    policy: Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="The deployment file.")] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index", metavar="FILE", help="Where the index is. Default: index.db above the log; of a URL: your own."
        ),
    ] = None,
    scan: Annotated[bool, typer.Option("--scan", help="Read the whole log, without an index.")] = False,
    as_json: Json = False,
) -> None:
    """The entries that answer a question, in the order of the log, each proven to be in it.

    An index of the log is built at the first question and carried on at later ones; it may be deleted at any time. One
    that somebody else built is not believed. Exit 0 = answered, 1 = the log does not hold, 2 = wrong use, or a place
    that cannot be reached.

    Example: residency audit query ./residency-data/audit/log --effect deny --rule "vn.l91.*" --from 2026-09-01
    """
    whose = [given for given in (asked.alias, subject_digest, subject or None) if given is not None]
    if len(whose) > 1:
        raise typer.BadParameter("one of --alias, --subject-digest and --subject", param_hint="--alias")
    if subject or subject_digest is not None:
        found = _alias(policy, subject_digest)
        if found is None:
            typer.echo("no pin: nothing links this subject to entries of the log", err=True)
            return
        asked = replace(asked, alias=found)
    newest = None if limit == 0 else limit
    read = reader_of(place)
    with holding(as_json):
        checkpoint = read_checkpoint(read, verifier_key_at(read, key))
        if scan:
            count, answers = _scan(read, checkpoint, asked, newest, progress=not as_json)
        else:
            path = _index_path(place) if index is None else index
            count, answers = _look_up(read, checkpoint, asked, newest, path, progress=not as_json)
        if as_json:
            for number, entry in answers:
                print(json.dumps({"index": number, **document(entry)}, ensure_ascii=False))
            return
        for line in told(answers):
            print(line)
    shown = count if newest is None else min(count, newest)
    print(
        f"{count:,} of {checkpoint.size:,} entries answer" + (f"; the newest {shown:,} shown" if shown < count else "")
    )


def _scan(
    read: Read, checkpoint: Checkpoint, asked: Filter, newest: int | None, *, progress: bool
) -> tuple[int, Iterator[tuple[int, Entry]]]:
    """(how many entries answer, the newest of them), by the log alone; the whole of it was checked before."""
    answers: deque[tuple[int, Entry]] = deque(maxlen=newest)
    count, pairs = 0, Pairs()
    for number, entry in enumerate(entries(read, checkpoint, pairs, progress=progress, what=WORK)):
        if asked.takes(entry):
            count += 1
            answers.append((number, entry))
    pairs.finish()
    return count, iter(answers)


def _look_up(
    read: Read, checkpoint: Checkpoint, asked: Filter, newest: int | None, path: Path, *, progress: bool
) -> tuple[int, Iterator[tuple[int, Entry]]]:
    """As `_scan`, by the index at `path`, which is built or carried on first."""
    bundles = ProvenBundles(read, checkpoint)
    index = _index(read, checkpoint, bundles, path, progress=progress)
    count, numbers = index.numbers(
        asked.wants, since=asked.since, until=asked.until, subject=asked.alias, newest=newest
    )
    index.close()
    parse = EntryReader().read

    def answers() -> Iterator[tuple[int, Entry]]:
        for number in numbers:
            entry = parse(bundles.entry(number))
            if not asked.takes(entry):
                raise VerificationError(
                    f"the index says that entry {number} answers, and it does not: delete the index"
                )
            yield number, entry

    return count, answers()


def _index(read: Read, checkpoint: Checkpoint, bundles: ProvenBundles, path: Path, *, progress: bool) -> LogIndex:
    secret = index_secret(_own_folder())
    known = LogIndex.open(path, secret)
    if known is not None and known.built.origin != checkpoint.origin:
        known.close()
        known = None
    if known is not None:
        _continues(read, known.built, checkpoint, path)
        if known.built.size == checkpoint.size:
            return known
    first = 0 if known is None else known.built.size
    return LogIndex.build(path, secret, checkpoint, _since(bundles, first, checkpoint.size, progress=progress), known)


def _own_folder() -> Path:
    """The folder of what this user's commands keep."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "residency"


def _index_path(place: str) -> Path:
    """Where the index of the log at `place` is kept: above it, and for one over a network in a folder of this user."""
    folder = folder_of(place)
    if folder is not None:
        folder = folder.absolute()
        # Copies of one log that lie side by side are no continuations of each other: each has an index of its own.
        return folder.parent / ("index.db" if folder.name == "log" else f"index-{folder.name}.db")
    return _own_folder() / f"index-{hashlib.sha256(place.encode()).hexdigest()[:16]}.db"


def _continues(read: Read, built: Checkpoint, now: Checkpoint, index: Path) -> None:
    """Whoever has an index remembers a log. Raises: VerificationError where this one does not continue it."""
    if built.size > now.size:
        raise VerificationError(
            f"the log has {now.size} entries, and had {built.size} when it was last asked: if that is meant, delete"
            f" {index}"
        )
    proof = consistency_proof(built.size, now.size, tile_subtree(read, now.size))
    verify_consistency(built.size, now.size, proof, built.root, now.root)


def _since(bundles: ProvenBundles, first: int, size: int, *, progress: bool) -> Iterator[Entry]:
    """The entries from number `first` on, each proven to be in the tree."""
    scan = EntryReader().scan
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (progress and console.is_terminal)) as bar:
        task = bar.add_task(_BUILD, total=size, completed=first)
        for number in range(first // TILE_WIDTH, (size + TILE_WIDTH - 1) // TILE_WIDTH):
            start = number * TILE_WIDTH
            skipped = max(0, first - start)
            shapes, values = scan(start + skipped, bundles.bundle(number)[skipped:])
            for shape, held in zip(shapes, values, strict=True):
                yield shape.build(held)
            bar.update(task, completed=start + TILE_WIDTH)


def _alias(policy: Path | None, digest: str | None) -> str | None:
    """The alias of a subject by the pins of a deployment; `digest` None = its id is the first line of stdin."""
    if policy is None:
        raise typer.BadParameter("--subject and --subject-digest need the deployment file", param_hint="--policy")
    if digest is not None and _DIGEST.fullmatch(digest) is None:
        raise typer.BadParameter("64 hex digits", param_hint="--subject-digest")
    # Serving code, and heavy: only who asks for a person pays for it.
    from residency.bootstrap import build
    from residency.enforcement.request import subject_id

    asked: str | SubjectId | None = digest
    if digest is None:
        asked = subject_id(sys.stdin.readline().rstrip("\r\n"))
    if asked is None:
        raise typer.BadParameter("stdin holds no subject id", param_hint="--subject")

    async def work() -> str | None:
        runtime = build(policy, reload=False)
        try:
            async with runtime.reading_pins() as (pins, digest_of):
                pin = await pins.get(asked if isinstance(asked, str) else digest_of(asked.value))
        finally:
            await runtime.aclose()
        return None if pin is None else pin.alias

    try:
        return anyio.run(work)
    except ResidencyError as error:
        typer.echo(f"residency audit query: {error}", err=True)
        raise typer.Exit(2) from None
