"""The server process: free ports, and nothing left behind."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
from pathlib import Path

import pytest

from residency.demo.server import Server, ServerFailed, free_port
from tests import ports


def test_a_taken_port_is_exchanged_for_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port


def test_a_free_port_is_kept() -> None:
    port = ports.free_port()  # one that nobody is handed in between
    assert free_port(port) == port


def test_a_server_that_dies_at_start_is_a_failure_with_its_last_words(tmp_path: Path) -> None:
    server = Server(tmp_path, free_port())
    server.command = [sys.executable, "-c", "raise SystemExit('the line to mend')"]
    with pytest.raises(ServerFailed, match="the line to mend"):
        asyncio.run(server.start())


def test_stop_ends_a_process_that_will_not_and_all_its_children(tmp_path: Path) -> None:
    server = Server(tmp_path, free_port())
    held = tmp_path / "held"
    child = (
        "import fcntl, signal, time; signal.signal(15, signal.SIG_IGN); "
        f"f = open({str(held)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    server.command = [sys.executable, "-c", parent]

    async def scenario() -> None:
        starting = asyncio.create_task(server.start())
        while not (server.log.exists() and "held" in server.log.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await server.stop()
        await server.stop()

    asyncio.run(scenario())
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits as long as the child lives, and no longer
