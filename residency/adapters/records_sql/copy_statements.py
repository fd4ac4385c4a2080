"""Tables and subjects in, the statements out by which PostgreSQL tells, digests and deletes their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import asyncpg as dialects

from residency.adapters.records_sql.tables import Shape

__all__ = ["compiled", "deleting", "keys_of", "locked", "quoted", "rows_of", "telling", "telling_all", "with_owner"]

_ARRAYS: Final[Mapping[type, str]] = {int: "bigint[]", str: "text[]", UUID: "uuid[]"}
# A row's text form tells it from every other row, with quotes around what has a line break: so does a list of them.
_DIGEST: Final = (
    """count(*) AS "~n", encode(sha256(convert_to(string_agg("~row", E'\\n' ORDER BY "~row" COLLATE "C"), 'UTF8')), """
    """'hex') AS "~d\""""
)
# As `versions` reads them: where a row lies and which transaction wrote it, ten bytes.
_VERSION_OF: Final = "tidsend({name}.ctid) || xidsend({name}.xmin)"
_VERSION: Final = """string_agg("~v", '') AS "~v\""""
_VERSIONS: Final = """sha256(string_agg("~v", '' ORDER BY "~v")) AS "~v\""""
_DIALECT: Final = dialects.dialect()  # type: ignore[no-untyped-call]  # untyped there


def telling(
    found: Sequence[Shape], subjects: Collection[str], *, digests: bool = True, versions: bool = False
) -> tuple[str, list[list[Any]]]:
    """What asks for (number of the table in `found`, subject, then how many rows and a digest of them, then their
    versions), and its values; none where nobody of these can be in there."""
    parts, values = [], []
    told = [*([_DIGEST] if digests else []), *([_VERSION] if versions else [])]
    for at, shape in enumerate(found):
        wanted = shape.ids(subjects)
        if not wanted:
            continue
        values.append(wanted)
        columns = [*([_row_text(shape)] if digests else []), *([_row_version(shape)] if versions else [])]
        inner = compiled(with_owner(shape, *columns), shape, len(values))
        parts.append(f'SELECT {at} AS "~t", "~subject", {", ".join(told)} FROM ({inner}) q GROUP BY 2')  # noqa: S608 - compiled
    return " UNION ALL ".join(parts), values


def telling_all(found: Sequence[Shape], subjects: Collection[str]) -> tuple[str, list[list[Any]]]:
    """What asks for (number of the table, one hash of the versions of all of these subjects' rows, or NULL), and its
    values, as `telling` does."""
    parts, values = [], []
    for at, shape in enumerate(found):
        if wanted := shape.ids(subjects):
            values.append(wanted)
            inner = compiled(with_owner(shape, _row_version(shape)), shape, len(values))
            parts.append(f'SELECT {at} AS "~t", {_VERSIONS} FROM ({inner}) q')  # noqa: S608 - compiled
    return " UNION ALL ".join(parts), values


def with_owner(shape: Shape, *columns: Any) -> sa.Select[Any]:
    """Whose each row is, and these of it."""
    return sa.select(sa.cast(shape.subject_column(), sa.String).label("~subject"), *columns).select_from(shape.joined())


def rows_of(shape: Shape) -> sa.Select[Any]:
    """The rows, all of their columns in order."""
    return sa.select(*[shape.table.c[name] for name in shape.columns]).select_from(shape.joined())


def keys_of(shape: Shape) -> sa.Select[Any]:
    """The keys of the rows."""
    return sa.select(*[shape.table.c[name] for name in shape.key]).select_from(shape.joined())


def locked(shape: Shape) -> sa.Select[Any]:
    """The rows, locked against whatever would refer to them from now on."""
    return sa.select(sa.literal_column("1")).select_from(shape.joined()).with_for_update(of=shape.table)


def _row_text(shape: Shape) -> sa.ColumnElement[str]:
    row: Any = sa.func.row(*[shape.table.c[name] for name in shape.columns])
    return sa.cast(row, sa.Text).label("~row")


def _row_version(shape: Shape) -> sa.ColumnElement[bytes]:
    name = quoted(shape.doc.name)
    return sa.literal_column(_VERSION_OF.format(name=name)).label("~v")


def compiled(query: sa.Select[Any], shape: Shape, number: int) -> str:
    """`query` of the subjects in the array that is parameter `number`."""
    among: Any = sa.literal_column(f"ANY(${number}::{_ARRAYS[shape.subject_type]})")
    query = query.where(shape.subject_column() == among)
    if shape.subject_type is str:  # a column that does not tell `a` from `A` would answer for both
        query = query.where(sa.cast(shape.subject_column(), sa.String).collate("C") == among)
    return str(query.compile(dialect=_DIALECT))


def deleting(shape: Shape, *, versions: bool = False) -> str:
    """Delete the rows of the subjects in the array $1, and tell what that was: (subject, how many, a digest of
    them), or one hash of the versions of all."""
    tables = [shape.doc.name, *[there.doc.name for _, there, _ in shape.path]]
    joins = [
        f"t{at}.{quoted(column)} = t{at + 1}.{quoted(key)}" for at, (column, _, key) in enumerate(shape.path)
    ]  # fmt: skip
    last = f"t{len(shape.path)}.{quoted(shape.subject)}"
    using = ", ".join(f"{quoted(name)} t{at}" for at, name in enumerate(tables) if at)
    among = f"ANY($1::{_ARRAYS[shape.subject_type]})"
    exact = [f'CAST({last} AS varchar) COLLATE "C" = {among}'] if shape.subject_type is str else []
    where = " AND ".join([*joins, f"{last} = {among}", *exact])
    row = ", ".join(f"t0.{quoted(name)}" for name in shape.columns)
    own = f'{_VERSION_OF.format(name="t0")} "~v"' if versions else f'CAST(ROW({row}) AS text) "~row"'
    told = _VERSIONS if versions else f'"~subject", {_DIGEST}'
    # Names are the database's own, quoted.
    return (
        f"WITH gone AS (DELETE FROM {quoted(tables[0])} t0 {f'USING {using}' if using else ''} WHERE {where} "  # noqa: S608
        f'RETURNING CAST({last} AS varchar) "~subject", {own}) '
        f"SELECT {told} FROM gone {'' if versions else 'GROUP BY 1'}"
    )


def quoted(name: str) -> str:
    """A name as a statement has it."""
    return '"' + name.replace('"', '""') + '"'
