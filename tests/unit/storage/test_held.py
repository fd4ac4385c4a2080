"""What holds the rows of a table in FROM to people, and which tables SQL text names."""

from __future__ import annotations

import pytest

from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import (
    Fact,
    Leaf,
    behind_in,
    changes,
    gives_subject,
    held_by_key,
    holding,
    mentioned,
    of_somebody,
    reading,
)  # fmt: skip
from residency.storage.statements import written

NONE: frozenset[str] = frozenset()
DOCS = {
    "member": RecordDoc("member", "id", None, NONE),
    "post": RecordDoc("post", None, ("author", "member"), NONE),
    "reply": RecordDoc("reply", "author", None, NONE),
    "topic": RecordDoc("topic", None, None, NONE),
}


def _subject(doc: RecordDoc) -> str | None:
    return doc.subject


LEAVES = {"m": Leaf("member", ("id",)), "p": Leaf("post", ("id",)), "r": Leaf("reply", ("id",))}


def test_rows_are_held_by_the_subject_by_the_key_or_by_what_they_lead_to() -> None:
    for place in (("p", "author"), ("p", "id")):
        assert holding("p", LEAVES, [Fact(place, given="x")], DOCS, set()) == (*place, "x")
    through = [Fact(("p", "author"), ("m", "id")), Fact(("m", "id"), given="x")]
    assert holding("p", LEAVES, through, DOCS, set()) == ("p", "author", "x")
    assert holding("p", LEAVES, [Fact(("p", "topic"), given="x")], DOCS, set()) is None
    assert holding("p", LEAVES, through, DOCS, {"p"}) == ()  # it tells itself


def test_rows_are_held_by_an_equality_with_the_same_persons_and_not_with_anothers() -> None:
    same = [Fact(("r", "author"), ("m", "id"))]
    assert holding("r", LEAVES, same, DOCS, {"m"}) == ()
    assert holding("r", LEAVES, same, DOCS, set()) is None
    assert holding("r", LEAVES, [Fact(("r", "post"), ("p", "id"))], DOCS, {"p"}) is None
    circle = [Fact(("p", "author"), ("m", "id")), Fact(("m", "id"), ("p", "author"))]
    assert holding("p", LEAVES, circle, DOCS, set()) is None


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id FROM post",
        'select id from "Post"',
        "SELECT id FROM [post]",
        "SELECT id FROM public.post -- of hers",
        "SELECT id FROM 'post'",
        'SELECT id FROM U&"p\\006fst"',
        "DELETE FROM post RETURNING id",
        "TABLE post FOR UPDATE",
        'WITH "update" AS (TABLE post) TABLE "update"',
        "EXECUTE prepared",
        "EXPLAIN ANALYZE EXECUTE prepared",
        "SELECT 1; FETCH ALL FROM held",
        "DO $$ BEGIN EXECUTE 'DEL' || 'ETE FROM post'; END $$",
        # Both databases give rows of the table for each that they take.
        "SELECT E'a' -- b\n'\\'' , body FROM post WHERE 'x' = 'x'",
        "SELECT E'\\'' AS \u2019$$, body FROM post --' $$",
        "SELECT $\u0663$ ' $\u0663$, body FROM post WHERE 'a' = 'a'",
        "SELECT $a('), body FROM post WHERE 'x' = 'x'",
    ],
)
def test_text_names_a_table_however_it_is_spelled(text: str) -> None:
    assert "post" in mentioned(text, DOCS, whole=True)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id FROM topic",
        "SELECT 'post it', id FROM topic /* post */",
        "SELECT posts",
        "SELECT id FROM topic FETCH FIRST 3 ROWS ONLY",
    ],
)
def test_what_is_nobodys_and_what_is_no_name_are_not_told(text: str) -> None:
    assert mentioned(text, DOCS) == []


def test_a_change_alone_tells_of_no_rows() -> None:
    assert mentioned("UPDATE post SET title = %s", DOCS, whole=True) == []
    assert mentioned("UPDATE post SET title = %s", DOCS) == ["post"]
    for text in (
        "INSERT INTO visit (id, member) VALUES (1, 2)",
        "DELETE FROM visit WHERE member = 2",
        "UPDATE post SET title = topic.title FROM topic WHERE post.topic = topic.id",
    ):
        assert mentioned(text, DOCS, whole=True) == [], text
    assert list(of_somebody(DOCS)) == ["member", "post", "reply"]


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE topic SET body = post.body FROM post",
        "UPDATE reply SET body = p.body FROM post AS p WHERE p.id = %s",
        "MERGE INTO topic USING post ON true WHEN MATCHED THEN UPDATE SET body = post.body",
        "DELETE FROM topic USING post WHERE post.body = topic.body",
    ],
)
def test_a_change_by_rows_of_another_table_tells_of_these(text: str) -> None:
    assert mentioned(text, DOCS, whole=True) == ["post"]


def test_text_that_gives_a_subject_is_told() -> None:
    given = gives_subject(written("UPDATE reply SET author = %s"), DOCS.values(), _subject)
    assert given is not None
    assert given.name == "reply"
    assert gives_subject(written("UPDATE reply SET body = %s"), DOCS.values(), _subject) is None
    for text in ('UPDATE reply SET U&"\\0061uthor" = %s', "INSERT INTO reply (TABLE x)", "EXECUTE prepared"):
        assert gives_subject(written(text), DOCS.values(), _subject) is not None, text


def test_a_key_of_several_columns_is_given_whole_or_not_at_all() -> None:
    facts = [Fact(("s", "hall"), given="a"), Fact(("s", "no"), ("t", "no")), Fact(("t", "no"), given="b")]
    assert held_by_key("s", ("hall", "no"), facts) == ("a", "b")
    assert held_by_key("s", ("hall", "no"), facts[:2]) == ()


def test_what_reads_tables_of_somebody_at_first_or_second_hand() -> None:
    made = [
        ("over", "SELECT * FROM Under"),
        ("under", 'SELECT id FROM "post"'),
        ("circle", "SELECT 1 FROM circle"),
        ("topics", "SELECT id FROM topic"),
        ("unknown", None),
        ("dynamic", "BEGIN EXECUTE 'SELECT 1'; END"),
        ("xml", "SELECT query_to_xml($1, true, true, '')"),
        ("fts", "CREATE VIRTUAL TABLE fts USING fts5(a, content='reply')"),
        ("post", "SELECT 1 FROM reply"),  # what `records:` name is a table of theirs
    ]
    found = reading(made, DOCS)
    plain = reading([], DOCS)
    assert found - plain == {"OVER", "UNDER", "UNKNOWN", "DYNAMIC", "XML", "FTS"}
    assert reading(made, {"topic": DOCS["topic"]}) == frozenset()
    assert behind_in("SELECT * FROM over o JOIN topics", found) == ["OVER"]
    assert behind_in("SELECT * FROM u&\"!0061\" UESCAPE '!'", found) == sorted(found)
    assert changes("DELETE FROM over", DOCS, found) == ["OVER"]
    assert changes("UPDATE post SET a = 1", DOCS, found) == ["post"]
    assert changes("SELECT * FROM over", DOCS, found) == []
    assert set(changes("REPLACE INTO 'post' VALUES (1)", DOCS)) == {"member", "post", "reply"}
