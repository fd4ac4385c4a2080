"""`kill -9` at instants that nobody chose, between stores into memory too: nothing acknowledged is lost or torn."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.write_path import ROOT, recover_and_check, said

# It acknowledges through memory: between two stores of entries there is no system call at which it could be stopped.
WRITER = """
import mmap, os, sys
from pathlib import Path
from tests.write_path import make_sequencer, open_journal, payload
folder = Path(sys.argv[1])
count = os.open(folder / "count", os.O_RDWR | os.O_CREAT)
os.ftruncate(count, 4096)
counted = memoryview(mmap.mmap(count, 4096)).cast("Q")
journals = [open_journal(folder) for _ in range(2)]
sequencer = make_sequencer(folder)
sequencer.interval = 0.005
sequencer.start()
os.write(1, b"!")
for seq in range(60_000):
    for journal in journals:
        journal.append(payload(journal.slot, seq))
        counted[journal.slot] = seq + 1
sys.stdin.read()  # until it is killed, however late that is
"""


def live(folder: Path, seconds: float) -> str:
    """A life that ends `seconds` after it began to record; what became of it."""
    folder.mkdir()
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout is not None
        assert writer.stdout.read(1) == b"!"
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL, "it came to its end before it was killed"
    counts = memoryview((folder / "count").read_bytes()).cast("Q")
    lines = [b"%d.%d\n" % (slot, seq) for slot in range(2) for seq in range(counts[slot])]
    (folder / "said").write_bytes(b"".join(lines))
    assert len(said(folder)) == sum(counts[:2])
    outcome = recover_and_check(folder)
    shutil.rmtree(folder)
    return outcome


def rounds(folder: Path, count: int) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    chance = random.Random(seed)
    recorded_only = 0
    for number in range(count):
        seconds = chance.uniform(0, 0.25)
        outcome = live(folder / str(number), seconds)
        print(f"killed after {seconds * 1000:.1f} ms: {outcome}")
        recorded_only += not outcome.endswith("0 recorded and not acknowledged")
    print(f"{count} kills; {recorded_only} of them between a record and its acknowledgement")


def test_a_few_kills_at_random_instants_lose_nothing_and_claim_nothing(tmp_path: Path) -> None:
    rounds(tmp_path, 4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_kills_at_random_instants_lose_nothing_and_claim_nothing(tmp_path: Path) -> None:
    rounds(tmp_path, 150)
