"""`residency audit`: what the audit trail says and whether it holds. Exit 0 holds, 1 does not, 2 wrong use."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Final

import typer

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
            for each in command.registered_commands:
                each.help = _flowing(each.callback.__doc__ if each.help is None and each.callback else each.help)
            app.add_typer(command, name=name)
        else:
            app.command(name, help=_flowing(command.__doc__))(command)
    return app


def _flowing(text: str | None) -> str:
    """Help whose paragraphs are a line each: broken where the terminal ends, and not where the source does too."""
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(text or "").split("\n\n"))


def _root() -> None:
    """Makes one command alone a group of one."""


def __getattr__(name: str) -> typer.Typer:
    if name != "audit_app":
        raise AttributeError(name)
    return app_for(())
