"""A mirror whose process or store fails at any moment: no gap, no duplicate, nothing lost, and it goes on by itself."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from residency.adapters.log_files import LogFiles
from residency.adapters.mirror import Mirror
from residency.adapters.mount import FolderPlace
from residency.errors import Unavailable
from residency.wiring.mirror import place_at
from tests.audit_log import VERIFIER
from tests.log_mirror import GrowingLog, held
from tests.object_store import stub_s3
from tests.servers import eventually

ROOT = Path(__file__).resolve().parents[2]
SIZES = (300, 600)  # in the second round: full files, partial ones, and some that the full ones replace


class Deadly(FolderPlace):
    """A folder whose `at`-th act is the process's last: killed before it, or just after it."""

    def __init__(self, folder: Path, at: int, *, after: bool) -> None:
        super().__init__(folder, LogFiles(folder))
        self._acts = itertools.count(1)
        self._at = at
        self._after = after

    def _act(self, act: Callable[[], None]) -> None:
        last = next(self._acts) == self._at
        if last and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        act()
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, path: str, data: bytes) -> None:
        self._act(lambda: super(Deadly, self).write(path, data))

    def prune(self, path: str) -> None:
        self._act(lambda: super(Deadly, self).prune(path))


def facts_of(size: int) -> tuple[str, bytes]:
    """What the entries up to `size` were decided on."""
    data = b"the facts of %d" % size
    return f"facts/{hashlib.sha256(data).hexdigest()}.json", data


def two_rounds(folder: Path, place: FolderPlace) -> None:
    """Ship a log and its archive, let both grow, ship them again."""
    log, archive = GrowingLog(folder / "log"), LogFiles(folder / "audit")
    mirror = Mirror(log.files, place, key=VERIFIER, lock=folder / "lock", archive=archive)
    for size in SIZES:
        archive.write(*facts_of(size))
        log.grow(size - len(log.entries))
        mirror.ship()


