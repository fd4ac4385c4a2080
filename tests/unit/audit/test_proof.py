"""A proof or receipt holds as it was made, and no other way; the step that fails is named."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.checkpoint import format_note, format_verifier_key, note_signer
from residency.audit.cosignature import ed25519_cosigner
from residency.audit.detail import commit, format_detail
from residency.audit.entry import format_entry, parse_entry
from residency.audit.proof import Step, Verdict, judge
from residency.audit.proof_document import format_proof, format_tlog_proof
from tests.audit_log import VERIFIER
from tests.proof_documents import OPENED, PERSON, VKEY, SmallLog, proof, receipt, small_log

OTHER = note_signer("log.example", Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
PROOF, RECEIPT = proof(), receipt()


def fails(document: Any, key: str | None = VKEY) -> tuple[Step | None, int | None]:
    text = document if isinstance(document, str) else json.dumps(document)
    verdict = judge(text.encode(), key)
    assert verdict.holds is (verdict.failed is None)
    return verdict.failed, verdict.item


def changed(text: str, *path: str | int, to: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to(place[path[-1]]) if callable(to) else to
    return document


def flipped(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[0] ^= 1
    return base64.b64encode(raw).decode()


def test_a_proof_holds_under_the_readers_key_and_shows_its_entry() -> None:
    verdict = judge(PROOF.encode(), VKEY + "\n")
    assert (verdict.holds, verdict.anchored, verdict.kind) == (True, True, "proof")
    assert verdict.entries == ((0, PERSON[0]),)
    assert verdict.checkpoint is not None
    assert (verdict.checkpoint.origin, verdict.checkpoint.size) == ("log.example", 5)


def test_a_receipt_holds_and_shows_the_detail_that_was_opened() -> None:
    verdict = judge(RECEIPT.encode(), VKEY)
    assert verdict.holds
    assert [index for index, _ in verdict.entries] == [0, 1, 3, 4]
    assert verdict.details[0] is not None
    assert verdict.details[0]["account"] == "an"
    assert verdict.details[1:] == (None, None, None)


def test_a_proof_as_tlog_proof_text_holds_and_carries_its_entry() -> None:
    log = small_log()
    text = format_tlog_proof(log.note, log.item(4))
    assert text.startswith("c2sp.org/tlog-proof@v1\nextra ")
    verdict = judge(text.encode(), VKEY)
    assert verdict.entries == ((4, PERSON[4]),)
    assert fails(text, None) == (Step.KEY, None)
    assert fails(text.replace("index 4", "index 3")) == (Step.INCLUSION, 0)


def test_without_a_key_of_the_reader_the_files_own_is_taken_and_that_is_told() -> None:
    verdict = judge(PROOF.encode(), None)
    assert (verdict.holds, verdict.anchored) == (True, False)


def test_a_key_of_the_reader_that_differs_from_the_files_is_refused() -> None:
    assert fails(PROOF, format_verifier_key(OTHER[1])) == (Step.KEY, None)
    assert fails(changed(PROOF, "key", to=format_verifier_key(OTHER[1]))) == (Step.KEY, None)
    assert fails(PROOF, "") == (Step.KEY, None)


def test_a_forger_with_a_key_of_their_own_passes_only_where_the_reader_has_none() -> None:
    log = small_log()
    note = format_note(log.note.decode().rpartition("\n\n")[0] + "\n", OTHER[0])
    forged = format_proof(note, OTHER[1], log.item(0))
    assert not judge(forged.encode(), None).anchored
    assert fails(forged) == (Step.KEY, None)
    assert fails({**json.loads(forged), "key": VKEY}) == (Step.SIGNATURE, None)


@pytest.mark.parametrize(
    ("path", "to", "step"),
    [
        (("index",), 1, Step.INCLUSION),
        (("index",), 5, Step.INCLUSION),
        (("index",), -1, Step.DOCUMENT),
        (("index",), True, Step.DOCUMENT),
        (("entry",), lambda text: text.replace("permit", "hold"), Step.INCLUSION),
        (("entry",), lambda text: text + " ", Step.ENTRY),
        (("proof", 0), flipped, Step.INCLUSION),
        (("proof", 0), lambda text: text[:-4], Step.INCLUSION),
        (("proof",), lambda nodes: nodes[:-1], Step.INCLUSION),
        (("proof",), lambda nodes: [*nodes, nodes[0]], Step.INCLUSION),
        (("checkpoint",), lambda note: note.replace("\n5\n", "\n6\n"), Step.SIGNATURE),
        (("checkpoint",), lambda note: note.replace("\n\n", "\n"), Step.SIGNATURE),
        (("policy",), "cd" * 32, Step.ENTRY),
        (("v",), 2, Step.DOCUMENT),
        (("kind",), "other", Step.DOCUMENT),
        (("what",), "text", Step.DOCUMENT),
    ],
)
def test_a_proof_that_was_changed_fails_at_the_step_it_was_changed_in(path: Any, to: Any, step: Step) -> None:
    assert fails(changed(PROOF, *path, to=to))[0] is step


@pytest.mark.parametrize(
    ("path", "to", "expected"),
    [
        (("entries", 2, "index"), 2, (Step.INCLUSION, 2)),
        (("entries", 1, "entry"), lambda text: text.replace("committed", "failed"), (Step.INCLUSION, 1)),
        (("entries", 0, "detail", "text"), OPENED.decode().replace("113.160", "14.160"), (Step.DETAIL, 0)),
        (("entries", 0, "detail", "text"), lambda text: text.replace("73" * 16, "74" * 16), (Step.DETAIL, 0)),
        (("entries", 1, "detail"), {"country": "VN", "text": OPENED.decode()}, (Step.DETAIL, 1)),
        (("entries", 0, "detail", "country"), "VN. The ministry has checked this", (Step.DOCUMENT, None)),
        (("entries", 0, "detail", "country"), "", (Step.DOCUMENT, None)),
        (("entries",), lambda items: [items[2], items[0]], (Step.INCLUSION, 1)),
        (("entries",), lambda items: [items[0], items[0]], (Step.INCLUSION, 1)),
        (("entries",), [], (Step.DOCUMENT, None)),
        (("entries", 0, "story"), 1, (Step.DOCUMENT, None)),
        (("subject",), "cd" * 16, (Step.SUBJECT, 0)),
        (("stories", 0, "en", "lead"), "text", (Step.DOCUMENT, None)),
    ],
)
def test_a_receipt_that_was_changed_fails_at_that_entry(path: Any, to: Any, expected: Any) -> None:
    assert fails(changed(RECEIPT, *path, to=to)) == expected


def test_somebody_elses_entry_is_refused_in_a_receipt_of_a_person() -> None:
    item = small_log().item(2)
    more = {"index": 2, "entry": item.entry, "proof": list(item.proof), "detail": None, "story": None}
    document = changed(RECEIPT, "entries", to=lambda items: [*items[:2], more, *items[2:]])
    assert fails(document) == (Step.SUBJECT, 2)
    assert fails({**document, "subject": None}) == (None, None)


def test_an_outcome_is_of_a_person_only_beside_its_intent() -> None:
    assert fails(changed(RECEIPT, "entries", to=lambda items: items[1:])) == (Step.SUBJECT, 0)


def test_a_key_too_many_or_too_few_is_refused() -> None:
    assert fails({**json.loads(PROOF), "more": 1}) == (Step.DOCUMENT, None)
    document = json.loads(PROOF)
    del document["policy"]
    assert fails(document) == (Step.DOCUMENT, None)


def test_an_entry_in_another_form_than_the_canonical_one_is_refused_though_the_log_holds_it() -> None:
    right = format_entry(PERSON[0]).decode()
    log = SmallLog([right.replace('"v":1', '"v":1.0').encode()])
    document = {**json.loads(PROOF), "entry": log.entries[0].decode(), "proof": [], "checkpoint": log.note.decode()}
    assert fails(document) == (Step.ENTRY, 0)


def test_a_detail_in_another_form_is_refused_though_the_entry_commits_to_it() -> None:
    odd = format_detail({"account": "an"}, b"s" * 16).replace(b":", b": ", 1)
    log = SmallLog([format_entry(replace(PERSON[0], detail=commit(odd)))])
    item = log.item(0)
    entry = {
        "index": 0,
        "entry": item.entry,
        "proof": [],
        "detail": {"country": "VN", "text": odd.decode()},
        "story": None,
    }
    document = {**json.loads(RECEIPT), "entries": [entry], "checkpoint": log.note.decode()}
    assert fails(document) == (Step.DETAIL, 0)


def test_a_log_of_another_name_than_its_key_is_refused() -> None:
    log = SmallLog([format_entry(PERSON[0])], "other.example\n1\n" + base64.b64encode(bytes(32)).decode() + "\n")
    assert fails({**json.loads(PROOF), "checkpoint": log.note.decode(), "proof": []}) == (Step.CHECKPOINT, None)


def test_a_witness_that_the_reader_trusts_must_have_cosigned_and_says_when() -> None:
    cosign, witness = ed25519_cosigner("witness.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
    vkey = format_verifier_key(witness)
    text = small_log().note.decode().rpartition("\n\n")[0] + "\n"

    def judged(*lines: str) -> Verdict:
        document = changed(PROOF, "checkpoint", to=lambda note: note + "".join(f"{line}\n" for line in lines))
        return judge(json.dumps(document).encode(), VKEY, [vkey])

    found = judged(cosign(text, 7), cosign(text, 9))
    assert found.holds
    assert [(seen.key.name, seen.time) for seen in found.witnesses] == [("witness.example", 9)]
    assert judged().failed is Step.WITNESS
    assert judged(cosign(text, 0)).failed is Step.WITNESS  # without a time it says nothing of the newest state
    assert judged(cosign(text.replace("\n5\n", "\n6\n"), 9)).failed is Step.WITNESS
    assert judge(PROOF.encode(), VKEY, [VKEY]).failed is Step.KEY  # a log is no witness of itself


@given(st.data())
def test_no_byte_of_what_is_proved_can_be_another(data: st.DataObject) -> None:
    document = json.loads(PROOF)
    name = data.draw(st.sampled_from(["entry", "checkpoint", "key"]))
    text = document[name]
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda character: character != text[at]))
    document[name] = text[:at] + other + text[at + 1 :]
    assert fails(document)[0] is not None


def test_what_a_verdict_shows_are_the_very_bytes_of_the_log() -> None:
    verdict = judge(RECEIPT.encode(), VKEY)
    log = small_log()
    assert [format_entry(entry) for _, entry in verdict.entries] == [log.entries[i] for i in (0, 1, 3, 4)]
    assert all(parse_entry(log.entries[i]) for i in range(5))
    assert verdict.key == VERIFIER
