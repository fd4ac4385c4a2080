"""What went wrong is told with the file, and without where the file lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.audit.faults import fault, naming


def test_an_error_without_a_file_gets_the_one_that_was_worked_on() -> None:
    with pytest.raises(OSError, match="No space") as caught, naming(Path("/srv/audit/journal/0/00000001.seg")):
        raise OSError(28, "No space left on device")
    assert fault(caught.value) == "journal/0/00000001.seg (ENOSPC)"


def test_an_error_that_names_its_file_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, naming("something else"):
        (tmp_path / "missing").read_bytes()
    assert fault(caught.value) == f"{tmp_path.parent.name}/{tmp_path.name}/missing (ENOENT)"


def test_what_has_neither_file_nor_number_is_told_as_far_as_it_goes() -> None:
    assert fault(OSError("odd")) == "(unknown error)"
