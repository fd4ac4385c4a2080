"""`kill -9` of who files details, at every call that changes a file and at random instants: each detail is in the store
once, and what was erased is nowhere."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from residency.adapters.detail_filer import DetailFiler
from residency.adapters.detail_files import DetailFiles
from residency.adapters.detail_store import DetailStore
from residency.adapters.journal_files import JournalFiles
from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head
from residency.audit.detail_time import Moment

ROOT: Final = Path(__file__).resolve().parents[2]
SEGMENT: Final = 1 << 17  # holds one longest record
NOW: Final = 1_800_000_000_000_000
DAY: Final = 86_400_000_000
CHANGES: Final = ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "unlink", "rename", "fallocate", "openat")

FILE_ONCE = """
import os, sys
from pathlib import Path
from residency.audit.detail_time import Moment
from residency.adapters.detail_filer import DetailFiler
from residency.adapters.detail_store import DetailStore
folder = Path(sys.argv[1])
now = Moment(int(sys.argv[2]), "boot", int(sys.argv[2]))
filer = DetailFiler(folder, DetailStore(folder / "details.db"), lambda: now)
filer.tick()
filer.tick()
"""

SERVE = """
import os, sys, time
from pathlib import Path
from residency.adapters.detail_filer import DetailFiler
from residency.adapters.detail_files import DetailFiles, turn_over
from residency.adapters.detail_store import DetailStore
from residency.adapters.journal_files import JournalFiles
from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head
from residency.audit.detail_time import Moment
folder, size, now = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
journal = JournalFiles(folder / "journal", segment_bytes=size).open()
files = DetailFiles({"VN": journal}, lambda country: bytes(32), os.urandom)
filer = DetailFiler(
    folder, DetailStore(folder / "details.db"), lambda: Moment(now, "boot", now), slot=journal.slot,
    turn_over=lambda: turn_over(journal, size), interval=0.01,
)
filer.start()
while True:
    number = int.from_bytes(os.urandom(5), "big")
    detail = format_detail({"account": f"person-{number}"}, os.urandom(16))
    head = Head("log", f"0.{number}", commit(detail), None, now, "none", None, now + 90 * 86_400_000_000)
    files.append("VN", head, detail)
    os.write(1, f"0.{number}\\n".encode())
    if number % 50 == 0:
        time.sleep(0.002)
"""
"""A worker that records, says what it recorded, and files, until it is killed."""


def at(now: int) -> Moment:
    """A moment of one boot, whose clocks are right."""
    return Moment(now, "boot", now)


def record(folder: Path, numbers: range, *, days: int = 90) -> None:
    """Record details as one worker that is then gone."""
    journal = JournalFiles(folder / "journal", segment_bytes=SEGMENT).open()
    files = DetailFiles({"VN": journal}, lambda country: bytes(32), os.urandom)
    for number in numbers:
        detail = format_detail({"account": f"person-{number}"}, os.urandom(16))
        head = Head("log", f"0.{number}", commit(detail), None, NOW, "none", None, NOW + days * DAY)
        files.append("VN", head, detail)
    journal.close()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A folder with details that are filed, one that was erased, some that are due and many that are to be filed; and
    the erased one's sealed bytes, which the journal holds still."""
    folder = tmp_path_factory.mktemp("begun") / "VN"
    record(folder, range(10), days=1)
    record(folder, range(10, 20))
    store = DetailStore(folder / "details.db")
    filer = DetailFiler(folder, store, lambda: at(NOW))
    filer.tick()
    filer.release()
    ((head, sealed),) = store.rows(entry="0.15")
    store.erase([head])
    record(folder, range(20, 60))
    return folder, sealed


def check(folder: Path, erased: bytes) -> None:
    """Go on as the next filer does, and see that all is as if nobody had been killed."""
    store = DetailStore(folder / "details.db")
    filer = DetailFiler(folder, store, lambda: at(NOW + 2 * DAY))
    for _ in range(2):
        filer.tick()
    filer.release()
    found = Counter(head.entry for head, _ in store.rows())
    assert found == Counter(f"0.{number}" for number in range(10, 60) if number != 15)
    for path in folder.rglob("*"):
        assert not path.is_file() or erased not in path.read_bytes(), path.name


