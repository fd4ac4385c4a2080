"""For tests: a small life of the write path, to be killed at a system call of one's choice.

`python -m tests.write_path` imports everything once and then forks a life for each line that it is told: what is to be
done (a name of `LIVES`), a folder. It answers `ready <thread id>` once that life waits at its gate, and
`ended <return code>`. `Lives` drives it, under strace or not.

A life acknowledges by writing `<slot>.<seq>` lines to `<folder>/said`, after the entry was recorded.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.adapters.journal_files import JournalFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import Sequencer
from residency.audit.faults import fault, naming
from residency.errors import ResidencyError
from tests.log_bytes import check_log, check_trail

T = TypeVar("T")
ROOT: Final = Path(__file__).resolve().parents[1]
SEGMENT: Final = 8192
NAMES_A_FILE: Final = re.compile(r"\b[\w.-]+/\.?[\w.-]+ \(E[A-Z]+\)")
"""Folder, file and the error's name: what every refusal tells of a disk that failed."""
KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))
WAITS: Final = frozenset({
    "futex", "clock_nanosleep", "select", "pselect6", "poll", "ppoll", "restart_syscall", "madvise", "mprotect", "brk",
    "rt_sigprocmask", "exit",
})  # fmt: skip
"""Calls that wait, ask for memory, or are among a thread's last: how often they are made depends on how threads happen
to run, and on whether one is still there when the process ends."""


def payload(slot: int, seq: int) -> bytes:
    """What entry `seq` of `slot` says, so that anybody can tell a torn one."""
    return b"%d.%d " % (slot, seq) + b"x" * (seq * 37 % 90)


def open_journal(folder: Path) -> JournalFiles:
    """A journal with small segments, whose helper does not go by the clock."""
    return JournalFiles(folder / "journal", segment_bytes=SEGMENT, entry_limit=600, max_loss=3600).open()


def make_sequencer(folder: Path) -> Sequencer:
    """The sequencer of the folder, not started."""
    log, state = LogFiles(folder / "log", alone=True), LogFiles(folder, alone=True)
    return Sequencer(folder / "journal", log, state, key=KEY, origin="log.example")


