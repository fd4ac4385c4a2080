"""Rows as COPY writes them tell whose they are and by which key a locator finds them, as the database itself would."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.records_sql.copy_text import owned, plain
from residency.adapters.records_sql.tables import Shape
from residency.enforcement.about import key_text
from residency.policy.parsed_storage import RecordDoc

DATA = frozenset({"personal"})


def shape(
    table_name: str, key: tuple[str, ...], parent: Shape | None = None, **columns: sa.types.TypeEngine[Any]
) -> Shape:
    table = sa.table(table_name, *[sa.column(column, kind) for column, kind in sorted(columns.items())])
    doc = RecordDoc(table_name, None if parent else "id", ("person", "people") if parent else None, DATA)
    path = () if parent is None else (("person", parent, parent.key[0]),)
    return Shape(doc, table, tuple(sorted(columns)), key, path, "id", str)


PEOPLE = shape("people", ("id",), id=sa.String(), name=sa.String())
LETTERS = shape("letters", ("id", "part"), PEOPLE, id=sa.Uuid(), part=sa.Integer(), person=sa.String())
ONE = "0e8b7a4c-9b0a-4f2c-8d3e-2f6a1c5b9d7e"


def escaped(text: str) -> bytes:
    """As COPY writes it."""
    for char, word in (("\\", "\\\\"), ("\b", "\\b"), ("\f", "\\f"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(char, word)
    return text.replace("\v", "\\v").encode()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_field_stands_for_the_text_that_was_written(text: str) -> None:
    assert plain(escaped(text)) == text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1) | st.just(ONE.upper()))
def test_keys_are_those_that_a_look_up_makes(text: str) -> None:
    found = owned([PEOPLE], {"people": (("id", "name"), escaped(text) + b"\t\\N\n")})
    assert found == [(text, "people", key_text(text))]


def test_rows_that_lead_to_others_are_theirs_whose_those_are() -> None:
    rows = {
        "people": (("id", "name"), b"an\tAn\nbinh\tBinh\n"),
        "letters": (("id", "part", "person"), f"{ONE}\t2\tbinh\n".encode()),
    }
    found = owned([PEOPLE, LETTERS], rows)
    assert found is not None
    assert found[2] == ("binh", "letters", key_text({"part": 2, "id": ONE}))
    assert json.loads(found[2][2]) == [ONE, "2"]


def test_a_key_that_no_locator_takes_is_left_out() -> None:
    dated = shape("people", ("day",), id=sa.String(), day=sa.Date())
    assert owned([dated], {"people": (("day", "id"), b"2026-01-01\tan\n")}) == []


@pytest.mark.parametrize("kind", [sa.CHAR(4), sa.types.NullType()], ids=["padded", "unknown"])
def test_where_the_text_may_be_another_than_the_drivers_nothing_is_told(kind: sa.types.TypeEngine[Any]) -> None:
    odd = shape("people", ("id",), id=kind, name=sa.String())
    assert owned([odd], {"people": (("id", "name"), b"an\tAn\n")}) is None


def test_rows_that_the_database_joins_by_a_rule_of_its_own_tell_nothing() -> None:
    rows = {"people": (("id", "name"), b"an\tAn\n"), "letters": (("id", "part", "person"), f"{ONE}\t2\tAN\n".encode())}
    assert owned([PEOPLE, LETTERS], rows) is None
