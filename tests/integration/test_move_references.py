"""Foreign keys to those who stay and to what nobody brought: told before a move, and nobody else is held up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from residency.adapters.records_sql import Spared, SqlRecords
from residency.adapters.records_sql.copying import PostgresParcels
from residency.errors import RecordConflict
from residency.policy.parsed_storage import RecordDoc
from residency.storage.parcels import LackingError, Parcels, RecordParcels
from tests.moving import COMMAND, between_postgres
from tests.postgres import PASSWORD, USER, Pair

pytestmark = pytest.mark.needs("postgres")
TABLES = """
CREATE TABLE tags (id int PRIMARY KEY);
CREATE TABLE people (id bigint PRIMARY KEY);
CREATE TABLE letters (
  id bigint PRIMARY KEY, person bigint NOT NULL REFERENCES people (id),
  "to" bigint CONSTRAINT letters_to REFERENCES people (id), tag int CONSTRAINT letters_tag REFERENCES tags (id)
);
"""
# Who has an even number stays. Of those who move some write to one who stays, some to one who moves.
FILL = """
INSERT INTO tags VALUES (1), (2);
INSERT INTO people SELECT n FROM generate_series(1, 240) n;
INSERT INTO letters SELECT n, n, CASE WHEN n % 2 = 0 THEN NULL WHEN n % 3 = 0 THEN n + 1 WHEN n % 5 = 0 THEN n % 20 END,
1 + n % 2 FROM generate_series(1, 240) n;
"""


def move(folder: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run([*COMMAND, "--json", *more], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def known(folder: Path) -> Path:
    file = folder / "known.jsonl"
    lines = [{"subject": str(n), "territory": "VN" if n % 2 else "SG"} for n in range(1, 241)]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_who_can_come_is_home_and_the_others_stay_with_the_reason(postgres: Pair, tmp_path: Path) -> None:
    names = between_postgres(postgres, tmp_path, TABLES, FILL)
    # Somebody who stays writes to one who moves: her rows cannot be deleted there.
    postgres.sg.query('UPDATE letters SET "to" = 7 WHERE id = 8', names[0])
    go = ("--go", "--drain", "0", "--linger", "0", "--known", str(known(tmp_path)))
    code, told, error = move(tmp_path, "--find", *go[-2:])
    other = "foreign key 'letters_to' of table 'letters' leads to rows of other people in 'people', so that"
    lines = [
        "sink 'vn': foreign key 'letters_tag' of table 'letters' refers to 'tags', and 2 rows that 'sg' refers to are "
        "not there: put them there first, under the same keys",
        f"sink 'vn': {other} whoever would move without them stays: keep the column, drop the constraint",
        f"sink 'sg': {other} what they refer to stays: keep the column, drop the constraint",
    ]
    assert (code, told["foreign_keys"], error) == (1, lines, "")

    code, told, error = move(tmp_path, *go)
    assert error.splitlines()[:3] == lines
    assert (code, told["moved"], told["conflicts"], told["on_their_way"]) == (1, 0, 0, 120)
    assert told["waiting"] == {"foreign key 'letters_tag' of table 'letters'": 120}
    assert told["pinned"] == 120
    assert postgres.vn.query("SELECT count(*) FROM people", names[1]) == [(0,)]

    postgres.vn.query("INSERT INTO tags VALUES (1), (2)", names[1])
    code, told, _ = move(tmp_path, *go)
    # 15 writes to one who stays, so those who write to 15 stay with them; 5 writes to themselves.
    held = {n for n in range(1, 241, 2) if n % 3 == 0 or (n % 5 == 0 and n % 20 == 15)}
    home = set(range(1, 241, 2)) - held
    assert {row[0] for row in postgres.vn.query("SELECT id FROM people", names[1])} == home
    gone = home - {7}
    assert (code, told["moved"], told["records"], told["conflicts"]) == (1, len(gone), 2 * len(gone), 0)
    assert told["waiting"] == {
        "foreign key 'letters_to' of table 'letters'": len(held),
        "rows of others refer to what they left": 1,
    }
    assert {row[0] for row in postgres.sg.query("SELECT id FROM people", names[0])} == set(range(1, 241)) - gone

    for server, name in zip((postgres.sg, postgres.vn), names, strict=True):
        server.query("ALTER TABLE letters DROP CONSTRAINT letters_to", name)
    code, told, error = move(tmp_path, *go)
    assert (code, told["moved"], told["on_their_way"], told["foreign_keys"], error) == (0, len(held) + 1, 0, [], "")
    everything = 'SELECT id, person, "to", tag FROM letters ORDER BY id'
    rows = [*postgres.sg.query(everything, names[0]), *postgres.vn.query(everything, names[1])]
    assert sorted(rows) == [(n, n, 7 if n == 8 else written_to(n), 1 + n % 2) for n in range(1, 241)]
    assert postgres.vn.query("SELECT count(*) FROM people", names[1]) == [(120,)]


def test_people_who_write_to_each_other_in_a_circle_over_many_batches_go_together(
    postgres: Pair, tmp_path: Path
) -> None:
    ring = """
