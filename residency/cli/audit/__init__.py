"""`residency audit`: what the audit trail says and whether it holds. Exit 0 holds, 1 does not, 2 wrong use."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final

import typer

from residency.cli.flowing import flowing, flowing_all

__all__ = ["app_for", "audit_app"]

_COMMANDS: Final = {
    "verify": ("verify", "verify"),
    "show": ("show", "show"),
    "open": ("show", "open_intents"),
    "prove": ("prove", "prove"),
    "check-proof": ("check_proof", "check_proof"),
    "receipt": ("receipt", "receipt"),
    "page": ("page", "page"),
    "query": ("query", "query"),
    "report": ("report", "report"),
    "register": ("register", "register"),
    "export": ("export", "export"),
    "mirror": ("mirror", "mirror"),
    "rebuild": ("rebuild", "rebuild"),
    "witness": ("witness", "witness"),
    "detail": ("detail", "detail_app"),
    "detail-key": ("detail_deliver", "detail_key"),
    "witness-key": ("witness", "witness_key"),
    "fleet": ("fleet", "fleet_app"),
}
"""By name: the module below this one, and what it calls the command, or the group of commands."""

audit_app: typer.Typer
"""All of them, joined when it is asked for."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The application with the one command that `arguments` ask for, or with all, to tell what there is."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        help="Read, check and prove the audit log. Trusts nothing it reads.\n\n"
        "Example: residency audit verify ./demo-data/audit/log",
    )
    app.callback()(_root)
    asked = arguments[0] if arguments else ""
    for name in [asked] if asked in _COMMANDS else _COMMANDS:
        module, of = _COMMANDS[name]
        command = getattr(import_module(f"residency.cli.audit.{module}"), of)
        if isinstance(command, typer.Typer):
            flowing_all(command)
            app.add_typer(command, name=name)
        else:
            app.command(name, help=flowing(command.__doc__))(command)
    return app


def _root() -> None:
    """Makes one command alone a group of one."""


def __getattr__(name: str) -> typer.Typer:
    if name != "audit_app":
        raise AttributeError(name)
    return app_for(())
