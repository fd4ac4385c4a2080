"""`residency bundle`: a deployment in, one signed file for servers out; the keys for it; and whether a bundle holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from residency.adapters.keys_files import KeysFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.policy_files import KEYS_VARIABLE, PolicyFiles, read_bundle, read_file, read_keys
from residency.errors import KeysUnavailable, PolicyError, ResidencyError, VerificationError
from residency.policy.bundle import MAX_VERSION, format_bundle
from residency.policy.parser import parse_register
from residency.policy.signatures import PolicySigner, ed25519_signer, ml_dsa_signer
from residency.policy.trust import REGISTER, SIGNATURE, format_key_line, sign_register

__all__ = ["bundle_app"]

bundle_app = typer.Typer(
    no_args_is_help=True,
    help="A policy in one signed file: deployment, laws and registers.\n\n"
    "Example: residency bundle pack policies/deployments/social-api.yaml --out social-api.bundle",
    rich_markup_mode=None,
)

_PLACEHOLDER: Final = "memory:"
_ML_DSA: Final = "{}-mldsa65"  # the secret of that name beside the Ed25519 key of the signer is the seed
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@bundle_app.command()
def keygen(
    folder: Annotated[Path, typer.Argument(help="The folder that the keys are put in.", metavar="FOLDER")],
    name: Annotated[str, typer.Option("--name", help="Who signs, as logs will say.", metavar="NAME")] = "policy",
    ml_dsa: Annotated[bool, typer.Option("--ml-dsa", help="Make a key of ML-DSA-65 too.")] = False,
    register: Annotated[bool, typer.Option("--register", help="The key may sign registers, and no policy.")] = False,
) -> None:
    """Make a key that policies (or registers) are signed by, and the file of its public half for servers.

    A key that is there already is kept, never replaced. Exit 0 = made, 1 = it is there or cannot be made.

    Example: residency bundle keygen ./policy-keys --name ops --ml-dsa
    """
    public = folder / f"{name}.vkey"
    if public.exists() or (folder / f"{name}.ed25519").exists():
        _fail(f"{folder} has a key `{name}` already; it is kept", 1)
    try:
        keys = KeysFiles(folder, create=True)
        signers = [ed25519_signer(name, keys.signing_key(name).private_bytes_raw())]
        if ml_dsa:
            signers.append(ml_dsa_signer(name, keys.secret(_ML_DSA.format(name))))
        roles = (REGISTER,) if register else ()
        LogFiles(folder).write(public.name, "".join(f"{format_key_line(s.key, *roles)}\n" for s in signers).encode())
    except (ResidencyError, OSError) as error:
        _fail(_why(error), 1)
    typer.echo(f"signing key: {folder / name} (keep it secret, and away from the servers)")
    use = f"add its lines to the file that {KEYS_VARIABLE} names" if register else f"{KEYS_VARIABLE}={public}"
    typer.echo(f"public key:  {public} (for the servers: {use})")


@bundle_app.command()
def pack(
    deployment: Annotated[Path, typer.Argument(help="The deployment file.", metavar="FILE")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle to write.", metavar="FILE")],
    version: Annotated[
        int, typer.Option(min=0, max=MAX_VERSION, help="Higher than that of the bundle before; 0 = not counted.")
    ] = 0,
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", help="Sign by this key, as `bundle keygen` names it; may be repeated.", metavar="PATH"),
    ] = None,
    without_registers: Annotated[
        bool,
        typer.Option("--without-registers", help="Leave them out: they lie beside it, signed by keys of their own."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Pack a deployment with the laws it chooses and its registers, checked first. The same files give the same bytes.

    A `${VAR}` stays as it is written; one that only says how to connect need not be set here. What `must` demands is
    not proved here: run `residency check` first. Exit 0 = written, 1 = the policy does not hold or cannot be signed.

    Example: residency bundle pack policies/deployments/social-api.yaml -o social.bundle --version 7 --key keys/ops
    """
    try:
        policy = PolicyFiles(deployment, _Anything(os.environ), unsigned=True).read().policy
        signers = [signer for path in key or () for signer in _signers(path)]
        sources = [s for s in policy.sources if not (without_registers and s[0].startswith("register/"))]
        data = format_bundle(policy.deployment.name, sources, version=version, signers=signers)
        LogFiles(out.parent).write(out.name, data)
    except (ResidencyError, OSError) as error:
        _fail(_why(error), 1)
    signed_by = [str(signer.key) for signer in signers]
    _tell(out, signed_by, as_json=as_json, nobody="signed by nobody: a server that is given keys refuses it")


