"""An app that was imported in; its tables out, with where each table and column stands in the source.

SQLAlchemy's: every `MetaData` that a name in one of the app's modules is or has, as a model has its own. Django's: the
models that its settings put into stores (`RESIDENCY_STORES`).
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

_STORES: Final = "RESIDENCY_STORES"
_NOWHERE: Final = ("", 1)
Place = tuple[str, int]


def app_tables(modules: Iterable[ModuleType], sources: Iterable[Source]) -> tuple[AppTable, ...]:
    """The tables of the app's modules, by name; `sources` are its own files."""
    classes = _Classes()
    found = [_model(model, classes) for model in _models()]
    if "sqlalchemy" in sys.modules:
        held = {id(each): each for module in modules for each in _metadata(module)}
        places = _Places(sources, classes)
        found += [_table(table, places) for each in held.values() for table in each.tables.values()]
    return tuple(sorted(found, key=lambda table: (table.name, table.file)))


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
        primary = bool(column.primary_key)
        columns.append(AppColumn(column.name, file, line, kind, primary, unique, _refers(column)))
    return AppTable(table.name, *places.table(table), tuple(columns), _counts(table), _ranged(table))


def _refers(column: Any) -> tuple[str, ...]:
    """The tables that its foreign keys name, also those that are not among the models."""
    return tuple(sorted({str(key.target_fullname).rpartition(".")[0] for key in column.foreign_keys}))


def _ranged(table: Any) -> str:
    """The column of the table's key that counts in a range of each database's own, empty where none does."""
    from residency.adapters.session_sql import is_ranged

    sequenced = (column for column in table.primary_key.columns if hasattr(column.default, "increment"))
    return next((str(column.name) for column in sequenced if is_ranged(column.default)), "")


def _counts(table: Any) -> str:
    """The column of the table's key that counts up alike in every database, empty where none does."""
    from residency.adapters.session_sql import check_keys

    if _ranged(table):
        return ""
    try:
        check_keys([table], "", ("", ""))
    except UsageError:
        counted = table.autoincrement_column
        named = counted if counted is not None else next(iter(table.primary_key.columns))
        return str(named.name)
    return ""


def _models() -> list[Any]:
    """Django's models that settings put into stores: by their label, or a whole app's."""
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    apps = getattr(sys.modules.get("django.apps"), "apps", None)
    if settings is None or apps is None or not settings.configured or not apps.models_ready:
        return []
    named = {label.lower() for labels in getattr(settings, _STORES, {}).values() for label in labels}
    return [each for each in apps.get_models() if not named.isdisjoint({each._meta.label_lower, each._meta.app_label})]


def _model(model: Any, classes: _Classes) -> AppTable:
    found = classes.find(model)
    here = _NOWHERE if found is None else (found[0].file, found[1].lineno)
    columns = tuple(
        AppColumn(
            field.column,
            *(classes.attribute(model, {field.name}) or here),
            kind=type(field).__name__.removesuffix("Field"),
            primary=bool(field.primary_key),
            unique=bool(field.unique),
            refers=_constrained(field),
        )
        for field in model._meta.local_concrete_fields
    )
    key = model._meta.pk
    counts = key.column if any(each.__name__ == "AutoFieldMixin" for each in type(key).__mro__) else ""
    return AppTable(model._meta.db_table, *here, columns, counts)


def _constrained(field: Any) -> tuple[str, ...]:
    """The table that a foreign key of Django's leads to, where the database holds the row to it."""
    remote = getattr(field, "remote_field", None)
    return () if remote is None or not field.db_constraint else (str(remote.model._meta.db_table),)


class _Classes:
    """Where classes and their attributes stand in the source."""

    def __init__(self) -> None:
        self._parsed: dict[str, Source | None] = {}

    def find(self, cls: type) -> tuple[Source, ast.ClassDef] | None:
        """The class itself, None where it is built in or its source is not at hand."""
        try:
            file = inspect.getsourcefile(cls)
        except (TypeError, OSError):  # built in, or made by a program
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

    def attribute(self, cls: type, names: set[str]) -> Place | None:
        """What the class, or one that it inherits from, gives one of these names."""
        for each in cls.__mro__:
            found = self.find(each)
            for statement in () if found is None else found[1].body:
                if found is not None and _names_of(statement) & names:
                    return found[0].file, statement.lineno
        return None


class _Places:
    """Where tables and columns are defined: in classes that are mapped to them, else in calls of `Table`."""

    def __init__(self, sources: Iterable[Source], classes: _Classes) -> None:
        from sqlalchemy.orm import registry

        self._found = classes
        self._classes = {mapper.local_table: mapper.class_ for each in alive(registry) for mapper in each.mappers}
        self._calls = dict(_table_calls(sources))

    def table(self, table: Any) -> Place:
        """Where the table is defined."""
        mapped = self._classes.get(table)
        found = None if mapped is None else self._found.find(mapped)
        if found is not None:
            return found[0].file, found[1].lineno
        call = self._calls.get(table.name)
        return _NOWHERE if call is None else (call[0], call[1].lineno)

    def column(self, table: Any, column: Any) -> Place:
        """Where the column is defined, or else its table."""
        mapped = self._classes.get(table)
        found = None if mapped is None else self._found.attribute(mapped, {column.key, column.name})
        if found is not None:
            return found
        call = self._calls.get(table.name)
        for argument in () if call is None else call[1].args:
            if call is not None and isinstance(argument, ast.Call) and _first(argument) == column.name:
                return call[0], argument.lineno
        return self.table(table)


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
