"""All commands joined: nothing in, the typer application out."""

from __future__ import annotations

from typing import Annotated

import typer

import residency
from residency.cli.audit import audit_app
from residency.cli.check import check
from residency.cli.demo import demo
from residency.cli.doctor import doctor
from residency.cli.explain import explain
from residency.cli.init import init
from residency.cli.locate import locate
from residency.cli.pin import app as pin_app
from residency.cli.routes import routes
from residency.cli.status import status

__all__ = ["app"]

app = typer.Typer(
    name="residency",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Data residency for Python ASGI APIs: whose law covers a person, where their data may rest, and proof of it.",
)
for command in (demo, init, check, explain, locate, routes, status, doctor):
    app.command(command.__name__)(command)
app.add_typer(audit_app, name="audit")
app.add_typer(pin_app, name="pin")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"residency {residency.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Options of the whole command."""
