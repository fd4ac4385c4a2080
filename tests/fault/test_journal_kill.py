"""`kill -9` of a process that appends loses nothing that it had acknowledged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from residency.adapters.journal_files import JournalFiles
from residency.audit.journal import RECORDS_AT, scan

ROOT = Path(__file__).resolve().parents[2]

# It writes what it acknowledges straight to a pipe: what the parent reads there was acknowledged before the kill.
WRITER = """
import os, sys
from pathlib import Path
from residency.adapters.journal_files import JournalFiles
journal = JournalFiles(Path(sys.argv[1]), segment_bytes=65536, entry_limit=4000).open()
while True:
    seq = journal.next_seq
    payload = b"%d " % seq + b"x" * (seq * 131 % 3000)
    journal.append(payload)
    if seq % 64 == 0 and sys.argv[2] == "durable":
        journal.sync(seq)
    os.write(1, b"%d\\n" % seq)
"""


def recorded(folder: Path) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    for path in sorted(folder.glob("*.seg")):
        found.extend((record.seq, record.payload) for record in scan(path.read_bytes(), RECORDS_AT, None).records)
    return found


@pytest.mark.parametrize("mode", ["buffered", "durable"])
@pytest.mark.parametrize("lines", [1, 7, 400, 2500])
def test_every_acknowledged_entry_is_there_after_kill_9(tmp_path: Path, mode: str, lines: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), mode], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        # Whatever was in the pipe when it died had been acknowledged too.
        acknowledged += [int(line) for line in writer.stdout.read().split(b"\n")[:-1]]
    assert writer.returncode == -signal.SIGKILL
    journal = JournalFiles(tmp_path, segment_bytes=65536, entry_limit=4000).open()
    try:
        assert journal.slot == 0
        assert journal.next_seq > acknowledged[-1]
        found = recorded(tmp_path / "0")
        assert [seq for seq, _ in found] == list(range(journal.next_seq))
        assert all(payload == b"%d " % seq + b"x" * (seq * 131 % 3000) for seq, payload in found)
    finally:
        journal.close()
