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
from residency.errors import PolicyError
from residency.policy.compiler import Policy

__all__ = ["routes"]

_WIDEST = 10_000


def routes(
    policy: Annotated[Path | None, typer.Option("--policy", help="The deployment file.", metavar="F")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a route.")] = False,
) -> None:
    """List what each route does with data, whose it is and where it goes.

    Exit 0 = listed, 2 = wrong use, a policy that does not hold included.

    Example: residency routes --policy policies/deployments/social-api.yaml
    """
    if policy is None:
        typer.echo("residency routes: --policy F is needed", err=True)
        raise typer.Exit(2)
    try:
        loaded = load(policy)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
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
