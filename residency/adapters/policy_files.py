"""Policy files on disk: a deployment's path in; a compiled Policy that remembers the bytes it came from, out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from residency.errors import PolicyError, Problem
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc
from residency.policy.parser import parse_deployment, parse_law, parse_register
from residency.policy.validator import choose_laws
from residency.policy.yamldoc import MAX_BYTES

__all__ = ["archive", "available_laws", "digest_of", "law_folder", "load", "read_file"]


def load(path: str | Path, env: Mapping[str, str] | None = None) -> Policy:
    """Load a deployment with its laws and registers. `env` None = this process's environment.

    Relative paths in the file start from the file's own folder.

    Raises:
        PolicyError: with every problem found; what cannot be read is a problem too.
    """
    path = Path(path)
    variables = os.environ if env is None else env
    data = read_file(path)
    deployment = parse_deployment(data, str(path), variables)
    base = path.resolve().parent
    problems: list[Problem] = []
    sources: list[tuple[str, str, bytes]] = [("deployment", deployment.name, data)]
    laws = _laws(deployment, base, problems, sources)
    registers = _registers(deployment, base, problems, sources)
    if problems:
        raise PolicyError(tuple(problems))
    return compile_policy(
        deployment,
        laws,
        registers,
        digest_of(sources),
        base=str(base),
        sources=tuple((f"{kind}/{name}", content) for kind, name, content in sources),
    )


def archive(policy: Policy) -> dict[str, dict[str, bytes]]:
    """The files a policy was compiled from, under its digest: what a later replay needs."""
    return {policy.digest: dict(policy.sources)}


def digest_of(sources: list[tuple[str, str, bytes]]) -> str:
    """The SHA-256 (hex) over the canonical list of (kind, name, SHA-256 of the bytes)."""
    listed = sorted([kind, name, hashlib.sha256(data).hexdigest()] for kind, name, data in sources)
    return hashlib.sha256(json.dumps(listed, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def law_folder() -> Path:
    """Where the shipped laws lie: inside the installed package, or in the repository beside it."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_laws"
    return installed if installed.is_dir() else package.parent / "policies" / "laws"


def available_laws(folders: tuple[Path, ...]) -> dict[str, Path]:
    """Law names to files, of the shipped folder and `folders`; a later folder's law of the same name wins."""
    found: dict[str, Path] = {}
    for folder in (law_folder(), *folders):
        for file in sorted(folder.rglob("*.yaml")):
            found[file.relative_to(folder).with_suffix("").as_posix()] = file
    return found


def read_file(path: Path) -> bytes:
    """A policy file's bytes, at most one past the limit.

    Raises:
        PolicyError: where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise PolicyError((Problem(str(path), 1, 1, f"the policy file cannot be read: {reason}"),)) from None


def _laws(
    deployment: DeploymentDoc, base: Path, problems: list[Problem], sources: list[tuple[str, str, bytes]]
) -> list[LawDoc]:
    folders = []
    for index, text in enumerate(deployment.laws_from):
        folder = base / text
        if folder.is_dir():
            folders.append(folder)
        else:
            problems.append(deployment.source.problem(("laws_from", index), f"no such folder: {text}"))
    files = available_laws(tuple(folders))
    laws = []
    try:
        chosen = choose_laws(deployment, files)
    except PolicyError as error:
        problems += error.problems
        return []
    for name in chosen:
        try:
            data = read_file(files[name])
            laws.append(parse_law(data, str(files[name]), name))
            sources.append(("law", name, data))
        except PolicyError as error:
            problems += error.problems
    return laws


def _registers(
    deployment: DeploymentDoc, base: Path, problems: list[Problem], sources: list[tuple[str, str, bytes]]
) -> list[RegisterDoc]:
    registers = []
    for index, text in enumerate(deployment.registers):
        path = base / text
        if not path.is_file():
            problems.append(deployment.source.problem(("registers", index), f"no such file: {text}"))
            continue
        try:
            data = read_file(path)
            register = parse_register(data, str(path))
            registers.append(register)
            sources.append(("register", register.name, data))
        except PolicyError as error:
            problems += error.problems
    return registers
