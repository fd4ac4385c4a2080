"""The deployment file as an argument, or after --policy, in; the one that is meant out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Argument", "Option", "deployment_asked"]

Argument = Annotated[Path | None, typer.Argument(help="The deployment file.", metavar="FILE")]
Option = Annotated[Path | None, typer.Option("--policy", help="The deployment file.", metavar="FILE")]


def deployment_asked(command: str, file: Path | None, policy: Path | None) -> Path:
    """The file that was named, one way or the other. Raises: typer.Exit with 2, after it is told how to name one."""
    asked = policy if file is None else file
    if asked is None or (file is not None and policy is not None):
        typer.echo(
            f"residency {command}: name one deployment file, as in: residency {command} residency.yaml", err=True
        )
        raise typer.Exit(2)
    return asked
