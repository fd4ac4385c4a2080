"""In: a port. Out: the states of the sockets of this machine that are connected to it, as the kernel tells them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio

__all__ = ["CLOSE_WAIT", "ESTABLISHED", "open_to", "until"]

ESTABLISHED, CLOSE_WAIT = "01", "08"
_OPEN: Final = (ESTABLISHED, "02", CLOSE_WAIT)  # of the others the kernel alone knows: nobody has a descriptor any more


def open_to(port: int) -> list[str]:
    """The states of what somebody holds open towards `port`: the clients' side."""
    states = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if int(words[2].rpartition(":")[2], 16) == port and words[3] in _OPEN:
                states.append(words[3])
    return states


async def until(holds: Callable[[], object], what: str) -> None:
    """Return as soon as `holds()` is true, and let others run meanwhile. Fails after 30 seconds."""
    with anyio.move_on_after(30):
        while not holds():  # noqa: ASYNC110 - what is waited for is the kernel's
            await anyio.sleep(0.01)
        return
    raise AssertionError(f"{what} did not come true")
