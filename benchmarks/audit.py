"""What an audit trail costs: ours beside JSON lines, SQLite and pymerkle, in one run.

    python -m benchmarks.audit [--json] [--quick] [--disk-us 250,1000]

Ours is the recorder that requests use, with a decision under the Vietnamese laws of this repository, its journal on
disk; where something is said per second the sequencer works beside it, as in a server. Peers keep the same record as a
dictionary. What is kept per second is by the clock, 64 requests at once in one event loop, once it has gone on for a
while, and nobody begins before the sequencer is done with what another left. Rounds are interleaved. What is said per
second is of the quietest one, ours and peers' alike (medians are in the JSON); how many times another's that is, is
told of each round, and the median of them counts: a round takes seconds, and a machine is busy for minutes. All else
is the CPU time of the thread that does it, of the quietest round. Waits are counted in fdatasyncs of the same round, as
disks differ: those that the waiters waited for are timed as they happen; one of a single page, with nothing else going
on, stands beside it. What a durable entry adds is its p50 less that of a buffered one, as many at once, in that round;
of the rounds the median. How much of what was recorded meanwhile the sequencer published meanwhile is told, too.

Beside each bar stands the floor (benchmarks/floors.py): the least Python that keeps the same promise for an entry
of the same length, in the same rounds, without a sequencer, a lock or a check. It is told in pages that nobody touched
before, and in the same few pages over and over, as no journal could do that is kept; the better of both counts.
Compare within one run.

How many times a peer's ours is, follows from how long an fsync takes. So what is said per second is told twice: of this
disk, and of one that answers `--disk-us` microseconds later, to ours, the peers and the floor alike
(benchmarks/audit_disk.py): 1,000 if nothing is said, as on the disk on which the bars were set. Each says which it is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import audit_disk
from benchmarks.audit_cpu import SEQUENCER, Step, per_record
from benchmarks.audit_kept import kept, scratch
from benchmarks.floors import FLOOR, WARM
from benchmarks.verdict import Bar, end, table_of

__all__ = ["BARS", "bars_of", "measure", "show"]

BARS: Final = {"append": 4.0, "record": 0.7, "share": 400.0}
"""Times pymerkle's append; of json.dumps; nanoseconds. Those that the disk decides over are `audit_disk.BARS`."""


def measure(*, rounds: int, seconds: float, records: int, progress: Step = lambda: None) -> dict[str, Any]:
    """Entries per second, nanoseconds, and the ratios that have bars, on this disk."""
    with scratch() as name:
        entry, costs, medians = per_record(Path(name), rounds, records, progress)
        per_second = kept(Path(name), entry, rounds, seconds, progress)
    dumps = costs["json.dumps of the record"]
    return {
        "load": round(os.getloadavg()[0], 1),
        "bytes": len(entry),
        "nanoseconds": costs,
        "nanoseconds_median": medians,
        **per_second,
        "append": round(costs["pymerkle's append"] / costs["leaf and frontier"], 1),
        "record": round(costs["encode, store, leaf"] / dumps, 2),
        "all": round((costs["the request's share"] + costs[SEQUENCER]) / dumps, 2),
        "share": costs["the request's share"],
        "floor": {
            "append": round(costs["pymerkle's append"] / costs[f"{FLOOR} of leaf and frontier"], 1),
            "record": round(costs[f"{FLOOR} of encode, store, leaf"] / dumps, 2),
            "share": min(costs[f"{FLOOR} of the share"], costs[f"{WARM}, of the share"]),
        },
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """The result as tables with their bars."""
    console.print(f"load average {result['load']}; an entry is {result['bytes']} bytes")
    table = Table(title="Entries kept per second (callers at once), quietest round")
    for head in ("", "per second", "p50 of one"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    waits, rates = result["waits"], result["per_second"]
    for name, wait in sorted(waits.items(), key=lambda each: (-rates.get(each[0], 0), each[1])):
        table.add_row(name, f"{rates[name]:,}" if name in rates else "", f"{wait / 1000:,.0f} µs")
    console.print(table)
    table = Table(title="CPU per record, quietest round")
    for head in ("", "cost"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    for name, cost in sorted(result["nanoseconds"].items(), key=lambda each: each[1]):
        table.add_row(name, f"{cost / 1000:.2f} µs")
    console.print(table)
    bars = table_of(bars_of(result))
    bars.caption = "This disk; for others see below"
    console.print(bars)
    console.print(audit_disk.table_of({0: result, **result["disks"]}))
    table = Table(title="Beside")
    for head in ("", "found"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    for what, key in (
        ("64 at once, beside JSON lines without fsync, x", "unsynced"),
        ("64 at once, beside pymerkle's SQLite file, x", "pymerkle"),
        ("64 at once, beside SQLite WAL FULL, x", "sqlite_64"),
        ("request's and sequencer's share, of json.dumps", "all"),
        ("durable at 256, added p50, in fdatasyncs of one page", "wait_of_one_page"),
        ("durable at 256, published meanwhile, of recorded", "kept_up"),
    ):
        table.add_row(what, f"{result[key]}")
    console.print(table)


def bars_of(result: dict[str, Any]) -> list[Bar]:
    """Each bar on this disk with what was found, and with its floor."""
    of_disk, floor = audit_disk.bars_of(result), result["floor"]
    append = "leaf and frontier, beside pymerkle's append"
    most = {
        "record": ("encode, store, leaf, of json.dumps", "x"),
        "share": ("the request's share, buffered", " ns"),
    }
    return [
        *of_disk.values(),
        Bar(append, result["append"], BARS["append"], floor["append"], True, "x"),
        *(Bar(what, result[key], BARS[key], floor[key], unit=unit) for key, (what, unit) in most.items()),
    ]


def main() -> None:
    """Read the options, measure, print; end with 3 where a bar is missed, on whichever disk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--quick", action="store_true", help="few short rounds, to see that it works")
    disks = "microseconds that an fsync takes longer, a row of the table for each, as 250,1000 (by default 1000)"
    parser.add_argument("--disk-us", type=audit_disk.delays, metavar="US,…", help=disks)
    options = parser.parse_args()
    why = audit_disk.unable()
    if why is not None and options.disk_us is not None:
        parser.error(f"no disk can be made slower: {why}")
    rounds, seconds, records = (2, 0.5, 1_000) if options.quick else (9, 1.0, 5_000)
    result = measure(rounds=rounds, seconds=seconds, records=records)
    result["disks"] = {}
    if why is not None:
        print(f"The disk on which the bars were set is NOT shown: {why}", file=sys.stderr)
    else:
        for us in options.disk_us or (audit_disk.USUAL,):
            result["disks"][us] = audit_disk.on_slower(us, rounds, seconds)
    bars = bars_of(result)
    slower = {us: list(audit_disk.bars_of(found).values()) for us, found in result["disks"].items()}
    if options.json:
        told = result | {"bars": [bar.plain() for bar in bars]}
        told["bars_by_disk_us"] = {us: [bar.plain() for bar in each] for us, each in slower.items()}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        console = Console()
        console.width = max(console.width, 120)
        show(console, result)
    end(options.quick or all(bar.holds for each in (bars, *slower.values()) for bar in each))


if __name__ == "__main__":
    main()
