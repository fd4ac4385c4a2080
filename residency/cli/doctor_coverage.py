"""For `residency doctor`: a deployment and its app in; what is covered, by what, and what is not, out.

Covered is what goes through residency's own stores. Everything else an app does is its own, and only listed here as far
as it can be seen: in the deployment file, in the databases, in the app's source and in what importing it made.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from residency import wiring
from residency.asgi.routing import read_routes
from residency.cli.app_routes import spelled
from residency.cli.app_source import Source, imported, own_modules, own_sources
from residency.cli.app_tables import app_tables
from residency.cli.bypass import bypasses, uses, wraps
from residency.cli.bypass_loaded import Before, Engine, django_places, engines_since, libraries_since, look
from residency.cli.doctor_findings import Finding
from residency.errors import UsageError
from residency.model.data import expand
from residency.policy.compiler import Policy

__all__ = ["App", "of_app", "of_policy", "of_tables", "seen"]

_PEOPLES: Final = frozenset({"personal", "account", "relationship", "content", "transaction"})
_PASSED: Final = "move, retention, erasure and export pass {} by"
_RECORDS: Final = (
    "name {} in `records`, with whose they are (docs/how-to/move.md); what is nobody's needs a name only where "
    "lists bring it along"
)
# What a library that is told anyway stands on.
_BROUGHT: Final = {
    "requests": "urllib3", "boto3": "botocore s3transfer urllib3", "botocore": "urllib3",
    "aioboto3": "aiobotocore boto3",
    "celery": "kombu", "motor": "pymongo", "mongoengine": "pymongo", "beanie": "pymongo motor", "sentry_sdk": "urllib3",
    "elasticsearch": "urllib3", "opensearchpy": "urllib3", "google.cloud.storage": "requests urllib3",
    "stripe": "requests urllib3", "twilio": "requests urllib3", "litellm": "openai", "minio": "urllib3",
}  # fmt: skip
# Of migration programs, of databases themselves, and our own.
_OTHERS: Final = re.compile(
    r"residency_.*|alembic_version|django_migrations|sqlite_.*|spatial_ref_sys|schema_migrations"
)


@dataclass(frozen=True, slots=True)
class App:
    """An app that was imported: itself, its own source, what could not be read, its tables and what it loaded."""

    target: str
    app: object
    sources: tuple[Source, ...]
    unread: tuple[str, ...]
    tables: tuple[str, ...]
    before: Before
    libraries: tuple[str, ...]


def seen(target: str) -> App:
    """Import the app that `target` ("shop.main:app") names, and look at it. Raises: UsageError."""
    before = look()
    app = imported(target)
    libraries = libraries_since(before)
    sources, unread = own_sources(target)
    tables = tuple(dict.fromkeys(table.name for table in app_tables(own_modules(target), sources)))
    return App(target, app, sources, unread, tables, before, libraries)


def of_policy(policy: Policy) -> Iterator[Finding]:
    """What the deployment itself leaves open."""
    document = policy.deployment
    idle, elsewhere = [], []
    for index, activity in enumerate(document.activities):
        where = document.source.problem(("activities", index), "")
        place = f"{where.file}:{where.line}"
        service = document.http.get(activity.name)
        if service is not None and service not in document.stores:
            elsewhere.append((service, place))
        elif not activity.stores and not _PEOPLES.isdisjoint(expand(activity.data)):
            idle.append(place)
    if idle:
        yield Finding(
            "warn",
            f"{_several(len(idle), 'activity takes', 'activities take')} people's data and name no store: where "
            "it goes is neither decided nor recorded",
            "name its `store`, or the service that it calls (`http`): docs/reference/policy-files.md",
            tuple(idle),
        )
    for service in dict.fromkeys(name for name, _ in elsewhere):
        yield Finding(
            "warn",
            f"`http: {service}` is no store: calls of it are not seen",
            f"name its endpoints as sinks of a store `{service}`: docs/how-to/outgoing-calls.md",
            tuple(place for name, place in elsewhere if name == service),
        )


def of_tables(policy: Policy, there: Mapping[str, Collection[str]], app: App | None) -> Iterator[Finding]:
    """What no `records` name; `there` are the tables of each sink of rows, as its database has them."""
    document = policy.deployment
    rows = [store for store in document.stores if _kind(policy, store) == "rows"]
    named = {doc.name for docs in document.records.values() for doc in docs}
    for store in document.stores:
        docs, kind = document.records.get(store, ()), _kind(policy, store)
        if kind == "objects" and not docs:
            what = f"store {store}: no pattern in `records` says whose its objects are: {_PASSED.format('them')}"
            yield Finding("warn", what, _RECORDS.format("their patterns"))
        if kind != "rows":
            continue
        for sink in document.stores[store]:
            gone = sorted({doc.name for doc in docs} - set(there[sink])) if sink in there else []
            if gone:
                what = (
                    f"sink {sink} lacks {_several(len(gone), 'table', 'tables')} that `records` name: {', '.join(gone)}"
                )
                mend = f"`residency sinks migrate` or `create-all` with --store {store} (docs/how-to/rows.md)"
                yield Finding("warn", what, mend)
        tables = {table for sink in document.stores[store] for table in there.get(sink, ())} | set(
            app.tables if app is not None and rows == [store] else ()
        )
        left = sorted(name for name in tables - named if _OTHERS.fullmatch(name) is None)
        if left:
            shown = f"{', '.join(left[:10])}{f' and {len(left) - 10} more' if len(left) > 10 else ''}"
            many = _several(len(left), "table", "tables")
            what = f"store {store}: no `records` name {many} ({shown}): {_PASSED.format('them')}"
            yield Finding("warn", what, _RECORDS.format("them"))
        elif docs:
            yield Finding("ok", f"store {store}: `records` name all of its {len(tables) or len(docs)} tables")
        else:
            yield Finding(
                "warn", f"store {store} has no `records`: {_PASSED.format('its rows')}", _RECORDS.format("its tables")
            )


def of_app(policy: Policy, app: App, sinks: Mapping[str, Any]) -> Iterator[Finding]:
    """What the app does through residency, and what past it; `sinks` are those of the deployment by name."""
    many = _several(len(app.sources), "file", "files")
    yield Finding("ok", f"app {app.target}: {many} of its own source read")
    if app.unread:
        yield Finding("warn", "files that cannot be read as Python", "what they do is not in this list", app.unread)
    where = wraps(app.sources)
    if where is None:
        yield Finding(
            "warn",
            "no file of the app's names ResidencyMiddleware: unless something else wraps it, nothing is decided",
            'app.add_middleware(ResidencyMiddleware, policy="…"): docs/how-to/your-own-api.md',
        )
    yield from _routes(policy, app)
    opened = uses(app.sources, policy.deployment.stores)
    for store, places in opened.items():
        yield Finding("ok", f"covered: store {store} ({_kind(policy, store)}) is opened through residency", "", places)
    for store in policy.deployment.stores:
        if store not in opened:
            yield Finding(
                "warn",
                f"store {store}: no line that was read opens it through residency",
                "if the app has its data, it opens that by something of its own: see what is not covered, below",
            )
    found = bypasses(app.sources)
    for each in found:
        yield Finding("warn", f"not covered: {each.library}: {each.group.what}", each.group.mend, each.places)
    yield from _engines(engines_since(app.before, sinks), any(each.library == "sqlalchemy" for each in found))
    if places := django_places(policy.deployment.sinks):
        yield Finding(
            "warn",
            f"not covered: what lies in Django's {', '.join(places)}: no sink has that name",
            "models with people's data belong into a store (`RESIDENCY_STORES`, docs/how-to/rows.md); what holds "
            "nobody's data may stay",
        )
    named = {each.library for each in found}
    brought = {other for library in named for other in _BROUGHT.get(library, "").split()}
    others = sorted(set(app.libraries) - named - brought)
    if others:
        yield Finding(
            "warn",
            f"loaded by libraries that the app uses, not by its own source: {', '.join(others)}",
            "look what these send, and where; it is not covered",
        )


def _routes(policy: Policy, app: App) -> Iterator[Finding]:
    try:
        routing = read_routes(app.app)
    except UsageError:
        routing = None
    if routing is None or routing.routes is None:
        return
    served = [route for route in routing.routes if route.serves]
    metrics = policy.deployment.metrics
    left = {
        each
        for route in served
        if not policy.activities.names(route, routing)
        for each in spelled(route)
        if each[1] != metrics
    }
    if left:
        refused = "refused once the deployment enforces" if policy.deployment.mode == "observe" else "refused"
        yield Finding(
            "warn",
            f"{_several(len(left), 'route', 'routes')} of the app that no activity names: "
            f"{refused if policy.deployment.unclassified == 'deny' else 'permitted, whatever they do'}",
            f"residency routes {policy.deployment.source.file} --app {app.target} prints them as lines for "
            "`activities`",
        )


def _engines(engines: Iterable[Engine], told: bool) -> Iterator[Finding]:
    """Engines of the app's own; those of which the source says where they are made only where they open a sink's."""
    for each in engines:
        if each.sink is not None:
            yield Finding(
                "warn",
                f"not covered: an engine of the app's own ({each.driver}) opens the database of sink {each.sink}",
                f"open it by `sql.async_sessionmaker(STORE)`: what goes past that is seen by nobody, and goes to "
                f"{each.sink} whosever it is",
            )
        elif not told:
            what = f"not covered: an engine of the app's own ({each.driver}), made while it was imported"
            yield Finding("warn", what, "keep people's rows in a store: docs/how-to/rows.md")


def _kind(policy: Policy, store: str) -> str:
    document = policy.deployment
    return wiring.kind_of(document.sinks[document.stores[store][0]])


def _several(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
