"""`residency routes`: a deployment in, the table of its classified and exempt routes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from residency.adapters.policy_files import load
from residency.errors import PolicyError
from residency.policy.compiler import Policy

__all__ = ["routes"]


def routes(
    policy: Annotated[Path | None, typer.Option("--policy", help="The deployment file.", metavar="F")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a route.")] = False,
) -> None:
    """List what each route does with data, whose it is and where it goes.

    Exit 0 = listed, 1 = the policy does not hold, 2 = wrong use.

    Example: residency routes --policy policies/deployments/social-api.yaml
    """
    if policy is None:
        typer.echo("residency routes: --policy F is needed", err=True)
        raise typer.Exit(2)
    try:
        loaded = load(policy)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    listed = _listed(loaded)
    if as_json:
        for row in listed:
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    table = Table()
    for name in ("method", "path", "subject", "operation", "data", "store", "sinks"):
        table.add_column(name, no_wrap=name in ("method", "path"))  # a route that is cut short names another route
    for row in listed:
        if row["exempt"]:
            table.add_row(row["method"], row["path"], "exempt", "", "", "", "", style="dim")
        else:
            data, sinks = ", ".join(row["data"]), ", ".join(row["sinks"])
            table.add_row(row["method"], row["path"], row["subject"], row["operation"], data, row["store"] or "", sinks)
    Console().print(table)
    typer.echo(f"a route that is not listed: {loaded.deployment.unclassified}")


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
