"""`residency routes`: a deployment in, the table of its classified and exempt routes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from residency.adapters.policy_files import load
from residency.cli.app_routes import app_routes, load_app
from residency.errors import PolicyError, UsageError
from residency.policy.compiler import Policy

__all__ = ["routes"]

_WIDEST = 10_000


def routes(
    policy: Annotated[Path | None, typer.Option("--policy", help="The deployment file.", metavar="FILE")] = None,
    app: Annotated[
        str | None,
        typer.Option("--app", help="Your app: list its routes that the policy does not name.", metavar="M:A"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a route.")] = False,
) -> None:
    """List what each route does with data, whose it is and where it goes; with --app, which routes nobody named.

    Exit 0 = listed, 1 = --app has routes that the policy does not name, 2 = wrong use, a policy that does not hold
    included.

    Example: residency routes --policy residency.yaml --app shop.main:app
    """
    if policy is None:
        typer.echo("residency routes: --policy F is needed", err=True)
        raise typer.Exit(2)
    try:
        loaded = load(policy)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if app is not None:
        _compare(loaded, app, as_json=as_json)
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


def _compare(policy: Policy, target: str, *, as_json: bool) -> None:
    """Print the app's routes that no activity names, as lines for the deployment file."""
    try:
        known = app_routes(load_app(target))
    except UsageError as error:
        typer.echo(f"residency routes: {error}", err=True)
        raise typer.Exit(2) from None
    metrics = policy.deployment.metrics
    nobodys = [(m, p) for m, p in known if p != metrics and not _named(policy, m, p)]
    for method, path in nobodys:
        row = {"method": method, "path": path, "named": False}
        line = f'  - {{route: "{method} {path}", subject: app, data: [personal]}}'
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else line)
    if nobodys:
        typer.echo(f"{len(nobodys)} of {len(known)} routes are not named: say of each what it does", err=True)
        raise typer.Exit(1)
    if not as_json:
        typer.echo(f"all {len(known)} routes of {target} are named")


def _named(policy: Policy, method: str, path: str) -> bool:
    """Whether requests on the app's route, a template itself, are an activity's or exempt."""
    found = policy.activities.match(method, path, lenient=True)
    return found.activity is not None or found.exempt is not None


def _cells(row: dict[str, Any]) -> list[str]:
    """What is shown of a route, the route itself first."""
    route = f"{row['method']} {row['path']}"
    if row["exempt"]:
        return [route, "exempt", "", "", ""]
    store = f"{row['store']}: {', '.join(row['sinks'])}" if row["store"] is not None else ""
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
            "store": activity.store,
            "sinks": list(deployment.stores[activity.store]) if activity.store is not None else [],
        }
        for activity in deployment.activities
    ]
    return listed + [{"method": method, "path": path, "exempt": True} for method, path in deployment.exempt]
