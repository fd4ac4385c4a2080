"""For tests: work in a process that kills itself with SIGKILL at its n-th step, and the driver of that process.

The process forks for each try, so that what takes long to set up is set up once. A step lies before each call of
the methods that are named: what lies after one lies before the next.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Tried", "serve"]

ROOT = Path(__file__).resolve().parent.parent


def serve(work: Callable[[str], object], steps: Sequence[tuple[type, str]]) -> None:
    """For each line `N WORDS` of stdin: `work(WORDS)` in a child that dies at its N-th step, 0 = at none."""
    for line in sys.stdin:
        at, _, words = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            _arm(steps, int(at))
            work(words)
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"ended {os.WEXITSTATUS(status)}", flush=True)


def _arm(steps: Sequence[tuple[type, str]], at: int) -> None:
    count = 0

    def step(kind: type, name: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            print(kind.__name__, name, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(method: Any, kind: type, name: str) -> Any:
        async def call(self: object, *args: Any, **named: Any) -> Any:
            step(kind, name)
            return await method(self, *args, **named)

        return call

    for kind, name in steps:
        setattr(kind, name, wrapped(getattr(kind, name), kind, name))


class Tried:
    """The driver of a process whose code ends in `serve(...)`."""

    def __init__(self, folder: Path, code: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    def run(self, at: int, words: str = "") -> tuple[list[str], str]:
        """(what it said, of which the last is where it was killed; how it ended)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{at} {words}\n")
        self._process.stdin.flush()
        said: list[str] = []
        while line := self._process.stdout.readline().strip():
            if line.startswith(("killed", "ended")):
                return said, line
            said.append(line)
        return said, "gone"

    def __enter__(self) -> Tried:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
