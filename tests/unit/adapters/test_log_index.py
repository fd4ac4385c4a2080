"""The index answers as the entries do; one that somebody else made, changed or broke is not believed."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.adapters.log_index import LogIndex, Shape, index_secret, shape_of
from residency.audit.checkpoint import Checkpoint
from residency.audit.entry import Entry
from residency.errors import Unavailable

SECRET = bytes(range(32))
BASE = Entry(id="0.0", kind="decision", at=0, effect="permit", policy="ab" * 32)
ALIASES = ["aa" * 8, "bb" * 16, None]


def log(size: int) -> Checkpoint:
    return Checkpoint("log.example", size, bytes([size % 256]) * 32)


def anything(shape: Shape) -> bool:
    return True


entries = st.lists(
    st.builds(
        lambda at, subject, rules, observed, sink: replace(
            BASE, at=at, subject=subject, rules=tuple(rules), observed=tuple(observed), sink=sink
        ),
        st.integers(-5, 20),
        st.sampled_from(ALIASES),
        st.lists(st.sampled_from("abc"), max_size=2),
        st.lists(st.sampled_from("cd"), max_size=1),
        st.sampled_from(["vn", "sg", None]),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(
    entries,
    st.integers(0, 30),
    st.sampled_from([None, *"abcd"]),
    st.sampled_from(ALIASES),
    st.none() | st.integers(-5, 20),
    st.none() | st.integers(-5, 20),
    st.none() | st.integers(1, 5),
)
def test_it_answers_as_looking_at_each_entry_does_built_at_once_or_in_two_parts(
    tmp_path_factory: pytest.TempPathFactory,
    known: list[Entry],
    part: int,
    rule: str | None,
    subject: str | None,
    since: int | None,
    until: int | None,
    newest: int | None,
) -> None:
    def wanted(shape: Shape) -> bool:
        return rule is None or rule in shape.rules

    expected = [
        number
        for number, entry in enumerate(known)
        if (rule is None or rule in (*entry.rules, *entry.observed))
        and (subject is None or entry.subject == subject)
        and (since is None or entry.at >= since)
        and (until is None or entry.at < until)
    ]
    path = tmp_path_factory.mktemp("index") / "index.db"
    part = min(part, len(known))
    index = LogIndex.build(path, SECRET, log(part), known[:part])
    if part < len(known):
        index = LogIndex.build(path, SECRET, log(len(known)), known[part:], index)
    assert index.built == log(len(known))
    count, numbers = index.numbers(wanted, since=since, until=until, subject=subject, newest=newest)
    index.close()
    assert (count, numbers) == (len(expected), expected if newest is None else expected[-newest:])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    LogIndex.build(tmp_path / "index.db", SECRET, log(3), [BASE, replace(BASE, sink="sg"), BASE]).close()
    return tmp_path / "index.db"


def _drop_a_row(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM entry WHERE number = 1")


def _flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _of_somebody_else(path: Path) -> None:
    LogIndex.build(path, bytes(32), log(3), [BASE, BASE, BASE]).close()


@pytest.mark.parametrize(
    "change",
    [_drop_a_row, _flip_a_byte, _of_somebody_else, lambda path: path.write_bytes(b""), lambda path: path.unlink(),
     lambda path: path.with_name("index.db.mac").unlink(),
     lambda path: path.with_name("index.db.mac").write_bytes(b"")],
)  # fmt: skip
def test_what_was_changed_by_anybody_is_not_believed(path: Path, change: Callable[[Path], None]) -> None:
    change(path)
    assert LogIndex.open(path, SECRET) is None


def test_a_journal_beside_the_file_is_not_played_back_into_it(path: Path) -> None:
    path.with_name("index.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    path.with_name("index.db-wal").write_bytes(b"x" * 64)
    index = LogIndex.open(path, SECRET)
    assert index is not None
    assert index.numbers(anything) == (3, [0, 1, 2])
    index.close()


def test_a_build_that_breaks_off_leaves_the_old_index_and_nothing_beside_it(path: Path) -> None:
    def broken() -> Iterator[Entry]:
        yield BASE
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        LogIndex.build(path, SECRET, log(9), broken())
    index = LogIndex.open(path, SECRET)
    assert index is not None
    assert index.built == log(3)
    index.close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["index.db", "index.db.mac"]


def test_the_file_is_its_owners_alone_and_a_place_that_cannot_be_written_is_told(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Unavailable, match="cannot be written"):
        LogIndex.build(path.parent / "nowhere" / "index.db", SECRET, log(0), [])


def test_the_secret_is_made_once_and_refused_where_others_may_read_it(tmp_path: Path) -> None:
    secret = index_secret(tmp_path / "state")
    assert (len(secret), index_secret(tmp_path / "state")) == (32, secret)
    assert index_secret(tmp_path / "other") != secret
    file = tmp_path / "state" / "index.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    with pytest.raises(Unavailable, match="others may read it"):
        index_secret(tmp_path / "state")
    file.chmod(0o600)
    file.write_bytes(b"")
    with pytest.raises(Unavailable, match="damaged"):
        index_secret(tmp_path / "state")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="cannot be kept"):
        index_secret(tmp_path / "file" / "state")


def test_a_shape_names_every_rule_of_an_entry_once() -> None:
    entry = replace(BASE, rules=("a", "b"), observed=("b",), exempted=("c",), outranked=("d",))
    assert shape_of(entry).rules == ("a", "b", "c", "d")


@pytest.mark.timeout(10)
def test_nothing_is_written_through_a_link_and_no_pipe_is_waited_for(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"of the reader alone")
    folder = tmp_path / "given"
    folder.mkdir()
    path, beside = folder / "index.db", folder / "index.db.mac"
    for place in (path, beside):
        place.symlink_to(mine)
    assert LogIndex.open(path, SECRET) is None
    LogIndex.build(path, SECRET, log(1), [BASE]).close()
    assert mine.read_bytes() == b"of the reader alone"
    for place in (path, beside):
        kept = place.read_bytes()
        place.unlink()
        os.mkfifo(place)
        assert LogIndex.open(path, SECRET) is None
        place.unlink()
        place.write_bytes(kept)
    again = LogIndex.open(path, SECRET)
    assert again is not None
    again.close()
