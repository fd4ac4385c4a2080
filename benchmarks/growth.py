"""How the audit log grows: whether its last tenth costs what the first did, and what proving and checking it costs.

    python -m benchmarks.growth [--entries 10000000] [--folder DIR] [--json]

Not part of `make bench`: ten million entries take half an hour or so, and 12 GB of disk in `--folder` (default: the
system's place for temporary files), which are removed at the end. A child process is the writer: it records and
integrates as a worker does, and nothing else, so its memory is the writer's. Cost is the CPU time of that process,
kernel included, for each tenth of the log. The whole is verified in one run, whose cost is told at an eighth, a
quarter, a half and the end; linear is that an entry of the second half costs what one of the second eighth does. How
much of that is the system's, which reads files that have left its cache, is told beside it. Resident memory counts
pages of the journal's files, which belong to the system's cache, once for each time they are mapped; what is the
writer's own is told beside it. Because a machine has better and worse minutes, every cost is also measured in a
ruler's: a fixed piece of work, done again and again in between; the bars are on those. Exit 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.verdict import end

__all__ = ["BARS", "measure", "missed"]

BARS: Final = {"flat": 1.10, "memory": 64 * 10**6, "proof": 5.0, "linear": 1.10}
"""Last tenth to first; bytes; milliseconds; CPU per entry of the second half to that of the second eighth."""
TENTHS: Final = 10
EIGHTHS: Final = (1, 2, 4, 8)
_CHUNK: Final = 4096  # entries between two ticks of the sequencer: 0.2 s of 20,000 requests per second
_RULED: Final = bytes(832)


# -- the writer, in a process of its own ---------------------------------------------------------------------------


def write(folder: Path, entries: int) -> None:
    """Record and integrate `entries`; a line of JSON after each fortieth, then wait to be told to go on."""
    # Imported here, and no more than a writer needs: what this process holds in memory is measured.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from residency.adapters.journal_files import JournalFiles
    from residency.adapters.log_files import LogFiles
    from residency.adapters.sequencer import Sequencer
    from residency.audit.entry import EntryTemplate, parse_entry

    template = EntryTemplate(parse_entry((folder / "entry").read_bytes()))
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    journal = JournalFiles(folder / "journal").open()
    sequencer = Sequencer(
        folder / "journal", LogFiles(folder / "log"), LogFiles(folder), key=key, origin="bench.example"
    )
    done, part = 0, 0
    spent = {"record": 0.0, "integrate": 0.0, "ruler": 0.0}
    began = time.monotonic()
    try:
        while done < entries:
            part += 1
            stop = entries * part // (TENTHS * 4)
            while done < stop:
                some = min(_CHUNK, stop - done)
                before = time.process_time()
                for seq in range(done, done + some):
                    now = time.time_ns() // 1000
                    journal.append(template.brief(0, seq, now, now, "0123456789abcdef" * 2))
                between = time.process_time()
                sequencer.tick()
                spent["record"] += between - before
                spent["integrate"] += time.process_time() - between
                spent["ruler"] += _ruler(1_000) * some
                done += some
            print(json.dumps({"entries": done, "seconds": time.monotonic() - began, **spent, **_memory()}), flush=True)
            sys.stdin.readline()
    finally:
        sequencer.stop()
        journal.close()


def _ruler(times: int) -> float:
    """CPU seconds of a fixed piece of work: a hash, and a few hundred bytes of JSON."""
    document = {"activity": "GET /v1/me", "at": 1_795_000_000_000_000, "rules": ["vn.d333.19.2"] * 8}
    began = time.process_time()
    for _ in range(times):
        hashlib.sha256(_RULED).digest()
        json.dumps(document)
    return (time.process_time() - began) / times


def _memory() -> dict[str, int]:
    """Bytes of this process that are resident: all, and those that are not pages of files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM", "RssAnon")}


# -- what is asked of the log --------------------------------------------------------------------------------------


