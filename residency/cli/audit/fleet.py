"""`residency audit fleet`: logs come and end; the signed register of all of them out, in its next version."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from residency.adapters.keys_files import KeysFiles
from residency.adapters.log_files import LogFiles
from residency.audit.checkpoint import VerifierKey, parse_verifier_key, verify_checkpoint
from residency.audit.fleet import Closed, Fleet, add_log, close_log, format_fleet, verify_fleet
from residency.audit.note import format_note, format_verifier_key, note_signer
from residency.cli.audit.shared import Json, shown
from residency.cli.listing import Listing
from residency.errors import ResidencyError, VerificationError

__all__ = ["fleet_app"]

fleet_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="The signed register of all logs: one for each instance, which goes on from which, how each ended.\n\n"
    "Example: residency audit fleet show fleet.note --key fleet.vkey",
)

_STEM: Final = "fleet"
Register = Annotated[Path, typer.Argument(metavar="FILE", help="The register, a signed note.")]
Keys = Annotated[Path, typer.Option("--keys", metavar="FOLDER", help="The folder of the fleet's own key.")]
Date = Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="The day of it. Default: today, UTC.")]


@fleet_app.command()
def new(
    register: Register,
    name: Annotated[str, typer.Option("--name", help="The fleet's name: a URL of yours without https://.")],
    keys: Keys,
) -> None:
    """Make a register without logs, and the key that signs it; print the public half for those who will verify.

    A register or a key that is there already is kept, never replaced. Exit 0 = made, 1 = it is there or cannot be made.

    Example: residency audit fleet new fleet.note --name fleet.example --keys ./fleet-keys
    """
    if register.exists():
        _fail(f"{register} is there already; it is kept")
    try:
        signer, key = note_signer(name, KeysFiles(keys, create=True).signing_key(_STEM))
        vkey = format_verifier_key(key)
        present = LogFiles(keys).read(f"{_STEM}.vkey")
        if present is not None and present.decode(errors="replace").strip() != vkey:
            raise VerificationError(f"{keys} holds the key of another fleet; it is kept")
        LogFiles(keys).write(f"{_STEM}.vkey", f"{vkey}\n".encode())
        LogFiles(register.absolute().parent).write(register.name, format_note(format_fleet(Fleet(name)), signer))
    except (ResidencyError, OSError) as error:
        _fail(_why(error))
    print(vkey)


@fleet_app.command()
def add(
    register: Register,
    log_key: Annotated[Path, typer.Argument(metavar="VKEY", help="The new log's verifier key (its `log.vkey`).")],
    keys: Keys,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ORIGIN", help="The log that it goes on from. Default: none.")
    ] = None,
    date: Date = None,
) -> None:
    """List a log, under the origin that its key is named after. Exit 0 = listed, 1 = refused, 2 = wrong use.

    Example: residency audit fleet add fleet.note ./log/log.vkey --after app-1.example --keys ./fleet-keys
    """
    key = _key(log_key, "VKEY")
    try:
        _write(register, keys, add_log(_read(register, keys), key, date or _today(), after))
    except (ResidencyError, OSError) as error:
        _fail(_why(error))


@fleet_app.command()
def close(
    register: Register,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="The log's last checkpoint.")],
    keys: Keys,
    date: Date = None,
) -> None:
    """Note that a log has ended, with its last checkpoint: a later one, or a shorter log, is a finding from then on.

    Exit 0 = noted, 1 = refused, 2 = wrong use.

    Example: residency audit fleet close fleet.note ./log/checkpoint --keys ./fleet-keys
    """
    try:
        note = checkpoint.read_bytes()
    except OSError:
        raise typer.BadParameter("cannot be read", param_hint="CHECKPOINT") from None
    try:
        fleet = _read(register, keys)
        log = fleet.log(note.partition(b"\n")[0].decode(errors="replace"))
        if log is None:
            raise VerificationError("the checkpoint is of a log that is not listed")
        last = verify_checkpoint(note, log.key)
        _write(register, keys, close_log(fleet, log.origin, Closed(last.size, last.root, date or _today())))
    except (ResidencyError, OSError) as error:
        _fail(_why(error))


@fleet_app.command()
def show(
    register: Register,
    key: Annotated[
        Path, typer.Option("--key", metavar="VKEY", help="The fleet's verifier key, as you were handed it.")
    ],
    as_json: Json = False,
) -> None:
    """Show the logs of a register, once its signature holds. Exit 0 = shown, 1 = it does not hold, 2 = wrong use.

    Example: residency audit fleet show fleet.note --key fleet.vkey --json
    """
    verifier = _key(key, "--key")
    try:
        fleet = verify_fleet(_bytes(register), verifier)
    except ResidencyError as error:
        _fail(str(error), as_json)
    if as_json:
        print(json.dumps(_document(fleet)))
        return
    title = f"{fleet.name}, version {fleet.version}: {len(fleet.logs)} logs"
    table = Listing("origin", "since", "after", "closed", title=shown(title))
    for log in fleet.logs:
        ended = "" if log.closed is None else f"{log.closed.date}, {log.closed.size} entries"
        table.row(shown(log.origin), log.since, shown(log.after or ""), ended)
    table.show()


def _document(fleet: Fleet) -> dict[str, object]:
    logs: list[dict[str, object]] = []
    for log in fleet.logs:
        ended = None
        if log.closed is not None:
            root = base64.b64encode(log.closed.root).decode()
            ended = {"size": log.closed.size, "root": root, "date": log.closed.date}
        vkey = format_verifier_key(log.key)
        logs.append({"origin": log.origin, "key": vkey, "since": log.since, "after": log.after, "closed": ended})
    return {"holds": True, "name": fleet.name, "version": fleet.version, "logs": logs}


def _read(register: Path, keys: Path) -> Fleet:
    """The register, signed by the key in `keys`. Raises: VerificationError, KeysUnavailable, BadParameter."""
    listed = _key(keys / f"{_STEM}.vkey", "--keys")
    return verify_fleet(_bytes(register), note_signer(listed.name, KeysFiles(keys).signing_key(_STEM))[1])


def _write(register: Path, keys: Path, fleet: Fleet) -> None:
    signer, _ = note_signer(fleet.name, KeysFiles(keys).signing_key(_STEM))
    LogFiles(register.absolute().parent).write(register.name, format_note(format_fleet(fleet), signer))
    print(f"{register} is at version {fleet.version}, with {len(fleet.logs)} logs")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise typer.BadParameter("cannot be read", param_hint="FILE") from None


def _key(path: Path, hint: str) -> VerifierKey:
    try:
        return parse_verifier_key(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter(f"{path.name} cannot be read", param_hint=hint) from None
    except VerificationError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def _why(error: Exception) -> str:
    return f"a file cannot be read or written (errno {error.errno})" if isinstance(error, OSError) else str(error)


def _fail(message: str, as_json: bool = False) -> NoReturn:
    if as_json:
        print(json.dumps({"holds": False, "problem": message}))
    else:
        Console(stderr=True).print(f"[bold red]Refused:[/] {shown(message)}", soft_wrap=True)
    raise typer.Exit(1)
