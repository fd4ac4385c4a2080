"""A clock in; what it says together with the boot of the machine that it counts from, out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from residency.audit.detail_time import Moment
from residency.enforcement.ports import Clock

__all__ = ["moments"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def moments(clock: Clock) -> Callable[[], Moment]:
    """What answers the moment, by a name of this boot that all its processes share, where the system has one."""
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        boot = f"unknown {uuid4()}"  # each process for itself: what passes between two of them is not counted
    return lambda: Moment(clock.now(), boot, clock.monotonic())
