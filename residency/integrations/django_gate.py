"""A statement, and the database that it is for, in; whether the unit of work that is open there lets it through, out.

Where a process serves, nothing reaches a sink but in a unit of work. A process that serves nothing (`manage.py`) is not
held up. What a unit sends is looked at by whose rows it tells of and writes (`django_looked`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.db import Error, connections
from django.db.backends.signals import connection_created
from django.db.models.deletion import Collector

from residency.enforcement.acts import Act
from residency.enforcement.context import current
from residency.errors import NoDecision, UsageError
from residency.integrations.django_compiled import judging
from residency.integrations.django_driver import keep
from residency.integrations.django_errors import raise_ours, telling
from residency.integrations.django_looked import Looking
from residency.integrations.django_stores import check_text, elsewhere
from residency.storage.statements import goes_around
from residency.wiring.lifetimes import serving

__all__ = ["MARK", "Unit", "units", "wait"]

MARK: Final = "RESIDENCY_STORES"
"""Under this key a database's settings hold the stores that it is a sink of."""
_NEVER: Final = frozenset({"callproc", "executescript"})
"""What commits, or is text of nobody's making; execute() does the same."""


@dataclass(slots=True)
class Unit:
    """One open unit of work; statements pass once `open`, and until it is `over`, when its COMMIT was sent."""

    alias: str
    act: Act
    connection: Any
    """Its thread's own: another thread's is in no transaction of this unit."""
    looking: Looking | None = None
    """Who looks at whose rows it tells of and writes."""
    open: bool = False
    over: bool = False
    done: bool = False
    error: BaseException | None = None
    """What the app's own code raised inside."""

    def committed(self) -> None:
        """The transaction is committed."""
        self.done = True
        self.act.outcome("committed")


units: ContextVar[Mapping[str, Unit]] = ContextVar("residency_django_units", default={})  # noqa: B039 - never changed


def wait(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Await something within a sync view. Raises: UsageError on the event loop."""

    async def awaited() -> None:  # asgiref warns of what it does not know for a coroutine's function
        await work()

    try:
        async_to_sync(awaited)()
    except RuntimeError as error:
        raise UsageError("a unit of work belongs in a sync view, or under sync_to_async: not on the loop") from error


def _guard(sender: object, connection: Any, **named: Any) -> None:
    if connection.settings_dict.get(MARK) is None:
        return
    if _gate not in connection.execute_wrappers:
        _surround(connection)
    try:
        here = _unit_of(connection)  # the cursor that this connection was opened for was asked for before
        if here is not None and here.open:
            raise UsageError("a unit of work keeps the connection that it began on: its transaction is there")
    except BaseException:
        connection.close()
        raise


def _surround(connection: Any) -> None:
    connection.execute_wrappers.append(_gate)
    # What a cursor hands through to its driver (`copy`, `callproc`) meets no wrapper, so there is no cursor either.
    make = connection._cursor

    def cursor(name: str | None = None) -> Any:
        _unit_of(connection)
        return make(name)

    connection._cursor = cursor
    for maker in ("make_cursor", "make_debug_cursor"):
        setattr(connection, maker, telling(getattr(connection, maker), _changes, _check_past, _keeps))
    compiler = connection.ops.compiler
    connection.ops.compiler = lambda name: judging(compiler(name), _looking)
    keep(connection, _keeps)


def _unit_of(connection: Any) -> Unit | None:
    """The unit that may use a sink by its `connection` now; None in a process that serves nothing: one that migrates,
    say.

    Raises: UsageError where a request has none, or has it in another thread, NoDecision where this process serves and
    there is no request: a thread that was started without its context, for one.
    """
    alias = connection.alias
    found = [each for each in units.get().values() if each.alias == alias and not each.over]
    here = next((each for each in found if each.connection is connection), None)
    if here is None and found:
        raise UsageError(f"a unit of work on sink {alias!r} is of the thread that opened it: open one in each")
    if here is None:
        try:
            current()
        except NoDecision:
            if serving():
                raise
            return None
        raise UsageError(f"inside a request a statement reaches sink {alias!r} in a unit of work only")
    return here


def _looking(connection: Any) -> Looking | None:
    """Who looks at what goes over a connection. Raises: as `_unit_of`."""
    here = _unit_of(connection)
    return None if here is None else here.looking


def _serves() -> bool:
    """Whether this process serves, in a request or not."""
    try:
        current()
    except NoDecision:
        return serving()
    return True


def _keeps(connection: Any) -> bool:
    """Whether the driver's own of a connection is kept from an app: wherever a process serves."""
    try:
        return _unit_of(connection) is not None
    except (NoDecision, UsageError):
        return True


def _check_past(connection: Any, name: str, statement: Any) -> None:
    """Refuse what a driver's cursor can send past all wrappers. Raises: UsageError."""
    here = _unit_of(connection)
    if here is None:
        return
    if name in _NEVER or (here.looking is not None and not here.looking.is_vouched()):
        raise UsageError(f"a unit of work takes no {name}(), which nobody can look at: use execute()")
    _check_around(here, _text(connection, statement))


def _check_around(here: Unit, text: str) -> None:
    if here.open and goes_around(text):
        raise UsageError("a unit of work takes no statement that ends its transaction or reaches another database")


def _text(connection: Any, statement: Any) -> str:
    """What a driver is given, of which psycopg's may be composed of parts."""
    if isinstance(statement, str):
        return statement
    if hasattr(statement, "as_string"):
        return str(statement.as_string(connection.connection))
    return statement.decode("utf-8", "surrogateescape") if isinstance(statement, bytes) else str(statement)


def _gate(execute: Callable[..., Any], statement: Any, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
    """Let through what a unit of this sink sends, and what a process sends that serves nothing: migrations, for one."""
    alias = context["connection"].alias
    here = _unit_of(context["connection"])
    if here is None:
        return execute(statement, parameters, many, context)
    text = _text(context["connection"], statement)
    _check_around(here, text)
    if here.looking is not None:
        here.looking.check_text(text, parameters)
    try:
        return execute(statement, parameters, many, context)
    except Error as error:
        raise_ours(alias, error, changes=here.act.changes)
        raise


def _changes(alias: str) -> bool | None:
    """Whether the unit that is open on the sink `alias` changes data, also while it ends; None where there is none."""
    return next((each.act.changes for each in units.get().values() if each.alias == alias), None)


def _created(alias: str) -> Any:
    """A connection that Django makes, of whose statements the first is made before it is opened."""
    connection = _create(alias)
    if connection.settings_dict.get(MARK) is None:
        compiler = connection.ops.compiler
        connection.ops.compiler = lambda name: elsewhere(compiler(name), _serves)
        connection.execute_wrappers.append(_beside)
    return connection


def _beside(execute: Callable[..., Any], statement: Any, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
    """Let through what a database that is no sink is sent, but for an app's own text that names tables of a store."""
    connection = context["connection"]
    check_text(connection, _text(connection, statement), _serves)
    return execute(statement, parameters, many, context)


def _deletes_at_once(collector: Any, objs: Any, from_field: Any = None) -> bool:
    """Whether rows are deleted without being found before: not in a unit that looks at them, where these are deleted
    along, or nothing says whose they are."""
    if not _can_fast_delete(collector, objs, from_field):
        return False
    here = next((each.looking for each in units.get().values() if each.alias == collector.using), None)
    return here is None or not here.finds_first(None if from_field is not None else getattr(objs, "query", None))


_can_fast_delete = Collector.can_fast_delete
Collector.can_fast_delete = _deletes_at_once
_create = connections.create_connection
connections.create_connection = _created
connection_created.connect(_guard)
