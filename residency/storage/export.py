"""A subject and every copy of their records in; all of it as lines and files, and a manifest of them, out.

    records/<store>/<record>.jsonl      one line a row: where it lies, its key, what it holds, its times, its values
    objects/<store>.jsonl               one line an object: the same, and the file it is in
    objects/<store>/<number>            the bytes of one object
    manifest                            a signed note: every file with its digest, every copy, the rules that apply

A record that several copies hold alike is there once; one that two copies hold differently is there twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from residency.model import Activity, FactSet, Operation, RuleRef, SubjectSource
from residency.policy.compiler import Policy
from residency.storage.parcels import StreamedRecords
from residency.storage.receipts import instant
from residency.storage.records import Record
from residency.storage.retention import Copy, Person
from residency.storage.sweep import Begin

__all__ = ["Exported", "Out", "Written", "export", "grounds"]

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


class Out(Protocol):
    """Where an export goes. Paths are relative, of words that any file system takes. Each raises OSError."""

    def append(self, path: str, data: bytes) -> None:
        """Add `data` to the end of a file, making it where it is not there."""


@dataclass(frozen=True, slots=True)
class Written:
    """One file of an export: its path, SHA-256 (hex), size in bytes, and how many records are in it."""

    path: str
    sha256: str
    size: int
    records: int


@dataclass(slots=True)
class Exported:
    """What was written: files by path, and by (store, sink, region) how many records were read there."""

    files: dict[str, Written] = field(default_factory=dict)
    copies: dict[tuple[str, str, str], int] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many records there are, each counted once."""
        return sum(file.records for file in self.files.values())

    def document(self) -> dict[str, Any]:
        """The files and copies as a manifest tells them."""
        return {
            "files": [
                {"path": each.path, "sha256": each.sha256, "bytes": each.size, "records": each.records}
                for each in sorted(self.files.values(), key=lambda each: each.path)
            ],
            "copies": [
                {"store": store, "sink": sink, "region": region, "records": count}
                for (store, sink, region), count in self.copies.items()
            ],
        }


class _Files:
    """What is written so far, with digests kept as it goes."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._made: dict[str, tuple[Any, int, int]] = {}

    def append(self, path: str, data: bytes, records: int) -> None:
        digest, size, count = self._made.get(path) or (hashlib.sha256(), 0, 0)
        self._out.append(path, data)
        digest.update(data)
        self._made[path] = digest, size + len(data), count + records

    def of(self, path: str) -> Written:
        digest, size, count = self._made[path]
        return Written(path, digest.hexdigest(), size, count)

    def all(self) -> dict[str, Written]:
        return {path: self.of(path) for path in self._made}


async def export(
    copies: Sequence[Copy],
    objects: frozenset[str],
    subject: str,
    out: Out,
    *,
    begin: Begin,
    told: Callable[[int], object] = lambda records: None,
) -> Exported:
    """Write all that there is of a subject (id) to `out`; `objects` are the stores of objects. Each copy is one act.

    `told(records)` is called as it goes. Raises: SinkUnavailable, what `begin` raises, OSError; the export is then not
    whole.
    """
    files, done = _Files(out), Exported()
    seen: dict[tuple[str, str, str], set[bytes]] = {}  # digests by store, name and key
    number = 0
    for copy in copies:
        act = await begin(copy, "export", ())
        count = 0
        reading = copy.records.read((subject,))
        try:
            async for record in reading:
                count += 1
                told(1)
                known = seen.setdefault((copy.store, record.name, record.key), set())
                # What is streamed is read for its digest alone only where another copy has one of that key.
                if known and await _digest(copy, record) in known:
                    continue
                if copy.store in objects:
                    number += 1
                    known.add(await _object(copy, record, f"objects/{_word(copy.store)}/{number:06}", files))
                else:
                    known.add(record.digest)
                    line = {**_head(copy, record), "value": _value(record.value or b"")}
                    files.append(f"records/{_word(copy.store)}/{_word(record.name)}.jsonl", _line(line), 1)
        except BaseException as error:
            if (close := getattr(reading, "aclose", None)) is not None:
                await close()  # what a sink holds for the reader is let go before the sink is
            await act.broke(error)
            raise
        await act.ended("committed", f"export, {count} records")
        done.copies[copy.store, copy.sink.name, copy.sink.region] = count
    done.files = files.all()
    return done


async def _object(copy: Copy, record: Record, path: str, files: _Files) -> bytes:
    """Write one; its digest as `_digest` makes it."""
    kind = b""
    first = True
    made = hashlib.sha256()
    async for chunk in _chunks(copy, record):
        made.update(chunk)
        data = chunk
        if first:
            kind, _, data = chunk.partition(b"\0")
            first = False
        files.append(path, data, 0)
    written = files.of(path)
    line = {
        **_head(copy, record),
        "content_type": kind.decode("utf-8", "replace"),
        "file": path,
        "sha256": written.sha256,
        "bytes": written.size,
    }
    files.append(f"objects/{_word(copy.store)}.jsonl", _line(line), 1)
    return made.digest()


async def _digest(copy: Copy, record: Record) -> bytes:
    if record.value is None and isinstance(copy.records, StreamedRecords):
        return await copy.records.fingerprint(record)
    return record.digest


async def _chunks(copy: Copy, record: Record) -> AsyncIterator[bytes]:
    if record.value is not None:
        yield record.value
    elif isinstance(copy.records, StreamedRecords):
        async for chunk in copy.records.chunks(record):
            yield chunk


def _head(copy: Copy, record: Record) -> dict[str, Any]:
    return {
        "store": copy.store,
        "sink": copy.sink.name,
        "region": copy.sink.region,
        "record": record.name,
        "key": record.key,
        "data": sorted(record.data),
        "times": {event: instant(at) for event, at in sorted(record.times.items())},
    }


def _value(value: bytes) -> object:
    """A row as JSON where it is one, else its bytes."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return {"base64": base64.b64encode(value).decode()}


def _line(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def _word(name: str) -> str:
    """`name` as a file's; two that would become one are told apart by a digest."""
    safe = _UNSAFE.sub("_", name).strip(".") or "_"
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def grounds(
    policy: Policy, facts: FactSet, now: int, copies: Iterable[tuple[str, frozenset[str]]], person: Person
) -> tuple[tuple[str, ...], tuple[RuleRef, ...]]:
    """(jurisdictions that cover the subject, the rules that speak of reading these data in these stores at `now`)."""
    table = policy.table(facts, now)
    jurisdictions: set[str] = set()
    rules: dict[str, RuleRef] = {}
    for store, data in copies:
        reading = Activity("export", "ANY", "/", SubjectSource("none"), data, Operation.READ, stores=(store,))
        decision = table.decide(reading, person.finding, frozenset())
        jurisdictions.update(decision.jurisdictions)
        for rule in (*decision.rules, *(rule for verdict in decision.sinks for rule in verdict.rules)):
            rules.setdefault(rule.id, rule)
    return tuple(sorted(jurisdictions)), tuple(rule for _, rule in sorted(rules.items()))