class Life:
    """What a life does; `wait` holds it until it is told to go on, and says which thread to look at."""

    def __init__(self, folder: Path, ready: Callable[[int], None]) -> None:
        self.folder = folder
        self.said = os.open(folder / "said", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        gate = os.open(folder / "gate", os.O_RDWR)

        def wait(thread: int) -> None:
            ready(thread)
            select.select([gate], [], [])  # a call that an attaching tracer interrupts is made again

        self.wait = wait

    def record(self, journal: JournalFiles, count: int = 1, *, durable: bool = False) -> None:
        """Record `count` entries and then acknowledge them, in one write."""
        lines = b""
        for _ in range(count):
            seq = journal.append(payload(journal.slot, journal.next_seq))
            lines += b"%d.%d\n" % (journal.slot, seq)
        if durable:
            journal.sync(journal.next_seq - 1)
        with naming(self.folder / "said"):
            os.write(self.said, lines)

    def alone(self) -> JournalFiles:
        """A journal of one thread, opened."""
        return _Alone(self.folder / "journal", segment_bytes=SEGMENT, entry_limit=600).open()

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Do `step`; where it is refused, note in `<folder>/refused` what was said."""
        try:
            return step()
        except (ResidencyError, OSError) as error:
            words = str(error) if isinstance(error, ResidencyError) else fault(error)
            with (self.folder / "refused").open("a") as file:
                file.write(f"{type(error).__name__}: {words}\n")
            return None


class _Alone(JournalFiles):
    """A journal whose helper never gets to run, so that one thread makes every system call."""

    def _tend(self) -> None:
        return


def requests_and_sequencer(life: Life) -> None:
    """Two slots from opening to closing, and the sequencer of both, all in one thread."""
    life.wait(threading.get_native_id())
    for step in _steps(life, life.alone(), life.alone()):
        step()


def faults(life: Life) -> None:
    """The same, where each step may fail: it is noted what was said, and the next one is tried."""
    life.wait(threading.get_native_id())
    # Who cannot open a journal does not serve; it is started again.
    journals = [life.attempt(life.alone) or life.attempt(life.alone) for _ in range(2)]
    first, second = journals
    if first is None or second is None:
        os._exit(98)
    for step in _steps(life, first, second):
        life.attempt(step)


def _steps(life: Life, first: JournalFiles, second: JournalFiles) -> Iterator[Callable[[], object]]:
    sequencer = make_sequencer(life.folder)
    yield sequencer.tick
    yield lambda: life.record(first, 100)
    yield lambda: life.record(second, 110)
    yield sequencer.tick
    for _ in range(3):
        yield lambda: life.record(first)
        yield lambda: life.record(second, durable=True)
    yield lambda: life.record(second, 60)  # over the end of a segment, and of a tile
    yield first.ready
    yield sequencer.tick
    yield lambda: life.record(first, 90)
    yield lambda: life.record(first, durable=True)
    yield sequencer.tick
    yield lambda: life.record(first)
    yield sequencer.stop
    yield first.close
    yield second.close


def helper(life: Life) -> None:
    """The helper thread of one journal: new segments ahead of need, full ones made durable and let go."""
    journal = open_journal(life.folder)
    _until(lambda: journal._spare is not None)
    assert journal._helper.native_id is not None
    life.wait(journal._helper.native_id)
    for _ in range(3):
        while journal._spare is not None:
            life.record(journal)
        _until(lambda: journal._spare is not None and not journal._full)
    life.record(journal)
    journal.close()


LIVES: Final[dict[str, Callable[[Life], None]]] = {f.__name__: f for f in (requests_and_sequencer, helper, faults)}


def _until(holds: Callable[[], bool]) -> None:
    stop = time.monotonic() + 60
    while not holds():
        if time.monotonic() > stop:
            os._exit(99)
        time.sleep(0.001)


def main() -> None:
    """Serve lives until standard input ends."""
    for line in sys.stdin:
        name, folder = line.split()
        child = os.fork()
        if child == 0:
            LIVES[name](Life(Path(folder), lambda thread: _say(f"ready {thread}")))
            os._exit(0)
        _say(f"ended {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


def _say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


# --- the other side ----------------------------------------------------------------------------------------------


def memory_or(folder: Path) -> Path:
    """Where files lie in memory, if there is such a place, else `folder`: what a kill leaves is the page cache's, and a
    sync of memory takes no time."""
    memory = Path("/dev/shm")  # noqa: S108 - whoever uses it makes a folder of its own there
    return memory if memory.is_dir() else folder


class Lives:
    """Runs lives in memory, or else below `folder`, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._place = TemporaryDirectory(dir=memory_or(folder))
        self._folder = Path(self._place.name)
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.write_path"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.kill() if kind else None
        self._process.wait()
        self._process.stdout.close()
        self._place.cleanup()

    def run(self, name: str, *strace: str) -> tuple[Path, int, str]:
        """One life under strace with these options: (its folder, its return code, what strace wrote)."""
        self._count += 1
        folder = self._folder / f"life{self._count}"
        folder.mkdir()
        os.mkfifo(folder / "gate")
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {folder}\n")
        thread = self._answer("ready")
        log = self._folder / f"strace{self._count}"
        with subprocess.Popen(
            ["strace", "-o", str(log), "-p", thread, *strace], stderr=subprocess.PIPE, text=True
        ) as tracer:
            assert tracer.stderr is not None
            said = tracer.stderr.readline()
            assert "attached" in said, said
            with (folder / "gate").open("wb") as gate:
                gate.write(b"!")
            code = int(self._answer("ended"))
        return folder, code, log.read_text()

    def _answer(self, word: str) -> str:
        assert self._process.stdout is not None
        said, _, rest = self._process.stdout.readline().partition(" ")
        assert said == word, f"{said} {rest}"
        return rest.strip()


def calls(log: str) -> Counter[str]:
    """How often each system call is in what strace wrote."""
    return Counter(found[1] for line in log.splitlines() if (found := re.match(r"(\w+)\(", line)))


def said(folder: Path) -> list[tuple[int, int]]:
    """(slot, seq) of every entry that the life acknowledged; a line that was being written was not."""
    lines = (folder / "said").read_bytes().split(b"\n")[:-1]
    return [(int(slot), int(seq)) for slot, seq in (line.split(b".") for line in lines)]


def recover_and_check(folder: Path) -> str:
    """What the kill left is verified as it is, recovered by the code that runs at every start, and checked again.

    What became of it in a few words; AssertionError where anything acknowledged is lost or anything torn is claimed.
    """
    published = check_log(folder / "log") if (folder / "log/checkpoint").is_file() else []
    acknowledged = said(folder)
    journals = [open_journal(folder) for _ in range(2)]
    sequencer = make_sequencer(folder)
    sequencer.tick()
    for journal in journals:  # and it goes on
        journal.append(payload(journal.slot, journal.next_seq))
    sequencer.tick()
    sequencer.stop()
    for journal in journals:
        journal.close()
    assert sequencer.problem is None, sequencer.problem
    _, entries = check_trail(folder)
    # A temporary of a partial tile goes with its folder, once the tile is full.
    left = {path.parent.suffix for path in folder.rglob("*.tmp")}
    assert left <= {".p"}, f"temporaries that nobody will remove: {left}"
    assert entries[: len(published)] == published, "what was published is not the beginning of the log"
    for slot in range(2):
        mine = [entry for entry in entries if entry.startswith(b"%d." % slot)]
        assert mine == [payload(slot, seq) for seq in range(len(mine))], f"slot {slot}: a gap, a double or a torn entry"
        lost = [seq for of, seq in acknowledged if of == slot and seq >= len(mine) - 1]
        assert not lost, f"slot {slot}: acknowledged and lost: {lost}"
    more = len(entries) - 2 - len(acknowledged)
    return f"{len(published)} published, {len(acknowledged)} acknowledged, {more} recorded and not acknowledged"


def every_kill(counts: Counter[str], every: int) -> Iterator[tuple[str, int]]:
    """(system call, N) to kill at: each `every`-th of a clean run, and the first and last of each call."""
    at = 0
    for name, count in sorted(counts.items()):
        for n in range(1, count + 1):
            at += 1
            if at % every == 0 or n in (1, count):
                yield name, n


def listed(outcomes: Sequence[tuple[str, int, str]]) -> str:
    """One line for each kill, for the report."""
    return "\n".join(f"{name} {n}: {what}" for name, n, what in outcomes)


if __name__ == "__main__":
    main()
