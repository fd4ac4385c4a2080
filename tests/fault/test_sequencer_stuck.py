"""The one that sequences stands still and holds its lock: the others refuse after the bound, and go on once it does.

And the one that sequences is killed in the middle of an act: who takes over knows the act that nobody will end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.log_bytes import check_trail
from tests.write_path import ROOT

BOUND = 2.0
WORKER = """
import os, select, sys, time
from pathlib import Path
from residency.adapters.journal_files import JournalFiles
from residency.adapters.sequencer import Overdue
from residency.audit.entry import Entry, format_entry
from residency.errors import JournalFailed, JournalLate
from tests.write_path import make_sequencer
folder = Path(sys.argv[1])
journal = JournalFiles(folder / "journal", segment_bytes=1 << 20, max_loss=0.4).open()
sequencer = make_sequencer(folder)
overdue = Overdue(journal.slot, lambda: journal.next_seq, sequencer.stored_cursors, float(sys.argv[2]))
journal.watched(overdue.look)
sequencer.start()
said, role, intent = None, None, ""
while not select.select([0], [], [], 0.01)[0]:
    try:
        journal.ready()
        now = "ready"
    except JournalLate:
        continue  # the disk is busy, which is not what is asked here
    except JournalFailed as error:
        now = f"refused: {error}"
    if now == "ready":
        own = f"{journal.slot}.{journal.next_seq}"
        act = {"kind": "outcome", "act": "committed", "of": intent} if intent else {"kind": "intent"}
        entry = Entry(id=own, at=time.time_ns() // 1000, effect="permit", policy="ab" * 32, **act)
        journal.append(format_entry(entry))
        intent = "" if intent else own
    known = sequencer.open_intents
    holds = "active" if sequencer.active else "standby"
    for new, old in ((now, said), (holds, role)):
        if new != old:
            os.write(1, f"{new}\\n".encode())
    said, role = now, holds
if intent:
    entry = Entry(id=f"{journal.slot}.{journal.next_seq}", at=1, effect="permit", policy="ab" * 32, kind="outcome",
                  act="committed", of=intent)
    journal.append(format_entry(entry))
sequencer.tick()
known = sequencer.open_intents
os.write(1, f"open {known.count if known else None}\\n".encode())
sequencer.stop()
assert sequencer.problem is None, sequencer.problem
journal.close()
"""


class Worker:
    """A process that records for as long as it is let; `says` waits until it says that."""

    def __init__(self, folder: Path, bound: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), str(bound)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.said: list[str] = []

    def says(self, start: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.startswith(start):
                return line.strip()
        raise AssertionError(f"it ended, and said {self.said}")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        for line in self.process.stdout or ():
            self.said.append(line.strip())
        assert self.process.wait() == 0


@contextmanager
def two(folder: Path, bound: float) -> Iterator[tuple[Worker, Worker]]:
    """The one that sequences, and one that stands by."""
    with ExitStack() as stack:
        workers: list[Worker] = []
        for role in ("active", "standby"):
            worker = Worker(folder, bound)
            stack.enter_context(worker.process)
            stack.callback(worker.process.kill)
            worker.says(role)
            workers.append(worker)
        yield workers[0], workers[1]


def in_time(tmp_path: Path, life: Callable[[Path], bool]) -> None:
    """One of three lives is not held up, for a machine may be busy for a while."""
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if life(folder):
            return
    raise AssertionError("refused before its time, three times")


def test_a_sequencer_that_stands_still_makes_the_others_refuse_until_it_goes_on(tmp_path: Path) -> None:
    in_time(tmp_path, stands_still)


def stands_still(folder: Path) -> bool:
    """Whether the other refused after the bound, and not before its time."""
    with two(folder, BOUND) as (active, other):
        time.sleep(BOUND)
        os.kill(active.process.pid, signal.SIGSTOP)
        begun = time.monotonic()
        why = other.says("refused")
        waited = time.monotonic() - begun
        assert "stuck" in why
        assert str(folder) not in why
        os.kill(active.process.pid, signal.SIGCONT)
        other.says("ready")
        active.end()
        other.says("active")
        other.end()
    assert [word for word in active.said + other.said if word == "standby"] == ["standby"]
    assert other.said[-1] == "open 0"
    check_trail(folder)
    return waited > BOUND / 2  # though it is looked at now and then only


def test_after_a_kill_nobody_refuses_and_the_act_that_was_cut_off_is_known(tmp_path: Path) -> None:
    in_time(tmp_path, is_taken_over)


def is_taken_over(folder: Path) -> bool:
    """Whether nobody refused."""
    with two(folder, BOUND) as (active, other):
        time.sleep(BOUND)
        os.kill(active.process.pid, signal.SIGKILL)
        other.says("active")
        time.sleep(BOUND * 1.5)
        other.end()
    # Nobody has opened the journal of the one that was killed, which may have been within a record.
    _, entries = check_trail(folder, settled=False)
    ended = sum(b'"kind":"outcome"' in entry for entry in entries)
    left = sum(b'"kind":"intent"' in entry for entry in entries) - ended
    assert left in (0, 1)  # the kill came within an act, or between two
    assert other.said[-1] == f"open {left}"
    return not any(word.startswith("refused") for word in other.said)
