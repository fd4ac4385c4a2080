"""The one that sequences is killed: another has taken over within two seconds, and the log has no gap and no double."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.log_bytes import check_trail
from tests.write_path import ROOT, make_sequencer

# What it has recorded it says at once; it goes on for as long as its input is open.
WORKER = """
import os, select, sys
from pathlib import Path
from tests.write_path import make_sequencer, open_journal, payload
folder = Path(sys.argv[1])
os.write(1, b"!")
sys.stdin.readline()
journal, sequencer = open_journal(folder), make_sequencer(folder)
sequencer.start()
told = False
while not select.select([0], [], [], 0.002)[0]:
    seq = journal.append(payload(journal.slot, journal.next_seq))
    os.write(1, b"%d.%d\\n" % (journal.slot, seq))
    if sequencer.active and not told:
        told = True
        (folder / f"active-{os.getpid()}").touch()
sequencer.stop()
assert sequencer.problem is None, sequencer.problem
journal.close()
"""


def start(folder: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    stack.enter_context(worker)
    assert worker.stdout is not None
    assert worker.stdout.read(1) == b"!"
    return worker


def let_go(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    worker.stdin.write(b"\n")
    worker.stdin.flush()


def active(folder: Path, but: set[int]) -> int:
    """The process that sequences, other than those of `but`."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for path in folder.glob("active-*"):
            if (found := int(path.name.removeprefix("active-"))) not in but:
                return found
        time.sleep(0.005)
    raise AssertionError("nobody sequences")


def published(folder: Path) -> int:
    checkpoint = folder / "log/checkpoint"
    # Who has just begun to sequence has published nothing yet.
    return int(checkpoint.read_bytes().split(b"\n")[1]) if checkpoint.exists() else 0


def takeovers(folder: Path, stack: ExitStack) -> list[float]:
    """Four workers at once, three of which are killed one after the other as they sequence: the seconds until what was
    recorded after each death was published."""
    workers = {worker.pid: worker for worker in [start(folder, stack) for _ in range(4)]}
    for worker in workers.values():
        let_go(worker)
    seconds, dead = [], set[int]()
    for _ in range(3):
        victim = active(folder, dead)
        time.sleep(0.2)
        os.kill(victim, signal.SIGKILL)
        begun = time.monotonic()
        workers[victim].wait()
        dead.add(victim)
        size = published(folder)
        while published(folder) <= size:
            assert time.monotonic() - begun < 60
            time.sleep(0.01)
        seconds.append(time.monotonic() - begun)
    said: list[bytes] = []
    for pid, worker in workers.items():
        if pid not in dead:
            let_go(worker)
    for pid, worker in workers.items():
        assert worker.stdout is not None
        said += worker.stdout.read().split(b"\n")[:-1]
        assert worker.wait() == (-signal.SIGKILL if pid in dead else 0)
    last = make_sequencer(folder)
    last.tick()
    last.stop()
    # Nobody has opened the journals of those that were killed, who may have been within a record.
    _, entries = check_trail(folder, settled=False)
    found = [entry.split(b" ")[0] for entry in entries]
    assert len(set(found)) == len(found), "a double"
    assert set(said) <= set(found), "a gap"
    for slot in range(4):
        seqs = [int(name.split(b".")[1]) for name in found if name.startswith(b"%d." % slot)]
        assert seqs == list(range(len(seqs)))
    return seconds


def test_another_takes_over_within_two_seconds_with_no_gap_and_no_double(tmp_path: Path) -> None:
    for attempt in range(3):  # a machine may be busy for a while
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with ExitStack() as stack:
            seconds = takeovers(folder, stack)
        print("taken over after", ", ".join(f"{each:.2f} s" for each in seconds))
        # Of three, the middle one: and for a moment.
        if sorted(seconds)[1] < 2:
            return
    raise AssertionError("nobody took over within two seconds")
