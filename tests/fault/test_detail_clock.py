"""The system's clock is set ten years ahead and back, in a service that lives and in one that is started anew: no
detail goes before its floor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from residency.adapters.clock_system import SystemClock
from residency.adapters.detail_filer import DetailFiler, moments
from residency.adapters.detail_files import DetailFiles
from residency.adapters.detail_store import DetailStore
from residency.adapters.journal_files import JournalFiles
from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head
from tests.faked_clock import faked

ROOT: Final = Path(__file__).resolve().parents[2]
SECOND: Final = 1_000_000
A_YEAR: Final = 365.25 * 86_400  # seconds
YEAR: Final = 365 * 86_400 * SECOND

# Files by the system's own clocks: a round for each line that it is told.
FILER = """
import sys, time
from pathlib import Path
from residency.adapters.clock_system import SystemClock
from residency.adapters.detail_filer import DetailFiler, moments
from residency.adapters.detail_store import DetailStore
folder = Path(sys.argv[1])
filer = DetailFiler(folder, DetailStore(folder / "details.db"), moments(SystemClock()))
for line in sys.stdin:
    filer._expired_at = None  # at once, and not within a minute
    filer.tick()
    print(int(time.time()), filer.apart // 1_000_000, flush=True)
filer.release()
"""


def record(folder: Path, entry: str, floor: int) -> None:
    """Record one detail with a floor of so many microseconds, by the clock as it stands."""
    journal = JournalFiles(folder / "journal", segment_bytes=1 << 17).open()
    detail = format_detail({"account": entry}, os.urandom(16))
    now = SystemClock().now()
    head = Head("log", entry, commit(detail), None, now, "log", now + floor, None)
    DetailFiles({"VN": journal}, lambda country: bytes(32), os.urandom).append("VN", head, detail)
    journal.close()


def kept(folder: Path) -> list[str]:
    return [head.entry for head, _ in DetailStore(folder / "details.db").rows()]


@pytest.mark.needs("faketime")
def test_a_clock_set_ten_years_ahead_and_back_erases_nothing_before_its_floor(tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    folder = tmp_path / "VN"
    record(folder, "0.1", YEAR)
    begun = time.monotonic()
    record(folder, "0.2", 6 * SECOND)
    recorded = time.monotonic()
    years = (0, 10, 0, 10)
    told = []
    # Two lives of the service: the second begins with a clock that stands ahead already.
    for life in (years, years[1:]):
        set_to(steps, life[0])
        with subprocess.Popen(
            [sys.executable, "-c", FILER, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=faked(steps),
        ) as filer:  # fmt: skip
            assert filer.stdin is not None
            assert filer.stdout is not None
            for ahead in life:
                set_to(steps, ahead)
                filer.stdin.write("round\n")
                filer.stdin.flush()
                now, apart = map(int, filer.stdout.readline().split())
                told.append((round((now - time.time()) / A_YEAR), round(apart / A_YEAR)))
                assert kept(folder) == ["0.1", "0.2"] or time.monotonic() - begun > 6
            filer.stdin.close()
        assert filer.returncode == 0
    assert told == [(ahead, ahead) for ahead in (*years, *years[1:])], "each round saw the clock, and how far it was"
    # And what really passes is counted: of the one floor enough, of the other not.
    time.sleep(max(0.0, recorded + 7 - time.monotonic()))
    filer_here = DetailFiler(folder, DetailStore(folder / "details.db"), moments(SystemClock()))
    filer_here.tick()
    filer_here.release()
    assert kept(folder) == ["0.1"]


def set_to(steps: Path, years: int) -> None:
    """Set the clock so many years ahead, for all that read it from here on."""
    then = datetime.now(UTC) + timedelta(days=365.25 * years)
    following = steps.with_name("next")
    following.write_text(f"@{then:%Y-%m-%d %H:%M:%S}")
    following.replace(steps)
