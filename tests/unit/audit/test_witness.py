"""A witness may cosign what continues what it saw; what does not is a conflict, what cannot be read is neither."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.audit.checkpoint import Checkpoint, format_checkpoint, format_note, note_signer, verify_checkpoint
from residency.audit.cosignature import ed25519_cosigner
from residency.audit.note import with_signature
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.audit.witness import judge, verify_witnessed
from residency.errors import VerificationError

SIGNER, KEY = note_signer("log.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))


class Log:
    """A log in memory, of its entries' numbers; `note()` is its checkpoint."""

    def __init__(self, *parts: range, origin: str = "log.example") -> None:
        self.files: dict[str, bytes] = {}
        self.tree = Tree()
        self.origin = origin
        for part in parts or (range(0),):
            self.grow(part)

    def grow(self, part: range) -> bytes:
        entries = [b"entry %d" % number for number in part]
        self.tree, steps = plan_commit(self.tree, entries, {}, SIGNER, self.origin)
        for step in steps:
            if step.kind is StepKind.PRUNE:
                self.files = {p: data for p, data in self.files.items() if not p.startswith(f"{step.path}/")}
            else:
                self.files[step.path] = step.data
        return self.note()

    def note(self) -> bytes:
        return self.files["checkpoint"]

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)


def test_a_first_checkpoint_is_believed_and_nothing_was_seen() -> None:
    log = Log(range(5))
    judgement = judge(log.note(), KEY, None, log.read)
    assert (judgement.checkpoint.size, judgement.seen, judgement.conflict) == (5, None, None)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 700), st.integers(0, 300))
def test_a_log_that_grew_continues_whatever_its_sizes(before: int, more: int) -> None:
    log = Log(range(before))
    seen = log.note()
    judgement = judge(log.grow(range(before, before + more)), KEY, seen, log.read)
    assert judgement.conflict is None
    assert judgement.seen == verify_checkpoint(seen, KEY)
    assert judgement.checkpoint.size == before + more


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 600), st.integers(0, 300), st.data())
def test_a_log_with_one_entry_changed_is_a_conflict_at_any_size(before: int, more: int, data: st.DataObject) -> None:
    changed = data.draw(st.integers(0, before - 1))
    seen = Log(range(before)).note()
    forked = Log(range(changed), range(9999, 10000), range(changed + 1, before + more))
    judgement = judge(forked.note(), KEY, seen, forked.read)
    assert judgement.conflict is not None
    assert f"seen {before} entries" in judgement.conflict


def test_a_log_that_went_back_is_a_conflict_even_where_it_is_a_prefix() -> None:
    log = Log(range(3))
    old = log.note()
    judgement = judge(old, KEY, log.grow(range(3, 5)), Log(range(3)).read)
    assert "shorter" in str(judgement.conflict)


def test_what_two_notes_contradict_alone_needs_no_tiles_to_be_a_conflict() -> None:
    seen = Log(range(5)).note()
    for other in (Log(range(1, 6)), Log(range(3))):
        assert judge(other.note(), KEY, seen, Log().read).conflict is not None


def test_a_checkpoint_read_before_the_log_grew_and_pruned_is_judged_by_the_full_tile() -> None:
    log = Log(range(200))
    seen, note = log.note(), log.grow(range(200, 250))
    log.grow(range(250, 300))
    assert not [path for path in log.files if path.startswith("tile/0/000.p/")]
    assert judge(note, KEY, seen, log.read).conflict is None


def test_tiles_that_are_missing_or_lead_elsewhere_prove_nothing_and_are_refused() -> None:
    log = Log(range(300))
    seen, note = log.note(), log.grow(range(300, 600))
    with pytest.raises(VerificationError, match="missing"):
        judge(note, KEY, seen, Log().read)
    with pytest.raises(VerificationError, match="do not lead"):
        judge(note, KEY, seen, Log(range(1, 601)).read)


def test_a_checkpoint_of_another_key_or_origin_is_refused() -> None:
    log = Log(range(5), origin="other.example")
    with pytest.raises(VerificationError, match="origin"):
        judge(log.note(), KEY, None, log.read)
    assert judge(log.note(), KEY, None, log.read, origin="other.example").checkpoint.size == 5
    with pytest.raises(VerificationError, match="carries no signature"):
        judge(log.note(), replace(KEY, public=bytes(32)), None, log.read)


@pytest.mark.parametrize("kept", [b"", b"garbage", Log(range(5), origin="other.example").note()])
def test_a_memory_that_was_damaged_is_refused_and_not_taken_for_none(kept: bytes) -> None:
    log = Log(range(9))
    with pytest.raises(VerificationError, match="remembered"):
        judge(log.note(), KEY, kept, log.read)


def test_the_newest_log_must_continue_the_checkpoint_that_the_witnesses_cosigned() -> None:
    cosign, witness = ed25519_cosigner("w.example", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
    log = Log(range(5))
    note = with_signature(log.note(), cosign(format_checkpoint(verify_checkpoint(log.note(), KEY)), 9))
    newest = verify_checkpoint(log.grow(range(5, 9)), KEY)
    seen, held = verify_witnessed(log.read, newest, note, KEY, [witness], 1)
    assert (seen.size, held[0].time) == (5, 9)
    fork = Log(range(1, 10))
    with pytest.raises(VerificationError, match="does not continue"):
        verify_witnessed(fork.read, verify_checkpoint(fork.note(), KEY), note, KEY, [witness], 1)
    with pytest.raises(VerificationError, match="0 of 1"):
        verify_witnessed(log.read, newest, log.note(), KEY, [witness], 1)


def test_a_root_that_was_signed_and_is_not_that_of_the_tiles_is_refused() -> None:
    log = Log(range(5))
    lie = format_note(format_checkpoint(Checkpoint("log.example", 5, bytes(32))), SIGNER)
    with pytest.raises(VerificationError, match="do not lead"):
        judge(lie, KEY, None, log.read)
