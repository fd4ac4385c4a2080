"""Django's databases and caches, routed: settings in, a router, a unit of work and a cache backend out.

    DATABASES = {"default": {…}, **databases("residency.yaml")}        # one for each sink of rows, under its name
    DATABASE_ROUTERS = ["residency.integrations.django.StoreRouter"]
    RESIDENCY_STORES = {"people": ["shop.Person", "shop.Address"]}     # a store's models, or whole apps

    with unit("people"):                                               # in a sync view, or under sync_to_async
        Person.objects.create(name="An")

A unit is one act: the transaction of one sink, with its intent before and its outcome after. Outside a unit a routed
model has no database, and in a process that serves no statement reaches a sink past its unit, `using(…)` included.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.signals import got_request_exception
from django.db import Error, connections, transaction
from sqlalchemy import URL

from residency import wiring
from residency.adapters import policy_files
from residency.adapters.sink_sql import SqlSink
from residency.asgi.answers import ours
from residency.enforcement.acts import Act
from residency.enforcement.admission import CHANGES
from residency.enforcement.context import current
from residency.enforcement.moving import WaitFirstError
from residency.errors import NoDecision, Unavailable, UsageError
from residency.integrations.django_driver import lead
from residency.integrations.django_errors import raise_ours
from residency.integrations.django_gate import MARK, Unit, units, wait
from residency.integrations.django_looked import Looking
from residency.integrations.django_stores import models_of_stores, store_of
from residency.integrations.django_whose import own_rows
from residency.model import Operation
from residency.storage.handle import StoreHandle, backend_of
from residency.wiring.lifetimes import serving

__all__ = ["StoreCache", "StoreRouter", "databases", "own_rows", "unit"]


def databases(policy: str | Path, *, env: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """What `DATABASES` must have of a deployment: each sink of rows under its own name.

    Raises: PolicyError, SinkUnavailable for a URL that cannot be used.
    """
    loaded = policy_files.load(Path(policy), env)
    deployment, base = loaded.deployment, Path(loaded.base)
    found = {}
    for name, sink in wiring.sinks(deployment, lambda written: base / written, base).items():
        if isinstance(sink, SqlSink):
            url = sink.blocking_url
            backend = "sqlite3" if url.get_backend_name() == "sqlite" else "postgresql"
            found[name] = {
                "ENGINE": f"django.db.backends.{backend}",
                "NAME": url.database or "",
                "USER": url.username or "",
                "PASSWORD": url.password or "",
                "HOST": url.host or "",
                "PORT": str(url.port or ""),
                # What the environment says of libpq's does not go before the URL.
                "OPTIONS": {} if backend == "sqlite3" else {**_libpq(url), **sink.blocking_arguments},
                MARK: tuple(store for store, names in deployment.stores.items() if name in names),
            }
    return found


def _libpq(url: URL) -> dict[str, Any]:
    """What a URL's query says to libpq: `options` with a schema, hosts, `application_name`."""
    from psycopg.pq import Conninfo

    known = {each.keyword.decode() for each in Conninfo.get_defaults()}
    said = {name: url.query[name] for name in url.query.keys() & known}
    return {name: each if isinstance(each, str) else ",".join(each) for name, each in said.items()}


@contextmanager
def unit(store: str, *, sink: str | None = None) -> Iterator[str]:
    """One unit of work on `store`: a transaction on the sink that the decision names, whose alias it gives.

    An error inside rolls it back. In an activity that only reads, nothing that was done is kept. `sink` asks for one of
    the store's sinks by name: it is that one or a refusal. What `on_commit` was given runs after the unit: where it
    uses the store, in a unit of its own.

    Raises: NoDecision outside a request, Refused, SubjectUnknown, UsageError (a unit is open on this store already, no
    database under the sink's name), Unavailable (SinkUnavailable, with the sink's name, where the database is away or
    full or has no such table), on the event loop Django's SynchronousOnlyOperation; then nothing was written, or its
    intent stays open. Errors of statements stay Django's own, and quote no value.
    """
    here = current()
    before = units.get().get(store)
    if before is not None and not before.over and before.connection is connections[before.alias]:
        raise UsageError(f"a unit of work on store {store!r} is open already")
    handle = here.store(store)
    act = _begun(handle, sink=sink)
    subject = here.subject_digest
    connection = connections[act.sink] if act.sink in connections else None  # noqa: SIM401 - it has no get()
    backend = backend_of(handle, act.sink)
    changes, sent = act.operation in CHANGES, False
    made = Unit(act.sink, act, connection, Looking.of(here, store, act.sink, wait, changes=changes))
    token = units.set({**units.get(), store: made})
    try:
        if connection is None:
            raise UsageError(f"DATABASES has no {act.sink!r}: add what databases() gives")
        if isinstance(backend, SqlSink):
            lead(connection, backend)
        if not changes:
            wait(act.confirm)
        with _told(made), _reading(act.sink, changes), transaction.atomic(using=act.sink, durable=True):
            if not changes and connections[act.sink].vendor == "postgresql":
                _execute(act.sink, "SET TRANSACTION READ ONLY")
            # The first hook, so that one of the app's that raises leaves no doubt about what is committed.
            transaction.on_commit(made.committed, using=act.sink)
            made.open = True
            try:
                try:
                    yield act.sink
                except BaseException as error:
                    made.error = error
                    raise
                if current() is not here or here.subject_digest != subject:
                    raise UsageError(f"a unit of work on store {store!r} ends under the decision it began under")
                if changes and not transaction.get_rollback(using=act.sink):
                    wait(act.confirm)
                    sent = made.over = True
            finally:
                made.open = False
                if not changes:
                    # A statement could have taken back what keeps this connection from writing; this it cannot.
                    transaction.set_rollback(True, using=act.sink)
    finally:
        units.reset(token)
        if not changes or not sent:
            act.outcome("rolled_back" if changes else "committed")
    if sent:
        act.outcome("committed")
        wait(act.settled)


