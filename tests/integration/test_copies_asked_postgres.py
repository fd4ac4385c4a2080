"""What a PostgreSQL abroad is asked for, as its own log of statements tells it: nobody who may not be there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import anyio
import psycopg
import pytest

from residency.adapters.copies_worker import work_off
from residency.bootstrap import build
from residency.errors import SinkUnavailable
from residency.model import Anchor, Pin, SubjectId, Trust
from residency.storage.withdrawal import withdraw
from residency.wiring.copies import stores_of
from tests.copies_world import TABLES, TEXT, command, copies_world, result
from tests.postgres import Pair

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.anyio]
LETTERS = {"an-7152": 1_971_527_152, "binh-7153": 1_971_537_153, "chi-7154": 1_971_547_154, "dung-7155": 1_971_557_155}
AWAY = ("binh-7153", "chi-7154", "dung-7155")
"""Who may not be copied, who is being moved, and who lives in SG though a row lies in VN."""


class World:
    """A deployment between two servers, and all that the one abroad was told."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self.folder = folder
        self._pair = {"vn": (pair.vn, pair.vn.database()), "sg": (pair.sg, pair.sg.database())}
        text = TEXT
        for name, (server, database) in self._pair.items():
            for sql in TABLES.split(";")[:2]:
                self.ask(name, sql)
            text = text.replace(f"sqlite:///./{name}.db", server.url("asyncpg", database))
        server, database = self._pair["sg"]
        server.query(f"ALTER DATABASE {database} SET log_statement = 'all'")
        self._log = server.folder / "log"
        self._from = self._log.stat().st_size
        self.file = copies_world(folder, ["an-7152", "binh-7153"], text=text)
        command("prepare", self.file)

    def ask(self, sink: str, *statements: str) -> list[tuple[object, ...]]:
        """Past the code under test; the server abroad is told of nobody here."""
        server, database = self._pair[sink]
        answer: list[tuple[object, ...]] = []
        with psycopg.connect(server.dsn(database)) as connection:
            for sql in statements:
                found = connection.execute(sql.encode())
                answer = found.fetchall() if found.description is not None else []
        return answer

    def told(self) -> str:
        """All statements with their values that the server abroad was sent by now."""
        with self._log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode()

    async def pin(self, who: str, home: str, moving: str | None) -> None:
        """Say where somebody lives."""
        runtime = build(self.file, reload=False)
        runtime.copies.works = False
        await anyio.to_thread.run_sync(runtime.open)
        try:
            digest = runtime.point.digest(SubjectId(who))
            anchors = ((Anchor.TERRITORY, "VN", Trust.VERIFIED),)
            alias = hashlib.sha256(who.encode()).hexdigest()[:32]
            await runtime.point.homes.pins.put(Pin(digest, home, anchors, alias, "move", "0" * 64, 1, 1, moving))
        finally:
            await runtime.aclose()

    async def copy(self, settled: Collection[tuple[str, str]] = ()) -> dict[str, int]:
        """Work off what is due and withdraw what may not be there, as after an erasure where keys are given; why notes
        are held."""
        runtime = build(self.file, reload=False)
        runtime.copies.works = False
        await runtime.start()
        try:
            (store,) = stores_of(runtime)
            (copier,) = store.copiers
            await copier.outbox.release()
            assert await work_off(copier, "test")
            await withdraw(store.targets[0], store.homes, store.deciding)
            if settled:
                await copier.settle(settled)
            return dict((await copier.outbox.standing()).held)
        finally:
            await runtime.aclose()


@pytest.fixture
async def world(tmp_path: Path, postgres: Pair) -> World:
    return await anyio.to_thread.run_sync(World, tmp_path, postgres)


def forms(who: str) -> list[str]:
    """A person's keys as they could be told: of their row, of their letter, and the ledger's digest of either."""
    keys = [("people", f'{{"id":"{who}"}}'), ("letters", f'{{"id":{LETTERS[who]}}}')]
    return [who, str(LETTERS[who]), *(hashlib.sha256("\0".join(("people", *key)).encode()).hexdigest() for key in keys)]


