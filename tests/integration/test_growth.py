"""A log that grows costs at its end what it cost at its beginning; the writer's memory does not grow with it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.growth import BARS, measure, missed


def test_a_log_of_some_thousands_holds_whenever_it_is_asked_and_its_writer_stays_small(tmp_path: Path) -> None:
    # What is timed is not looked at: this machine may be busy.
    result = measure(8_000, str(tmp_path), Console(quiet=True))
    assert [found["entries"] for found in result["verified"]] == [1_024, 2_048, 4_096, 8_000]  # by bundles
    assert result["memory"] <= BARS["memory"]
    assert result["disk_bytes"] < 8_000 * 1_000
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


@pytest.mark.slow
@pytest.mark.timeout(5_400)
def test_ten_million_entries_cost_at_the_end_what_they_did_at_the_beginning(tmp_path: Path) -> None:
    entries = int(os.environ.get("RESIDENCY_GROWTH", "10000000"))
    result = measure(entries, str(tmp_path), Console(stderr=True))
    # As text, for a dictionary is cut short where it is shown: by how much a bar was missed would be lost.
    assert missed(result) == [], json.dumps(result)
