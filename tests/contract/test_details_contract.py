"""Where details rest keeps what it took: in memory and on disk, for this country and sealed for another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from residency.adapters.detail_files import DetailFiles, journal_records
from residency.adapters.journal_files import JournalFiles
from residency.adapters.journal_memory import JournalMemory
from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head, parse_record, seal_context
from residency.enforcement.slot import DetailStore
from residency.errors import JournalFailed, JournalFull, UsageError
from residency.vault.hpke import HomeBox, open_box, public_key
from residency.vault.seal import unseal

PRIVATE = bytes(range(1, 33))
KEY = bytes(range(32))


class Kept:
    """A store of details, what it holds, and a way to open that as its country does."""

    def __init__(self, store: DetailFiles, rows: Callable[[], list[tuple[Head, bytes]]], *, home: bool) -> None:
        self.store: DetailStore = store
        self.close = store.close
        self._rows = rows
        self._home = home

    def read(self) -> dict[str, bytes]:
        """By entry, each detail."""
        found = {}
        for head, sealed in self._rows():
            context = seal_context("VN", head)
            found[head.entry] = unseal(KEY, sealed, context) if self._home else open_box(PRIVATE, sealed, context)
        return found


@pytest.fixture(params=["memory", "files", "memory, sealed", "files, sealed"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    """Each way of keeping details."""
    where, _, sealed = request.param.partition(", ")
    boxes = {"VN": HomeBox(public_key(PRIVATE), os.urandom)} if sealed else {}
    memory = JournalMemory(capacity=1_000_000)
    journal = memory if where == "memory" else JournalFiles(tmp_path / "journal", segment_bytes=1 << 17).open()
    store = DetailFiles({"VN": journal}, lambda country: KEY, os.urandom, boxes)

    def rows() -> list[tuple[Head, bytes]]:
        if where == "memory":
            return [parsed for record in memory.records if (parsed := parse_record(record)) is not None]
        return list(journal_records(tmp_path))

    found = Kept(store, rows, home=not sealed)
    yield found
    found.close()


def detail(number: int) -> tuple[Head, bytes]:
    data = format_detail({"account": f"person-{number}"}, os.urandom(16))
    return Head("log", f"0.{number}", commit(data), None, 1, "none", None, 2), data


def test_what_was_taken_is_there_and_opens_in_its_country(kept: Kept) -> None:
    taken = {}
    for number in range(50):
        head, data = detail(number)
        assert kept.store.append("VN", head, data) == number
        taken[head.entry] = data
    kept.store.sync("VN", 49)
    assert kept.read() == taken


def test_it_is_ready_until_it_is_closed(kept: Kept) -> None:
    kept.store.ready("VN")
    kept.close()
    kept.close()
    with pytest.raises((JournalFailed, JournalFull)):
        kept.store.ready("VN")
    with pytest.raises((JournalFailed, JournalFull)):
        kept.store.append("VN", *detail(0))


def test_what_was_never_taken_cannot_be_made_durable(kept: Kept) -> None:
    with pytest.raises(JournalFailed):
        kept.store.sync("VN", 0)


def test_a_country_that_it_has_no_place_for_is_wrong_use(kept: Kept) -> None:
    for use in (kept.store.ready, lambda place: kept.store.sync(place, 0)):
        with pytest.raises(UsageError):
            use("SG")
    with pytest.raises(UsageError):
        kept.store.append("SG", *detail(0))
