"""`residency audit witness` and `witness-key`: another's log in, a cosignature of its checkpoint out, or a refusal."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from residency.adapters.keys_files import KeysFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.witness_state import WitnessState
from residency.audit.checkpoint import Checkpoint, VerifierKey, parse_verifier_key
from residency.audit.cosignature import COSIGNER_KINDS, Cosigner, ed25519_cosigner, ml_dsa_cosigner
from residency.audit.note import KeyKind, format_verifier_key, parse_note, verify_note, with_signature
from residency.audit.sequencer import CHECKPOINT_PATH
from residency.audit.witness import Judgement, judge
from residency.cli.audit.shared import Json, shown, unreached
from residency.cli.log_places import reader_of
from residency.errors import ResidencyError, Unavailable, VerificationError

__all__ = ["witness", "witness_key"]

_STEM: Final = "witness"
Keys = Annotated[Path, typer.Option("--keys", metavar="FOLDER", help="The folder that `witness-key` made.")]


def witness_key(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that the keys are put in.")],
    name: Annotated[str, typer.Option("--name", help="The witness's name: a URL of yours without https://.")],
) -> None:
    """Make a witness's keys, Ed25519 and ML-DSA-44, and print their public halves for those who will ask for them.

    A key that is there already is kept, never replaced. Exit 0 = made, 1 = it is there or cannot be made.

    Example: residency audit witness-key ./witness-keys --name witness.example/w1
    """
    public = folder / f"{_STEM}.vkey"
    if public.exists():
        _refuse(f"{public} is there already; it is kept", as_json=False)
    try:
        keys = KeysFiles(folder, create=True)
        made = (
            ed25519_cosigner(name, keys.signing_key(_STEM))[1],
            ml_dsa_cosigner(name, keys.ml_dsa_44_key(_STEM))[1],
        )
        text = "".join(f"{format_verifier_key(key)}\n" for key in made)
        LogFiles(folder).write(public.name, text.encode())
    except (ResidencyError, OSError) as error:
        _refuse(_why(error), as_json=False)
    print(text, end="")


def witness(
    place: Annotated[str, typer.Argument(metavar="DIR|URL", help="The log: a folder, https://, s3:// or file://.")],
    log_key: Annotated[
        Path, typer.Option("--log-key", metavar="FILE", help="The log's verifier key, as you were handed it.")
    ],
    keys: Keys,
    state: Annotated[Path, typer.Option("--state", metavar="FOLDER", help="What this witness remembers of each log.")],
    origin: Annotated[
        str | None, typer.Option("--origin", help="The log's origin, where it is not the name of its key.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the cosigned checkpoint; other witnesses' lines in it stay."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Cosign a log's checkpoint, once it continues the one that was cosigned before (C2SP tlog-cosignature).

    Prints the signature lines. What is remembered of a log is its newest checkpoint; the first one is believed. A log
    that has become shorter, or shows another history, is refused, and both of its notes are kept below --state.

    Exit 0 = cosigned, 1 = refused, 2 = wrong use, or a place that cannot be reached.

    Example: residency audit witness https://logs.example/app --log-key app.vkey --keys ./witness-keys --state ./seen
    """
    read = reader_of(place)
    key = _public(log_key, "--log-key", (KeyKind.ED25519,))[0]
    try:
        cosigners = _cosigners(keys)
        note = read(CHECKPOINT_PATH)
        if note is None:
            raise VerificationError("the log has no checkpoint")
        with WitnessState.holding(state, key.name if origin is None else origin, LogFiles) as memory:
            remembered = memory.recall()
            judgement = judge(note, key, remembered, read, origin=origin)
            if judgement.conflict is not None and remembered is not None:
                kept = memory.refuse(remembered, note)
                _refuse(f"{judgement.conflict}. Both notes are kept in {kept}", as_json, conflict=True)
            # Kept before it is signed: a crash in between costs a cosignature, never a second history.
            if remembered is None or parse_note(remembered).text != parse_note(note).text:
                memory.remember(note)
            at = time.time_ns() // 1_000_000_000
            text = parse_note(note).text
            lines = [cosign(text, at) for cosign in cosigners]
        if out is not None:
            LogFiles(out.absolute().parent).write(out.name, _cosigned(out, note, key, lines))
    except Unavailable as error:
        unreached(str(error), as_json, cosigned=False)
    except (ResidencyError, OSError) as error:
        _refuse(_why(error), as_json)
    _tell(judgement, at, lines, as_json)


def _tell(judgement: Judgement, at: int, lines: Sequence[str], as_json: bool) -> None:
    checkpoint, seen = judgement.checkpoint, judgement.seen
    if as_json:
        sizes = {"size": checkpoint.size, "seen": None if seen is None else seen.size}
        print(json.dumps({"cosigned": True, "origin": checkpoint.origin, **sizes, "time": at, "lines": list(lines)}))
        return
    for line in lines:
        print(line)
    Console(stderr=True).print(f"[green]Cosigned:[/] {shown(_story(checkpoint, seen))}", soft_wrap=True)


def _story(checkpoint: Checkpoint, seen: Checkpoint | None) -> str:
    told = f"{checkpoint.origin}, {checkpoint.size} entries"
    if seen is None:
        return f"{told}; seen for the first time, and believed that once"
    if seen.size == checkpoint.size:
        return f"{told}, as before"
    return f"{told}, which continue the {seen.size} seen before"


def _cosigners(folder: Path) -> list[Cosigner]:
    """As whom the keys in `folder` cosign: the names stand in the public file. Raises: ResidencyError, BadParameter."""
    files = KeysFiles(folder)
    cosigners = []
    for key in _public(folder / f"{_STEM}.vkey", "--keys", COSIGNER_KINDS):
        if key.kind is KeyKind.COSIGNATURE:
            cosign, own = ed25519_cosigner(key.name, files.signing_key(_STEM))
        else:
            cosign, own = ml_dsa_cosigner(key.name, files.ml_dsa_44_key(_STEM))
        if own != key:
            raise VerificationError(f"{_STEM}.vkey is not the public half of the keys beside it")
        cosigners.append(cosign)
    return cosigners


def _public(path: Path, hint: str, kinds: tuple[KeyKind, ...]) -> list[VerifierKey]:
    try:
        lines = path.read_text(encoding="utf-8").split()
        keys = [parse_verifier_key(line, kinds) for line in lines]
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter(f"{path.name} cannot be read", param_hint=hint) from None
    except VerificationError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None
    if not keys:
        raise typer.BadParameter(f"{path.name} holds no key", param_hint=hint)
    return keys


def _cosigned(out: Path, note: bytes, key: VerifierKey, lines: Sequence[str]) -> bytes:
    """The cosigned note; a file of the same checkpoint keeps the lines that other witnesses added."""
    base = note
    with suppress(FileNotFoundError, VerificationError):
        present = out.read_bytes()
        base = present if verify_note(present, key) == parse_note(note).text else note
    for line in lines:
        base = with_signature(base, line)
    return base


def _why(error: Exception) -> str:
    return f"a file cannot be read or written (errno {error.errno})" if isinstance(error, OSError) else str(error)


def _refuse(message: str, as_json: bool, **more: object) -> NoReturn:
    if as_json:
        print(json.dumps({"cosigned": False, "problem": message, **more}))
    else:
        Console(stderr=True).print(f"[bold red]Refused:[/] {shown(message)}", soft_wrap=True)
    raise typer.Exit(1)
