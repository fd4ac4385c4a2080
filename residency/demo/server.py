"""The demo's uvicorn: a port and a folder in, a process of its own out, started, watched, killed and stopped here."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

__all__ = ["Server", "ServerFailed", "free_port"]

_START_LIMIT = 30.0  # seconds
_STOP_LIMIT = 8.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ServerFailed(Exception):
    """The server did not come up; the message ends with what it said last."""


def free_port(wanted: int | None = None) -> int:
    """`wanted` if nobody listens there on loopback, else one that the system picks."""
    for port in (wanted, 0):
        if port is None:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise ServerFailed("no port is free on 127.0.0.1")


class Server:
    """uvicorn at its defaults in a process group of its own, its output in `server.log`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.log = folder / "server.log"
        self.command = [sys.executable, "-m", "uvicorn", "residency.demo.app:app", "--port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start, and wait until /healthz answers. Raises: ServerFailed."""
        self.log.touch(mode=0o600)  # uvicorn's access log names addresses, and ids in paths
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - returns at once; the wait below is not blocking
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "DEMO_DATA": str(self.folder)},
                start_new_session=True,  # Ctrl-C here is not Ctrl-C there, and the whole group can be killed
                preexec_fn=_die_with_parent(),
            )
        deadline = asyncio.get_running_loop().time() + _START_LIMIT
        async with httpx.AsyncClient(trust_env=False) as client:
            while asyncio.get_running_loop().time() < deadline:
                if self._process.poll() is not None:
                    break
                with contextlib.suppress(httpx.HTTPError):
                    answer = await client.get(f"http://127.0.0.1:{self.port}/healthz", timeout=2)
                    if answer.status_code == 200:
                        return
                    break
                await asyncio.sleep(0.05)
        said = "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])
        raise ServerFailed(f"the server did not come up; {self.log} ends with:\n{said}")

    def kill(self) -> None:
        """`kill -9` of the whole process group: no handler runs, nothing is flushed. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            _signal_group(process, signal.SIGKILL)
            process.wait()

    async def stop(self) -> None:
        """Ask it to stop, wait, and kill what is left of the group. Idempotent."""
        process = self._process
        if process is None:
            return
        _signal_group(process, signal.SIGTERM)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, _STOP_LIMIT)
        finally:
            self.kill()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    # The group outlives its leader as long as it has members, and its number is not given out again before.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _die_with_parent() -> Callable[[], object] | None:
    """On Linux: let the kernel end the server even where this process is itself killed with -9."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        prctl = ctypes.CDLL(None).prctl
        return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return None
