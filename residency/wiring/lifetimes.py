"""Runtimes in; each told of a fork of this process and of its good end, and whether one of them serves, out."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Final, Protocol

__all__ = ["Living", "serving", "watch_over"]


class Living(Protocol):
    """What holds slots, threads and connections, none of which survive a fork."""

    @property
    def is_open(self) -> bool:
        """Whether it holds them now."""

    def after_fork(self) -> None:
        """This is a forked child's copy: hold nothing, open anew when asked to."""

    def at_exit(self) -> None:
        """The interpreter ends in good order; a server without a lifespan tells nobody else."""


_all: Final[weakref.WeakSet[Living]] = weakref.WeakSet()


def watch_over(living: Living) -> None:
    """Tell `living`, for as long as anybody else holds it."""
    _all.add(living)


def serving() -> bool:
    """Whether this process runs a deployment now: what is done without a decision is a mistake then."""
    return any(living.is_open for living in list(_all))


def _forked() -> None:
    for living in list(_all):
        living.after_fork()


def _ends() -> None:
    for living in list(_all):
        living.at_exit()


os.register_at_fork(after_in_child=_forked)
atexit.register(_ends)
