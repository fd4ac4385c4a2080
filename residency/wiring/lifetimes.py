"""Runtimes in; each of them told when this process was forked, and when it ends in good order."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Final, Protocol

__all__ = ["Living", "watch_over"]


class Living(Protocol):
    """What holds slots, threads and connections, none of which survive a fork."""

    def after_fork(self) -> None:
        """This is a forked child's copy: hold nothing, open anew when asked to."""

    def at_exit(self) -> None:
        """The interpreter ends in good order; a server without a lifespan tells nobody else."""


_all: Final[weakref.WeakSet[Living]] = weakref.WeakSet()


def watch_over(living: Living) -> None:
    """Tell `living`, for as long as anybody else holds it."""
    _all.add(living)


def _forked() -> None:
    for living in list(_all):
        living.after_fork()


def _ends() -> None:
    for living in list(_all):
        living.at_exit()


os.register_at_fork(after_in_child=_forked)
atexit.register(_ends)
