"""A policy that is about to be in force in; whether it is older than one before, or another one of the same version,
and what is told of it, out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from residency.adapters.log_files import LogFiles
from residency.adapters.policy_files import Loaded
from residency.errors import JournalFailed, PolicyError

__all__ = ["ALLOW_OLDER", "Versions", "newer_in_force", "told"]

ALLOW_OLDER: Final = "RESIDENCY_POLICY_ALLOW_OLDER"
"""The environment variable that names, by the first 16 digits of its digest or more, the one policy that may come into
force though a newer version was before."""
_DIGITS: Final = 16
_BUNDLE: Final = "bundle"


class Versions:
    """The versions of bundles, and of registers that are signed apart, that ever came into force beside an audit log.

    Each is a file of its own, `versions/<what>/<number>`, which holds the digests of the policy and, in a second line,
    of what has the version: two contents under one version are told apart. Nothing is replaced, so workers that come
    into one version, or into two, take nothing from each other. Not counted (0) is below all.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        """`folder` is the audit folder. `env` = this process's environment where None."""
        self._folder = folder
        self._env: Mapping[str, str] = os.environ if env is None else env

    def check(self, loaded: Loaded) -> None:
        """Refuse to start on what is older than what was in force here before, unless told in words to take it.

        Raises: PolicyError, JournalFailed where it cannot be known.
        """
        why = self.older(loaded)
        if why is not None and not self.allowed(loaded):
            digest = loaded.policy.digest[:_DIGITS]
            told = f"{why}: pack it under a newer version, or set {ALLOW_OLDER}={digest} to take this one all the same"
            raise PolicyError((loaded.policy.deployment.source.problem((), told),))

    def older(self, loaded: Loaded) -> str | None:
        """In what a policy is older than what was in force here before, or another one of its version; None = in
        nothing.

        Raises: JournalFailed.
        """
        contents = _contents(loaded)
        for what, version in _versions(loaded).items():
            highest = self._highest(what)
            if version < highest:
                return f"{_words(what, version)} lies there and version {highest} was in force"
            if version and self._content(what, version) not in (None, contents.get(what)):
                return f"{_words(what, version)} lies there and another version {version} was in force"
        return None

    def allowed(self, loaded: Loaded) -> bool:
        """Whether the environment names this very policy as one that may be older."""
        named = self._env.get(ALLOW_OLDER, "")
        return len(named) >= _DIGITS and loaded.policy.digest.startswith(named)

    def note(self, loaded: Loaded) -> None:
        """Remember what is about to be in force. Raises: JournalFailed."""
        files, contents = LogFiles(self._folder, mode=0o600), _contents(loaded)
        try:
            for what, version in _versions(loaded).items():
                path, digest = f"versions/{what}/{version}", f"{loaded.policy.digest}\n".encode()
                # One line alone was noted before contents were: it is completed where it is of this very policy.
                if version and files.read(path) in (None, digest):
                    files.write(path, digest + f"{contents.get(what, '')}\n".encode())
        except OSError as error:
            raise JournalFailed(f"a policy's version cannot be noted beside the log (errno {error.errno})") from error

    def _content(self, what: str, version: int) -> str | None:
        """The digest of what was in force under a version; None where none was, or where it was not noted."""
        try:
            noted = LogFiles(self._folder).read(f"versions/{what}/{version}")
        except OSError as error:
            raise JournalFailed(f"the versions beside the log cannot be read (errno {error.errno})") from error
        lines = b"" if noted is None else b"".join(noted.split(b"\n")[1:2])
        return lines.decode("ascii", "replace") or None

    def _highest(self, what: str) -> int:
        try:
            names = [path.name for path in (self._folder / "versions" / what).iterdir()]
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise JournalFailed(f"the versions beside the log cannot be read (errno {error.errno})") from error
        return max((int(name) for name in names if name.isascii() and name.isdecimal()), default=0)


def told(what: str, loaded: Loaded) -> str:
    """The note of an entry from which on a policy is in force; its digest the entry has anyway."""
    words = ["on the last that held"] if loaded.stands_in else []
    words += [f"version {loaded.version}"] if loaded.version else []
    words += [f"register {file} version {version}" for file, version in loaded.registers if version]
    return f"{what}: {', '.join(words)}" if words else what


def newer_in_force(old: Loaded, new: Loaded) -> str | None:
    """In what `new` is older than `old`, which is in force; None = in nothing."""
    before = _versions(old)
    for what, version in _versions(new).items():
        if version < before.get(what, 0):
            return f"{_words(what, version)} lies there and version {before[what]} is in force"
    return None


def _versions(loaded: Loaded) -> dict[str, int]:
    return {_BUNDLE: loaded.version, **{f"register-{file}": version for file, version in loaded.registers}}


def _contents(loaded: Loaded) -> dict[str, str]:
    """The digests of what has a version, by the names that `_versions` has for it."""
    return {f"register-{file}" if file else _BUNDLE: digest for file, digest in loaded.contents}


def _words(what: str, version: int) -> str:
    counted = f"version {version}" if version else "a policy without a version"
    return counted if what == _BUNDLE else f"register {what.removeprefix('register-')}: version {version}"
