"""Detail lies sealed in its country's journal, and opens for its entry alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.detail_files import DetailFiles, open_detail, recent_pins
from residency.adapters.journal_files import JournalFiles
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.keys_memory import KeysMemory
from residency.audit.detail import format_detail
from residency.errors import JournalCorrupt, JournalFailed, SealError, UsageError
from residency.jurisdiction.pinned import format_pin
from residency.model import Anchor, Pin, Trust

PIN = Pin("d1", "VN", ((Anchor.TERRITORY, "VN", Trust.NETWORK),), "a1", "first_write", "p", 1_000)
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


def test_the_newest_pins_of_late_come_back_from_journals_in_use_and_let_go(tmp_path: Path) -> None:
    key = KEYS.secret("detail-vn")
    first, second = JournalFiles(tmp_path).open(), JournalFiles(tmp_path).open()
    one, two = (DetailFiles({"VN": journal}, lambda country: key, os.urandom) for journal in (first, second))
    moved, old = replace(PIN, home="SG", version=2, at=3_000), replace(PIN, subject="d2", at=10)
    for number, (details, pin) in enumerate([(two, moved), (one, PIN), (one, old)]):
        details.append("VN", f"0.{number}", format_detail({"pin": format_pin(pin)}, bytes(16)))
    one.append("VN", "0.3", DETAIL)
    one.append("VN", "0.4", format_detail({"pin": "no pin"}, bytes(16)))
    second.close()
    assert recent_pins(tmp_path, "VN", key, 1_000) == {"d1": moved}
    assert recent_pins(tmp_path, "VN", key, 0) == {"d1": moved, "d2": old}
    assert recent_pins(tmp_path, "VN", bytes(32), 0) == {}  # another key opens nothing
    assert recent_pins(tmp_path / "no such journal", "VN", key, 0) == {}
    first.close()


def test_a_subject_that_was_forgotten_and_came_back_has_the_pin_of_its_newer_life(tmp_path: Path) -> None:
    key = KEYS.secret("detail-vn")
    journal = JournalFiles(tmp_path).open()
    details = DetailFiles({"VN": journal}, lambda country: key, os.urandom)
    forgotten, back = replace(PIN, version=3, at=2_000), replace(PIN, alias="e9" * 16, at=3_000)
    for number, pin in enumerate([forgotten, back]):
        details.append("VN", f"0.{number}", format_detail({"pin": format_pin(pin)}, bytes(16)))
    journal.close()
    assert recent_pins(tmp_path, "VN", key, 0) == {"d1": back}
