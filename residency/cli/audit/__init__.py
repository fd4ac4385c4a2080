"""`residency audit`: what the audit trail says and whether it holds. Exit 0 holds, 1 does not, 2 wrong use."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import typer

__all__ = ["audit_app"]

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

audit_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Read, check and prove the audit log. Trusts nothing it reads.\n\n"
    "Example: residency audit verify ./demo-data/log",
)
for _name, (_module, _function) in _COMMANDS.items():
    _what = getattr(import_module(f"residency.cli.audit.{_module}"), _function)
    if isinstance(_what, typer.Typer):
        audit_app.add_typer(_what, name=_name)
    else:
        audit_app.command(_name)(_what)
