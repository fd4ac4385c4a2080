"""Paths in; the bytes of policy files, bundles and keys, which laws there are, and what was touched since, out."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from residency.errors import PolicyError, Problem, VerificationError
from residency.policy.bundle import MAX_BUNDLE, Bundle, parse_bundle
from residency.policy.trust import MAX_KEYS, TrustedKeys, parse_keys
from residency.policy.yamldoc import MAX_BYTES

__all__ = [
    "NOT_ENFORCEABLE",
    "TESTS",
    "available_laws",
    "law_folder",
    "names_in",
    "read_bundle",
    "read_file",
    "read_keys",
    "stamp_of",
]

NOT_ENFORCEABLE: Final = "not_enforceable.yaml"
"""The file beside the shipped laws that says what no rule of theirs can do."""
TESTS: Final = "_test.yaml"
"""How the name of a file of policy tests ends."""


def law_folder() -> Path:
    """Where the shipped laws lie: inside the installed package, or in the repository beside it."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "_laws"
    return installed if installed.is_dir() else package.parent / "policies" / "laws"


def available_laws(folders: tuple[Path, ...]) -> dict[str, Path]:
    """Law names to files, of the shipped folder and `folders`; a later folder's law of the same name wins."""
    found: dict[str, Path] = {}
    for folder in (law_folder(), *folders):
        for file in sorted(folder.rglob("*.yaml")):
            # What no rule can do, and tests, are told beside the laws: neither is a law.
            if file.name != NOT_ENFORCEABLE and not file.name.endswith(TESTS):
                found[file.relative_to(folder).with_suffix("").as_posix()] = file
    return found


def read_file(path: Path, limit: int = MAX_BYTES, absent: str = "") -> bytes:
    """A policy file's bytes, at most one past the limit. `absent` = what to say besides where it is not there.

    Raises:
        PolicyError: where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        reason = (error.strerror or "it cannot be read") + (absent if isinstance(error, FileNotFoundError) else "")
        raise PolicyError((Problem(str(path), 1, 1, f"the policy file cannot be read: {reason}"),)) from None


def read_bundle(path: Path) -> Bundle:
    """The bundle in a file; nothing is said yet of who signed it. Raises: PolicyError."""
    data = read_file(path, limit=MAX_BUNDLE)
    try:
        return parse_bundle(data)
    except VerificationError as error:
        raise PolicyError((Problem(str(path), 1, 1, str(error)),)) from error


def read_keys(path: Path) -> TrustedKeys:
    """The public keys in a file, one a line with what it may sign; `#` begins a comment.

    Raises:
        PolicyError: where the file cannot be read, holds what is no key, or no key at all.
    """
    return parse_keys(read_file(path, limit=MAX_KEYS), str(path))


def names_in(folder: str | Path) -> tuple[str, ...]:
    """The policy files below a folder; by `scandir`, for this is asked every second and `rglob` takes much longer."""
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found += names_in(entry.path)
                elif entry.name.endswith(".yaml") and not entry.name.endswith(TESTS):
                    found.append(entry.path)
    except OSError:
        return ()
    return tuple(sorted(found))


def stamp_of(path: Path) -> Hashable:
    """What the file system says of a file, which differs once it was written. Never raises."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    # A file that is renamed over another has its own inode; one that is rewritten within a tick of the clock its size.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
