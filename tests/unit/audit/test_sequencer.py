"""A commit is the same however entries were grouped; its steps come in the order that makes crashes harmless."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.audit.checkpoint import note_signer
from residency.audit.merkle import leaf_hash, root_of
from residency.audit.sequencer import (
    STATE_PATH,
    Cursor,
    State,
    StepKind,
    Tree,
    format_state,
    load_tree,
    parse_state,
    plan_commit,
)
from residency.audit.verify import read_checkpoint, verify_entries
from residency.errors import VerificationError

ORIGIN = "log.example"
SIGNER, VERIFIER = note_signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))


def entry(number: int) -> bytes:
    return f"entry {number}".encode()


def build(*batches: int) -> tuple[Tree, dict[str, bytes]]:
    files: dict[str, bytes] = {}
    tree, number = Tree(), 0
    for batch in batches:
        entries = [entry(number + i) for i in range(batch)]
        number += batch
        tree, steps = plan_commit(tree, entries, {0: Cursor(seq=number)}, SIGNER, ORIGIN)
        kinds = [step.kind for step in steps]
        assert kinds == sorted(kinds, key=list(StepKind).index)
        for step in steps:
            if step.kind is StepKind.PRUNE:
                for path in [path for path in files if path.startswith(step.path + "/")]:
                    del files[path]
            else:
                files[step.path] = step.data
    return tree, files


@settings(max_examples=25)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6))
def test_the_log_of_any_batches_verifies_and_is_the_tree_of_their_entries(batches: list[int]) -> None:
    tree, files = build(*batches)
    size = sum(batches)
    checkpoint = read_checkpoint(files.get, VERIFIER)
    assert (checkpoint.size, checkpoint.root) == (size, root_of([leaf_hash(entry(i)) for i in range(size)]))
    assert list(verify_entries(files.get, checkpoint)) == [entry(i) for i in range(size)]
    assert load_tree(size, files.get) == tree


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 66_000])
def test_tiles_fill_at_powers_of_256(size: int) -> None:
    tree, files = build(size)
    assert list(verify_entries(files.get, read_checkpoint(files.get, VERIFIER))) == [entry(i) for i in range(size)]
    assert load_tree(size, files.get) == tree
    assert not any(".p/" in path and path.split(".p/")[0] in files for path in files)


def test_one_batch_and_many_make_the_same_full_tiles() -> None:
    _, one = build(700)
    _, many = build(*[70] * 10)
    assert {path: data for path, data in one.items() if ".p" not in path and path != STATE_PATH} == {
        path: data for path, data in many.items() if ".p" not in path and path != STATE_PATH
    }


def test_an_empty_commit_still_publishes() -> None:
    tree, files = build(0)
    assert tree.size == 0
    assert list(verify_entries(files.get, read_checkpoint(files.get, VERIFIER))) == []


def test_the_state_comes_back_and_any_flipped_bit_is_seen() -> None:
    state = State(ORIGIN, 7, bytes(range(32)), {0: Cursor(1, 128, 5), 12: Cursor(0, 4096, 2)})
    data = format_state(state)
    assert parse_state(data) == state
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            parse_state(bytes(changed))


def test_a_tree_is_not_loaded_from_a_bundle_that_its_tile_does_not_commit_to() -> None:
    _, files = build(10)
    files["tile/entries/000.p/10"] = files["tile/entries/000.p/10"].replace(b"entry 3", b"entry 4")
    with pytest.raises(VerificationError, match=r"^tile/entries/000\.p/10 and tile/0/000\.p/10 differ"):
        load_tree(10, files.get)
    del files["tile/entries/000.p/10"]
    with pytest.raises(VerificationError, match=r"tile/entries/000\.p/10 is missing"):
        load_tree(10, files.get)
