"""What a deployment says of a store's tables and what its database says of them in, the statements to read, write and
delete their rows by subject out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.types import NullType, TypeEngine

from residency.adapters.records_sql.cascades import Cascade, cascades, hidden
from residency.errors import SinkUnavailable
from residency.policy.parsed_storage import RecordDoc
from residency.storage.lasting import lasting

__all__ = ["Reference", "Shape", "cased", "shapes", "text_of"]

_DEPTH: Final = 8  # tables that lead to a subject one by one
_EXACT: Final = (
    sa.String, sa.Integer, sa.Boolean, sa.Numeric, sa.Uuid, sa.DateTime, sa.Date, sa.Time, sa.LargeBinary, NullType,
)  # fmt: skip
"""Types whose values drivers give and take unchanged, and those that nobody here knows."""


class _AsText(sa.types.UserDefinedType[str]):
    """A column read and written as the server's own text: what drivers make of `jsonb` or `interval` is not all of it
    (a SQL NULL becomes JSON's null, a month thirty days, 1.10 becomes 1.1)."""

    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
        return sa.cast(column, sa.Text)

    def bind_expression(self, bind: sa.BindParameter[Any]) -> sa.ColumnElement[Any]:
        return sa.cast(sa.type_coerce(bind, sa.Text), self.of)


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: values of `columns` are the `keys` of a row of `table`. `named` = as `records` calls that table,
    where it tells whose its rows are. `name` is the constraint's; None where the database gave it none."""

    name: str | None
    columns: tuple[str, ...]
    table: str
    schema: str | None
    keys: tuple[str, ...]
    named: str | None


def text_of(kind: TypeEngine[Any], value: object, *, texts: bool) -> sa.ColumnElement[Any]:
    """A value of a column of this type as a statement has it; `texts` = it is the server's own text."""
    if texts or isinstance(kind, _AsText):
        of = kind.of if isinstance(kind, _AsText) else kind
        return sa.cast(sa.bindparam(None, value, sa.Text()), of)
    told = sa.bindparam(None, value, kind)
    return told if isinstance(kind, NullType) else sa.cast(told, kind)


@dataclass(frozen=True, slots=True)
class Shape:
    """One table: what is read of it, in order, and how its rows lead to their subject.

    `path` are the joins, as (column here, table there, its key); `subject` the column of the last table. `cascades` is
    what goes or changes with its rows, `references` what they refer to.
    """

    doc: RecordDoc
    table: sa.TableClause
    columns: tuple[str, ...]
    key: tuple[str, ...]
    path: tuple[tuple[str, Shape, str], ...]
    subject: str
    subject_type: type
    cascades: tuple[Cascade, ...] = ()
    references: tuple[Reference, ...] = ()

    def rows(self, subjects: Collection[str] | None = None) -> sa.Select[Any]:
        """Whose each row is (as text, in the column `~subject`) and the row; of these subjects, or of all."""
        here, source = self.table, self.joined()
        column = self.subject_column()
        told = sa.cast(column, sa.String).label("~subject")
        query = sa.select(told, *[here.c[name] for name in self.columns]).select_from(source)
        if subjects is None:
            return query.where(column.is_not(None))
        return query.where(column.in_(self.ids(subjects)))

    def keys(self, subjects: Collection[str]) -> sa.Select[Any]:
        """Whose each row of these subjects is, as text, and its key."""
        column = self.subject_column()
        keys = [self.table.c[name].label(f"~{name}") for name in self.key]
        query = sa.select(sa.cast(column, sa.String).label("~subject"), *keys).select_from(self.joined())
        return query.where(column.in_(self.ids(subjects)))

    def whole(self) -> sa.Select[Any]:
        """As `rows`, with those that lead to nobody: their `~subject` is NULL."""
        told = sa.cast(self.subject_column(), sa.String).label("~subject")
        return sa.select(told, *[self.table.c[name] for name in self.columns]).select_from(self.joined(outer=True))

    def subjects(self, dialect: str) -> sa.Select[Any]:
        """The subjects' ids as text, each once."""
        # By their bytes, whatever language the database speaks, and though the column may not tell `a` from `A`.
        told = sa.cast(self.subject_column(), sa.String).collate("C" if dialect == "postgresql" else "BINARY")
        column = self.subject_column()
        return sa.select(told.label("id")).select_from(self.joined()).where(column.is_not(None)).distinct()

    def ids(self, subjects: Collection[str]) -> list[Any]:
        """Subjects' ids as the column holds them; those that it cannot hold are left out."""
        if self.subject_type is str:
            return list(subjects)
        found: list[Any] = []
        for each in subjects:
            try:
                value = self.subject_type(each)
            except (ValueError, TypeError):
                continue
            if str(value) == each:  # `+7` is nobody's id, and not that of 7
                found.append(value)
        return found

    @property
    def direct(self) -> bool:
        """Whether the table has the subject's id itself."""
        return not self.path

    def joined(self, *, outer: bool = False) -> sa.FromClause:
        """The table and those that lead from it to its subject; `outer` = where they are there."""
        source: sa.FromClause = self.table
        here = self.table
        for column, there, key in self.path:
            source = source.join(there.table, here.c[column] == there.table.c[key], isouter=outer)
            here = there.table
        return source

    def leading(self, here: Any, source: sa.FromClause) -> tuple[sa.FromClause, sa.ColumnElement[Any]]:
        """`source` with what leads from `here`, an alias of the table in it, to its subject; that one's column."""
        for at, (column, there, key) in enumerate(self.path):
            further = there.table.alias(f"s{at}")
            source = source.join(further, here.c[column] == further.c[key], isouter=True)
            here = further
        return source, here.c[self.subject]

    def subject_column(self) -> sa.ColumnElement[Any]:
        """The column that holds the subject's id."""
        last = self.path[-1][1].table if self.path else self.table
        return last.c[self.subject]


def shapes(connection: sa.Connection, sink: str, docs: Sequence[RecordDoc]) -> tuple[Shape, ...]:
    """A shape for each table that `docs` name and that leads to a subject, parents before children.

    Raises: SinkUnavailable where the database has no such table or column, a table has no primary key, or this user is
    shown some rows only.
    """
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    by_name = {doc.name: doc for doc in docs}
    names = sorted(doc.name for doc in docs if (doc.subject or doc.via) and doc.name in there)
    following = cascades(connection, names)
    if (table := hidden(connection, names)) is not None:
        raise _unfit(f"sink {sink!r}: row-level security hides rows of table {table!r} from this user")
    made: dict[str, Shape] = {}
    fold = str.lower if connection.dialect.name == "sqlite" else str
    whose = {fold(name): name for name in names}

    def make(name: str, depth: int = 0) -> Shape | None:
        if name in made:
            return made[name]
        doc = by_name.get(name)
        if doc is None or (doc.subject is None and doc.via is None):
            return None  # nobody's
        if depth > _DEPTH:
            raise _unfit(f"sink {sink!r}: the tables that `via` names lead in a circle")
        if name not in there:
            raise _unfit(f"sink {sink!r} has no table {name!r}, which `records` names")
        path: tuple[tuple[str, Shape, str], ...] = ()
        subject = doc.subject
        parent = None
        if doc.via is not None:
            parent = make(doc.via[1], depth + 1)
            if parent is None or len(parent.key) != 1:
                raise _unfit(f"sink {sink!r}: table {name!r} leads via a table that leads to nobody")
            path = ((doc.via[0], parent, parent.key[0]), *parent.path)
            subject = parent.subject
        described = _describe(inspector, connection.dialect.name, sink, doc)
        kind = parent.subject_type if parent is not None else described[2]
        more = following.get(name, ())
        refers = tuple(
            Reference(
                each["name"],
                cased(each["constrained_columns"], described[3]),
                str(each["referred_table"]),
                each["referred_schema"],
                tuple(each["referred_columns"]),
                whose.get(fold(str(each["referred_table"]))) if each["referred_schema"] is None else None,
            )
            for each in inspector.get_foreign_keys(name)
        )
        made[name] = Shape(doc, described[0], described[3], described[1], path, subject or "", kind, more, refers)
        return made[name]

    for doc in docs:
        make(doc.name)
    return _ordered(made)


def _unfit(what: str) -> SinkUnavailable:
    return lasting(SinkUnavailable(what))


def _describe(
    inspector: sa.Inspector, dialect: str, sink: str, doc: RecordDoc
) -> tuple[sa.TableClause, tuple[str, ...], type, tuple[str, ...]]:
    """(the table, its key, the type of the subject's column, its columns in a fixed order)."""
    listed = inspector.get_columns(doc.name)
    types: dict[str, TypeEngine[Any]] = {
        str(each["name"]): each["type"] for each in listed if each.get("computed") is None
    }
    wanted = [*([doc.subject] if doc.subject else []), *([doc.via[0]] if doc.via else []), *doc.times.values()]
    for name in wanted:
        if name not in types:
            raise _unfit(f"sink {sink!r}: table {doc.name!r} has no column {name!r}, which `records` names")
    key = tuple(inspector.get_pk_constraint(doc.name)["constrained_columns"])
    if not key:
        raise _unfit(f"sink {sink!r}: table {doc.name!r} has no primary key, so its rows cannot be told apart")
    # SQLite holds what it was given, whatever a column is declared as: read back untouched it stays what it was.
    columns = [
        sa.column(name, NullType() if dialect == "sqlite" else kind if isinstance(kind, _EXACT) else _AsText(kind))
        for name, kind in sorted(types.items())
    ]
    kind: type = str
    if doc.subject is not None:
        kind = _python_type(types[doc.subject])
    return sa.table(doc.name, *columns), key, kind, tuple(sorted(types))


def _python_type(column: TypeEngine[Any]) -> type:
    try:
        kind = column.python_type
    except NotImplementedError:
        return str
    return kind if kind in (int, UUID) else str


def cased(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Columns as the table itself writes them: SQLite tells of a foreign key as it was written there."""
    known = {each.lower(): each for each in columns}
    return tuple(each if each in columns else known.get(each.lower(), each) for each in names)


def _ordered(made: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """What others refer to comes first: by foreign keys, and by `via`. A circle is taken as it comes."""
    needs = {
        name: {each.named or each.table for each in shape.references} | {step[1].doc.name for step in shape.path}
        for name, shape in made.items()
    }
    ordered: list[Shape] = []
    left = dict(made)
    while left:
        ready = [name for name in left if not (needs[name] - {name}) & left.keys()] or [next(iter(left))]
        for name in ready:
            ordered.append(left.pop(name))
    return tuple(ordered)
