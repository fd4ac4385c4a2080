"""`residency routes`: a deployment in, the table of its classified and exempt routes out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from residency.adapters.policy_files import load
from residency.cli import asked
from residency.cli.app_routes import app_routes, spelled
from residency.cli.app_source import imported
from residency.errors import PolicyError, UsageError
from residency.policy.activities import AppRoute, Routing
from residency.policy.compiler import Policy

__all__ = ["routes"]

_WIDEST = 10_000


def routes(
    file: asked.Argument = None,
    policy: asked.Option = None,
    app: Annotated[
        str | None,
        typer.Option("--app", help="Your app: list its routes that the policy does not name.", metavar="M:A"),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="With --app: list what the policy names and the app does not have, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a route.")] = False,
) -> None:
    """List what each route does with data, whose it is and where it goes; with --app, which routes nobody named.

    Exit 0 = listed, 1 = --app has routes that the policy does not name, or with --compare the policy names some that
    the app does not have; 2 = wrong use, a policy that does not hold included.

    Example: residency routes residency.yaml --app shop.main:app
    """
    deployment = asked.deployment_asked("routes", file, policy)
    if compare and app is None:
        typer.echo("residency routes: --app M:A is needed", err=True)
        raise typer.Exit(2)
    try:
        loaded = load(deployment)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if app is not None:
        _compare(loaded, app, both=compare, as_json=as_json)
        return
    listed = _listed(loaded)
    if as_json:
        for row in listed:
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    console, table = Console(), Table()
    for name in ("route", "subject", "operation", "data", "store"):
        table.add_column(name)
    for row in listed:
        table.add_row(*map(escape, _cells(row)), style="dim" if row["exempt"] else None)
    if console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum <= console.width:
        console.print(table)
    else:  # a column that is cut short names another route
        for row in listed:
            route, subject, *rest = _cells(row)
            typer.echo(route)
            typer.echo("    " + "; ".join(filter(None, (f"subject {subject}" if rest[0] else subject, *rest))))
    typer.echo(f"a route that is not listed: {loaded.deployment.unclassified}")


def _compare(policy: Policy, target: str, *, both: bool, as_json: bool) -> None:
    """Print the app's routes that no activity names, as lines for the deployment file; with `both`, also the others."""
    try:
        routing = app_routes(imported(target))
    except UsageError as error:
        typer.echo(f"residency routes: {error}", err=True)
        raise typer.Exit(2) from None
    metrics = policy.deployment.metrics
    known: dict[tuple[str, str], AppRoute] = {}
    for route in routing.routes or ():
        if route.serves:
            known |= {(method, path): replace(route, methods=_alone(method)) for method, path in spelled(route)}
    for path in [path for method, path in known if method == "ANY"]:
        known.pop(("WS", path), None)  # a mounted app that shows nothing of itself: one line for it will do
    nobodys = [
        each for each, route in known.items() if each[1] != metrics and not policy.activities.names(route, routing)
    ]
    stores = list(policy.deployment.stores)
    used = f", store: {stores[0]}" if len(stores) == 1 else ""
    for method, path in nobodys:
        row = {"method": method, "path": path, "named": False}
        line = f'  - {{route: "{method} {path}", subject: app, data: [personal]{used}}}'
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else line)
    unserved = _unserved(policy, routing) if both else []
    for method, path in unserved:
        row = {"method": method, "path": path, "served": False}
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else f"not in the app: {method} {path}")
    if nobodys:
        typer.echo(f"{len(nobodys)} of {len(known)} routes are not named: say of each what it does", err=True)
    if unserved:
        typer.echo(f"{len(unserved)} named routes are not in the app: a slip, or what is gone", err=True)
    if nobodys or unserved:
        raise typer.Exit(1)
    if not as_json:
        typer.echo(f"all {len(known)} routes of {target} are named")


def _alone(method: str) -> frozenset[str] | None:
    return None if method == "ANY" else frozenset({method})


def _unserved(policy: Policy, routing: Routing) -> list[tuple[str, str]]:
    """The policy's routes whose own paths no route of the app's takes."""
    named = [(activity.method, activity.path) for activity in policy.deployment.activities]
    return [
        (method, path)
        for method, path in (*named, *policy.deployment.exempt)
        if not policy.activities.reaches(method, path, routing)
    ]


def _cells(row: dict[str, Any]) -> list[str]:
    """What is shown of a route, the route itself first."""
    route = f"{row['method']} {row['path']}"
    if row["exempt"]:
        return [route, "exempt", "", "", ""]
    store = f"{', '.join(row['stores'])}: {', '.join(row['sinks'])}" if row["stores"] else ""
    return [route, row["subject"], row["operation"], ", ".join(row["data"]), store]


def _listed(policy: Policy) -> list[dict[str, Any]]:
    deployment = policy.deployment
    listed: list[dict[str, Any]] = [
        {
            "method": activity.method,
            "path": activity.path,
            "exempt": False,
            "name": activity.name,
            "subject": str(activity.subject),
            "operation": activity.operation.value,
            "data": sorted(activity.data),
            "stores": list(activity.stores),
            "sinks": list(deployment.sinks_of(activity)),
        }
        for activity in deployment.activities
    ]
    return listed + [{"method": method, "path": path, "exempt": True} for method, path in deployment.exempt]