INSERT INTO tags VALUES (1), (2);
INSERT INTO people SELECT n FROM generate_series(1, 240) n;
INSERT INTO letters SELECT n, n, CASE WHEN n % 2 = 1 THEN (n + 1) % 240 + 1 END, 1 FROM generate_series(1, 240) n;
"""
    names = between_postgres(postgres, tmp_path, TABLES, ring)
    postgres.vn.query("INSERT INTO tags VALUES (1), (2)", names[1])
    go = ("--go", "--drain", "0", "--linger", "0", "--batch", "20", "--known", str(known(tmp_path)))
    code, told, _ = move(tmp_path, *go)
    assert (code, told["moved"], told["records"], told["on_their_way"]) == (0, 120, 240, 0)
    assert told["waiting"] == {}
    for server, name, odd in zip((postgres.sg, postgres.vn), names, (0, 1), strict=True):
        assert server.query("SELECT count(*), min(id % 2), max(id % 2) FROM letters", name) == [(120, odd, odd)]


def written_to(person: int) -> int | None:
    """As `FILL` has it."""
    if person % 2 == 0:
        return None
    return person + 1 if person % 3 == 0 else person % 20 if person % 5 == 0 else None


TYPED = """
CREATE TYPE mood AS ENUM ('fine', 'so');
CREATE TABLE kinds (a uuid, b mood, c numeric(8, 2), d date, e char(4), f bytea, PRIMARY KEY (a, b, c, d, e, f));
CREATE TABLE people (id text PRIMARY KEY);
CREATE TABLE letters (id bigint PRIMARY KEY, person text REFERENCES people, a uuid, b mood, c numeric(8, 2), d date,
  e char(4), f bytea, CONSTRAINT "letters's" FOREIGN KEY (a, b, c, d, e, f) REFERENCES kinds);
"""
DOCS = (
    RecordDoc("people", "id", None, frozenset({"personal"})),
    RecordDoc("letters", None, ("person", "people"), frozenset({"content"})),
)


@pytest.mark.parametrize("way", ["copy", "asyncpg", "psycopg"])
def test_keys_of_every_type_are_looked_for_as_the_database_does(postgres: Pair, way: str) -> None:
    names = postgres.sg.database(), postgres.vn.database()
    kinds = """
INSERT INTO kinds SELECT CAST(lpad(CAST(n AS text), 32, '0') AS uuid), 'so', n + 0.5, date '2026-01-01' + n,
E'\\t' || n, decode('5c09ff0' || n, 'hex') FROM generate_series({}, 4) n;
"""
    postgres.sg.query(TYPED + kinds.format(1), names[0])
    postgres.sg.query(
        "INSERT INTO people SELECT 'p' || n FROM generate_series(1, 5) n;"
        "INSERT INTO letters SELECT n, 'p' || n, k.* FROM generate_series(1, 4) n JOIN kinds k ON k.c = n + 0.5;"
        "INSERT INTO letters (id, person, a) SELECT 9, 'p5', a FROM kinds LIMIT 1",
        names[0],
    )
    postgres.vn.query(TYPED + kinds.format(3), names[1])

    async def put() -> None:
        driver = "asyncpg" if way == "copy" else way
        urls = postgres.sg.url(driver, names[0]), postgres.vn.url(driver, names[1])
        engines = [create_async_engine(url, poolclass=NullPool) for url in urls]
        ends: list[Parcels] = [
            PostgresParcels(name, engine, DOCS)
            if way == "copy"
            else RecordParcels(SqlRecords(name, engine, DOCS, Spared.ALL))
            for name, engine in zip(("sg", "vn"), engines, strict=True)
        ]
        them = [f"p{n}" for n in range(1, 6)]
        with pytest.raises(LackingError) as told:
            await ends[1].put(await ends[0].load(them))
        assert told.value.subjects == dict.fromkeys(("p1", "p2"), "foreign key \"letters's\" of table 'letters'")
        cargo = await ends[0].load(them[2:])
        await ends[1].put(cargo)
        assert await ends[1].tally(them) == cargo.digests
        records = [SqlRecords(name, engine, DOCS) for name, engine in zip(("sg", "vn"), engines, strict=True)]
        assert ["2 rows" in line for line in await records[0].obstacles(records[1])] == [True]

    anyio.run(put)


def test_where_this_user_may_not_read_what_is_referred_to_people_are_tried_by_halves(postgres: Pair) -> None:
    names = postgres.sg.database(), postgres.vn.database()
    postgres.sg.query(TABLES + FILL, names[0])
    postgres.vn.query(TABLES + f"CREATE ROLE referring LOGIN PASSWORD '{PASSWORD}'", names[1])
    postgres.vn.query("GRANT ALL ON people, letters TO referring", names[1])
    mine = postgres.vn.url("asyncpg", names[1]).replace(f"{USER}:", "referring:", 1)

    async def put() -> None:
        engines = [create_async_engine(u, poolclass=NullPool) for u in (postgres.sg.url("asyncpg", names[0]), mine)]
        source, target = (PostgresParcels(name, e, DOCS) for name, e in zip(("sg", "vn"), engines, strict=True))
        with pytest.raises(RecordConflict, match="'vn' has a record that stands against one") as told:
            await target.put(await source.load(["1", "2"]))
        assert type(told.value) is not LackingError
        ours, theirs = (SqlRecords(name, e, DOCS) for name, e in zip(("sg", "vn"), engines, strict=True))
        assert await ours.obstacles(theirs) == [
            "sink 'vn': what its foreign keys refer to cannot be looked at by its user"
        ]

    anyio.run(put)
