"""Records in; each way that others keep an audit trail, ready to take them, out.

`lines` is what most APIs do: the standard library's logger, a JSON object a line; with `sync` every line is on disk
before the next. `sqlite` is a table in WAL mode, one insert a transaction, on disk before the next (synchronous=FULL).
`pymerkle` is the tree in Python that people name; in its SQLite file (one transaction an append, as it ships), and in
memory. Each answers once the record is as safe as that way makes it, so 64 callers at once queue up behind one another:
they are asked in one event loop, without a thread for each, which was slower for all of them.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Keep", "lines", "pymerkle_file", "pymerkle_memory", "sqlite"]

Keep = Callable[[Mapping[str, Any]], object]
"""Keeps one record."""


class _Synced(logging.FileHandler):
    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if self.stream is not None:
            os.fsync(self.stream.fileno())


@contextmanager
def lines(folder: Path, *, sync: bool) -> Iterator[Keep]:
    """JSON lines by `logging`; with `sync` an fsync after each."""
    path = folder / f"lines-{sync}.jsonl"
    handler = _Synced(path) if sync else logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.Logger("bench", logging.INFO)
    logger.addHandler(handler)
    try:
        yield lambda record: logger.info(json.dumps(record))
    finally:
        handler.close()


@contextmanager
def sqlite(folder: Path) -> Iterator[Keep]:
    """A table of JSON texts, one insert a transaction."""
    connection = sqlite3.connect(folder / "peer.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        yield lambda record: connection.execute("INSERT INTO entry (body) VALUES (?)", (json.dumps(record),))
    finally:
        connection.close()


@contextmanager
def pymerkle_file(folder: Path) -> Iterator[Keep]:
    """A tree in a SQLite file."""
    with import_module("pymerkle").SqliteTree(str(folder / "pymerkle.db")) as tree:
        yield lambda record: tree.append_entry(json.dumps(record).encode())


def pymerkle_memory() -> Callable[[bytes], int]:
    """The append of a tree in memory: a leaf hash and what it does to the tree."""
    append: Callable[[bytes], int] = import_module("pymerkle").InmemoryTree().append_entry
    return append
