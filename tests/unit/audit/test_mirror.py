"""What a second place is given: all that it lacks, in an order that a crash may cut, nothing that is not signed for."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.checkpoint import Checkpoint
from residency.audit.merkle import EMPTY_ROOT, leaf_hash
from residency.audit.mirror import check_continues, replaced, shipment
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.audit.tiles import format_bundle
from residency.audit.verify import verify_entries
from residency.errors import VerificationError
from tests.audit_log import ORIGIN, SIGNER

MOST = 256 * 256 + 700
ENTRIES = [b"entry %d" % number for number in range(MOST)]


@cache
def log(size: int, first: bytes = b"entry 0") -> tuple[dict[str, bytes], Checkpoint]:
    """The files and the checkpoint of a log of `size` entries."""
    entries = [first, *ENTRIES[1:]][:size]
    tree, steps = plan_commit(Tree(), entries, {}, SIGNER, ORIGIN)
    return {s.path: s.data for s in steps if s.kind is StepKind.TILE}, Checkpoint(ORIGIN, size, tree.root())


def shipped(old: int, size: int) -> dict[str, bytes]:
    files, newest = log(size)
    held = log(old)[1] if old else None
    check_continues(files.get, held, newest)
    return dict(shipment(files.get, held, newest))


@given(st.integers(0, 1300), st.integers(0, 1300))
def test_what_was_there_and_what_is_shipped_are_the_whole_log(one: int, other: int) -> None:
    old, size = sorted((one, other))
    place = log(old)[0] | shipped(old, size)

    assert list(verify_entries(place.get, log(size)[1])) == ENTRIES[:size]


@pytest.mark.parametrize("old", [0, 255, 65_535, 65_536, MOST - 1, MOST])
def test_a_log_of_three_levels_is_whole_too(old: int) -> None:
    place = log(old)[0] | shipped(old, MOST)

    assert sum(1 for _ in verify_entries(place.get, log(MOST)[1])) == MOST


def test_nothing_is_shipped_twice_and_partial_files_come_last() -> None:
    paths = list(shipped(300, 800))

    assert paths == [
        "tile/entries/001",
        "tile/0/001",
        "tile/entries/002",
        "tile/0/002",
        "tile/entries/003.p/32",
        "tile/0/003.p/32",
        "tile/1/000.p/3",
    ]
    assert shipped(800, 800) == {}


def test_a_partial_tile_that_did_not_grow_is_not_shipped_again() -> None:
    assert list(shipped(300, 301)) == ["tile/entries/001.p/45", "tile/0/001.p/45"]


def test_a_partial_file_that_is_gone_is_cut_from_the_full_one() -> None:
    files, newest = log(300)
    grown = {path: data for path, data in log(600)[0].items() if ".p/" not in path}
    grown |= {path: data for path, data in files.items() if path.startswith("tile/1/")}

    assert dict(shipment(grown.get, None, newest)) == files


@pytest.mark.parametrize("path", sorted(log(600)[0]))
def test_a_byte_that_changed_is_not_shipped(path: str) -> None:
    files, newest = log(600)
    changed = dict(files)
    for at in range(0, len(files[path]), max(1, len(files[path]) // 40)):
        changed[path] = bytes([*files[path][:at], files[path][at] ^ 1, *files[path][at + 1 :]])
        given_out: list[tuple[str, bytes]] = []
        with pytest.raises(VerificationError, match="tile"):
            given_out.extend(shipment(changed.get, None, newest))
        assert set(given_out) <= files.items()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_entry_that_was_changed_together_with_its_hash_is_not_shipped(number: int) -> None:
    files, newest = log(600)
    bundle, tile = (next(p for p in files if p.startswith(f"tile/{kind}/00{number}")) for kind in ("entries", "0"))
    entries = [b"changed", *ENTRIES[number * 256 : min(600, number * 256 + 256)][1:]]
    hashes = leaf_hash(b"changed") + files[tile][32:]
    changed = {**files, bundle: format_bundle(entries), tile: hashes}
    given_out: list[tuple[str, bytes]] = []
    with pytest.raises(VerificationError, match=r"what the tile above it commits to|do not hash to the root"):
        given_out.extend(shipment(changed.get, None, newest))
    assert set(given_out) <= files.items()


@pytest.mark.parametrize("path", sorted(log(600)[0]))
def test_a_file_that_is_missing_is_named(path: str) -> None:
    files, newest = log(600)
    with pytest.raises(VerificationError, match=f"{path} is missing"):
        list(shipment({name: data for name, data in files.items() if name != path}.get, None, newest))


def test_a_place_that_knows_more_is_not_continued() -> None:
    with pytest.raises(VerificationError, match="holds 301 entries and the log here only 300"):
        check_continues(log(300)[0].get, log(301)[1], log(300)[1])


@pytest.mark.parametrize("size", [299, 300])
def test_a_place_that_holds_another_log_is_not_continued(size: int) -> None:
    with pytest.raises(VerificationError, match="does not begin with"):
        check_continues(log(300)[0].get, log(size, b"another entry")[1], log(300)[1])


def test_a_place_of_another_origin_is_not_continued() -> None:
    with pytest.raises(VerificationError, match="another origin"):
        check_continues(log(300)[0].get, Checkpoint("elsewhere", 300, log(300)[1].root), log(300)[1])


def test_a_place_that_holds_the_empty_log_is_continued_and_one_with_a_false_empty_root_is_not() -> None:
    check_continues(log(3)[0].get, Checkpoint(ORIGIN, 0, EMPTY_ROOT), log(3)[1])
    with pytest.raises(VerificationError):
        check_continues(log(3)[0].get, Checkpoint(ORIGIN, 0, bytes(32)), log(3)[1])


def test_partial_files_are_replaced_where_the_full_one_came() -> None:
    assert list(replaced(300, 400)) == []
    assert list(replaced(300, 512)) == ["tile/0/001.p", "tile/entries/001.p"]
    assert list(replaced(300, 65_536)) == ["tile/0/001.p", "tile/entries/001.p", "tile/1/000.p"]
    assert list(replaced(0, 65_536)) == []
    assert list(replaced(256, 512)) == []
