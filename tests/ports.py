"""In: this machine. Out: a port for a server that cannot pick one itself and tell it; and when it listens there."""

from __future__ import annotations

import itertools
import secrets
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

__all__ = ["free_port", "wait_for_server"]

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


def wait_for_server(process: subprocess.Popen[bytes], port: int, *logs: Path) -> None:
    """Return once `process` listens on `port`. Where it ends, or 90 s are over, fail with what its `logs` say."""
    end = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    said = "\n".join(log.read_text() for log in logs)
    pytest.fail(f"{process.args!r} does not serve:\n{said}")
