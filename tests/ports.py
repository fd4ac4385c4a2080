"""In: an address of this machine. Out: a port for a server that cannot pick one itself and tell it."""

from __future__ import annotations

import itertools
import secrets
import socket
from contextlib import suppress

__all__ = ["free_port"]

# The system hands out what lies above, to whoever connects or asks for any port: one of those may be gone again before
# its server starts, or while it is down. What lies 10,000 above ours (a Redis cluster's bus) is below those as well.
_OURS = range(10_000, 22_768)
# Not `random`, whose seed other workers share.
_next = itertools.count(secrets.randbelow(len(_OURS)))


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on, nor 10,000 above; this process gets another one each time."""
    for number in itertools.islice(_next, len(_OURS)):
        port = _OURS[number % len(_OURS)]
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError):
            probe.bind((address, port))
            bus.bind((address, port + 10_000))
            return port
    raise AssertionError(f"no port is free on {address}")
