"""What a recorded decision says is told by the policy that made it; what cannot be told is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from residency.audit.pairs import Pairs
from residency.audit.recall import Beside, Recall
from residency.audit.verify import read_checkpoint
from residency.cli.archive_folder import Archive
from residency.cli.audit.receipt_stories import Stories
from residency.cli.log_folder import entries, reader, verifier_key
from residency.policy.recorded import Recorded, When
from tests.proof_documents import serve


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return serve(tmp_path_factory.mktemp("served")).log.parent


def taken(audit: Path) -> Iterator[tuple[Recorded, When] | Beside]:
    read = reader(audit / "log")
    recall = Recall()
    checkpoint = read_checkpoint(read, verifier_key(audit / "log", None))
    for entry in entries(read, checkpoint, Pairs(), progress=False, what=""):
        yield recall.take(entry)


def test_the_same_decision_is_told_once_for_all_its_entries(audit: Path) -> None:
    stories = Stories(Archive(reader(audit)))
    told = [stories.of(index, each) for index, each in enumerate(taken(audit))]
    assert set(told) == {None, 0}
    assert told.count(0) == 4  # two people, each with a decision and an act
    assert len(stories.told) == 1
    assert not stories.gaps
    assert set(stories.told[0]) == {"en", "vi"}


def test_a_record_that_its_policy_does_not_give_is_not_told(audit: Path) -> None:
    stories = Stories(Archive(reader(audit)))
    for each in taken(audit):
        if not isinstance(each, Beside):
            assert stories.of(7, (replace(each[0], rules=("made.up",)), each[1])) is None
    assert list(stories.gaps) == ["entry 7 is not what its policy decides (rules)"]


def test_without_its_policy_nothing_is_told_and_that_is_counted(audit: Path, tmp_path: Path) -> None:
    stories = Stories(Archive(reader(tmp_path)))
    told = [stories.of(index, each) for index, each in enumerate(taken(audit))]
    assert set(told) == {None}
    assert stories.gaps == {"its policy is not archived": 4}
