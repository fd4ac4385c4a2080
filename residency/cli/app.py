"""The commands joined: the arguments in, the typer application that serves them out.

A command's module is imported when it is asked for: all of them together take most of a second, which every `locate` in
a script would wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Final

import typer

import residency
from residency.cli.flowing import flowing, flowing_all

__all__ = ["COMMANDS", "app_for"]

COMMANDS: Final = {
    "demo": "demo",
    "init": "init",
    "check": "check",
    "test": "run_tests",
    "bundle": "bundle_app",
    "laws": "laws",
    "explain": "explain",
    "detect": "detect",
    "replay": "replay",
    "locate": "locate",
    "routes": "routes",
    "status": "status",
    "doctor": "doctor",
    "audit": "app_for",
    "pin": "pin_app",
    "copies": "copies_app",
    "retention": "retention_app",
    "erase": "erase",
    "export": "export",
    "requests": "requests_app",
    "move": "move",
    "sinks": "sinks_app",
    "where": "where",
}
"""By name, what its module `residency.cli.<name>` calls it: a function, an application of several
commands, or what makes one of the arguments that are left."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The application with the one command that `arguments` ask for, or with all, to tell what there is."""
    app = typer.Typer(
        name="residency",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Data residency for Python ASGI APIs: whose law covers a person, where data may rest, and proof of it.\n\n"
        "Example: residency demo",
    )
    asked = arguments[0] if arguments else ""
    for name in [asked] if asked in COMMANDS else COMMANDS:
        command = getattr(import_module(f"residency.cli.{name}"), COMMANDS[name])
        if COMMANDS[name] == "app_for":
            command = command(arguments[1:])
        if isinstance(command, typer.Typer):
            flowing_all(command)
            app.add_typer(command, name=name)
        else:
            app.command(name, help=flowing(command.__doc__))(command)
    app.callback()(_root)
    return app


def _version(value: bool) -> None:
    if value:
        typer.echo(f"residency {residency.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the whole command."""
