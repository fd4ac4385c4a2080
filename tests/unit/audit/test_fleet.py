"""A register says which logs there are; what is not as it says is told, each with a word and a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.fleet import (
    Begins,
    Closed,
    Fleet,
    FoundLog,
    add_log,
    check_fleet,
    check_follows,
    close_log,
    format_begins,
    format_fleet,
    parse_begins,
    parse_fleet,
    verify_fleet,
)
from residency.audit.note import VerifierKey, format_note, format_verifier_key, note_signer
from residency.errors import VerificationError

SIGNER, KEY = note_signer("fleet.example", Ed25519PrivateKey.from_private_bytes(b"\7" * 32))


def key(origin: str, number: int) -> VerifierKey:
    return note_signer(origin, Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))[1]


A, B, C = key("a.example", 1), key("b.example", 2), key("c.example", 3)
ENDED = Closed(7, b"\1" * 32, "2026-10-01")
FLEET = Fleet("fleet.example")
for _key, _since, _after in ((A, "2026-01-01", None), (B, "2026-10-01", "a.example"), (C, "2026-11-01", None)):
    FLEET = add_log(FLEET, _key, _since, _after)
FLEET = close_log(FLEET, "a.example", ENDED)
FOUND = (
    FoundLog("logs/a", A, 7, b"\1" * 32, Begins(None, said=True)),
    FoundLog("logs/b", B, 4, b"\2" * 32, Begins("a.example", said=True)),
    FoundLog("logs/c", C, 4, b"\3" * 32, Begins()),
)


def words(*found: FoundLog) -> list[tuple[str, str]]:
    return [(finding.what, finding.origin) for finding in check_fleet(FLEET, found)]


def test_a_register_is_these_lines() -> None:
    assert format_fleet(FLEET).split("\n") == [
        "residency fleet 1",
        "fleet.example",
        "version 5",
        f"log {format_verifier_key(A)} since 2026-01-01",
        f"log {format_verifier_key(B)} since 2026-10-01 after a.example",
        f"log {format_verifier_key(C)} since 2026-11-01",
        "closed a.example 7 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= 2026-10-01",
        "",
    ]


def test_a_register_comes_back_from_its_note_by_its_own_key_alone() -> None:
    note = format_note(format_fleet(FLEET), SIGNER)
    assert verify_fleet(note, KEY) == FLEET
    with pytest.raises(VerificationError, match="carries no signature"):
        verify_fleet(note, A)
    renamed = format_fleet(replace(FLEET, name="other.example"))
    with pytest.raises(VerificationError, match="name"):
        verify_fleet(format_note(renamed, SIGNER), KEY)


@given(st.data())
def test_a_changed_register_does_not_verify(data: st.DataObject) -> None:
    note = bytearray(format_note(format_fleet(FLEET), SIGNER))
    bit = data.draw(st.integers(0, len(note) * 8 - 1))
    note[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        verify_fleet(bytes(note), KEY)


@pytest.mark.parametrize(
    ("old", "new"),
    [("residency fleet 1", "residency fleet 2"), ("version 5", "version 05"), ("version 5", "version 0"),
     ("since 2026-01-01", "since 2026-13-01"), ("since 2026-01-01", "since 2026-01-1"), (" after a.", " after z."),
     ("closed a.", "closed z."), ("2026-10-01\n", "2026-10-01 \n"), ("= 2026-10-01", " 2026-10-01"),
     ("closed", "note"), ("since", "Since"), (" 7 ", " 07 ")],
)  # fmt: skip
def test_a_line_that_is_not_of_the_form_is_refused(old: str, new: str) -> None:
    text = format_fleet(FLEET)
    assert old in text
    with pytest.raises(VerificationError):
        parse_fleet(text.replace(old, new))


@pytest.mark.parametrize("number", [3, 4, 6])
def test_a_log_listed_or_closed_twice_is_refused_with_its_line(number: int) -> None:
    lines = format_fleet(FLEET).split("\n")
    with pytest.raises(VerificationError, match=f"line {len(lines)} of the fleet register.*already"):
        parse_fleet("\n".join([*lines[:-1], lines[number], ""]))


def test_lines_in_another_order_are_another_form_and_refused() -> None:
    lines = format_fleet(FLEET).split("\n")
    with pytest.raises(VerificationError, match="not listed"):
        parse_fleet("\n".join([*lines[:3], lines[4], lines[3], *lines[5:]]))
    with pytest.raises(VerificationError, match="canonical"):
        parse_fleet("\n".join([*lines[:4], lines[6], *lines[4:6], ""]))


@given(st.text(max_size=200))
def test_any_text_is_a_register_or_a_verification_error(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_fleet(text)


def test_a_change_makes_the_next_version_and_a_wrong_one_is_refused() -> None:
    assert FLEET.version == 5
    with pytest.raises(VerificationError, match="listed already"):
        add_log(FLEET, A, "2026-01-01")
    with pytest.raises(VerificationError, match="predecessor"):
        add_log(FLEET, key("d.example", 4), "2026-01-01", "z.example")
    with pytest.raises(VerificationError, match="date"):
        add_log(FLEET, key("d.example", 4), "1 May")
    with pytest.raises(VerificationError, match="closed already"):
        close_log(FLEET, "a.example", ENDED)
    with pytest.raises(VerificationError, match="not listed"):
        close_log(FLEET, "z.example", ENDED)
    with pytest.raises(VerificationError, match="32 bytes"):
        close_log(FLEET, "b.example", Closed(1, b"", "2026-01-01"))


def test_a_fleet_that_is_as_the_register_says_leaves_nothing_to_tell() -> None:
    assert words(*FOUND) == []


@pytest.mark.parametrize("index", [0, 1, 2])
def test_each_log_that_is_missing_is_told(index: int) -> None:
    left = [one for i, one in enumerate(FOUND) if i != index]
    assert words(*left) == [("missing", FOUND[index].key.name)]


def test_an_empty_register_lists_nothing_and_every_log_is_unlisted() -> None:
    told = check_fleet(Fleet("fleet.example"), FOUND)
    assert [finding.what for finding in told] == ["unlisted"] * 3


@pytest.mark.parametrize(
    ("index", "change", "expected"),
    [
        (0, {"size": 6}, [("short", "a.example")]),
        (0, {"size": 8}, [("grown", "a.example")]),
        (0, {"size": 8, "closed_root": b"\1" * 32}, [("grown", "a.example")]),
        (0, {"size": 8, "closed_root": b"\4" * 32}, [("grown", "a.example"), ("changed", "a.example")]),
        (0, {"root": b"\4" * 32}, [("changed", "a.example")]),
        (0, {"begins": Begins("z.example", said=True)}, [("predecessor", "a.example")]),
        (0, {"begins": None}, [("unsaid", "a.example")]),
        (1, {"begins": Begins(None, said=True)}, [("predecessor", "b.example")]),
        (1, {"begins": Begins("c.example", said=True)}, [("predecessor", "b.example")]),
        (1, {"begins": Begins()}, [("unsaid", "b.example")]),
        (1, {"size": 0, "begins": None}, []),
        (2, {"begins": Begins(None, said=True)}, []),
        (2, {"key": key("c.example", 9)}, [("another_key", "c.example")]),
        (2, {"key": key("d.example", 3)}, [("missing", "c.example"), ("unlisted", "d.example")]),
    ],
)
def test_what_differs_is_told_and_nothing_else(
    index: int, change: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    found = list(FOUND)
    found[index] = replace(found[index], **change)  # type: ignore[arg-type]  # fields by name, from the table above
    assert words(*found) == expected


def test_two_logs_of_one_origin_are_told_with_their_places() -> None:
    findings = check_fleet(FLEET, [*FOUND, replace(FOUND[2], place="logs/copy")])
    assert [(finding.what, finding.origin) for finding in findings] == [("twice", "c.example")]
    assert "logs/c, logs/copy" in findings[0].message


def test_what_a_first_entry_says_comes_back() -> None:
    assert parse_begins(format_begins(None)) == Begins()
    assert parse_begins(format_begins("none")) == Begins(None, said=True)
    assert parse_begins(format_begins("a.example")) == Begins("a.example", said=True)
    for note in (None, "", "start", "begins;", "begins; predecessor", "begins now"):
        assert parse_begins(note) is None


def test_a_register_follows_itself_and_every_one_that_it_came_of() -> None:
    grown = add_log(FLEET, key("d.example", 4), "2026-12-01")
    ended = close_log(grown, "b.example", ENDED)
    for seen, now in ((FLEET, FLEET), (FLEET, grown), (FLEET, ended), (grown, ended), (Fleet("fleet.example"), ended)):
        check_follows(now, seen)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (replace(FLEET, version=4), "an older one"),
        (replace(FLEET, logs=FLEET.logs[:2]), "another one"),
        (replace(FLEET, version=6, logs=FLEET.logs[:2]), "c.example is not listed as it was"),
        (replace(FLEET, version=6, logs=(FLEET.logs[0], FLEET.logs[2])), "b.example is not listed as it was"),
        (
            replace(FLEET, version=6, logs=(*FLEET.logs[:2], replace(FLEET.logs[2], key=key("c.example", 9)))),
            "c.example is not listed as it was",
        ),
        (
            replace(FLEET, version=6, logs=(replace(FLEET.logs[0], closed=None), *FLEET.logs[1:])),
            "a.example is not listed as it was",
        ),
        (
            replace(FLEET, version=6, logs=(replace(FLEET.logs[0], closed=replace(ENDED, size=6)), *FLEET.logs[1:])),
            "a.example was closed otherwise",
        ),
    ],
)
def test_a_register_that_takes_back_what_was_seen_does_not_follow(now: Fleet, why: str) -> None:
    with pytest.raises(VerificationError, match=f"version {now.version} .* after version 5 was seen: {why}"):
        check_follows(now, FLEET)
