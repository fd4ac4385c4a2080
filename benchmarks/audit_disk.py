"""Microseconds in; the same comparison on a disk that answers that much later, out.

A peer waits for the disk once an entry, ours once for all who wait, so how many times theirs ours is follows from how
long an fsync takes. strace adds the delay to each fsync and fdatasync of the process that measures: ours, the peers'
and the floor's alike. It stops nothing else (seccomp), so that all other calls cost what they did.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table

from benchmarks.audit_kept import ONE_PAGE
from benchmarks.verdict import Bar

__all__ = ["BARS", "USUAL", "bars_of", "delays", "on_slower", "table_of", "unable"]

BARS: Final = {"lines": 20.0, "sqlite": 50.0, "wait": 4.0}
"""Times JSON lines with fsync; times SQLite; fdatasyncs that a durable entry adds."""
USUAL: Final = 1000
"""The bars were set on a disk on which SQLite took 1,174 µs for an insert of its own transaction."""
_LONGEST: Final = 1_000_000


def delays(text: str) -> tuple[int, ...]:
    """The value of `--disk-us`: whole microseconds, with commas between them, none twice.

    Raises: argparse.ArgumentTypeError.
    """
    try:
        found = tuple(int(each) for each in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole microseconds, as 250,1000") from None
    if not all(0 < each <= _LONGEST for each in found) or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"a delay is 1 to {_LONGEST:,} microseconds, and told once")
    return found


def unable() -> str | None:
    """Why no disk can be made slower here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not there (apt-get install strace; Linux only)"
    tried = subprocess.run([*_strace(1), "true"], check=False, capture_output=True, text=True)
    if tried.returncode:
        why = tried.stderr.strip().splitlines() or [f"it ends with {tried.returncode}"]
        return f"strace may not trace here: {why[0]}"
    return None


def on_slower(us: int, rounds: int, seconds: float) -> dict[str, Any]:
    """What `audit_kept` finds where each fsync takes `us` microseconds more. Raises: RuntimeError."""
    command = [*_strace(us), sys.executable, "-m", "benchmarks.audit_kept", str(rounds), str(seconds)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"the comparison on a slower disk ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _strace(us: int) -> list[str]:
    calls = "fsync,fdatasync"
    return [
        "strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null",
        "-e", f"trace={calls}", "-e", f"inject={calls}:delay_exit={us}",
    ]  # fmt: skip


def bars_of(found: dict[str, Any]) -> dict[str, Bar]:
    """The bars that the disk decides over, by their keys."""
    texts = {
        "lines": "64 at once, beside JSON lines with fsync",
        "sqlite": "durable, 256 at once, beside SQLite WAL FULL",
    }
    bars = {key: Bar(text, found[key], BARS[key], found[f"{key}_floor"], True, "x") for key, text in texts.items()}
    added = Bar("durable at 256, added p50", found["wait"], BARS["wait"], found["wait_floor"], unit=" fdatasyncs")
    return {**bars, "wait": added}


def table_of(disks: Mapping[int, dict[str, Any]]) -> Table:
    """What was found on each disk, by the delay in microseconds (0 = this one), with how the bars went."""
    table = Table(title="By disk: what every fsync was made to take longer, found, (floor), and how the bar went")
    heads = {"lines": "beside JSON lines", "sqlite": "beside SQLite", "wait": "added p50, in fdatasyncs"}
    for head in ("", "one page", *(f"{text}, {_wanted(key)}" for key, text in heads.items())):
        table.add_column(head, justify="left" if not head else "right", no_wrap=not head)
    for us, found in sorted(disks.items()):
        bars = bars_of(found)
        cells = (f"{bars[key].found:.3g} ({bars[key].floor:.3g}) {bars[key].word}" for key in heads)
        table.add_row(f"+{us:,} µs" if us else "this disk", f"{found['waits_median'][ONE_PAGE] / 1000:,.0f} µs", *cells)
    return table


def _wanted(key: str) -> str:
    return f"{'<=' if key == 'wait' else '>='} {BARS[key]:g}"
