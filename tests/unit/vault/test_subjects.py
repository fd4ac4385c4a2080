"""A subject's digest repeats under its key and tells nothing else."""

from __future__ import annotations

import pytest

from residency.errors import SealError
from residency.vault.subjects import subject_digest


def test_a_digest_repeats_and_differs_by_key_and_by_subject() -> None:
    digest = subject_digest(bytes(32), "user-1")
    assert digest == subject_digest(bytes(32), "user-1")
    assert len({digest, subject_digest(bytes(31) + b"\1", "user-1"), subject_digest(bytes(32), "user-2")}) == 3
    assert len(bytes.fromhex(digest)) == 32


@pytest.mark.parametrize(("key", "subject"), [(b"", "a"), (bytes(31), "a"), (bytes(32), ""), (bytes(32), "\ud800")])
def test_a_wrong_key_size_or_an_empty_or_unreadable_id_is_refused(key: bytes, subject: str) -> None:
    with pytest.raises(SealError):
        subject_digest(key, subject)
