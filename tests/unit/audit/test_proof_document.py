"""Documents are written in one form and read back to the letter; what is not understood is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.proof_document import (
    TLOG_PROOF,
    Detail,
    Item,
    format_receipt,
    format_tlog_proof,
    parse_base64,
    parse_document,
)
from residency.errors import VerificationError
from tests.audit_log import VERIFIER
from tests.proof_documents import ALIAS, PERSON, STORY, VKEY, proof, receipt, small_log


def test_a_proof_keeps_the_keys_it_always_had_and_stands_alone() -> None:
    document = json.loads(proof())
    assert list(document) == ["v", "kind", "what", "index", "entry", "proof", "checkpoint", "key", "policy"]
    assert (document["index"], document["policy"], document["key"]) == (0, PERSON[0].policy, VKEY)
    assert set(document["what"]) == {"en", "vi"}
    assert document["checkpoint"].startswith("log.example\n5\n")


def test_a_proof_is_read_back_as_it_was_written() -> None:
    log = small_log()
    found = parse_document(proof(3).encode())
    assert (found.kind, found.items, found.key) == ("proof", (log.item(3),), VKEY)
    assert found.checkpoint == log.note.decode()


items = st.builds(
    Item,
    st.integers(0, 2**53 - 1),
    st.text(st.characters(codec="utf-8")),
    st.lists(st.text(st.characters(codec="utf-8"))).map(tuple),
    st.none() | st.builds(Detail, st.sampled_from(["VN", "US-CA"]), st.text(st.characters(codec="utf-8"))),
    st.none() | st.just(0),
)


@given(st.lists(items, min_size=1), st.none() | st.just(ALIAS))
def test_a_receipt_is_read_back_as_it_was_written(held: list[Item], subject: str | None) -> None:
    text = format_receipt(small_log().note, VERIFIER, held, subject, [STORY])
    found = parse_document(text.encode())
    assert (found.items, found.subject, found.stories) == (tuple(held), subject, (STORY,))


def test_a_tlog_proof_is_read_back_as_it_was_written() -> None:
    log = small_log()
    text = format_tlog_proof(log.note, log.item(4))
    lines = text.split("\n")
    assert lines[0] == TLOG_PROOF
    assert lines[2] == "index 4"
    found = parse_document(text.encode())
    assert (found.items, found.checkpoint, found.key) == ((log.item(4),), log.note.decode(), None)


@pytest.mark.parametrize(
    "text",
    [
        TLOG_PROOF + "\n",
        TLOG_PROOF + "\nindex 0\n\nnote",
        TLOG_PROOF + "\nextra ?\nindex 0\n\nnote",
        TLOG_PROOF + "\nextra /w==\nindex 0\n\nnote",
        TLOG_PROOF + "\nextra YQ==\nindex 00\n\nnote",
        TLOG_PROOF + "\nextra YQ==\nindex -1\n\nnote",
        TLOG_PROOF + "\nextra YQ==\nindex 9007199254740992\n\nnote",
        TLOG_PROOF + "\nextra YQ==\n\nnote",
    ],
)
def test_a_tlog_proof_without_entry_index_or_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_document(text.encode())


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"null", b"{", b"NaN", b'{"kind":"proof","v":1}', b"[" * 100_000]
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_document(data)


def test_a_mark_of_byte_order_is_passed_over() -> None:
    assert parse_document(b"\xef\xbb\xbf" + proof().encode()).kind == "proof"


def test_numbers_are_what_a_browser_reads_too() -> None:
    assert parse_document(proof().replace('"index": 0', '"index": 0.0').encode()).items[0].index == 0
    for odd in ("0.5", "1e999", "9007199254740992", "9" * 5000, "NaN"):
        with pytest.raises(VerificationError):
            parse_document(proof().replace('"index": 0', f'"index": {odd}').encode())


def test_text_that_is_not_unicode_is_refused() -> None:
    for name in ("entry", "checkpoint", "key", "policy"):
        with pytest.raises(VerificationError):
            parse_document(json.dumps({**json.loads(proof()), name: "\ud800"}).encode())


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    if isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(each, (*path, name))


@pytest.mark.parametrize("text", [proof(), receipt()], ids=["proof", "receipt"])
def test_no_part_of_a_document_can_be_of_another_kind(text: str) -> None:
    for path in _places(json.loads(text)):
        document: Any = {"": json.loads(text)}
        place: Any = document
        for step in ("", *path)[:-1]:
            place = place[step]
        last = ("", *path)[-1]
        for other in (True, 7.5, [7], {"a": 1}):
            place[last] = other
            with pytest.raises(VerificationError):
                parse_document(json.dumps(document[""]).encode())


@given(st.binary())
def test_base64_is_taken_in_one_form_only(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    assert parse_base64(text) == raw
    for odd in (text + "\n", " " + text, text + "=", text.replace("=", "", 1) if "=" in text else text + "A"):
        with pytest.raises(ValueError, match=r"base64|canonical"):
            parse_base64(odd)
