"""Address data replaced in every bad way while it is asked: no question fails, no answer is of a torn file."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from residency.adapters import mmdb
from residency.adapters.address_data import AddressData
from residency.adapters.address_tables import AddressTables, Sources, open_table
from residency.signals.peer import Peer
from tests.mmdb_files import BUILT, countries

ROOT = Path(__file__).resolve().parents[2]
HANOI, SINGAPORE, CHANGING = "14.160.0.1", "8.128.0.1", "9.9.9.9"
PLACES = {"14.160.0.0/11": "VN", "8.128.0.0/10": "SG", "2001:ee0::/32": "VN"}
TURNS = ("CH", "DE", "FR")


def version(n: int) -> bytes:
    """The nth good file: newer than the one before, and one network moves."""
    return countries({**PLACES, "9.9.9.0/24": TURNS[n % 3]}, built=BUILT + n)


def rename(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:  # neither truncated before nor flushed at once
        for at in range(0, len(content), 97):
            file.write(content[at : at + 97])
            file.flush()
        file.truncate()


def torn(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content[: len(content) // 2])


def cut(path: Path, content: bytes) -> None:
    path.write_bytes(content[: random.randrange(len(content))])


def garbage(path: Path, content: bytes) -> None:
    path.write_bytes(random.randbytes(len(content)))


def elsewhere(path: Path, content: bytes) -> None:
    rename(path, countries({"14.160.0.0/11": "LA", "8.128.0.0/10": "VN"}, built=BUILT + 10_000))


def gone(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)


BAD: tuple[Callable[[Path, bytes], None], ...] = (torn, cut, garbage, elsewhere, gone)


@contextmanager
def hammered(data: AddressData[Any]) -> Iterator[list[str]]:
    """Ask without pause from two threads; what went wrong is in the list."""
    wrong: list[str] = []
    stop = threading.Event()
    clients = {a: Peer().client((a, 40_000), []) for a in (HANOI, SINGAPORE, CHANGING, "2001:ee0::1")}

    def ask() -> None:
        while not stop.is_set():
            try:
                said = {a: {s.place for s in data.signals_of(client)} for a, client in clients.items()}
                table = data.table
                pinned = [table.country(address) for address in (HANOI, SINGAPORE)]
            except Exception as error:  # noqa: BLE001 - whatever it is, no question may fail
                wrong.append(repr(error))
                return
            if (said[HANOI], said[SINGAPORE], said["2001:ee0::1"]) != ({"VN"}, {"SG"}, {"VN"}):
                wrong.append(f"wrong answer: {said}")
            if len(said[CHANGING]) != 1 or not said[CHANGING] <= set(TURNS) or pinned != ["VN", "SG"]:
                wrong.append(f"wrong answer: {said} {pinned}")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("good", [rename, in_place])
def test_no_question_fails_and_no_answer_is_wrong_while_the_file_is_replaced_well_and_badly(
    tmp_path: Path, good: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "own.mmdb"
    path.write_bytes(version(0))
    tables = AddressTables(Sources(path), tmp_path / "address", mmdb)
    data = AddressData(tables, now=lambda: (BUILT + 100) * 1_000_000, max_age=10**15)
    data.open()
    changing = Peer().client((CHANGING, 40_000), [])
    with hammered(data) as wrong:
        for n in range(1, 4):
            for bad in BAD:
                bad(path, version(n))
                data.look()
                data.look()
                assert data.built_at == BUILT + n - 1, bad.__name__
                if not path.exists():
                    path.write_bytes(b"")
            good(path, version(n))
            data.look()
            data.look()
            assert data.built_at == BUILT + n
            for _ in range(2):
                assert {s.place for s in data.signals_of(changing)} == {TURNS[n % 3]}
    assert wrong == []
    assert data.outcomes["taken"] == 3
    assert data.outcomes["unreadable"] == 3
    assert data.outcomes["moved_too_much"] >= 3


def test_a_file_that_is_written_to_all_the_time_is_never_judged_and_nothing_fails(tmp_path: Path) -> None:
    path = tmp_path / "own.mmdb"
    path.write_bytes(version(0))
    tables = AddressTables(Sources(path), tmp_path / "address", mmdb)
    data = AddressData(tables, now=lambda: (BUILT + 100) * 1_000_000, max_age=10**15, check_every=1_000)
    data.start()
    with hammered(data) as wrong:
        for n in range(200):
            torn(path, version(1))
            os.utime(path, ns=(n, n))
    data.close()
    assert wrong == []
    assert data.built_at == BUILT
    assert data.outcomes["taken"] == 0


STARTER = """
import sys
from pathlib import Path
from residency.adapters import mmdb
from residency.adapters.address_tables import Sources, open_table

class Counting:
    read_head, country_of = staticmethod(mmdb.read_head), staticmethod(mmdb.country_of)
    def read_layer(self, data, value_of):
        with Path(sys.argv[3]).open("a") as told:
            told.write("x")
        return mmdb.read_layer(data, value_of)

sys.stdin.readline()
table = open_table(Sources(Path(sys.argv[1])), Path(sys.argv[2]), Counting())
private = sum(
    int(line.split()[1]) for line in Path("/proc/self/smaps").read_text().split(".table", 1)[1].splitlines()[1:30]
    if line.startswith(("Private_Dirty:", "Anonymous:"))
)
print(table.country("14.160.0.1"), private)
"""


def test_of_many_workers_that_start_at_once_one_compiles_and_all_map_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "own.mmdb"
    path.write_bytes(version(0))
    told = tmp_path / "told"
    arguments = [str(path), str(tmp_path / "address"), str(told)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    answers = [worker.communicate(timeout=60)[0].split() for worker in workers]
    assert answers == [["VN", "0"]] * 4  # no page of the mapped file is a process's own
    assert told.read_text() == "x"
    assert len(list((tmp_path / "address").glob("*.table"))) == 1


def test_a_worker_killed_while_it_compiles_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    path = tmp_path / "own.mmdb"
    path.write_bytes(version(0))
    script = STARTER.replace(
        "return mmdb.read_layer", "print(flush=True); sys.stdin.readline(); return mmdb.read_layer"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(tmp_path / "address"), str(tmp_path / "told")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    with worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "\n"  # it holds the lock and compiles
        worker.kill()
    (tmp_path / "address" / "x.table.tmp").write_bytes(b"half")
    assert open_table(Sources(path), tmp_path / "address", mmdb).country(HANOI) == "VN"
    assert not list((tmp_path / "address").glob("*.tmp"))
