"""The tree agrees with a naive reading of RFC 6962 and with the published reference tree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from residency.errors import VerificationError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/audit/merkle.json").read_text())
LEAVES = [leaf_hash(bytes([i])) for i in range(70)]


def naive(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive(leaves[:k]) + naive(leaves[k:])).digest()


def subtree(level: int, index: int) -> bytes:
    return naive(LEAVES[index << level : (index + 1) << level])


def test_a_row_of_leaves_has_the_naive_root_at_every_size_whatever_sequence_holds_it() -> None:
    assert root_of(()) == EMPTY_ROOT
    for size in range(len(LEAVES) + 1):
        assert root_of(LEAVES[:size]) == root_of(tuple(LEAVES[:size])) == naive(LEAVES[:size])


def test_many_leaves_are_hashed_as_one_is() -> None:
    entries = [b"", b"a", bytes(2_048), b"\x00" * 65_535]
    assert leaf_hashes(entries) == [leaf_hash(entry) for entry in entries]


def test_the_published_reference_tree_has_its_published_roots() -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
    for size, root in enumerate(VECTORS["roots"], 1):
        assert root_of(leaves[:size]).hex() == root


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"leaf {case['index']} of {case['size']}")
def test_the_published_proofs_hold_and_are_the_ones_we_build(case: dict[str, object]) -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
    index, size = case["index"], case["size"]
    assert isinstance(index, int)
    assert isinstance(size, int)
    proof = inclusion_proof(index, size, lambda level, at: naive(leaves[at << level : (at + 1) << level]))
    assert [node.hex() for node in proof] == case["proof"]
    verify_inclusion(leaves[index], index, size, proof, bytes.fromhex(VECTORS["roots"][size - 1]))


def test_every_leaf_of_every_small_tree_has_a_proof_that_holds_for_it_alone() -> None:
    for size in range(1, 34):
        root = naive(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, subtree)
            verify_inclusion(LEAVES[index], index, size, proof, root)
            for other in range(size):
                if other != index:
                    with pytest.raises(VerificationError):
                        verify_inclusion(LEAVES[index], other, size, proof, root)


def test_every_pair_of_small_trees_has_a_consistency_proof_that_holds() -> None:
    for size in range(34):
        for old in range(size + 1):
            proof = consistency_proof(old, size, subtree)
            verify_consistency(old, size, proof, naive(LEAVES[:old]), naive(LEAVES[:size]))
            if old not in (0, size):
                with pytest.raises(VerificationError):
                    verify_consistency(old, size, proof, naive(LEAVES[1 : old + 1]), naive(LEAVES[:size]))
                with pytest.raises(VerificationError):
                    verify_consistency(old, size, proof, naive(LEAVES[:old]), naive(LEAVES[1 : size + 1]))
                with pytest.raises(VerificationError):
                    verify_consistency(old, size, proof[:-1], naive(LEAVES[:old]), naive(LEAVES[:size]))


@given(st.data())
def test_a_proof_with_any_node_changed_dropped_or_added_does_not_hold(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    proof = list(inclusion_proof(index, size, subtree))
    at = data.draw(st.integers(0, len(proof) - 1))
    change = data.draw(st.sampled_from(["flip", "drop", "add"]))
    if change == "flip":
        proof[at] = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    elif change == "drop":
        del proof[at]
    else:
        proof.insert(at, proof[at])
    with pytest.raises(VerificationError):
        verify_inclusion(LEAVES[index], index, size, proof, naive(LEAVES[:size]))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (5, 5), (-1, 3), (7, 3)])
def test_an_index_outside_the_tree_is_refused_before_anything_else(index: int, size: int) -> None:
    with pytest.raises(VerificationError, match="is not in a tree of"):
        verify_inclusion(LEAVES[0], index, size, (), LEAVES[0])
    with pytest.raises(VerificationError, match="is not in a tree of"):
        inclusion_proof(index, size, subtree)


def test_entry_zero_of_a_tree_of_one_has_the_empty_proof() -> None:
    verify_inclusion(LEAVES[0], 0, 1, inclusion_proof(0, 1, subtree), LEAVES[0])


def test_a_larger_tree_is_no_prefix_of_a_smaller_one() -> None:
    with pytest.raises(VerificationError):
        consistency_proof(3, 2, subtree)
    with pytest.raises(VerificationError):
        verify_consistency(3, 2, (), naive(LEAVES[:3]), naive(LEAVES[:2]))
    with pytest.raises(VerificationError):
        verify_consistency(0, 2, (), LEAVES[0], naive(LEAVES[:2]))
