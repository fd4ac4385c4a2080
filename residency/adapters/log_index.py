"""What of a log's entries is asked for in, in one SQLite file; the numbers of the entries that answer, out.

The index is thrown away and built anew whenever it does not fit. It is bound to the log's origin, size and root, and to
whoever built it: a message authentication code over the whole file, under a key that only they have, lies beside it. So
an index that somebody else made or changed is not believed, and neither is one that was cut short. What it answers with
are numbers; whoever asks reads the entries from the log and proves them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from residency.audit.checkpoint import Checkpoint
from residency.audit.entry import Entry
from residency.errors import Unavailable

__all__ = ["LogIndex", "Shape", "index_secret", "shape_of"]

_VERSION: Final = 1
_SCHEMA: Final = f"""
CREATE TABLE log (origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT;
CREATE TABLE shape (id INTEGER PRIMARY KEY, fields TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE entry (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, shape INTEGER NOT NULL, subject BLOB) STRICT;
CREATE INDEX by_subject ON entry (subject) WHERE subject IS NOT NULL;
PRAGMA user_version = {_VERSION};
"""
_SHAPES: Final = 1 << 16
_BATCH: Final = 4096
_SECRET_BYTES: Final = 32
_CODE_BYTES: Final = 32


class Shape(NamedTuple):
    """What can be asked of an entry besides its time and subject. Few entries of a log differ in it."""

    kind: str
    effect: str | None
    sink: str | None
    activity: str | None
    reason: str | None
    jurisdictions: tuple[str, ...]
    rules: tuple[str, ...]
    """Every rule that the entry names: those that decided, were observed, lifted or outranked."""


def shape_of(entry: Entry) -> Shape:
    """The shape of an entry."""
    rules = (*entry.rules, *entry.observed, *entry.exempted, *entry.outranked)
    return Shape(
        entry.kind, entry.effect, entry.sink, entry.activity, entry.reason, entry.jurisdictions,
        rules if len(rules) == len(entry.rules) else tuple(dict.fromkeys(rules)),
    )  # fmt: skip


def index_secret(folder: Path) -> bytes:
    """The key (32 bytes) by which this user knows indexes of their own, made at first use. Raises: Unavailable."""
    path = folder / "index.key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            # Whole or not at all: of two that make it at once, one is the first.
            new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
            with suppress(FileExistsError):
                path.hardlink_to(new)
            new.unlink()
        secret = path.read_bytes()
        loose = path.stat().st_mode & 0o077
    except OSError as error:
        raise Unavailable(f"the key of indexes cannot be kept (errno {error.errno})") from error
    if len(secret) != _SECRET_BYTES or loose:
        raise Unavailable("the key of indexes is damaged, or others may read it: delete it")
    return secret


class LogIndex:
    """An index that this user built, open for questions. Use `open` or `build`; close it."""

    __slots__ = ("_db", "built")

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        origin, size, root = db.execute("SELECT origin, size, root FROM log").fetchone()
        self.built: Final = Checkpoint(origin, size, root)
        """The log that the index is of, as far as it goes."""

    @classmethod
    def open(cls, path: Path, secret: bytes) -> LogIndex | None:
        """The index at `path`, None where there is none, or none that whoever has `secret` built."""
        try:
            if not (path.is_file() and _beside(path).is_file()):
                return None  # a pipe in either's place would be waited for
            with _beside(path).open("rb") as file:
                expected = file.read(_CODE_BYTES + 1)
            if not hmac.compare_digest(expected, _code(path, secret)):
                return None
            # Immutable: a journal that lies beside the file is not played back into it.
            return cls(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True))
        except (OSError, sqlite3.Error, TypeError):
            return None

    @classmethod
    def build(
        cls, path: Path, secret: bytes, log: Checkpoint, entries: Iterable[Entry], base: LogIndex | None = None
    ) -> LogIndex:
        """Build the index of `log` at `path`; `entries` are all of it, or all after those of `base`, which is closed.

        Raises: Unavailable where it cannot be written, and what `entries` raises.
        """
        # Done on a file of its own. A crash leaves that, and an index whose code does not match is built anew.
        new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        first = None
        try:
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            try:
                if base is not None:
                    first = base.built.size
                    base.close()
                    shutil.copyfile(path, new)
                with closing(sqlite3.connect(new, isolation_level=None)) as db:
                    _write(db, log, first, entries)
                code = _code(new, secret)
                new.replace(path)
                # The folder may be another's: a link that lies there is replaced, and not written through.
                with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(code)
                new.replace(_beside(path))
            finally:
                new.unlink(missing_ok=True)
        except (OSError, sqlite3.Error) as error:
            why = "the index cannot be written: give it another place (--index), or do without (--scan)"
            raise Unavailable(why) from error
        built = cls.open(path, secret)
        if built is None:
            raise Unavailable("the index was changed while it was built")
        return built

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def numbers(
        self,
        wanted: Callable[[Shape], bool],
        *,
        since: int | None = None,
        until: int | None = None,
        subject: str | None = None,
        newest: int | None = None,
    ) -> tuple[int, list[int]]:
        """(how many entries answer, their numbers in log order, the `newest` at most).

        Asked is for shapes that `wanted` accepts, since <= at < until (microseconds), and the alias `subject`.
        """
        db = self._db
        with closing(db.cursor()) as cursor:
            shapes = [
                number for number, fields in cursor.execute("SELECT id, fields FROM shape") if wanted(_read(fields))
            ]
            where = "shape IN (SELECT value FROM json_each(?)) AND (?2 IS NULL OR at >= ?2) AND (?3 IS NULL OR at < ?3)"
            values: list[object] = [json.dumps(shapes), since, until]
            if subject is not None:
                where += " AND subject = ?4"
                values.append(bytes.fromhex(subject))
            (count,) = cursor.execute(f"SELECT count(*) FROM entry WHERE {where}", values).fetchone()  # noqa: S608 - ours
            order = f"ORDER BY number DESC LIMIT {-1 if newest is None else int(newest)}"
            found = cursor.execute(f"SELECT number FROM entry WHERE {where} {order}", values)  # noqa: S608 - ours
            return count, [number for (number,) in found][::-1]


def _write(db: sqlite3.Connection, log: Checkpoint, first: int | None, entries: Iterable[Entry]) -> None:
    """Add `entries`, numbered from `first` (None = to an empty file, from 0), to a file that nobody else sees yet."""
    # Nothing is lost with the file, so nothing waits for the disk.
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    if first is None:
        db.executescript(_SCHEMA)
    db.execute("BEGIN")
    shapes: dict[Shape, int] = {}

    def rows() -> Iterator[tuple[int, int, int, bytes | None]]:
        for number, entry in enumerate(entries, first or 0):
            shape = shape_of(entry)
            known = shapes.get(shape)
            if known is None:
                if len(shapes) >= _SHAPES:
                    shapes.clear()
                known = shapes[shape] = _number(db, shape)
            yield number, entry.at, known, None if entry.subject is None else bytes.fromhex(entry.subject)

    each = rows()
    while batch := list(islice(each, _BATCH)):
        db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", batch)
    db.execute("DELETE FROM log")
    db.execute("INSERT INTO log VALUES (?, ?, ?)", (log.origin, log.size, log.root))
    db.execute("COMMIT")


def _number(db: sqlite3.Connection, shape: Shape) -> int:
    fields = json.dumps(shape)
    db.execute("INSERT INTO shape (fields) VALUES (?) ON CONFLICT DO NOTHING", (fields,))
    (number,) = db.execute("SELECT id FROM shape WHERE fields = ?", (fields,)).fetchone()
    return int(number)


def _read(fields: str) -> Shape:
    kind, effect, sink, activity, reason, jurisdictions, rules = json.loads(fields)
    return Shape(kind, effect, sink, activity, reason, tuple(jurisdictions), tuple(rules))


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".mac")


def _code(path: Path, secret: bytes) -> bytes:
    # The digest of the file, and then its code: one pass over the file in C.
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return hmac.digest(secret, b"residency index %d\n" % _VERSION + digest, "sha256")
