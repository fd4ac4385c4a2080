"""`residency audit show` and `open`: where a log lies in, what it says out."""

from __future__ import annotations

import json
import textwrap
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Console

from residency.audit.entry import Entry
from residency.audit.pairs import Pairs
from residency.audit.verify import read_checkpoint
from residency.cli.audit.filters import Filter, filtered
from residency.cli.audit.period import printable
from residency.cli.audit.shared import WORK, Json, Key, Place, cell, document, holding, when
from residency.cli.listing import Listing
from residency.cli.log_folder import entries
from residency.cli.log_places import reader_of, verifier_key_at

__all__ = ["open_intents", "show", "told"]


@filtered
def show(
    place: Place,
    asked: Filter,
    key: Key = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="How many entries, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest entries of a log, once the whole log has been checked. `query` answers sooner, by an index.

    Exit 0 = shown, 1 = the log does not hold, 2 = wrong use, or a place that cannot be reached.

    Example: residency audit show ./demo-data/audit/log --last 20 --kind refusal
    """
    newest: deque[tuple[int, Entry]] = deque(maxlen=last)
    read = reader_of(place)
    with holding(as_json):
        checkpoint = read_checkpoint(read, verifier_key_at(read, key))
        for index, entry in enumerate(entries(read, checkpoint, Pairs(), progress=not as_json, what=WORK)):
            if asked.takes(entry):
                newest.append((index, entry))
    if as_json:
        for index, entry in newest:
            print(json.dumps({"index": index, **document(entry)}, ensure_ascii=False))
        return
    for line in told(newest):
        print(line)


def open_intents(place: Place, key: Key = None, as_json: Json = False) -> None:
    """List intents without an outcome, with their age: acts begun whose end the log does not know.

    Exit 0 = listed, 1 = the log does not hold, 2 = wrong use, or a place that cannot be reached.

    Example: residency audit open ./demo-data/audit/log --json
    """
    pairs = Pairs()
    read = reader_of(place)
    with holding(as_json):
        checkpoint = read_checkpoint(read, verifier_key_at(read, key))
        for _ in entries(read, checkpoint, pairs, progress=not as_json, what=WORK):
            pass
        pairs.finish()
    now = time.time_ns() // 1000
    if as_json:
        for index, entry in pairs.open:
            print(json.dumps({"index": index, "age_seconds": (now - entry.at) / 1e6, **document(entry)}))
        return
    if not pairs.open:
        Console().print("No open intents: every act that began has an outcome.")
        return
    title = f"{len(pairs.open)} open {'intent' if len(pairs.open) == 1 else 'intents'}"
    table = Listing("index", "id", "begun (UTC)", "age", "activity", "sink", title=title)
    for index, entry in pairs.open:
        age = f"{max(0, now - entry.at) / 1e6:.1f} s"
        table.row(str(index), entry.id, when(entry.at), age, cell(entry.activity), cell(entry.sink))
    table.show()


def told(shown: Iterable[tuple[int, Entry]]) -> Iterator[str]:
    """The entries as lines, the day and the rules said only where they change: a table would be cut at 80 columns."""
    day = ""
    rules: tuple[str, ...] = ()
    for index, entry in shown:
        date, _, clock = when(entry.at).partition(" ")
        if date != day:
            yield f"{date} (UTC)"
            day = date
        kind = entry.kind + (f" ({entry.act})" if entry.act is not None else "")
        what = entry.activity or entry.note or ""
        where = f" -> {entry.sink}" if entry.sink is not None else ""
        why = f" [{entry.reason}]" if entry.reason is not None else ""
        yield printable(f"{index:>6}  {clock}  {kind:<19} {entry.effect or '':<6} {what}{where}{why}".rstrip())
        if entry.rules and entry.rules != rules:
            yield from textwrap.wrap(
                printable(", ".join(entry.rules)), 80, initial_indent=" " * 22, subsequent_indent=" " * 22
            )
        rules = entry.rules
