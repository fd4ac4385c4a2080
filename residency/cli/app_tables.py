"""An app that was imported in; its tables out, with where each table and column stands in the source.

SQLAlchemy's: every `MetaData` that a name in one of the app's modules is or has, as a model has its own.
"""

from __future__ import annotations

import ast
import gc
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from residency.cli.app_source import Source, dotted, parse_source
from residency.errors import UsageError
from residency.policy.identifiers import AppColumn, AppTable

__all__ = ["alive", "app_tables", "metadata_of"]

_NOWHERE: Final = ("", 1)
Place = tuple[str, int]


def app_tables(modules: Iterable[ModuleType], sources: Iterable[Source]) -> tuple[AppTable, ...]:
    """The tables of the app's modules, by name; `sources` are its own files."""
    if "sqlalchemy" not in sys.modules:
        return ()
    held = {id(each): each for module in modules for each in _metadata(module)}
    tables = [table for each in held.values() for table in each.tables.values()]
    places = _Places(sources)
    return tuple(sorted((_table(table, places) for table in tables), key=lambda table: (table.name, table.file)))


def _metadata(module: ModuleType) -> Iterator[Any]:
    from sqlalchemy import MetaData  # the app's own choice

    for value in list(vars(module).values()):
        # By `type` and its own attributes: lazy objects of frameworks would wake at the question.
        if issubclass(type(value), MetaData):
            yield value
        elif isinstance(value, type) and issubclass(type(found := getattr(value, "metadata", None)), MetaData):
            yield found


def metadata_of(found: Any, target: str) -> Any:
    """The `MetaData` that `found` is or has; `target` is what it was asked for as. Raises: UsageError."""
    tables = getattr(found, "metadata", found)
    if not hasattr(tables, "sorted_tables"):
        raise UsageError(f"{target} is no MetaData of SQLAlchemy's and has none")
    return tables


def alive(kind: type) -> list[Any]:
    """Every object of this type that is alive, however it is held."""
    # By `type`, not `isinstance`: lazy objects of frameworks would wake at the question.
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]


def _table(table: Any, places: _Places) -> AppTable:
    alone = {
        each.name
        for group in (*table.constraints, *table.indexes)
        if (type(group).__name__ == "UniqueConstraint" or getattr(group, "unique", False)) and len(group.columns) == 1
        for each in group.columns
    }
    columns = []
    for column in table.columns:
        file, line = places.column(table, column)
        unique = bool(column.unique) or column.name in alone
        kind = type(column.type).__name__
        columns.append(AppColumn(column.name, file, line, kind, primary=bool(column.primary_key), unique=unique))
    return AppTable(table.name, *places.table(table), tuple(columns), _counts(table))


def _counts(table: Any) -> str:
    """The column of the table's key that counts up alike in every database, empty where none does."""
    from residency.adapters.session_sql import check_keys, is_ranged

    if any(is_ranged(column.default) for column in table.primary_key.columns if hasattr(column.default, "increment")):
        return ""
    try:
        check_keys([table], "", ("", ""))
    except UsageError:
        counted = table.autoincrement_column
        named = counted if counted is not None else next(iter(table.primary_key.columns))
        return str(named.name)
    return ""


class _Places:
    """Where tables and columns are defined: in classes that are mapped to them, else in calls of `Table`."""

    def __init__(self, sources: Iterable[Source]) -> None:
        from sqlalchemy.orm import registry

        self._parsed: dict[str, Source | None] = {}
        self._classes = {mapper.local_table: mapper.class_ for each in alive(registry) for mapper in each.mappers}
        self._calls = dict(_table_calls(sources))

    def table(self, table: Any) -> Place:
        """Where the table is defined."""
        mapped = self._classes.get(table)
        found = None if mapped is None else self._class(mapped)
        if found is not None:
            return found[0].file, found[1].lineno
        call = self._calls.get(table.name)
        return _NOWHERE if call is None else (call[0], call[1].lineno)

    def column(self, table: Any, column: Any) -> Place:
        """Where the column is defined, or else its table."""
        mapped = self._classes.get(table)
        for each in () if mapped is None else mapped.__mro__:
            found = self._class(each)
            for statement in () if found is None else found[1].body:
                if found is not None and _names_of(statement) & {column.key, column.name}:
                    return found[0].file, statement.lineno
        call = self._calls.get(table.name)
        for argument in () if call is None else call[1].args:
            if call is not None and isinstance(argument, ast.Call) and _first(argument) == column.name:
                return call[0], argument.lineno
        return self.table(table)

    def _class(self, cls: type) -> tuple[Source, ast.ClassDef] | None:
        try:
            file = inspect.getsourcefile(cls)
        except TypeError:  # built in
            return None
        if file is None:
            return None
        if file not in self._parsed:
            self._parsed[file] = parse_source(Path(file))
        source = self._parsed[file]
        for node in ast.walk(source.tree) if source is not None else ():
            if source is not None and isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                return source, node
        return None


def _names_of(statement: ast.stmt) -> set[str]:
    """What an assignment in a class gives a name, and the name that it gives the column."""
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    elif isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        return set()
    named = {target.id for target in targets if isinstance(target, ast.Name)}
    first = _first(statement.value) if isinstance(statement.value, ast.Call) else None
    return named | ({first} if first is not None else set())


def _first(call: ast.Call) -> str | None:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _table_calls(sources: Iterable[Source]) -> Iterator[tuple[str, tuple[str, ast.Call]]]:
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and (name := _first(node)) is not None:
                called = dotted(node.func, source.names)
                if called is not None and called.startswith("sqlalchemy") and called.endswith(".Table"):
                    yield name, (source.file, node)
