"""Lines in, answer lines out: whole, in order, and the same from an mmdb as from the table compiled of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.cli import locate_lines as module
from residency.cli.locate_lines import Answers, Block, blocks, locate_lines
from residency.cli.locate_tables import Rows, SlowRows, open_rows, swift
from residency.signals.table import Row
from tests.mmdb_files import countries

PLACES = {"8.8.8.0/24": "US", "14.160.0.0/11": "VN", "10.0.0.0/8": "VN", "2001:ee0::/32": "VN", "2400::/12": "CN"}
ADDRESSES = [
    *("8.8.8.8", "8.8.9.8", "14.160.0.1", "14.191.255.255", "10.1.2.3", "192.88.99.1", "224.0.0.1", "0.0.0.1"),
    *("2001:ee0::1", "2001:EE0:0::1", "2400::1", "2410::", "::1", "fe80::1%eth0", "ff02::1", "2001:db8::1"),
    *("::ffff:8.8.8.8", "64:ff9b::14.160.0.1", "::8.8.8.8", "2002:808:808::", "3fff::1", "1.2.3", "08.8.8.8", "x"),
]


class Pipe:
    """Bytes that come in pieces of at most `step`."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file = BytesIO(data)
        self._step = step

    def read1(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._step))

    def fileno(self) -> int:
        raise OSError


class Fixed:
    """A table that knows one address of each kind."""

    rows = (Row(None), Row("VN"), Row("VN", "tor"), Row("VN", None, "TH"), Row(None, "special"))

    def lookup(self, text: str) -> int:
        return {"14.160.0.1": 1, "14.160.0.2": 2, "14.160.0.3": 3, "10.0.0.1": 4}.get(text, 0)


@pytest.fixture
def mmdb(tmp_path: Path) -> Path:
    path = tmp_path / "small.mmdb"
    path.write_bytes(countries(PLACES))
    return path


def located(table: Rows, *asked: Block, as_json: bool = False, to: Callable[[SlowRows], Rows] = swift) -> list[bytes]:
    """What is written, a block at a time."""
    written: list[bytes] = []
    locate_lines(table, iter(asked), as_json=as_json, write=written.append, located=lambda lines, size: None, swift=to)
    return written


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)),
    st.integers(1, 50),
    st.booleans(),
)
def test_lines_are_the_same_however_they_come_in_pieces(lines: list[str], step: int, ended: bool) -> None:
    text = "\n".join(lines) + ("\n" if ended else "")
    asked = [line for found, _ in blocks(Pipe(text.encode(), step)) for line in found]
    assert [line for line in asked if line] == [line for line in lines if line]


def test_a_block_tells_how_many_bytes_it_was() -> None:
    assert sum(size for _, size in blocks(Pipe(b"8.8.8.8\n" * 100, 64))) == 800


def test_a_line_that_never_ends_takes_no_memory_and_is_no_address() -> None:
    (line,) = [line for lines, _ in blocks(Pipe(b"1" * 500_000, 4096)) for line in lines]
    assert len(line) <= 8192
    answers = Answers(Fixed(), as_json=False)
    assert answers.of([line]) == "1" * 100 + "…\tnot an IP address\n"
    assert answers.bad == 1


def test_what_is_not_utf8_is_told_escaped() -> None:
    (lines, _) = next(blocks(Pipe(b"\xff\xfe8.8.8.8\n14.160.0.1\n", 100)))
    assert Answers(Fixed(), as_json=False).of(lines) == "\\xff\\xfe8.8.8.8\tnot an IP address\n14.160.0.1\tVN\n"


def test_a_line_cannot_steer_a_terminal() -> None:
    assert Answers(Fixed(), as_json=False).of(["\x1b[2J", "a\tb"]) == (
        "\\x1b[2J\tnot an IP address\na\\tb\tnot an IP address\n"
    )


def test_json_has_network_and_second_only_where_they_are_known() -> None:
    lines = Answers(Fixed(), as_json=True).of(["14.160.0.1", "14.160.0.2", "14.160.0.3", "10.0.0.1", "9.9.9.9"])
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"address": "14.160.0.1", "country": "VN"},
        {"address": "14.160.0.2", "country": "VN", "network": "tor"},
        {"address": "14.160.0.3", "country": "VN", "second": "TH"},
        {"address": "10.0.0.1", "country": None, "network": "special"},
        {"address": "9.9.9.9", "country": None},
    ]


def test_text_is_address_and_country_whatever_else_is_known() -> None:
    assert Answers(Fixed(), as_json=False).of(["14.160.0.2", "10.0.0.1", "9.9.9.9"]) == (
        "14.160.0.2\tVN\n10.0.0.1\t-\n9.9.9.9\t-\n"
    )


def test_blank_lines_are_neither_answered_nor_counted() -> None:
    answers = Answers(Fixed(), as_json=False)
    assert answers.of(["", "  ", " 14.160.0.1\r"]) == "14.160.0.1\tVN\n"
    assert answers.bad == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_an_mmdb_and_the_table_compiled_of_it_answer_alike(mmdb: Path, as_json: bool) -> None:
    slow = open_rows(mmdb)
    assert isinstance(slow, SlowRows)
    one, other = Answers(slow, as_json=as_json), Answers(swift(slow), as_json=as_json)
    assert one.of(ADDRESSES).splitlines() == other.of(ADDRESSES).splitlines()
    assert one.bad == other.bad == 3


def test_few_lines_are_answered_without_compiling_and_many_compile_once(
    mmdb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compilations: list[SlowRows] = []

    def counting(slow: SlowRows) -> Rows:
        compilations.append(slow)
        return swift(slow)

    monkeypatch.setattr(module, "_FEW", 10)
    block = (["14.160.0.1", "nowhere"] * 2, 0)
    assert (
        located(open_rows(mmdb), block, block, to=counting) == [b"14.160.0.1\tVN\nnowhere\tnot an IP address\n" * 2] * 2
    )
    assert compilations == []
    assert (
        located(open_rows(mmdb), *([block] * 5), to=counting)
        == [b"14.160.0.1\tVN\nnowhere\tnot an IP address\n" * 2] * 5
    )
    assert len(compilations) == 1


def test_bad_lines_are_counted_across_the_change_of_tables(mmdb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", 3)
    counts = locate_lines(
        open_rows(mmdb),
        iter([(["x", "8.8.8.8"], 0)] * 4),
        as_json=True,
        write=lambda lines: None,
        located=lambda lines, size: None,
        swift=swift,
    )
    assert (counts.lines, counts.bad) == (8, 4)