def file_once(folder: Path, *tracing: str) -> tuple[int, str]:
    """One process that files; its end, and what it called."""
    log = folder.parent / "trace"
    command = ["strace", "-f", "-o", str(log), "-e", f"trace={','.join(CHANGES)}", *tracing]
    command += [sys.executable, "-c", FILE_ONCE, str(folder), str(NOW + 2 * DAY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    return done.returncode, log.read_text(errors="replace")


def calls_of(log: str, folder: Path) -> list[tuple[str, int]]:
    """Each (call, its number among its kind) that a clean run makes from its first look at the folder on."""
    counts: Counter[str] = Counter()
    found, begun = [], False
    for line in log.splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match is None:
            continue
        counts[match[1]] += 1
        begun = begun or str(folder) in line
        if begun and not (match[1] == "openat" and "O_CREAT" not in line):
            found.append((match[1], counts[match[1]]))
    return found


def kill_at(calls: list[tuple[str, int]], begun: tuple[Path, bytes], place: Path) -> int:
    """Kill one run at each of these calls and check what is left; how many were killed."""
    killed = 0
    for name, number in calls:
        folder = shutil.copytree(begun[0], place / "VN")
        code, _ = file_once(folder, "-e", f"inject={name}:signal=SIGKILL:when={number}")
        killed += code != 0
        try:
            check(folder, begun[1])
        except Exception as error:
            raise AssertionError(f"killed at {name} {number}") from error
        shutil.rmtree(folder)
    return killed


@pytest.mark.needs("strace")
def test_a_kill_at_some_calls_that_change_a_file_loses_doubles_and_keeps_nothing(
    begun: tuple[Path, bytes], tmp_path: Path
) -> None:
    folder = shutil.copytree(begun[0], tmp_path / "clean" / "VN")
    code, log = file_once(folder)
    assert code == 0
    check(folder, begun[1])
    calls = calls_of(log, folder)
    some = calls[:: max(1, len(calls) // 8)]
    killed = kill_at(some, begun, tmp_path)
    print(f"a clean run makes {len(calls)} calls that change a file; {killed} of {len(some)} were killed at")
    assert killed == len(some)


@pytest.mark.slow
@pytest.mark.needs("strace")
@pytest.mark.timeout(1200)
def test_a_kill_at_every_call_that_changes_a_file_loses_doubles_and_keeps_nothing(
    begun: tuple[Path, bytes], tmp_path: Path
) -> None:
    folder = shutil.copytree(begun[0], tmp_path / "clean" / "VN")
    calls = calls_of(file_once(folder)[1], folder)
    killed = kill_at(calls, begun, tmp_path)
    print(f"N = {killed} kills, a clean run makes {len(calls)} calls that change a file")
    assert killed == len(calls) > 50


def test_workers_killed_at_random_instants_leave_every_detail_they_told_of_in_the_store_once(tmp_path: Path) -> None:
    chance = random.Random(7)
    folder, said = tmp_path / "VN", tmp_path / "said"
    command = [sys.executable, "-c", SERVE, str(folder), str(SEGMENT), str(NOW)]
    for _ in range(6):
        with said.open("ab") as out:
            workers = [subprocess.Popen(command, cwd=ROOT, stdout=out) for _ in range(2)]
            size = said.stat().st_size
            while said.stat().st_size == size:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.25))
            for worker in workers:
                worker.send_signal(signal.SIGKILL)
            assert [worker.wait() for worker in workers] == [-signal.SIGKILL] * 2
    told = [line for line in said.read_text().splitlines() if line]
    store = DetailStore(folder / "details.db")
    before = sum(1 for _ in store.rows())
    # A torn record is for the worker that takes the slot next: open the slots once, as a service that starts does.
    for journal in [JournalFiles(folder / "journal", segment_bytes=SEGMENT).open() for _ in range(2)]:
        journal.close()
    filer = DetailFiler(folder, store, lambda: at(NOW))
    filer.tick()
    filer.release()
    found = Counter(head.entry for head, _ in store.rows())
    print(f"{len(told)} details told of, {before} of them filed by those who were killed, {found.total()} filed in all")
    assert len(told) > 100
    assert set(told) <= found.keys()
    assert max(found.values()) == 1
    assert found.total() - len(told) <= 12  # recorded, and killed before it was told
