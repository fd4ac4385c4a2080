"""For `residency check`: an app in; what is seen of its keys, and what a policy says of them, out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from residency import wiring
from residency.asgi.routing import read_routes
from residency.cli.app_keys import app_keys
from residency.cli.app_source import Source, imported, own_modules, own_sources
from residency.cli.app_tables import app_tables, metadata_of
from residency.policy.activities import AppRoute
from residency.policy.compiler import Policy
from residency.policy.identifiers import AppKey, AppTable, Identifiers
from residency.policy.prove_reports import Report

__all__ = ["SeenApp", "key_reports", "seen_app"]


@dataclass(frozen=True, slots=True)
class SeenApp:
    """What is seen of an app: its routes, its tables, and the values that it makes part of keys."""

    routes: tuple[AppRoute, ...]
    tables: tuple[AppTable, ...]
    keys: tuple[AppKey, ...]


def seen_app(app: str | None, metadata: Sequence[str]) -> SeenApp:
    """Import the app, and the models of `metadata`, and look at them. Raises: UsageError."""
    routes: tuple[AppRoute, ...] = ()
    tables: dict[tuple[str, str, int], AppTable] = {}
    sources: tuple[Source, ...] = ()
    if app is not None:
        routing = read_routes(imported(app))
        routes = () if routing is None else routing.routes or ()
    for target in metadata:
        metadata_of(imported(target), target)
    for target in filter(None, (app, *metadata)):
        read, _ = own_sources(target)
        sources += read
        for table in app_tables(own_modules(target), read):
            tables[table.name, table.file, table.line] = table
    return SeenApp(routes, tuple(tables.values()), app_keys(sources))


def key_reports(policy: Policy, app: SeenApp | None) -> Iterator[Report]:
    """Warnings of keys that are personal data where a store lies abroad: of the policy, and of the app where seen."""
    found = Identifiers(policy, {name: wiring.kind_of(sink) for name, sink in policy.deployment.sinks.items()})
    yield from found.of_deployment()
    if app is not None:
        yield from found.of_routes(app.routes)
        yield from found.of_tables(app.tables)
        yield from found.of_keys(app.keys)
