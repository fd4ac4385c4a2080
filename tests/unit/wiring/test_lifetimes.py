"""Whoever lives is told of a fork and of the end, and not kept alive for it. Forks of a server: test_fork.py."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import gc, os, sys
from residency.wiring.lifetimes import serving, watch_over

class One:
    is_open = False
    def __init__(self, name):
        self.name = name
        watch_over(self)
    def after_fork(self):
        print(self.name, "forked", flush=True)
    def at_exit(self):
        print(self.name, "ends", flush=True)

here, gone = One("here"), One("gone")
del gone
gc.collect()
print(serving(), flush=True)
here.is_open = True
print(serving(), flush=True)
if os.fork() == 0:
    os._exit(0)
os.wait()
"""


def test_whoever_lives_is_told_of_a_fork_and_of_the_end_and_serves_while_it_is_open() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split("\n") == ["False", "True", "here forked", "here ends", ""]