async def test_of_who_may_not_be_there_no_key_and_no_digest_is_ever_told(world: World) -> None:
    write = "INSERT INTO people VALUES ('{0}', 'name', NULL); INSERT INTO letters VALUES ({1}, '{0}', 'text')"
    world.ask("vn", write.format("an-7152", LETTERS["an-7152"]))
    assert await world.copy() == {}
    assert all(form in world.told() for form in forms("an-7152")), "so what is told is found"
    await world.pin("chi-7154", "SG", "VN")
    await world.pin("dung-7155", "SG", None)
    result(world.folder, "failed")
    for who in AWAY:
        world.ask("vn", write.format(who, LETTERS[who]))
    reasons = {"filing_missing": 2, "subject_moving": 2, "not_at_home": 2}
    assert (await world.copy()).items() >= reasons.items()
    world.ask("vn", "UPDATE people SET name = 'other'; DELETE FROM letters")
    await world.copy()
    world.ask("vn", "DELETE FROM people")
    keys = [("people", f'{{"id":"{who}"}}') for who in AWAY] + [("letters", f'{{"id":{LETTERS[who]}}}') for who in AWAY]
    assert await world.copy(keys) == {}
    told = world.told()
    assert "residency_copied" in told
    assert {who: [form for form in forms(who) if form in told] for who in AWAY} == {who: [] for who in AWAY}
    assert world.ask("sg", "SELECT id FROM people") == []
    assert world.ask("vn", "SELECT count(*) FROM residency_outbox") == [(0,)]


async def test_what_was_copied_before_there_were_marks_is_learned_from_the_list_abroad(world: World) -> None:
    world.ask("vn", "INSERT INTO people VALUES ('an-7152', 'name', NULL)")
    await world.copy()
    world.ask("vn", "DROP TABLE residency_sent")
    with pytest.raises(SinkUnavailable, match=r"residency_sent.*residency copies prepare"):
        await world.copy()
    await anyio.to_thread.run_sync(command, "prepare", world.file)
    result(world.folder, "failed")
    world.ask("vn", "INSERT INTO people VALUES ('binh-7153', 'name', NULL)", "DELETE FROM people WHERE id LIKE 'an%'")
    await world.copy()
    assert world.ask("sg", "SELECT id FROM people") == []
    assert not [form for form in forms("binh-7153") if form in world.told()]


async def test_what_home_loses_past_its_triggers_goes_abroad_and_what_it_has_stays(world: World) -> None:
    world.ask(
        "vn",
        "DROP TABLE letters",
        "CREATE TABLE letters (id integer PRIMARY KEY, person text REFERENCES people (id), text text) PARTITION BY "
        "RANGE (id)",
        *(f"CREATE TABLE letters_{n} PARTITION OF letters FOR VALUES FROM ({n}0) TO ({n + 1}0)" for n in range(1, 5)),
    )
    await anyio.to_thread.run_sync(command, "prepare", world.file)
    world.ask("vn", "INSERT INTO people VALUES ('an-7152', 'name', NULL)")
    world.ask("vn", "INSERT INTO letters SELECT n, 'an-7152', 'text' FROM generate_series(10, 49) n")
    await world.copy()
    assert world.ask("sg", "SELECT count(*) FROM letters") == [(40,)]
    world.ask("vn", "DROP TABLE letters_1", "ALTER TABLE letters DETACH PARTITION letters_2", "TRUNCATE letters_3")
    world.ask("vn", "ALTER TABLE letters_4 DISABLE TRIGGER ALL", "DELETE FROM letters WHERE id = 40")
    world.ask("vn", "INSERT INTO people VALUES ('binh-7153', 'name', NULL)")
    await world.copy()  # the walk notes what is lost
    assert world.ask("sg", "SELECT count(*) FROM letters") == [(40,)]
    await world.copy()
    assert world.ask("sg", "SELECT min(id), count(*) FROM letters") == [(41, 9)]
    assert world.ask("sg", "SELECT id FROM people ORDER BY id") == [("an-7152",), ("binh-7153",)]
    assert world.ask("vn", "SELECT count(*) FROM residency_outbox") == [(0,)]
    assert world.ask("vn", "SELECT count(*) FROM residency_sent") == [(12,)]  # what lies there, and that all is known
