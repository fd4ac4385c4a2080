"""What was seen of a sink's mark is remembered as it was, and a file that is none of ours is no answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.log_files import LogFiles
from residency.storage.marks_seen import LOST, SeenMarks, State


def test_what_was_seen_is_remembered_by_sink_and_nothing_is_known_of_others(tmp_path: Path) -> None:
    seen = SeenMarks(LogFiles(tmp_path))
    assert seen.of("people-vn") == State(borne=False, problem="")
    for state in (State(borne=True), State(borne=True, problem=LOST), State(problem="bears another's")):
        seen.keep("people-vn", state)
        assert SeenMarks(LogFiles(tmp_path)).of("people-vn") == state
    assert seen.of("people-sg") == State()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"problem": 1}', b"\xff"])
def test_a_file_that_cannot_be_read_is_an_error_and_not_a_sink_without_a_mark(tmp_path: Path, data: bytes) -> None:
    files = LogFiles(tmp_path)
    files.write("marked/people-vn", data)
    with pytest.raises(ValueError, match=r".*"):
        SeenMarks(files).of("people-vn")
