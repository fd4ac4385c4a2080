"""Foreign keys: a batch is judged as a whole, by what is there and by what comes with it, and nothing else stays."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from residency.adapters.records_sql import Spared, SqlRecords
from residency.adapters.sink_sql import SqlSink
from residency.policy.parsed_storage import RecordDoc
from residency.storage.parcels import LackingError, Parcels, RecordParcels
from tests.world import SG

PEOPLE = RecordDoc("people", "id", None, frozenset({"personal"}))
LETTERS = RecordDoc("letters", None, ("person", "people"), frozenset({"content"}))
TABLES = """
CREATE TABLE tags (id INTEGER PRIMARY KEY, word TEXT);
CREATE TABLE people (id TEXT PRIMARY KEY);
CREATE TABLE letters (
  id INTEGER PRIMARY KEY, person TEXT REFERENCES People (ID), "to" TEXT REFERENCES people, tag INT,
  CONSTRAINT letters_tag FOREIGN KEY (tag) REFERENCES tags (id)
);
"""


def made(folder: Path, name: str, *statements: str) -> tuple[SqlSink, SqlRecords]:
    path = folder / f"{name}.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript("".join(statements))
    connection.close()
    sink = SqlSink(name, SG, f"sqlite:///{path}")
    return sink, SqlRecords(name, sink.engine, (PEOPLE, LETTERS), Spared.ALL)


async def lacking(source: Parcels, target: Parcels, subjects: set[str]) -> dict[str, str]:
    """Who was told of as all of these were put; the others are there."""
    cargo = await source.load(subjects)
    try:
        await target.put(cargo)
    except LackingError as lack:
        told, text = lack.subjects, str(lack)
    else:
        return {}
    assert text == f"sink {target.sink!r} has not what records refer to"
    await target.put(await source.load(subjects - told.keys()))
    return dict(told)


def row(table: str, values: str) -> str:
    return f"INSERT INTO {table} VALUES ({values});"  # noqa: S608 - a test's own


people = st.integers(0, 7)
all_people = [row("people", f"'p{one}'") for one in range(8)]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    there=st.sets(people), going=st.sets(people, min_size=1), letters=st.lists(st.tuples(people, people), max_size=12)
)
def test_of_a_batch_stay_those_whose_rows_refer_to_somebody_who_is_not_there_and_their_like(
    tmp_path: Path, there: set[int], going: set[int], letters: list[tuple[int, int]]
) -> None:
    home = going - there
    sent = [row("letters", f"{n}, 'p{one}', 'p{to}', NULL") for n, (one, to) in enumerate(letters)]
    free = set(home)
    while held := {one for one, to in letters if one in free and to not in free | there}:
        free -= held

    async def put() -> None:
        ours, source = made(tmp_path, "sg", TABLES, *all_people, *sent)
        theirs, target = made(tmp_path, "vn", TABLES, *[row("people", f"'p{one}'") for one in there])
        wanted = {f"p{one}" for one in home}
        told = await lacking(RecordParcels(source), RecordParcels(target), wanted)
        assert told == {f"p{one}": "foreign key of 'to' of table 'letters'" for one in home - free}
        assert set(await target.subjects()) == {f"p{one}" for one in free | there}
        bound = {f"p{one}" for one in going}
        while referred := {f"p{to}" for one, to in letters if f"p{to}" in bound and f"p{one}" not in bound}:
            bound -= referred
        assert await source.bound({f"p{one}" for one in going}) == {f"p{one}" for one in going} - bound
        digests = await RecordParcels(source).tally({f"p{one}" for one in going})
        assert await RecordParcels(source).clear(digests) == bound
        await ours.aclose()
        await theirs.aclose()

    anyio.run(put)


def test_what_is_nobodys_and_not_there_is_told_before_and_by_whom_it_holds_up(tmp_path: Path) -> None:
    rows = """
INSERT INTO tags VALUES (1, 'a'), (2, 'b'), (3, 'c'); INSERT INTO people VALUES ('an'), ('bo'), ('cy');
INSERT INTO letters VALUES (1, 'an', 'an', 1), (2, 'bo', NULL, 2), (3, 'cy', NULL, 3), (4, 'cy', NULL, 2);
CREATE TABLE badges (id INT PRIMARY KEY, person TEXT REFERENCES people (id));
"""

    async def look() -> None:
        ours, source = made(tmp_path, "sg", TABLES, rows)
        theirs, target = made(tmp_path, "vn", TABLES, row("tags", "1, 'a'"))
        assert await source.obstacles(target) == [
            "sink 'vn': foreign key 'letters_tag' of table 'letters' refers to 'tags', and 2 rows that 'sg' refers to "
            "are not there: put them there first, under the same keys"
        ]
        told = await lacking(RecordParcels(source), RecordParcels(target), {"an", "bo", "cy"})
        assert told == dict.fromkeys(("bo", "cy"), "foreign key 'letters_tag' of table 'letters'")
        assert await target.subjects() == ("an",)
        with sqlite3.connect(tmp_path / "sg.db") as connection:
            connection.execute("UPDATE letters SET \"to\" = 'cy' WHERE id = 2")
            connection.execute("INSERT INTO badges VALUES (1, 'an')")
        with sqlite3.connect(tmp_path / "vn.db") as connection:
            connection.execute("INSERT INTO tags VALUES (2, 'b'), (3, 'c')")
        kept = "foreign key of 'to' of table 'letters' leads to rows of other people in 'people', so that"
        assert await source.obstacles(target) == [
            f"sink 'vn': {kept} whoever would move without them stays: keep the column, drop the constraint",
            f"sink 'sg': {kept} what they refer to stays: keep the column, drop the constraint",
            "sink 'sg': table 'badges', of which `records` does not tell whose it is, refers to 'people', so that what "
            "it refers to stays: name it, or drop the constraint",
        ]
        assert await source.bound({"an", "bo", "cy"}) == {"an"}
        assert await lacking(RecordParcels(source), RecordParcels(target), {"bo"}) == {
            "bo": "foreign key of 'to' of table 'letters'"
        }
        assert await lacking(RecordParcels(source), RecordParcels(target), {"bo", "cy"}) == {}
        await ours.aclose()
        await theirs.aclose()

    anyio.run(look)


def test_of_whom_all_is_there_nobody_is_told(tmp_path: Path) -> None:
    rows = "INSERT INTO people VALUES ('an'); INSERT INTO letters VALUES (1, 'an', 'an', NULL);"

    async def look() -> None:
        ours, source = made(tmp_path, "sg", TABLES, rows)
        letter = {"id": 1, "person": "an", "to": "an", "tag": None}
        await source.refuse({"people": [("an", {"id": "an"})], "letters": [("an", letter)]})
        assert await source.bound({"an"}) == frozenset()
        await ours.aclose()

    anyio.run(look)
