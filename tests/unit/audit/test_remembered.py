"""A log must continue what was seen of it: what was cut, rolled back or rewritten since is named with both roots."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.checkpoint import Checkpoint
from residency.audit.merkle import leaf_hash, root_of
from residency.audit.remembered import check_continues, check_not_older, root_at
from residency.audit.sequencer import Tree, plan_commit
from residency.audit.verify import read_checkpoint
from residency.errors import VerificationError
from tests.audit_log import ORIGIN, SIGNER, VERIFIER

ENTRIES = [f"entry {i}".encode() for i in range(700)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
FILES = {step.path: step.data for step in plan_commit(Tree(), ENTRIES, {}, SIGNER, ORIGIN)[1] if step.data}
NOW = read_checkpoint(FILES.get, VERIFIER)


def seen(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root_of(LEAVES[:size]))


@given(st.integers(0, 700))
def test_every_earlier_checkpoint_of_the_log_is_continued(size: int) -> None:
    check_continues(FILES.get, NOW, seen(size))
    assert root_at(FILES.get, NOW, size) == seen(size).root


@given(st.integers(1, 700), st.integers(0, 31))
def test_a_checkpoint_of_another_history_is_not_and_both_roots_are_named(size: int, at: int) -> None:
    root = bytearray(seen(size).root)
    root[at] ^= 1
    with pytest.raises(VerificationError) as caught:
        check_continues(FILES.get, NOW, Checkpoint(ORIGIN, size, bytes(root)))
    for named in (bytes(root), NOW.root):
        assert base64.b64encode(named).decode() in str(caught.value)


def test_a_log_that_has_become_shorter_is_refused_by_its_checkpoint_alone() -> None:
    with pytest.raises(VerificationError, match=r"shorter: seen 701 entries under root .*, now 700"):
        check_not_older(NOW, Checkpoint(ORIGIN, 701, NOW.root))


def test_a_log_as_long_under_another_root_is_refused_by_its_checkpoint_alone() -> None:
    with pytest.raises(VerificationError, match="not the one that was seen"):
        check_not_older(NOW, Checkpoint(ORIGIN, 700, bytes(32)))


def test_another_log_is_refused_however_long() -> None:
    with pytest.raises(VerificationError, match="what was seen is of other"):
        check_continues(FILES.get, NOW, Checkpoint("other", 0, seen(0).root))


@pytest.mark.parametrize("size", [-1, 701])
def test_no_log_has_a_root_over_more_entries_than_it_has(size: int) -> None:
    with pytest.raises(VerificationError, match="in a log of 700"):
        root_at(FILES.get, NOW, size)
