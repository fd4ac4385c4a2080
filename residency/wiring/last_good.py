"""A policy that is in force in, kept where the environment says; that policy out, where a start finds one that does not
hold.

A server under load has workers that start at any time. One that starts while a bad file lies there would end all of
them, while those that run go on with what was in force before. Who names a place for it has the new worker do the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from residency.adapters.log_files import LogFiles
from residency.adapters.policy_files import Loaded, PolicyFiles
from residency.errors import PolicyError, VerificationError
from residency.policy.bundle import format_bundle

__all__ = ["LAST_GOOD", "LastGood"]

LAST_GOOD: Final = "RESIDENCY_POLICY_LAST_GOOD"
"""The environment variable that names the file in which the policy in force is kept; not set = it is kept nowhere."""
_log = logging.getLogger("residency")


class LastGood:
    """The policy that was in force last, as a bundle in one file. Workers may share it: it is replaced whole."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        """`env` = this process's environment where None."""
        named = (os.environ if env is None else env).get(LAST_GOOD)
        self._path = Path(named).absolute() if named else None

    def read(self, files: PolicyFiles) -> Loaded:
        """What `files` hold; where that does not hold, what was kept of them, and the log says so.

        Raises: PolicyError of `files`, where nothing was kept, or it does not hold either.
        """
        try:
            return files.read()
        except PolicyError as error:
            if self._path is None or not self._path.is_file():
                raise
            try:
                kept = replace(files.kept_at(self._path).read(), stands_in=True)
            except PolicyError as problem:
                _log.error("policy: what was kept in %s does not hold either: %s", LAST_GOOD, problem)
                raise error from None
            _log.error(
                "policy: the files do not hold, and this process starts on what was in force: %s\n%s", kept, error
            )
            return kept

    def keep(self, loaded: Loaded) -> None:
        """Keep what is in force now; where it cannot be kept, nothing older stays in its place, and the log says so."""
        if self._path is None or loaded.stands_in:
            return
        kept = LogFiles(self._path.parent, mode=0o600)
        try:
            if loaded.registers:
                raise VerificationError("registers that are signed apart have signatures and files of their own")
            data = loaded.bundle or format_bundle(loaded.policy.deployment.name, loaded.policy.sources)
            if kept.read(self._path.name) != data:
                kept.write(self._path.name, data)
        except (OSError, VerificationError) as error:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            why = f"errno {error.errno}" if isinstance(error, OSError) else str(error)
            _log.warning("policy: what is in force is not kept for the next start (%s): %s", LAST_GOOD, why)