def verify(folder: Path, entries: int) -> None:
    """Verify the log as `residency audit verify` does; a line of JSON after each of EIGHTHS."""
    from residency.cli.audit import verify_log

    spent = {"user": 0.0, "system": 0.0, "ruler": 0.0}
    plain = vars(verify_log)["scanned"]

    def scanned(*given: Any, **named: Any) -> Iterator[Any]:
        # Between two bundles, and in the same minute as what it is compared with.
        before, measured, stops = resource.getrusage(resource.RUSAGE_SELF), 0, [entries * each // 8 for each in EIGHTHS]
        for bundle in plain(*given, **named):
            yield bundle
            done = bundle[0] + len(bundle[1])
            if done < stops[0] and done - measured < _CHUNK:
                continue
            after = resource.getrusage(resource.RUSAGE_SELF)
            spent["user"] += after.ru_utime - before.ru_utime
            spent["system"] += after.ru_stime - before.ru_stime
            spent["ruler"] += _ruler(200) * (done - measured)
            measured = done
            if done >= stops[0]:
                print(json.dumps({"entries": done, **spent}), flush=True)
                stops = stops[1:]
            before = resource.getrusage(resource.RUSAGE_SELF)

    vars(verify_log)["scanned"] = scanned
    asked = verify_log.Asked(None, (), folder, True, 2**53, time.time_ns() // 1000, False)
    verify_log.verify_log(str(folder / "log"), asked)


def _verified(folder: Path, entries: int) -> tuple[list[dict[str, Any]], float]:
    """What it had cost after each of EIGHTHS, and CPU seconds of the whole command.

    Raises: SystemExit where the log does not hold.
    """
    own = [sys.executable, "-m", "benchmarks.growth", "--verify", str(folder), "--entries", str(entries)]
    program, log = str(Path(sys.executable).with_name("residency")), str(folder / "log")
    told = []
    for command in (own, [program, "audit", "verify", log, "--json"]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the log does not hold: {done.stdout}{done.stderr}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        told.append((done.stdout, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime))
    return [json.loads(line) for line in told[0][0].splitlines()], told[1][1]


def _prove(folder: Path, times: int) -> float:
    """Median milliseconds of a proof of some entry, with nothing kept from the one before."""
    from residency.audit.checkpoint import parse_verifier_key
    from residency.audit.verify import prove_entry, read_checkpoint
    from residency.cli.log_folder import reader

    read = reader(folder / "log")
    checkpoint = read_checkpoint(read, parse_verifier_key((folder / "log" / "log.vkey").read_text()))
    chance, took = random.Random(5), []
    for _ in range(times):
        index = chance.randrange(checkpoint.size)
        began = time.perf_counter()
        prove_entry(read, index, checkpoint)
        took.append((time.perf_counter() - began) * 1000)
    return median(took)


# -- the whole -----------------------------------------------------------------------------------------------------


def _written(folder: Path, entries: int) -> Iterator[dict[str, Any]]:
    """Each fortieth of the log, once it is written; the writer waits meanwhile."""
    command = [sys.executable, "-m", "benchmarks.growth", "--write", str(folder), "--entries", str(entries)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for line in writer.stdout:
            yield json.loads(line)
            writer.stdin.write("\n")
            writer.stdin.flush()
    if writer.returncode:
        raise SystemExit(f"the writer ended with {writer.returncode}")


def _first_entry(folder: Path) -> None:
    """Put an entry of a real decision where the writer finds it."""
    from benchmarks.audit_ours import first_entry, open_trail

    with open_trail(folder / "one", sequencer=False) as trail:
        trail.record()
        (folder / "entry").write_bytes(first_entry(folder / "one"))


def measure(entries: int, folder: str | None, console: Console) -> dict[str, Any]:
    """Cost of each tenth in microseconds per entry, memory, a proof, verification at an eighth and further on."""
    parts: list[dict[str, Any]] = []
    proofs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="residency-growth-", dir=folder) as name:
        home = Path(name)
        _first_entry(home)
        for part in _written(home, entries):
            parts.append(part)
            console.print(
                f"{part['entries']:,} entries after {part['seconds']:,.0f} s, {part['VmRSS'] / 1e6:.0f} MB resident"
            )
            if len(parts) * 8 in {eighths * TENTHS * 4 for eighths in EIGHTHS}:
                proofs.append(_prove(home, 200))
        verified, seconds = _verified(home, entries)
        console.print(f"verified in {seconds:.1f} s of CPU: {entries / seconds:,.0f} entries a second")
        disk = sum(path.stat().st_size for path in (home / "log").rglob("*") if path.is_file())
    tenths = [_cost(parts[at + 3], parts[at - 1] if at else None) for at in range(0, TENTHS * 4, 4)]
    eighth, half = _cost(verified[1], verified[0]), _cost(verified[3], verified[2])
    return {
        "load": round(os.getloadavg()[0], 1),
        "entries": entries,
        "disk_bytes": disk,
        "tenths": tenths,
        "seconds": round(parts[-1]["seconds"]),
        "verified": verified,
        "flat": round(tenths[-1]["ruled"] / tenths[0]["ruled"], 3),
        "flat_unruled": round(tenths[-1]["all"] / tenths[0]["all"], 3),
        "memory": max(part["VmHWM"] for part in parts),
        "memory_anonymous": max(part["RssAnon"] for part in parts),
        "proof": round(max(proofs), 2),
        "linear": round(half["ruled"] / eighth["ruled"], 3),
        "linear_system": [eighth["system"], half["system"]],
        "verified_per_second": round(entries / seconds),
    }


def _cost(part: dict[str, Any], before: dict[str, Any] | None) -> dict[str, float]:
    """CPU microseconds per entry between two parts by what they were for, and how many times the ruler's that is."""
    kinds = [name for name in ("record", "integrate", "user", "system", "ruler") if name in part]
    start = before or dict.fromkeys(("entries", *kinds), 0)
    count = part["entries"] - start["entries"]
    costs = {name: (part[name] - start[name]) * 1e6 / count for name in kinds}
    ruler = costs.pop("ruler")
    both = sum(costs.values())
    return {
        **{name: round(cost, 2) for name, cost in costs.items()},
        "all": round(both, 2),
        "ruled": round(both / ruler, 3),
    }


def missed(result: dict[str, Any]) -> list[str]:
    """The bars that a result does not hold."""
    return [name for name, bar in BARS.items() if result[name] > bar]


def show(console: Console, result: dict[str, Any]) -> None:
    """The result as tables with their bars."""
    table = Table(title=f"CPU per entry, by tenths of {result['entries']:,} (load average {result['load']})")
    for head in ("", "recorded", "integrated", "both", "x the ruler"):
        table.add_column(head, justify="right", no_wrap=True)
    for number, cost in enumerate(result["tenths"], 1):
        table.add_row(
            str(number), *(f"{cost[name]:.2f} µs" for name in ("record", "integrate", "all")), f"{cost['ruled']}"
        )
    console.print(table)
    table = Table(title="Bars")
    for head in ("", "found", "bar", "holds"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    for name, what, found in (
        ("flat", "last tenth to first", f"{result['flat']}"),
        ("memory", "the writer's memory, peak, in bytes", f"{result['memory']:,}"),
        ("proof", "a proof, ms", f"{result['proof']}"),
        ("linear", "verifying one more entry: second half to second eighth", f"{result['linear']}"),
    ):
        table.add_row(what, found, f"<= {BARS[name]:,}", "NO" if name in missed(result) else "yes")
    table.add_row("of it not pages of files", f"{result['memory_anonymous']:,}", "", "")
    told = " and ".join(map(str, result["linear_system"]))
    table.add_row("of it the system's (reading files), in µs: second eighth, second half", told, "", "")
    table.add_row("verified per second of CPU", f"{result['verified_per_second']:,}", "", "")
    table.add_row("bytes of log on disk", f"{result['disk_bytes']:,}", "", "")
    console.print(table)


def main() -> None:
    """Read the options, write, measure, print; exit 3 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000_000, help="how many to write (default: ten million)")
    parser.add_argument("--folder", help="where there is room for them")
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--verify", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.verify is not None:
        verify(options.verify, options.entries)
        return
    if options.write is not None:
        write(options.write, options.entries)
        return
    told = Console(stderr=True)
    result = measure(options.entries, options.folder, told)
    if options.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        console = Console()
        console.width = max(console.width, 120)
        show(console, result)
    end(not missed(result))


if __name__ == "__main__":
    main()
