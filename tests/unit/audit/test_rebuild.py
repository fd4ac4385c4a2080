"""From bundles alone come the very tiles that the sequencer wrote, and nothing where the entries are not the signed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.audit.rebuild import check_bundles, tiles_of
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.audit.verify import read_checkpoint
from residency.errors import VerificationError
from tests.audit_log import ORIGIN, SIGNER, VERIFIER


def log_of(size: int) -> dict[str, bytes]:
    """The files of a log that was written at once, as the sequencer leaves them."""
    entries = [b"entry %d" % i for i in range(size)]
    steps = plan_commit(Tree(), entries, {}, SIGNER, ORIGIN)[1]
    return {step.path: step.data for step in steps if step.kind in (StepKind.TILE, StepKind.CHECKPOINT)}


def tiles_in(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path.startswith("tile/") and "/entries/" not in path}


@settings(max_examples=30)
@given(st.integers(0, 1300))
def test_the_tiles_made_again_are_those_that_were_written(size: int) -> None:
    files = log_of(size)
    without = {path: data for path, data in files.items() if path not in tiles_in(files)}
    checkpoint = read_checkpoint(without.get, VERIFIER)
    assert list(check_bundles(without.get, checkpoint))[-1] == size
    assert dict(tiles_of(without.get, checkpoint)) == tiles_in(files)


def test_tiles_of_the_third_level_are_made_again() -> None:
    files = log_of(65_536 + 300)
    checkpoint = read_checkpoint(files.get, VERIFIER)
    made = dict(tiles_of(files.get, checkpoint))
    assert made == tiles_in(files)
    assert {"tile/1/000", "tile/2/000.p/1", "tile/1/001.p/1"} <= set(made)


def test_entries_that_are_not_the_signed_ones_are_refused() -> None:
    files = log_of(300)
    files["tile/entries/000"] = files["tile/entries/000"].replace(b"entry 7", b"entry X", 1)
    with pytest.raises(VerificationError, match="do not hash to the root"):
        list(check_bundles(files.get, read_checkpoint(files.get, VERIFIER)))


def test_a_bundle_that_is_missing_is_named() -> None:
    files = log_of(300)
    del files["tile/entries/001.p/44"]
    with pytest.raises(VerificationError, match=r"tile/entries/001\.p/44 is missing"):
        list(check_bundles(files.get, read_checkpoint(files.get, VERIFIER)))
