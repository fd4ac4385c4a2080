"""A sequencer that dies at any step of a commit leaves a log that the next one continues: no gap, no duplicate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.adapters.journal_files import JournalFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import Sequencer
from residency.audit.checkpoint import parse_verifier_key
from residency.audit.verify import read_checkpoint, verify_entries

ROOT = Path(__file__).resolve().parents[2]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


class Killed(Exception):
    """Stands for the process's death between two writes."""


class MortalFiles(LogFiles):
    """Dies before write or removal number `at`, counted over every store that shares `count`."""

    def __init__(self, folder: Path, count: list[int], at: int | None) -> None:
        super().__init__(folder)
        self._count = count
        self._at = at

    def write_all(self, files: Iterable[tuple[str, bytes]]) -> None:
        for file in files:
            self._step()
            super().write_all([file])

    def swap(self, path: str, data: bytes) -> None:
        self._step()
        super().swap(path, data)

    def prune(self, path: str) -> None:
        self._step()
        super().prune(path)

    def _step(self) -> None:
        if self._count[0] == self._at:
            raise Killed
        self._count[0] += 1


def sequencer(folder: Path, count: list[int], at: int | None) -> Sequencer:
    return Sequencer(
        folder / "journal",
        MortalFiles(folder / "log", count, at),
        MortalFiles(folder, count, at),
        key=KEY,
        origin="log.example",
    )


def entries(folder: Path) -> list[bytes]:
    read = LogFiles(folder / "log").read
    vkey = read("log.vkey")
    assert vkey is not None
    return list(verify_entries(read, read_checkpoint(read, parse_verifier_key(vkey.decode()))))


def life(folder: Path, at: int | None) -> tuple[list[bytes], int]:
    """Two commits, the second across a tile's end; the sequencer dies before step `at` and another takes over, with
    more entries there than the first one saw. What went into the journals, and how many steps there were."""
    journals = [JournalFiles(folder / "journal", segment_bytes=65_536, entry_limit=1000).open() for _ in range(2)]
    written: list[bytes] = []
    count = [0]
    first = sequencer(folder, count, at)
    steps = None

    def append(number: int) -> None:
        for i in range(number):
            written.append(b"entry %d" % len(written))
            journals[i % 2].append(written[-1])

    try:
        append(250)
        first.tick()
        append(20)
        first.tick()
        steps = count[0]
    except Killed:
        first._release()
    append(7)
    second = sequencer(folder, [0], None)
    if steps is not None:
        first.stop()
    second.tick()
    second.stop()
    for journal in journals:
        journal.close()
    return written, steps if steps is not None else -1


def test_death_before_every_step_of_a_commit_leaves_no_gap_and_no_duplicate(tmp_path: Path) -> None:
    written, steps = life(tmp_path / "whole", None)
    assert sorted(entries(tmp_path / "whole")) == sorted(written)
    assert steps > 10
    for at in range(steps):
        folder = tmp_path / f"killed-{at}"
        written, _ = life(folder, at)
        found = entries(folder)
        assert sorted(found) == sorted(written), f"killed before step {at} of {steps}"
        for slot in range(2):  # each slot's own order is kept
            numbers = [int(entry.split()[1]) for entry in found]
            mine = [n for n in numbers if _slot_of(n) == slot]
            assert mine == sorted(mine)


def _slot_of(number: int) -> int:
    # Batches of 250, 20 and 7 are each dealt out from slot 0 on.
    for start, stop in ((0, 250), (250, 270), (270, 277)):
        if start <= number < stop:
            return (number - start) % 2
    raise AssertionError(number)


PROCESS = """
import os, sys, time
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from residency.adapters.journal_files import JournalFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import Sequencer
folder = Path(sys.argv[1])
journal = JournalFiles(folder / "journal", segment_bytes=65536, entry_limit=1000).open()
sequencer = Sequencer(folder / "journal", LogFiles(folder / "log"), LogFiles(folder),
                      key=Ed25519PrivateKey.from_private_bytes(bytes(32)), origin="log.example", interval=0.01)
sequencer.start()
for i in range(int(sys.argv[2])):
    journal.append(b"%d.%d" % (journal.slot, journal.next_seq))
    os.write(1, b"%d.%d\\n" % (journal.slot, journal.next_seq - 1))
    time.sleep(0.001)
sequencer.stop()
assert sequencer.problem is None, sequencer.problem
journal.close()
"""


def start(folder: Path, number: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), str(number)], stdout=subprocess.PIPE, env=environment
    )


def test_two_processes_at_once_make_one_log(tmp_path: Path) -> None:
    workers = [start(tmp_path, 300) for _ in range(2)]
    said = [worker.communicate()[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    last = sequencer(tmp_path, [0], None)
    last.tick()
    last.stop()
    assert sorted(entries(tmp_path)) == sorted(said[0] + said[1])


@pytest.mark.parametrize("lines", [20, 120])
def test_after_kill_9_of_the_one_that_sequences_another_finishes_the_log(tmp_path: Path, lines: int) -> None:
    with start(tmp_path, 100_000) as worker:
        assert worker.stdout is not None
        said = [worker.stdout.readline().strip() for _ in range(lines)]
        worker.send_signal(signal.SIGKILL)
        said += worker.stdout.read().split(b"\n")[:-1]
    heir = sequencer(tmp_path, [0], None)
    heir.tick()
    heir.stop()
    found = entries(tmp_path)
    # The last one may have been stored without having been said.
    assert found[: len(said)] == said
    assert len(found) <= len(said) + 1
