"""A subject's digest is the same in every release: a run that was killed is gone on with by the next one's."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from residency.adapters.records_sql.copy_told import digests_of, versions_of
from residency.adapters.records_sql.tables import Shape
from residency.policy.parsed_storage import RecordDoc


def shape(name: str) -> Shape:
    return Shape(RecordDoc(name, "id", None, frozenset()), sa.table(name), ("id",), ("id",), (), "id", str)


def test_digests_are_over_those_of_tables_in_order_of_their_names_whatever_order_they_are_told_in() -> None:
    found = [shape("people"), shape("people 2"), shape("a"), shape("people\x01")]
    told = [(1, "an", 4, "d1"), (0, "an", 1, "d0"), (3, "an", 1, "d3"), (2, "binh", 2, "d2")]
    an = hashlib.sha256(b"people d0,people\x01 d3,people 2 d1").hexdigest()
    assert digests_of(told, found) == {"an": an, "binh": hashlib.sha256(b"a d2").hexdigest()}
    assert digests_of([], found) == {}


def test_versions_are_by_subject_and_table() -> None:
    told = [(0, "an", b"0123456789"), (1, "an", b"abcdefghij"), (1, "binh", b"klmnopqrst")]
    assert versions_of(told) == {"an": ((0, b"0123456789"), (1, b"abcdefghij")), "binh": ((1, b"klmnopqrst"),)}
