"""Logs that hold and a fleet's signed register in; which logs are missing, and what else differs, out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from residency.audit.fleet import Fleet, FleetFinding, FoundLog, check_fleet, parse_begins, verify_fleet
from residency.audit.note import parse_verifier_key
from residency.audit.remembered import root_at
from residency.cli.audit.verify_log import Verified
from residency.errors import VerificationError

__all__ = ["differs", "read_fleet"]


def read_fleet(register: Path, key: Path, hint: str = "--fleet") -> tuple[Fleet, bytes]:
    """The register in a file, its signature verified, and its note. Raises: VerificationError, BadParameter."""
    try:
        fleet_key = parse_verifier_key(key.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter("cannot be read", param_hint="--fleet-key") from None
    try:
        note = register.read_bytes()
    except OSError:
        raise typer.BadParameter("cannot be read", param_hint=hint) from None
    try:
        return verify_fleet(note, fleet_key), note
    except VerificationError as error:
        raise VerificationError(f"{register.name}: {error}") from None


def differs(fleet: Fleet, logs: Sequence[Verified]) -> tuple[FleetFinding, ...]:
    """What differs between the register and the logs that were verified. Raises: VerificationError."""
    return check_fleet(fleet, [_found(fleet, log) for log in logs])


def _found(fleet: Fleet, log: Verified) -> FoundLog:
    listed = fleet.log(log.checkpoint.origin)
    root = None
    if listed is not None and listed.closed is not None and listed.closed.size <= log.checkpoint.size:
        root = root_at(log.read, log.checkpoint, listed.closed.size)
    begins = None if log.first is None else parse_begins(log.first.note)
    return FoundLog(log.place, log.key, log.checkpoint.size, log.checkpoint.root, begins, root)
