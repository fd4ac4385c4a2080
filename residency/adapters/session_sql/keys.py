"""Tables and a store's sinks in, a refusal out where two sinks would give two people one key.

Two databases that both count from 1 hand out another person's record. Keys are UUIDv7, or each sink counts in a range
of its own: sink number `n` of at most `room` gives `n + 1`, `n + 1 + room`, `n + 1 + 2 * room` and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from typing import Final

from sqlalchemy import Column, DefaultClause, Integer, Sequence, Table

from residency.errors import UsageError

__all__ = ["check_keys", "is_ranged", "range_of", "ranged_sequence", "sequence_ddl"]

_RANGES: Final = "residency.ranges"


def ranged_sequence(name: str, numbers: Mapping[str, int], *, room: int = 64, above: int = 0) -> Sequence:
    """A sequence for a key's column that counts in a range of its own in each sink.

    `numbers` gives each sink a number below `room` that is its alone and never changes; `room` is how many sinks there
    can ever be. `above` is a number that no key reaches which was counted otherwise before: all ranges begin behind it.
    PostgreSQL only: SQLite has no sequences.

    Raises: UsageError where numbers are shared or do not fit.
    """
    if len(set(numbers.values())) != len(numbers) or not all(0 <= number < room for number in numbers.values()):
        raise UsageError(f"sequence {name!r} needs a number of its own, from 0 to {room - 1}, for each sink")
    if above < 0:
        raise UsageError(f"sequence {name!r} begins above 0 or a key that is known")
    made = Sequence(name, increment=room)
    begins = -(-above // room) * room
    made.info[_RANGES] = {sink: begins + number for sink, number in numbers.items()}
    return made


def is_ranged(sequence: Sequence) -> bool:
    """Whether it was made by `ranged_sequence`."""
    return _RANGES in sequence.info


def range_of(sequence: Sequence, sink: str) -> tuple[int, int]:
    """(first value, step) of a ranged sequence in `sink`. Raises: UsageError where it has no number for it."""
    numbers: Mapping[str, int] = sequence.info.get(_RANGES, {})
    if sink not in numbers:
        raise UsageError(f"sequence {sequence.name!r} has no number for sink {sink!r}")
    return numbers[sink] + 1, int(sequence.increment or 1)


def sequence_ddl(sequence: Sequence, sink: str) -> str:
    """The statement that makes a ranged sequence in `sink`, for a migration. Raises: UsageError."""
    start, step = range_of(sequence, sink)
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (sequence.schema, sequence.name) if part)
    return f"CREATE SEQUENCE IF NOT EXISTS {quoted} AS bigint INCREMENT BY {step} MINVALUE {start} START WITH {start}"


def check_keys(tables: Iterable[Table], store: str, sinks: Many[str]) -> None:
    """Raise UsageError where a table's key counts up alike in several of `sinks`, which are those of `store`."""
    if len(sinks) < 2:
        return
    for table in tables:
        for column in table.primary_key.columns:
            sequence = column.default if isinstance(column.default, Sequence) else None
            if sequence is not None and is_ranged(sequence):
                for sink in sinks:
                    range_of(sequence, sink)
            elif sequence is not None or _counts(table, column):
                raise UsageError(
                    f"table {table.name!r} counts its key {column.name!r} up in each sink of store {store!r}, so two "
                    "people would share a key: use a String column with default=sql.uuid7_key, a "
                    "sql.ranged_sequence, or autoincrement=False where the app brings the key"
                )


def _counts(table: Table, column: Column[object]) -> bool:
    default = column.server_default
    if column.identity is not None:
        return True
    if isinstance(default, DefaultClause):
        return "nextval" in str(default.arg).lower()
    return column is table.autoincrement_column and isinstance(column.type, Integer)