@bundle_app.command("sign-register")
def sign(
    file: Annotated[Path, typer.Argument(help="The register.", metavar="FILE")],
    key: Annotated[list[Path], typer.Option("--key", help="Sign by this key; may be repeated.", metavar="PATH")],
    version: Annotated[
        int, typer.Option(min=0, max=MAX_VERSION, help="Higher than that of the state before; 0 = not counted.")
    ] = 0,
) -> None:
    """Sign a register that lies outside the bundle: FILE.sig, for servers that have a key for registers.

    The register is checked first. Put FILE and FILE.sig in place together. Exit 0 = written, 1 = it does not hold or
    cannot be signed.

    Example: residency bundle sign-register registers/social-api.yaml --version 12 --key keys/compliance
    """
    try:
        data = read_file(file)
        register = parse_register(data, str(file))
        signers = [signer for path in key for signer in _signers(path)]
        note = sign_register(file.name, data, version=version, signers=signers)
        LogFiles(file.parent).write(file.name + SIGNATURE, note)
    except (ResidencyError, OSError) as error:
        _fail(_why(error), 1)
    names = ", ".join(str(signer.key) for signer in signers)
    typer.echo(f"{file}{SIGNATURE}: register {register.name}, version {version}, signed by {names}")


@bundle_app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The bundle.", metavar="FILE")],
    keys: Annotated[
        Path | None, typer.Option("--keys", help=f"Public keys; default: ${KEYS_VARIABLE}.", metavar="FILE")
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Ask for no signature, only that it is whole and holds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify a bundle as a server would: whole, signed by keys that are trusted, and a policy that holds.

    Exit 0 = it holds, 1 = it does not, 2 = wrong use.

    Example: residency bundle verify social.bundle --keys keys/ops.vkey
    """
    named = os.environ.get(KEYS_VARIABLE) if keys is None else str(keys)
    if (keys is not None and unsigned) or (not named and not unsigned):
        _fail(f"give --keys FILE (or set {KEYS_VARIABLE}), or else --unsigned", 2)
    try:
        if not unsigned:
            read_keys(Path(named or ""))
    except PolicyError as error:
        _fail(str(error), 2)
    try:
        read_bundle(file)
        loaded = PolicyFiles(file, _Anything(os.environ), keys=named, unsigned=unsigned).read()
    except PolicyError as error:
        if as_json:
            typer.echo(json.dumps({"file": str(file), "holds": False, "problems": [str(p) for p in error.problems]}))
        else:
            typer.echo(str(error))
        raise typer.Exit(1) from None
    signed_by = [str(key) for key in loaded.signed_by]
    _tell(file, signed_by, as_json=as_json, nobody="holds; no signature was asked for")


def _tell(file: Path, signed_by: list[str], *, as_json: bool, nobody: str) -> None:
    bundle = read_bundle(file)
    told = {
        "file": str(file),
        "holds": True,
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "signed_by": signed_by,
        "files": [name for name, _ in bundle.sources],
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{file}: {bundle.name}, version {bundle.version}, digest {bundle.digest}")
    for name, data in bundle.sources:
        typer.echo(f"  {len(data):>8,}  {name}")
    typer.echo(f"signed by {', '.join(signed_by)}" if signed_by else nobody)


def _signers(path: Path) -> list[PolicySigner]:
    """The signers of a key as `keygen` wrote it. Raises: KeysUnavailable, VerificationError."""
    keys, name = KeysFiles(path.parent), path.name
    signers = [ed25519_signer(name, keys.signing_key(name).private_bytes_raw())]
    if (path.parent / f"{_ML_DSA.format(name)}.secret").exists():
        signers.append(ml_dsa_signer(name, keys.secret(_ML_DSA.format(name))))
    return signers


class _Anything(Mapping[str, str]):
    """An environment in which each variable has a value, for who checks a policy and connects to nothing."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def __getitem__(self, key: str) -> str:
        return self._given.get(key, _PLACEHOLDER)

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def _why(error: Exception) -> str:
    if isinstance(error, PolicyError | KeysUnavailable | VerificationError):
        return str(error)
    return f"{getattr(error, 'strerror', None) or type(error).__name__}"


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"residency bundle: {message}", err=True)
    raise typer.Exit(code)
