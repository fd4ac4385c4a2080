"""The clock is set back while we run: entries keep their order and say so, nothing is lost, the log verifies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faked_clock import faked
from tests.log_bytes import check_trail
from tests.write_path import ROOT

# Entries as a worker records them, by the system's own clock; the sequencer and the helper run beside it.
WORKER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from residency.adapters.clock_system import SystemClock
from residency.adapters.entropy_system import SystemEntropy
from residency.adapters.journal_files import JournalFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import Sequencer
from residency.enforcement.recorder import Recorder
folder = Path(sys.argv[1])
journal = JournalFiles(folder / "journal", segment_bytes=131072, max_loss=30).open()
recorder = Recorder(journal, SystemClock(), SystemEntropy(), "ab" * 32)
key = Ed25519PrivateKey.from_private_bytes(bytes(32))
sequencer = Sequencer(folder / "journal", LogFiles(folder / "log"), LogFiles(folder), key=key, origin="log.example",
                      interval=0.01)
sequencer.start()
for line in sys.stdin:
    for _ in range(20):
        seq = recorder.system(line.strip())
    journal.ready()
    journal.sync(seq)
    print("done", flush=True)
sequencer.stop()
assert sequencer.problem is None, sequencer.problem
journal.close()
"""


@pytest.mark.needs("faketime")
def test_a_clock_that_is_set_back_changes_no_order_and_stops_nothing(tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    steps.write_text("@2026-11-22 10:00:00")
    folder = tmp_path / "audit"
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=faked(steps),
    ) as worker:  # fmt: skip
        assert worker.stdin is not None
        assert worker.stdout is not None
        for told, when in (("before", "10:00:00"), ("back", "07:30:00"), ("forth", "11:00:00"), ("again", "10:59:00")):
            # Whole at once: some thread always looks.
            (tmp_path / "next").write_text(f"@2026-11-22 {when}")
            (tmp_path / "next").replace(steps)
            worker.stdin.write(f"{told}\n")
            worker.stdin.flush()
            assert worker.stdout.readline() == "done\n"
        worker.stdin.close()
    assert worker.returncode == 0
    _, entries = check_trail(folder)
    documents = [json.loads(entry) for entry in entries]
    assert [entry["id"] for entry in documents] == [f"0.{seq}" for seq in range(80)]
    assert [entry["note"] for entry in documents] == [
        told for told in ("before", "back", "forth", "again") for _ in range(20)
    ]
    hours = [round((entry["at"] / 1_000_000 - 1_795_305_600) / 3600, 1) for entry in documents[::20]]
    assert hours == [10.0, 7.5, 11.0, 11.0], "entries say what the clock said, also where it went back"
    assert documents[60]["at"] < documents[59]["at"]
