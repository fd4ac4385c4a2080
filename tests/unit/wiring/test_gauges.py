"""What waits for the log bars what comes, but not where the deployment lets it wait that long."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.adapters.journal_files import JournalFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import OVERDUE_AFTER, Overdue, Sequencer
from residency.observe.cells import Metrics
from residency.wiring import gauges


@pytest.mark.parametrize("interval", [1.0, 900.0])
def test_a_log_that_is_published_seldom_is_not_taken_for_one_that_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    watches: list[Overdue] = []

    class Watched(JournalFiles):
        def watched(self, watch: object) -> None:
            watches.append(watch.__self__)  # type: ignore[attr-defined]

    journal = Watched(tmp_path / "journal", segment_bytes=131_072).open()
    try:
        log = LogFiles(tmp_path / "log")
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        sequencer = Sequencer(
            tmp_path / "journal", log, LogFiles(tmp_path), key=key, origin="log.example", interval=interval
        )
        gauges.watch_log(Metrics(), journal, sequencer)
        (watch,) = watches
        watch.waited = OVERDUE_AFTER + interval
        assert watch.look() is None
        watch.waited += 1
        assert watch.look() is not None
    finally:
        journal.close()
