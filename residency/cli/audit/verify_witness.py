"""A log that holds and the keys of witnesses in; who cosigned it, up to where, and the log's second signature, out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from residency.audit.checkpoint import Checkpoint
from residency.audit.cosignature import COSIGNER_KINDS, SECOND_VKEY_PATH, Cosignature, find_cosignature
from residency.audit.note import KeyKind, VerifierKey, parse_verifier_key
from residency.audit.witness import verify_witnessed
from residency.cli.audit.verify_log import Verified
from residency.errors import VerificationError

__all__ = ["Witnessed", "second_signature", "witnessed"]


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What witnesses stand for: the checkpoint that they cosigned, which the log continues, and who did when."""

    checkpoint: Checkpoint
    held: tuple[Cosignature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The witnesses, each once whatever keys it has."""
        return tuple(dict.fromkeys(cosignature.key.name for cosignature in self.held))

    def data(self) -> dict[str, Any]:
        """All of it as plain JSON values; times in seconds since the epoch."""
        return {
            "size": self.checkpoint.size,
            "root": base64.b64encode(self.checkpoint.root).decode(),
            "cosignatures": [{"name": c.key.name, "kind": c.key.kind.name.lower(), "time": c.time} for c in self.held],
        }


def witnessed(log: Verified, keys: Sequence[Path], quorum: int | None, note: Path | None, now: int) -> Witnessed:
    """That `quorum` of the witnesses (None = all) cosigned the checkpoint in the file `note` (None = the log's newest).

    `keys` are files of verifier keys, one a line; a witness with two keys is one. `now` is in microseconds.

    Raises: VerificationError, BadParameter.
    """
    trusted = [key for path in keys for key in _keys(path)]
    try:
        signed = log.note if note is None else note.read_bytes()
    except OSError:
        raise typer.BadParameter("cannot be read", param_hint="--cosigned") from None
    number = len({key.name for key in trusted}) if quorum is None else quorum
    try:
        held = verify_witnessed(log.read, log.checkpoint, signed, log.key, trusted, number, now // 1_000_000)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--quorum") from None
    return Witnessed(*held)


def second_signature(log: Verified, given: Path | None) -> bool | None:
    """Whether the log's checkpoint bears the second signature, None where no key for one is known.

    The key in the file `given` must have signed it; the one that lies beside the log tells only that it should have.

    Raises: VerificationError where the signature does not hold, or is not there though the key was given; BadParameter.
    """
    if given is not None:
        key = _one(given)
    else:
        beside = log.read(SECOND_VKEY_PATH)
        if beside is None:
            return None
        key = parse_verifier_key(beside.decode(errors="replace"), (KeyKind.ML_DSA_44,))
    if key.name != log.key.name:
        raise VerificationError(f"the second key is that of {key.name}, not of this log")
    found = find_cosignature(log.note, key)
    if found is None and given is not None:
        raise VerificationError("the checkpoint carries no second signature by the key that was given")
    return found is not None


def _keys(path: Path) -> list[VerifierKey]:
    try:
        keys = [parse_verifier_key(line, COSIGNER_KINDS) for line in path.read_text(encoding="utf-8").split()]
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter(f"{path.name} cannot be read", param_hint="--witness") from None
    except VerificationError as error:
        raise typer.BadParameter(str(error), param_hint="--witness") from None
    if not keys:
        raise typer.BadParameter(f"{path.name} holds no key", param_hint="--witness")
    return keys


def _one(path: Path) -> VerifierKey:
    try:
        return parse_verifier_key(path.read_text(encoding="utf-8"), (KeyKind.ML_DSA_44,))
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter("cannot be read", param_hint="--second-key") from None
    except VerificationError as error:
        raise typer.BadParameter(str(error), param_hint="--second-key") from None
