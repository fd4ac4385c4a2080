"""A copier is killed with SIGKILL before and after each thing that it does, in real files, then runs to its end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.copies_world import TABLES, TEXT, change, command, copies_world, rows
from tests.postgres import Pair

ROOT = Path(__file__).resolve().parents[2]
KILLED = """
import os, signal, sys
import aiosqlite, anyio, sqlalchemy.dialects.sqlite.aiosqlite  # once, and not in each child
from residency.adapters.records_sql.outbox import SqlLedger, SqlMarks, SqlOutbox
from residency.adapters.records_sql.records import SqlRecords
from residency.adapters.copies_worker import work_off
from residency.bootstrap import build
from residency.storage.withdrawal import withdraw
from residency.wiring.copies import doubt, stores_of
from residency.wiring.deciding import CopyDeciding

STEPS = [(SqlOutbox, "take"), (SqlOutbox, "done"), (SqlOutbox, "hold"), (SqlOutbox, "note"), (SqlOutbox, "lease"),
         (SqlLedger, "read"), (SqlLedger, "write"), (SqlLedger, "forget"), (SqlRecords, "get"),
         (SqlMarks, "read"), (SqlMarks, "write"), (SqlMarks, "forget"),
         (SqlRecords, "replace"), (SqlRecords, "delete"), (CopyDeciding, "begin"), (CopyDeciding, "settled")]

def armed(at):
    count = 0
    def step(kind, name):
        nonlocal count
        count += 1
        if count == at:
            print(kind.__name__, name, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    for kind, name in STEPS:
        def wrapped(method, kind=kind, name=name):
            async def call(self, *args, **named):
                step(kind, name)
                answer = await method(self, *args, **named)
                step(kind, name)
                return answer
            return call
        setattr(kind, name, wrapped(getattr(kind, name)))

async def main(runtime):
    runtime.copies.works = False
    await runtime.start()
    try:
        (store,) = stores_of(runtime)
        await doubt(runtime.deployment, runtime.stores, "people", "vn")  # its list is asked for each time
        for copier in store.copiers:
            await copier.outbox.leave("killed")  # the lease of who was killed has ended
            await copier.outbox.release()
            assert await work_off(copier, "killed")
        for target in store.targets:
            await withdraw(target, store.homes, store.deciding)
    finally:
        await runtime.aclose()

runtime = build("test.yaml", reload=False)
for line in sys.stdin:
    at = int(line)
    child = os.fork()
    if child == 0:
        armed(at)
        anyio.run(main, runtime)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else f"ended {os.WEXITSTATUS(status)}", flush=True)
"""
WRITES = (
    "UPDATE people SET name = 'name {0}' WHERE id = 'an'",
    "INSERT INTO letters VALUES ({0}, 'an', 'text {0}')",
    "DELETE FROM letters WHERE id = {1}",
)
BOTH = "SELECT p.id, p.name, l.id, l.text FROM people p LEFT JOIN letters l ON l.person = p.id ORDER BY 1, 3"


def held(found: list[tuple[object, ...]]) -> set[tuple[str, object]]:
    """What rows tell of people and of letters."""
    return {("people", row[1]) for row in found} | {("letters", row[3]) for row in found if row[3] is not None}


class Copier:
    """A process that makes copies, and is killed at its n-th step."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", KILLED], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    def run(self, at: int) -> tuple[str, str]:
        """(where it was killed, how it ended)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{at}\n")
        self._process.stdin.flush()
        where, said = "", self._process.stdout.readline().strip()
        while said and not said.startswith(("killed", "ended")):
            where, said = said, self._process.stdout.readline().strip()
        return where, said

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass(frozen=True)
class Sinks:
    """What the app does at home, and what lies in each sink, past the code under test."""

    write: Callable[..., None]
    look: Callable[[str, str], list[tuple[object, ...]]]


def killed_at_each_step(folder: Path, file: Path, sinks: Sinks, every: int = 1) -> None:
    """Copiers die at one step after the other, or at every n-th, while the app goes on."""
    command("prepare", file)
    sinks.write("INSERT INTO people VALUES ('an', 'first', NULL)")
    copier, steps, past = Copier(folder), set(), set()
    try:
        at = 1 - every
        while True:
            at += every
            sinks.write(*[sql.format(at, at - 3 * every) for sql in WRITES])
            home = sinks.look("vn", BOTH)
            past |= held(home)
            where, how = copier.run(at)
            steps.add(where)
            assert sinks.look("vn", BOTH) == home, "home is only read"
            assert held(sinks.look("sg", BOTH)) <= past
            if how != "killed":
                break
    finally:
        copier.close()
    assert how == "ended 0"
    assert at > 40
    wanted = {
        "SqlRecords replace",
        "SqlMarks write",
        "SqlMarks forget",
        "SqlLedger write",
        "SqlOutbox done",
        "CopyDeciding begin",
    }
    assert every > 1 or wanted <= steps
    assert sinks.look("sg", BOTH) == sinks.look("vn", BOTH)
    assert sinks.look("vn", "SELECT count(*) FROM residency_outbox") == [(0,)]
    (told,) = json.loads(command("status", file, "--json").stdout)
    assert (told["pending"], told["held"]) == (0, {})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_each_step_no_write_is_lost_none_is_there_twice_and_none_is_abroad_before_home(
    tmp_path: Path, every: int
) -> None:
    sinks = Sinks(lambda *sql: change(tmp_path, "vn", *sql), lambda sink, sql: rows(tmp_path, sink, sql))
    killed_at_each_step(tmp_path, copies_world(tmp_path), sinks, every)


@pytest.mark.slow
@pytest.mark.needs("postgres")
@pytest.mark.timeout(600)
def test_so_it_is_between_two_postgresql(tmp_path: Path, postgres: Pair) -> None:
    urls = {
        name: server.url("asyncpg", server.database()) for name, server in (("vn", postgres.vn), ("sg", postgres.sg))
    }
    text = TEXT
    for name, url in urls.items():
        text = text.replace(f"sqlite:///./{name}.db", url)

    def ask(sink: str, *statements: str) -> list[tuple[object, ...]]:
        answer: list[tuple[object, ...]] = []
        with psycopg.connect(urls[sink].replace("+asyncpg", "")) as connection:
            for sql in statements:
                found = connection.execute(sql.encode())
                answer = found.fetchall() if found.description is not None else []
        return answer

    def write(*sql: str) -> None:
        ask("vn", *sql)

    for sink in urls:
        ask(sink, *TABLES.split(";")[:2])
    killed_at_each_step(tmp_path, copies_world(tmp_path, text=text), Sinks(write, ask))
