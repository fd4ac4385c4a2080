"""An entry has one byte form, which is RFC 8785, and nothing else parses."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.entry import (
    ENTRY_LIMIT,
    Entry,
    EntryTemplate,
    entry_id,
    format_entry,
    parse_entry,
    parse_entry_id,
)
from residency.errors import EntryError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
LISTS = st.lists(TEXT, max_size=3).map(tuple)
HEX64 = st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}")
IDS = st.builds(entry_id, st.integers(0, 4095), st.integers(0, 10**15))
OPTIONAL = st.none() | TEXT


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(["decision", "intent", "outcome", "refusal", "system"]))
    outcome = kind == "outcome"
    return Entry(
        id=draw(IDS),
        kind=kind,
        at=draw(st.integers(-(2**53) + 1, 2**53 - 1)),
        mode=draw(st.sampled_from(["enforce", "observe"])),
        effect=draw(st.sampled_from(["permit", "hold", "deny"])),
        policy=draw(HEX64),
        epoch=draw(st.integers(0, 2**53 - 1)),
        decided=draw(st.none() | st.integers(-(2**53) + 1, 2**53 - 1)),
        requested=draw(st.none() | st.integers(-(2**53) + 1, 2**53 - 1)),
        collected=draw(st.none() | st.integers(-(2**53) + 1, 2**53 - 1)),
        policy_version=draw(st.integers(0, 2**53 - 1)),
        facts=draw(st.none() | HEX64) if kind == "system" else None,
        act=draw(st.sampled_from(["committed", "failed", "rolled_back", "unknown"])) if outcome else None,
        of=draw(IDS) if outcome else None,
        activity=draw(OPTIONAL),
        operation=draw(OPTIONAL),
        store=draw(OPTIONAL),
        sink=draw(OPTIONAL),
        region=draw(OPTIONAL),
        reason=draw(OPTIONAL),
        strategy=draw(OPTIONAL),
        subject=draw(st.none() | HEX64),
        detail=draw(st.none() | HEX64),
        note=draw(OPTIONAL),
        jurisdictions=draw(LISTS),
        finding=draw(LISTS),
        presumed=draw(LISTS),
        evidence=draw(LISTS),
        rules=draw(LISTS),
        observed=draw(LISTS),
        exempted=draw(LISTS),
        exemptions=draw(LISTS),
        outranked=draw(LISTS),
        running=draw(LISTS),
    )


SAMPLE = Entry(
    id="0.1",
    kind="intent",
    at=1_795_000_000_000_000,
    effect="permit",
    policy="ab" * 32,
    policy_version=7,
    activity="POST /v1/people",
    rules=("vn.d333.19.2",),
    jurisdictions=("VN",),
    finding=("territory:VN:established:network",),
)


@given(entries())
def test_an_entry_comes_back_from_its_bytes(entry: Entry) -> None:
    assert parse_entry(format_entry(entry)) == entry


@given(entries())
def test_the_bytes_are_compact_json_with_every_key_in_order(entry: Entry) -> None:
    data = format_entry(entry)
    document = json.loads(data)
    assert list(document) == sorted(field.name for field in dataclasses.fields(Entry))
    assert json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() == data


def test_the_first_version_of_the_format_is_this() -> None:
    assert format_entry(SAMPLE) == (
        b'{"act":null,"activity":"POST /v1/people","at":1795000000000000,"collected":null,"decided":null,"detail":null,'
        b'"effect":"permit","epoch":0,"evidence":[],"exempted":[],"exemptions":[],"facts":null,"finding":["territory:VN:established:network"],"id":"0.1","jurisdictions":["VN"],'
        b'"kind":"intent","mode":"enforce","note":null,"observed":[],"of":null,"operation":null,"outranked":[],"policy":"'
        + b"ab"
        * 32
        + b'","policy_version":7,"presumed":[],"reason":null,"region":null,"requested":null,'
        b'"rules":["vn.d333.19.2"],"running":[],"sink":null,"store":null,'
        b'"strategy":null,"subject":null,"v":1}'
    )


@given(entries())
def test_a_template_writes_what_format_entry_writes(entry: Entry) -> None:
    bare = dataclasses.replace(
        entry, id="0.0", at=0, decided=None, requested=None, collected=None, subject=None, detail=None
    )
    template = EntryTemplate(dataclasses.replace(bare, of="0.0") if entry.of is not None else bare)
    filled = template.fill(
        id=entry.id,
        at=entry.at,
        decided=entry.decided,
        requested=entry.requested,
        collected=entry.collected,
        of=entry.of,
        subject=entry.subject,
        detail=entry.detail,
    )
    assert filled == format_entry(entry)


@given(entries(), st.integers(0, 4095), st.integers(0, 10**15), st.integers(-(2**53) + 1, 2**53 - 1))
def test_the_short_way_to_fill_a_template_writes_the_same(entry: Entry, slot: int, seq: int, decided: int) -> None:
    template = EntryTemplate(entry)
    if entry.kind == "outcome":
        with pytest.raises(EntryError):
            template.brief(slot, seq, entry.at, decided, entry.subject)
        return
    meant = dataclasses.replace(
        entry, id=entry_id(slot, seq), decided=decided, requested=None, collected=None, detail=None
    )
    for subject in (entry.subject, None, "ab" * 16):
        told = dataclasses.replace(meant, subject=subject)
        assert template.brief(slot, seq, entry.at, decided, subject) == format_entry(told)


@pytest.mark.parametrize("subject", ['","v":2,"x":"', "", "ab%b", "\ud800", "\u0661" * 16, "a b"])
def test_the_short_way_takes_no_alias_that_would_not_stand_as_it_is(subject: str) -> None:
    with pytest.raises(EntryError):
        EntryTemplate(SAMPLE).brief(0, 1, 2, 3, subject)


def test_a_template_that_grows_beyond_the_limit_is_refused() -> None:
    size = len(format_entry(dataclasses.replace(SAMPLE, note="x")))
    template = EntryTemplate(dataclasses.replace(SAMPLE, note="x" * (ENTRY_LIMIT - size + 1)))
    with pytest.raises(EntryError):
        template.brief(0, 1, SAMPLE.at, SAMPLE.at, "ab" * 64)


def test_a_template_refuses_an_outcome_without_its_intent_and_an_intent_with_one() -> None:
    with pytest.raises(EntryError):
        EntryTemplate(SAMPLE).fill(id="0.2", at=1, of="0.1")
    outcome = EntryTemplate(dataclasses.replace(SAMPLE, kind="outcome", act="unknown", of="0.0"))
    with pytest.raises(EntryError):
        outcome.fill(id="0.2", at=1)


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_are_an_entry_or_an_entry_error(data: bytes) -> None:
    with pytest.raises(EntryError):
        parse_entry(data)


@given(st.integers(0, len(format_entry(SAMPLE)) * 8 - 1))
def test_a_flipped_bit_is_an_error_or_another_entry(bit: int) -> None:
    data = bytearray(format_entry(SAMPLE))
    data[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(EntryError):
        assert parse_entry(bytes(data)) != SAMPLE


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.replace(b'"v":1', b'"v":1 '),
        lambda d: d.replace(b'"v":1', b'"v":1.0'),
        lambda d: d.replace(b'"v":1', b'"v":true'),
        lambda d: d.replace(b'"v":1', b'"v":2'),
        lambda d: d.replace(b'"v":1', b'"v":1,"w":1'),
        lambda d: d.replace(b'"v":1', b'"v":1,"v":1'),
        lambda d: d.replace(b',"v":1', b""),
        lambda d: d.replace(b'"at":1795000000000000', b'"at":9007199254740992'),
        lambda d: d.replace(b'"at":1795000000000000', b'"at":1e9'),
        lambda d: d.replace(b'"policy_version":7', b'"policy_version":null'),
        lambda d: d.replace(b'"policy_version":7,', b""),
        lambda d: d.replace(b'"requested":null', b'"requested":"7"'),
        lambda d: d.replace(b'"at":1795000000000000', b'"at":NaN'),
        lambda d: d.replace(b'"rules":[', b'"rules":[[],'),
        lambda d: d.replace(b'"rules":["vn.d333.19.2"]', b'"rules":null'),
        lambda d: d.replace(b"POST", b"P\\u004fST"),
        lambda d: d.replace(b'"store":null', b'"store":""'),
        lambda d: b"[" * 60_000,
        lambda d: b" " + d,
        lambda d: d + b"\n",
        lambda d: b"\xef\xbb\xbf" + d,
        lambda d: d.replace(b"POST", b"\xff"),
        lambda d: d.replace(b"POST", b"\\ud800"),
    ],
)
def test_bytes_that_would_not_be_written_back_the_same_are_refused(change: object) -> None:
    assert callable(change)
    data = change(format_entry(SAMPLE))
    assert data != format_entry(SAMPLE)
    with pytest.raises(EntryError):
        parse_entry(data)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "rumour"},
        {"effect": None},
        {"policy": None},
        {"policy": "AB" * 32},
        {"subject": "Nguyen"},
        {"detail": "00"},
        {"id": "1"},
        {"id": "01.2"},
        {"act": "committed"},
        {"of": "0.0"},
        {"kind": "outcome"},
        {"kind": "outcome", "act": "done", "of": "0.0"},
        {"at": True},
        {"at": 1.5},
        {"at": 2**53},
        {"rules": ["a"]},
        {"rules": ("",)},
        {"note": "x" * 70_000},
        {"note": "\ud800"},
        {"v": 2},
    ],
)
def test_an_entry_that_could_not_be_parsed_back_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(EntryError):
        format_entry(dataclasses.replace(SAMPLE, **change))  # type: ignore[arg-type]


def test_a_system_entry_needs_no_effect_and_no_policy() -> None:
    entry = Entry(id="0.0", kind="system", at=0, note="start")
    assert parse_entry(format_entry(entry)) == entry


def test_an_entry_of_the_greatest_size_is_written_and_one_byte_more_is_not() -> None:
    size = len(format_entry(dataclasses.replace(SAMPLE, note="x")))
    entry = dataclasses.replace(SAMPLE, note="x" * (ENTRY_LIMIT - size + 1))
    assert len(format_entry(entry)) == ENTRY_LIMIT
    with pytest.raises(EntryError):
        format_entry(dataclasses.replace(entry, note="x" * (ENTRY_LIMIT - size + 2)))


def test_index_zero_is_an_id_like_any_other() -> None:
    assert parse_entry_id(entry_id(0, 0)) == (0, 0)