def in_a_child(work: Callable[[], object]) -> int:
    """How a forked child that does `work` ends: 0, or less the signal that killed it."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child must never go on as a second pytest
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_put_the_next_one_goes_on_without_a_gap_or_a_duplicate(tmp_path: Path, after: bool) -> None:
    kills = 0
    while True:
        folder = tmp_path / str(kills)
        (folder / "mirror").mkdir(parents=True)
        place = Deadly(folder / "mirror", kills + 1, after=after)
        ended = in_a_child(lambda f=folder, p=place: two_rounds(f, p))  # type: ignore[misc]  # bound by default
        mirror = LogFiles(folder / "mirror")
        entries = held(LogFiles(folder / "log").read)
        # Whatever the place says that it holds, it holds.
        if mirror.read("checkpoint") is not None:
            there = held(mirror.read)
            assert there == entries[: len(there)]
            needed = [facts_of(size) for size in SIZES if size <= len(there)]
            assert [mirror.read(path) for path, _ in needed] == [data for _, data in needed]
        before = dict(puts(folder / "mirror"))
        archive = LogFiles(folder / "audit")
        again = FolderPlace(mirror.folder, mirror)
        Mirror(LogFiles(folder / "log"), again, key=VERIFIER, lock=folder / "lock", archive=archive).ship()
        assert held(mirror.read) == entries
        assert [(path, mirror.read(path)) for path in archive.paths("facts")] == [
            (path, archive.read(path)) for path in archive.paths("facts")
        ]
        # Nothing that was there was put again: a bucket would keep both.
        now = dict(puts(folder / "mirror"))
        assert {path for path in before.keys() & now.keys() if before[path] != now[path]} <= {"checkpoint"}
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        kills += 1
    print(f"killed at {kills} acts, {'after' if after else 'before'} each")
    assert kills == 8 + 7 + 2  # the first round, the second, and the folders that it removes


def puts(folder: Path) -> list[tuple[str, int]]:
    """Each file below a folder with its inode: another one was put in its place if that differs."""
    return [(str(p.relative_to(folder)), p.stat().st_ino) for p in sorted(folder.rglob("*")) if p.is_file()]


@pytest.mark.needs("tmpfs")
def test_a_full_disk_is_a_problem_that_ends_when_there_is_room(tmp_path: Path, tmpfs: Callable[[str], Path]) -> None:
    log = GrowingLog(tmp_path / "log")
    log.grow(20_000)
    small = tmpfs("256k")
    mirror = Mirror(log.files, place_at(f"file://{small}"), key=VERIFIER, lock=tmp_path / "lock", every=0.05)
    with pytest.raises(Unavailable, match=r"does not let us write tile/.* \(errno 28\)"):
        mirror.ship()
    assert LogFiles(small).read("checkpoint") is None
    os.system(f"mount -o remount,size=8m {small}")  # noqa: S605 - a folder of this test
    mirror.ship()
    mirror.stop()
    assert held(LogFiles(small).read) == log.entries


@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_store_that_refuses_for_a_while_gets_all_of_it_once_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    log = GrowingLog(tmp_path / "log")
    log.grow(3000)
    with stub_s3(monkeypatch) as stub:
        count = [0]

        def bend(method: str, _key: str) -> int | None:
            count[0] += 1
            return status if method == "PUT" and count[0] % 3 and count[0] < 60 else None

        stub.bend = bend
        mirror = Mirror(log.files, place_at("s3://bucket/log"), key=VERIFIER, lock=tmp_path / "lock", every=0.05)
        mirror.start()
        eventually(lambda: "log/checkpoint" in stub.objects, within=60, what="the shipment")
        mirror.stop()
        keys = [key for key, _ in stub.versions]
        assert held(lambda path: stub.objects.get(f"log/{path}")) == log.entries
        assert len(keys) == len(set(keys))


def test_a_put_whose_answer_is_lost_is_not_put_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = GrowingLog(tmp_path / "log")
    log.grow(600)
    with stub_s3(monkeypatch) as stub:
        stub.lose = {"log/tile/0/001", "log/tile/entries/000", "log/log.vkey"}
        mirror = Mirror(log.files, place_at("s3://bucket/log"), key=VERIFIER, lock=tmp_path / "lock", every=0.05)
        mirror.start()
        eventually(lambda: "log/checkpoint" in stub.objects, within=30, what="the shipment")
        mirror.stop()
        assert stub.lose == set()
        assert held(lambda path: stub.objects.get(f"log/{path}")) == log.entries
        assert len(stub.versions) == len(stub.objects)


def test_a_log_that_grows_while_it_is_shipped_is_held_whole(tmp_path: Path) -> None:
    log = GrowingLog(tmp_path / "log")
    log.grow(10)
    (tmp_path / "mirror").mkdir()
    mirror = Mirror(log.files, place_at(f"file://{tmp_path}/mirror"), key=VERIFIER, lock=tmp_path / "lock", every=0.001)
    mirror.start()
    for _ in range(150):
        log.grow(37)
    mirror.stop()
    assert mirror.problem is None
    assert held(LogFiles(tmp_path / "mirror").read) == log.entries


ENDING = """
import atexit, sys, time
from pathlib import Path
from residency.adapters.mirror import Mirror
from residency.wiring.mirror import place_at
from tests.audit_log import VERIFIER
from tests.log_mirror import GrowingLog

folder = Path(sys.argv[1])
log = GrowingLog(folder / "log")
log.grow(300)
mirror = Mirror(log.files, place_at(f"file://{folder}/mirror"), key=VERIFIER, lock=folder / "lock", every=3600)
atexit.register(mirror.stop)
mirror.start()
while not (folder / "mirror" / "checkpoint").exists():
    time.sleep(0.01)
log.grow(600)
"""


def test_a_process_that_ends_without_a_word_ships_what_it_published(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    ended = subprocess.run([sys.executable, "-c", ENDING, str(tmp_path)], cwd=ROOT, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr.decode()) == (0, "")
    assert len(held(LogFiles(tmp_path / "mirror").read)) == 900
