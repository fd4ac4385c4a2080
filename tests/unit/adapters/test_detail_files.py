"""Detail lies sealed in its country's journal, and opens for its entry alone."""

from __future__ import annotations

import os

import pytest

from residency.adapters.detail_files import DetailFiles, open_detail
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.keys_memory import KeysMemory
from residency.audit.detail import format_detail
from residency.errors import JournalCorrupt, JournalFailed, SealError, UsageError

KEYS = KeysMemory()
DETAIL = format_detail({"ip": "203.0.113.7"}, bytes(16))


def build(journal: JournalMemory) -> DetailFiles:
    return DetailFiles({"VN": journal}, lambda country: KEYS.secret(f"detail-{country.lower()}"), os.urandom)


def test_a_detail_opens_with_its_countrys_key_and_is_not_there_in_clear() -> None:
    journal = JournalMemory()
    details = build(journal)
    details.ready("VN")
    seq = details.append("VN", "0.17", DETAIL)
    details.sync("VN", seq)
    assert journal.durable == 1
    assert b"203.0.113.7" not in journal.records[seq]
    assert open_detail("VN", journal.records[seq], KEYS.secret("detail-vn")) == ("0.17", DETAIL)


def test_a_detail_opens_for_no_other_country_entry_or_key() -> None:
    journal = JournalMemory()
    record = journal.records[build(journal).append("VN", "0.17", DETAIL)]
    with pytest.raises(SealError):
        open_detail("SG", record, KEYS.secret("detail-vn"))
    with pytest.raises(SealError):
        open_detail("VN", record, KEYS.secret("detail-sg"))
    with pytest.raises(SealError):
        open_detail("VN", record.replace(b"0.17", b"0.18"), KEYS.secret("detail-vn"))


@pytest.mark.parametrize("record", [b"", b"\x05ab", b"\x02\xff\xff"])
def test_a_record_that_names_no_entry_is_corrupt(record: bytes) -> None:
    with pytest.raises(JournalCorrupt):
        open_detail("VN", record, bytes(32))


def test_a_country_without_a_place_is_refused() -> None:
    with pytest.raises(UsageError):
        build(JournalMemory()).append("SG", "0.1", DETAIL)


def test_closing_closes_every_journal() -> None:
    journal = JournalMemory()
    build(journal).close()
    with pytest.raises(JournalFailed):
        journal.append(b"x")