@contextmanager
def _told(made: Unit) -> Iterator[None]:
    """Tell what the unit's own connecting, beginning and committing meets by the sink's name."""
    try:
        yield
    except Error as error:
        if error is not made.error and not made.done:
            raise_ours(made.alias, error, changes=made.act.changes)
        raise


@contextmanager
def _reading(alias: str, changes: bool) -> Iterator[None]:
    """Keep SQLite's connection from writing meanwhile, unless the unit `changes` data."""
    if changes or connections[alias].vendor != "sqlite":
        yield
        return
    _execute(alias, "PRAGMA query_only = ON")
    try:
        yield
    finally:
        _execute(alias, "PRAGMA query_only = OFF")


def _execute(alias: str, statement: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)


class StoreRouter:
    """A router for `DATABASE_ROUTERS`: models of `RESIDENCY_STORES` live in their store's sinks, and nowhere else."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """The sink of the open unit; None for a model of no store. Raises: NoDecision, UsageError without a unit."""
        store = store_of(model._meta.app_label, model._meta.model_name)
        if store is None:
            return None
        made = units.get().get(store)
        if made is None or made.over:
            try:
                current()
            except NoDecision:
                if serving():
                    raise
                near = getattr(getattr(hints.get("instance"), "_state", None), "db", None)
                if near is not None and store in connections[near].settings_dict.get(MARK, ()):
                    return str(near)  # where a command read what this is joined to
                raise NoDecision(
                    f"model {model._meta.label} is of store {store!r}, and without a request nothing says in which of "
                    "its sinks: name one by .using(…), or a command's --database"
                ) from None
            raise UsageError(
                f"model {model._meta.label} is of store {store!r}: use it inside `with unit({store!r})`, in a sync "
                "view or a function that is called by sync_to_async"
            )
        return made.alias

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        """Tables of a store's models are made in its sinks only, and in a sink no others."""
        stores = connections[db].settings_dict.get(MARK)
        store = store_of(app_label, model_name)
        if stores is None:
            return None if store is None else False
        if model_name is None:
            return any(
                app_label == name.partition(".")[0] for each in stores for name in models_of_stores().get(each, ())
            )
        return store in stores


class StoreCache(BaseCache):  # type: ignore[misc]  # Django has no types
    """A cache backend whose `LOCATION` is a store: each call is one act, in the cache named like the sink it goes to.

    Each sink of the store must be a cache of `CACHES` under its own name; two jurisdictions then share no key.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        """`location` is the store's name in the deployment file."""
        super().__init__(params)
        self._store = location

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """As Django's; so are the others. Raises: as `unit`."""
        return self._act(True, lambda cache: cache.add(key, value, timeout, version))

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """Read one value."""
        return self._act(False, lambda cache: cache.get(key, default, version))

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """Store one value."""
        return self._act(True, lambda cache: cache.set(key, value, timeout, version))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """Give a value another time to live."""
        return self._act(True, lambda cache: cache.touch(key, timeout, version))

    def delete(self, key: Any, version: Any = None) -> Any:
        """Remove one value."""
        return self._act(True, lambda cache: cache.delete(key, version))

    def has_key(self, key: Any, version: Any = None) -> bool:
        """Whether there is a value."""
        return bool(self._act(False, lambda cache: cache.has_key(key, version)))

    def clear(self) -> None:
        """Refused: it would take everybody's values, and a request is about one person's."""
        raise UsageError(f"the cache of store {self._store!r} is not cleared inside a request")

    def _act(self, changes: bool, work: Callable[[Any], Any]) -> Any:
        handle = current().store(self._store)
        # What a route that only reads keeps for later is no change of anybody's data, but it rests somewhere.
        act = _begun(handle, operation=handle.operation(Operation.WRITE) if changes and _changing() else None)
        try:
            if act.sink not in caches:
                raise UsageError(f"CACHES has no {act.sink!r}, which is a sink of store {self._store!r}")
            wait(act.confirm)
        except BaseException:
            act.outcome("failed")
            raise
        try:
            answer = work(caches[act.sink])
        except BaseException:
            act.outcome("unknown" if changes else "failed")
            raise
        act.outcome("committed")
        wait(act.settled)
        return answer


def _changing() -> bool:
    return current().operation in CHANGES


def _begun(handle: StoreHandle, *, sink: str | None = None, operation: Operation | None = None) -> Act:
    """As `StoreHandle.opened`. On the event loop, where units may not be, nothing is waited for."""
    try:
        return handle.begin(operation=operation, sink=sink, patient=True)
    except WaitFirstError as first:
        with suppress(UsageError), current().trail:
            wait(first.wait)
    return handle.begin(operation=operation, sink=sink)


def _remember(sender: object, **named: Any) -> None:
    """Note that a request fails for something that is away: Django answers 500 by itself, and the edge 503 instead."""
    error = ours(sys.exception())
    if isinstance(error, Unavailable):
        try:
            current().trail.met(error)
        except NoDecision:
            return


got_request_exception.connect(_remember)
