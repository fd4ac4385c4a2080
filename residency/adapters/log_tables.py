"""Verified entries of a log in, as they are written; one file for analysis out: Parquet, or JSON lines.

A file is there whole or not at all: it grows under another name, and gets its own once its last byte is on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final, Protocol

from residency.audit.entry import Entry
from residency.errors import UsageError

__all__ = ["FORMATS", "Table", "open_table"]

FORMATS: Final = ("parquet", "jsonl")
_ROWS: Final = 32_768  # of one row group: some 20 MB of entries
_LISTS: Final = frozenset(name for name, kind in Entry.__annotations__.items() if kind == "tuple[str, ...]")
_TIMES: Final = frozenset({"at", "collected", "decided", "requested"})
_NUMBERS: Final = frozenset({"epoch", "policy_version", "v"})
_UNIQUE: Final = frozenset({"id", "of", "detail"})  # no value comes twice: a dictionary would only cost


class Table(Protocol):
    """Takes entries in their order."""

    def add(self, numbers: Sequence[int], entries: Sequence[bytes]) -> None:
        """Take these entries, in canonical form, with their numbers in the log."""


@contextmanager
def open_table(out: Path, form: str, about: Mapping[str, str]) -> Iterator[Table]:
    """A file of one of the `FORMATS` at `out`, there once this is left without an error. `about` is written into it
    where the format has room for that.

    Raises: UsageError where an extra is missing, OSError as the disk does.
    """
    growing = out.with_name(f".{out.name}.{os.urandom(8).hex()}.tmp")
    try:
        # A crash before the rename leaves a file under this name, which nobody reads.
        with growing.open("xb") as file:
            if form == "parquet":
                with _parquet(file, about) as table:
                    yield table
            else:
                yield _Lines(file)
            file.flush()
            os.fsync(file.fileno())
        growing.replace(out)
    except BaseException:
        with suppress(OSError):
            growing.unlink()
        raise


class _Lines:
    """JSON lines: each entry's canonical bytes, with its number as the first key."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, numbers: Sequence[int], entries: Sequence[bytes]) -> None:
        self._file.writelines(
            b'{"index":%d,%b\n' % (number, entry[1:]) for number, entry in zip(numbers, entries, strict=True)
        )


@contextmanager
def _parquet(file: IO[bytes], about: Mapping[str, str]) -> Iterator[Table]:
    try:
        import pyarrow  # type: ignore[import-untyped]  # it has no types
        import pyarrow.json  # type: ignore[import-untyped]  # it has no types
        import pyarrow.parquet  # type: ignore[import-untyped]  # it has no types
    except ImportError:
        raise UsageError("Parquet needs the extra `parquet`: pip install 'residency[parquet]'") from None
    names = sorted(Entry.__dataclass_fields__)
    written = {name: pyarrow.list_(pyarrow.string()) for name in _LISTS}
    written |= dict.fromkeys(_TIMES | _NUMBERS, pyarrow.int64())
    read_as = pyarrow.schema([(name, written.get(name, pyarrow.string())) for name in names])
    kept = [(name, pyarrow.timestamp("us", "UTC") if name in _TIMES else read_as.field(name).type) for name in names]
    schema = pyarrow.schema([("index", pyarrow.int64()), *kept]).with_metadata(
        {f"residency.{name}": text for name, text in about.items()}
    )
    parsing = pyarrow.json.ParseOptions(explicit_schema=read_as, unexpected_field_behavior="error")

    def group(numbers: Iterable[int], entries: Iterable[bytes]) -> Any:
        # The bytes are canonical JSON of known keys, one line each: no reader needs to be asked twice about them.
        lines = pyarrow.json.read_json(BytesIO(b"\n".join(entries)), parse_options=parsing)
        rows = lines.add_column(0, "index", pyarrow.array(numbers, pyarrow.int64()))
        return rows.cast(schema)

    dictionaries = [name for name in names if name not in _TIMES | _NUMBERS | _UNIQUE]
    dictionaries = [f"{name}.list.element" if name in _LISTS else name for name in dictionaries]
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=dictionaries) as writer:
        table = _Groups(group, writer)
        yield table
        table.flush()


class _Groups:
    """Parquet: row groups of a fixed size, so that memory does not grow with the log."""

    def __init__(self, group: Any, writer: Any) -> None:
        self._group = group
        self._writer = writer
        self._numbers: list[int] = []
        self._entries: list[bytes] = []

    def add(self, numbers: Sequence[int], entries: Sequence[bytes]) -> None:
        self._numbers += numbers
        self._entries += entries
        if len(self._entries) >= _ROWS:
            self.flush()

    def flush(self) -> None:
        if self._entries:
            self._writer.write_table(self._group(self._numbers, self._entries))
        self._numbers, self._entries = [], []
