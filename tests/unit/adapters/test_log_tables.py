"""Files for analysis: what is in the log is in them, value by value, and a file is there whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.adapters import log_tables
from residency.adapters.log_tables import open_table
from residency.audit.entry import Entry, format_entry, parse_entry
from tests.audit_log import ENTRIES, INTENT

FULL = replace(
    INTENT,
    id="12.345",
    decided=1_795_000_000_000_001,
    requested=1_795_000_000_999_999,
    collected=0,
    policy_version=2**52,
    epoch=7,
    activity='POST /v1/"people"/{id}\\',
    note="đã chuyển \u2028 \U0001f600 \x7f",
    rules=("vn.d333.19.2", "vn.l91.20"),
    running=("clock:first_transfer.VN/60 days",),
    subject="ab" * 16,
    detail="cd" * 32,
)
TIMES = ("at", "collected", "decided", "requested")
COLUMNS = ("index", *sorted(Entry.__dataclass_fields__))


def ask(query: str, path: Path) -> list[tuple[Any, ...]]:
    """What DuckDB answers; FILE in the query is the path."""
    return duckdb.connect().execute(query.replace("FILE", f"'{path}'")).fetchall()


def as_row(index: int, entry: Entry) -> tuple[Any, ...]:
    """An entry as a row of the table should have it."""
    values = (getattr(entry, name) for name in COLUMNS[1:])
    return (index, *(list(value) if isinstance(value, tuple) else value for value in values))


def test_parquet_holds_every_value_with_its_type(tmp_path: Path) -> None:
    entries = [*ENTRIES, FULL]
    with open_table(tmp_path / "log.parquet", "parquet", {}) as table:
        table.add(range(10, 15), [format_entry(entry) for entry in entries])

    shown = ", ".join(f'epoch_us("{name}")' if name in TIMES else f'"{name}"' for name in COLUMNS)
    assert ask(f"SELECT {shown} FROM FILE", tmp_path / "log.parquet") == [  # noqa: S608 - names of our own
        as_row(index, entry) for index, entry in enumerate(entries, 10)
    ]
    types = {name: kind for name, kind, *_ in ask("DESCRIBE SELECT * FROM FILE", tmp_path / "log.parquet")}
    assert tuple(types) == COLUMNS
    assert {types[name] for name in TIMES} == {"TIMESTAMP WITH TIME ZONE"}
    assert (types["index"], types["epoch"], types["rules"], types["kind"]) == (
        "BIGINT", "BIGINT", "VARCHAR[]", "VARCHAR",
    )  # fmt: skip


def test_json_lines_are_the_canonical_entries_with_their_numbers(tmp_path: Path) -> None:
    entries = [format_entry(entry) for entry in (*ENTRIES, FULL)]
    with open_table(tmp_path / "log.jsonl", "jsonl", {}) as table:
        table.add(range(3), entries[:3])
        table.add([7, 9], entries[3:])

    lines = (tmp_path / "log.jsonl").read_bytes().splitlines()
    assert [line.split(b",", 1)[0] for line in lines] == [b'{"index":%d' % number for number in (0, 1, 2, 7, 9)]
    assert [b"{" + line.split(b",", 1)[1] for line in lines] == entries
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2, 7, 9]


@settings(max_examples=20)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=200))
def test_any_text_comes_through(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    out = tmp_path_factory.mktemp("texts") / "log.parquet"
    entries = [replace(INTENT, note=text, rules=(text, text)) for text in texts]
    with open_table(out, "parquet", {}) as table:
        table.add(range(len(entries)), [format_entry(entry) for entry in entries])

    assert ask("SELECT note, rules FROM FILE", out) == [(text, [text, text]) for text in texts]


def test_row_groups_are_bounded_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tables, "_ROWS", 100)
    entries = [format_entry(replace(INTENT, id=f"0.{number}")) for number in range(1000)]
    with open_table(tmp_path / "log.parquet", "parquet", {}) as table:
        for start in range(0, 1000, 60):
            table.add(range(start, min(1000, start + 60)), entries[start : start + 60])

    out = tmp_path / "log.parquet"
    groups = ask("SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata(FILE) ORDER BY 1", out)
    assert [count for _, count in groups] == [120] * 8 + [40]
    assert ask("SELECT id FROM FILE", out) == [(f"0.{number}",) for number in range(1000)]


def test_what_comes_often_is_kept_in_a_dictionary(tmp_path: Path) -> None:
    with open_table(tmp_path / "log.parquet", "parquet", {}) as table:
        table.add(range(600), [format_entry(replace(FULL, id=f"0.{number}")) for number in range(600)])
    encodings = dict(ask("SELECT path_in_schema, encodings FROM parquet_metadata(FILE)", tmp_path / "log.parquet"))
    assert "RLE_DICTIONARY" in encodings["kind"]
    assert "RLE_DICTIONARY" in encodings["rules, list, element"]
    assert "RLE_DICTIONARY" not in encodings["id"]


def test_what_the_file_is_of_stands_in_it(tmp_path: Path) -> None:
    with open_table(
        tmp_path / "log.parquet", "parquet", {"origin": "log.example", "checkpoint": "a\n\n— b c\n"}
    ) as table:
        table.add([0], [format_entry(INTENT)])
    found = ask("SELECT key, value FROM parquet_kv_metadata(FILE)", tmp_path / "log.parquet")
    about = {key.decode(): value.decode() for key, value in found}
    assert about["residency.origin"] == "log.example"
    assert about["residency.checkpoint"] == "a\n\n— b c\n"


def fail_within(out: Path, form: str) -> None:
    """Begin a table and fail."""
    with open_table(out, form, {}) as table:
        table.add([0], [format_entry(INTENT)])
        assert out.read_bytes() == b"the old one"
        raise KeyError


@pytest.mark.parametrize("form", log_tables.FORMATS)
def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path, form: str) -> None:
    out = tmp_path / "log"
    out.write_bytes(b"the old one")
    with pytest.raises(KeyError):
        fail_within(out, form)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert out.read_bytes() == b"the old one"
    with open_table(out, form, {}) as table:
        table.add([0], [format_entry(INTENT)])
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert out.read_bytes() != b"the old one"


@pytest.mark.parametrize("form", log_tables.FORMATS)
def test_a_log_without_entries_is_a_table_without_rows(tmp_path: Path, form: str) -> None:
    with open_table(tmp_path / "log", form, {}):
        pass
    if form == "parquet":
        assert ask("SELECT count(*) FROM read_parquet(FILE)", tmp_path / "log") == [(0,)]
    else:
        assert (tmp_path / "log").read_bytes() == b""


def test_an_entry_of_the_largest_size_comes_through(tmp_path: Path) -> None:
    room = 65_535 - len(format_entry(replace(INTENT, note="x"))) + 1
    large = replace(INTENT, note="x" * room)
    assert len(format_entry(large)) == 65_535
    with open_table(tmp_path / "log.parquet", "parquet", {}) as table:
        table.add(range(50), [format_entry(large)] * 50)
    assert parse_entry(format_entry(large)) == large
    assert ask("SELECT length(note) FROM FILE", tmp_path / "log.parquet") == [(room,)] * 50
