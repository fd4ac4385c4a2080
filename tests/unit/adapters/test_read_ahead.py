"""Reading ahead: the same bytes as without it, fetched before they are asked for, within bounds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.read_ahead import ReadAhead
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.audit.verify import read_checkpoint, verify_entries
from residency.errors import VerificationError
from tests.audit_log import ORIGIN, SIGNER, VERIFIER

ENTRIES = [b"entry %d" % number for number in range(256 * 40 + 7)]
FILES = {
    step.path: step.data
    for step in plan_commit(Tree(), ENTRIES, {}, SIGNER, ORIGIN)[1]
    if step.kind in (StepKind.TILE, StepKind.CHECKPOINT)
}


class Slow:
    """A reader that takes `delay` seconds, and knows what it was asked for and how much at one time."""

    def __init__(self, delay: float = 0.0) -> None:
        self.asked: Counter[str] = Counter()
        self.most = 0
        self._now = 0
        self._delay = delay
        self._lock = threading.Lock()

    def __call__(self, path: str) -> bytes | None:
        with self._lock:
            self.asked[path] += 1
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._delay)
        with self._lock:
            self._now -= 1
        return FILES.get(path)


def verified(read: Callable[[str], bytes | None]) -> list[bytes]:
    return list(verify_entries(read, read_checkpoint(read, VERIFIER)))


def test_a_log_reads_the_same_and_each_file_is_fetched_once() -> None:
    slow = Slow()
    assert verified(ReadAhead(slow)) == ENTRIES
    assert slow.asked == dict.fromkeys(FILES, 1)


def test_files_are_fetched_at_the_same_time() -> None:
    slow = Slow(0.002)
    verified(ReadAhead(slow))
    assert 8 <= slow.most <= 33


def test_large_files_are_fetched_fewer_at_a_time() -> None:
    slow = Slow(0.002)
    verified(ReadAhead(slow, room=len(FILES["tile/entries/000"]) * 8))
    assert slow.most <= 12


def test_a_partial_file_that_is_missing_is_looked_for_as_the_full_one() -> None:
    files = {
        path.partition(".p/")[0] if path.startswith("tile/entries") else path: data for path, data in FILES.items()
    }
    files["tile/entries/040"] += b"".join(b"\0\1x" for _ in range(249))
    assert verified(ReadAhead(files.get)) == ENTRIES


def test_what_the_reader_raises_comes_through_and_nothing_goes_on() -> None:
    def read(path: str) -> bytes | None:
        if path == "tile/entries/005":
            raise VerificationError("tile/entries/005 cannot be read (status 503)")
        return FILES.get(path)

    with pytest.raises(VerificationError, match="status 503"):
        verified(ReadAhead(read))


@given(
    st.lists(st.sampled_from([*sorted(FILES), "tile/0/041", "tile/entries/x001/000", "tile/0/000.p/3", "other"])),
    st.sampled_from([b"log\n10247\nroot\n", b"log\n99999999\n", b"log\n0\n", b"nonsense", b""]),
)
def test_whatever_is_asked_in_whatever_order_the_answer_is_the_readers(paths: list[str], checkpoint: bytes) -> None:
    files = {**FILES, "checkpoint": checkpoint}
    ahead = ReadAhead(files.get, most=4)
    assert [ahead(path) for path in ["checkpoint", *paths]] == [checkpoint, *map(files.get, paths)]
    ahead.close()
