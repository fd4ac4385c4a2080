"""Detail lies sealed in its country's journal, and opens for its entry alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.detail_files import DetailFiles, journal_records, recent_pins, turn_over
from residency.adapters.journal_files import JournalFiles
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.keys_memory import KeysMemory
from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head, parse_record, seal_context
from residency.audit.journal import RECORDS_AT, scan
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt, JournalFailed, SealError, UsageError
from residency.jurisdiction.pinned import format_pin
from residency.model import Anchor, Pin, Trust
from residency.vault.hpke import HomeBox, open_box, public_key
from tests.detail_world import open_detail

PIN = Pin("d1", "VN", ((Anchor.TERRITORY, "VN", Trust.NETWORK),), "a1", "first_write", "p", 1_000)
KEYS = KeysMemory()
DETAIL = format_detail({"ip": "203.0.113.7"}, bytes(16))
SEGMENT = 1 << 20


def head(entry: str = "0.17", detail: bytes = DETAIL) -> Head:
    return Head("log.example", entry, commit(detail), "a1" * 16, 1_000, "none", None, 2_000)


def pinned(entry: str, pin: Pin) -> tuple[Head, bytes]:
    detail = format_detail({"pin": format_pin(pin)}, bytes(16))
    return replace(head(entry, detail), keeping="pin", at=pin.at), detail


def build(journal: JournalMemory) -> DetailFiles:
    return DetailFiles({"VN": journal}, lambda country: KEYS.secret(f"detail-{country.lower()}"), os.urandom)


def test_a_detail_opens_with_its_countrys_key_and_is_not_there_in_clear() -> None:
    journal = JournalMemory()
    details = build(journal)
    details.ready("VN")
    seq = details.append("VN", head(), DETAIL)
    details.sync("VN", seq)
    assert journal.durable == 1
    assert b"203.0.113.7" not in journal.records[seq]
    assert open_detail("VN", journal.records[seq], KEYS.secret("detail-vn")) == ("0.17", DETAIL)


def test_a_detail_opens_for_no_other_country_entry_or_key() -> None:
    journal = JournalMemory()
    record = journal.records[build(journal).append("VN", head(), DETAIL)]
    with pytest.raises(SealError):
        open_detail("SG", record, KEYS.secret("detail-vn"))
    with pytest.raises(SealError):
        open_detail("VN", record, KEYS.secret("detail-sg"))
    with pytest.raises(SealError):
        open_detail("VN", record.replace(b"0.17", b"0.18"), KEYS.secret("detail-vn"))


def test_what_is_sealed_to_another_countrys_public_key_opens_there_and_not_here() -> None:
    journal = JournalMemory()
    private = os.urandom(32)
    box = HomeBox(public_key(private), os.urandom)
    details = DetailFiles({"VN": journal}, lambda country: KEYS.secret("detail-vn"), os.urandom, {"VN": box})
    record = journal.records[details.append("VN", head(), DETAIL)]
    with pytest.raises(SealError):
        open_detail("VN", record, KEYS.secret("detail-vn"))
    parsed = parse_record(record)
    assert parsed is not None
    assert open_box(private, parsed[1], seal_context("VN", parsed[0])) == DETAIL


@pytest.mark.parametrize("record", [b"x", b"\x02\x00\x05ab", b"\x02\x00\x02\xff\xff"])
def test_a_record_that_names_no_entry_is_corrupt(record: bytes) -> None:
    with pytest.raises(JournalCorrupt):
        parse_record(record)


def test_a_country_without_a_place_is_refused() -> None:
    with pytest.raises(UsageError):
        build(JournalMemory()).append("SG", head(), DETAIL)


def test_closing_closes_every_journal() -> None:
    journal = JournalMemory()
    build(journal).close()
    with pytest.raises(JournalFailed):
        journal.append(b"x")


def test_the_newest_pins_of_late_come_back_from_journals_in_use_and_let_go(tmp_path: Path) -> None:
    key = KEYS.secret("detail-vn")
    first, second = JournalFiles(tmp_path / "journal").open(), JournalFiles(tmp_path / "journal").open()
    one, two = (DetailFiles({"VN": journal}, lambda country: key, os.urandom) for journal in (first, second))
    moved, old = replace(PIN, home="SG", version=2, at=3_000), replace(PIN, subject="d2", at=10)
    for number, (details, pin) in enumerate([(two, moved), (one, PIN), (one, old)]):
        details.append("VN", *pinned(f"0.{number}", pin))
    one.append("VN", head("0.3"), DETAIL)
    broken = format_detail({"pin": "no pin"}, bytes(16))
    one.append("VN", head("0.4", broken), broken)
    second.close()
    rows = list(journal_records(tmp_path))
    assert recent_pins(rows, "VN", key, 1_000) == {"d1": moved}
    assert recent_pins(rows, "VN", key, 0) == {"d1": moved, "d2": old}
    assert recent_pins(rows, "VN", bytes(32), 0) == {}  # another key opens nothing
    assert list(journal_records(tmp_path / "no such journal")) == []
    first.close()


def test_a_subject_that_was_forgotten_and_came_back_has_the_pin_of_its_newer_life() -> None:
    journal = JournalMemory()
    details = build(journal)
    forgotten, back = replace(PIN, version=3, at=2_000), replace(PIN, alias="e9" * 16, at=3_000)
    for number, pin in enumerate([forgotten, back]):
        details.append("VN", *pinned(f"0.{number}", pin))
    rows = [parsed for record in journal.records if (parsed := parse_record(record)) is not None]
    assert recent_pins(rows, "VN", KEYS.secret("detail-vn"), 0) == {"d1": back}


def test_of_a_journal_that_is_filed_in_part_the_rest_is_read(tmp_path: Path) -> None:
    key = KEYS.secret("detail-vn")
    journal = JournalFiles(tmp_path / "journal", segment_bytes=SEGMENT).open()
    details = DetailFiles({"VN": journal}, lambda country: key, os.urandom)
    details.append("VN", head("0.1"), DETAIL)
    after_one = scan((tmp_path / "journal" / "0" / "00000000.seg").read_bytes(), RECORDS_AT, None).offset
    details.append("VN", head("0.2"), DETAIL)
    turn_over(journal, SEGMENT)
    details.append("VN", head("0.3"), DETAIL)
    journal.close()

    def read(*cursor: int) -> list[str]:
        return [found.entry for found, _ in journal_records(tmp_path, {0: Cursor(*cursor)})]

    assert read(0, after_one, 1) == ["0.2", "0.3"]
    assert read(1) == ["0.3"]
    assert [found.entry for found, _ in journal_records(tmp_path, {1: Cursor(1)})] == ["0.1", "0.2", "0.3"]


def test_a_journal_that_is_turned_over_goes_on_in_another_segment(tmp_path: Path) -> None:
    key = KEYS.secret("detail-vn")
    journal = JournalFiles(tmp_path / "journal", segment_bytes=SEGMENT).open()
    details = DetailFiles({"VN": journal}, lambda country: key, os.urandom)
    details.append("VN", head("0.1"), DETAIL)
    turn_over(journal, SEGMENT)
    details.append("VN", head("0.2"), DETAIL)
    journal.close()
    assert [found.entry for found, _ in journal_records(tmp_path)] == ["0.1", "0.2"]
    (tmp_path / "journal" / "0" / "00000000.seg").unlink()
    assert [found.entry for found, _ in journal_records(tmp_path)] == ["0.2"]
