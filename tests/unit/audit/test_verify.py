"""Whatever byte of a log is changed, verification says what and where."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.checkpoint import Checkpoint, note_signer
from residency.audit.merkle import leaf_hash, verify_inclusion
from residency.audit.sequencer import STATE_PATH, Cursor, Tree, plan_commit
from residency.audit.verify import prove_entry, read_checkpoint, read_entry, verify_entries
from residency.errors import VerificationError

ORIGIN = "log.example"
SIGNER, VERIFIER = note_signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
ENTRIES = [f"entry {i}".encode() for i in range(600)]
FILES = {
    step.path: step.data
    for step in plan_commit(Tree(), ENTRIES, {0: Cursor()}, SIGNER, ORIGIN)[1]
    if step.data and step.path != STATE_PATH
}


def verify(files: dict[str, bytes]) -> list[bytes]:
    return list(verify_entries(files.get, read_checkpoint(files.get, VERIFIER)))


def test_the_untouched_log_holds() -> None:
    assert verify(FILES) == ENTRIES
    assert sorted(FILES) == [
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ]


@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_bit_flipped_a_byte_inserted_dropped_or_cut_in_any_file_is_found(path: str, data: st.DataObject) -> None:
    content = bytearray(FILES[path])
    at = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.sampled_from(["flip", "insert", "drop", "cut"]))
    if change == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif change == "insert":
        content.insert(at, data.draw(st.integers(0, 255)))
    elif change == "drop":
        del content[at]
    else:
        del content[at:]
    with pytest.raises(VerificationError):
        verify(FILES | {path: bytes(content)})


@pytest.mark.parametrize("path", sorted(FILES))
def test_a_file_that_is_missing_is_named(path: str) -> None:
    files = {name: data for name, data in FILES.items() if name != path}
    with pytest.raises(VerificationError, match=path if path != "checkpoint" else "no checkpoint"):
        verify(files)


def test_a_changed_entry_is_named_by_its_number() -> None:
    path = "tile/entries/001"
    with pytest.raises(VerificationError, match="entry 300 is not the one that tile/0/001"):
        verify(FILES | {path: FILES[path].replace(b"entry 300", b"entry 30X")})


def test_a_tile_and_bundle_changed_together_do_not_reach_the_root() -> None:
    bundle, tile = "tile/entries/002.p/88", "tile/0/002.p/88"
    forged = FILES | {
        bundle: FILES[bundle].replace(b"entry 599", b"entry 59X"),
        tile: FILES[tile].replace(leaf_hash(b"entry 599"), leaf_hash(b"entry 59X")),
    }
    with pytest.raises(VerificationError, match="root in the checkpoint"):
        verify(forged)


def test_a_full_tile_of_the_second_level_is_held_to_the_tiles_below_it() -> None:
    steps = plan_commit(Tree(), [b"entry %d" % i for i in range(65_536 + 1)], {}, SIGNER, ORIGIN)[1]
    files = {step.path: step.data for step in steps if step.data}
    assert len(verify(files)) == 65_537
    tile = bytearray(files["tile/1/000"])
    tile[32 * 200] ^= 1
    with pytest.raises(VerificationError, match="tile/1/000: hash 200 is not that of the tile below"):
        verify(files | {"tile/1/000": bytes(tile)})


def test_a_partial_file_may_be_gone_once_the_full_one_is_there() -> None:
    tree, steps = plan_commit(Tree(), ENTRIES[:300], {}, SIGNER, ORIGIN)
    old = {step.path: step.data for step in steps if step.data}
    _, steps = plan_commit(tree, ENTRIES[300:], {}, SIGNER, ORIGIN)
    files = old | {step.path: step.data for step in steps if step.data}
    for path in [path for path in files if path.endswith(".p/44")]:
        del files[path]
    checkpoint = read_checkpoint(old.get, VERIFIER)
    assert list(verify_entries(files.get, checkpoint)) == ENTRIES[:300]


@given(st.integers(0, 599))
def test_any_entry_can_be_proved(index: int) -> None:
    checkpoint = read_checkpoint(FILES.get, VERIFIER)
    entry, proof = prove_entry(FILES.get, index, checkpoint)
    assert entry == ENTRIES[index]
    verify_inclusion(leaf_hash(entry), index, checkpoint.size, proof, checkpoint.root)


@pytest.mark.parametrize("index", [-1, 600])
def test_an_index_outside_the_log_is_refused(index: int) -> None:
    with pytest.raises(VerificationError, match="not in a log of 600"):
        read_entry(FILES.get, index, 600)


def test_a_checkpoint_over_fewer_entries_with_the_root_of_more_is_refused() -> None:
    checkpoint = read_checkpoint(FILES.get, VERIFIER)
    with pytest.raises(VerificationError):
        list(verify_entries(FILES.get, Checkpoint(ORIGIN, 512, checkpoint.root)))
