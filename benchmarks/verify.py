"""What it costs an auditor to verify a log: the whole of `residency audit verify`, its start included, on one core.

    python -m benchmarks.verify [--entries 1000000] [--folder DIR] [--json] [--quick]

A log of a real policy's decisions on ten routes, of people in several places, from four worker slots: plain reads, acts
with their outcomes, refusals. It takes about 1 GB below `--folder` (default: the system's place for temporary files),
removed at the end. CPU seconds of the command, kernel included, the quickest of the rounds; beside it the same bytes
only read and hashed, which nobody can leave out: on a busy machine compare with that. Exit 1 where the bar is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from benchmarks.policy_ours import person
from benchmarks.verdict import end
from residency.adapters.clock_manual import ManualClock
from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.policy_files import load
from residency.audit.checkpoint import format_verifier_key, note_signer
from residency.audit.entry import Entry, EntryTemplate, parse_entry
from residency.audit.recall import Basis
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.audit.tiles import bundle_path, parse_bundle
from residency.enforcement.recorder import Recorder
from residency.model import Effect, Reason
from residency.policy.archive import archived
from residency.policy.compiler import Policy

__all__ = ["BAR", "measure"]

BAR: Final = 200_000
_SLOTS: Final = 4
_START: Final = 1_795_000_000_000_000
_PLACES: Final = ("VN", "SG", "DE", "US", "CN", "ID")
_POLICY: Final = """\
residency: 1
kind: deployment
name: bench
mode: enforce
operator: {established_in: [VN], service_lines: [online_applications]}
laws: [vn/*, eu/*]
regions: {vn-han: {country: VN}, sg: {country: SG}}
sinks:
  people-vn: {region: vn-han, provider: VN, url: "sqlite:///x", encrypted: true, keys: VN}
  people-sg: {region: sg, provider: SG, url: "sqlite:///y", encrypted: true, keys: SG}
stores: {people: [people-vn, people-sg]}
signals:
  client_address: {strategy: rightmost_trusted_range, trusted: [10.0.0.0/8]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "GET /v1/me", subject: header.x-user, data: [personal], operation: read}
  - {route: "GET /v1/articles/{id}", subject: none, data: [content], operation: read}
  - {route: "POST /v1/articles", subject: header.x-user, data: [content, account], operation: post}
  - {route: "GET /v1/people/{id}", subject: path.id, data: [personal], operation: read, store: people}
  - {route: "POST /v1/people", subject: app, data: [personal, account], operation: write, store: people}
  - {route: "DELETE /v1/people/{id}", subject: path.id, data: [personal], operation: erase, store: people}
  - {route: "GET /v1/people/{id}/friends", subject: path.id, data: [relationship], operation: read, store: people}
  - {route: "POST /v1/orders", subject: header.x-user, data: [personal, account], operation: write, store: people}
  - {route: "GET /v1/orders/{id}", subject: header.x-user, data: [account], operation: read, store: people}
  - {route: "POST /v1/chat", subject: header.x-user, data: [content], operation: process}
"""
_MEASURED: Final = """\
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], check=False).returncode
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print(spent.ru_utime + spent.ru_stime, spent.ru_maxrss, flush=True)
raise SystemExit(code)
"""
Prototype = tuple[Entry, EntryTemplate, EntryTemplate | None]


def measure(entries: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Entries a second of one core, and what the command takes at most of memory."""
    with tempfile.TemporaryDirectory(prefix="residency-verify-", dir=folder) as name:
        audit = Path(name)
        size, shapes = _write(audit, entries)
        spent: dict[str, list[float]] = {"hashing": [], "verify": [], "verify and replay": []}
        most = 0
        told: dict[str, Any] = {}
        for _ in range(rounds):
            spent["hashing"].append(_hashing(audit / "log", entries))
            for what, options in (("verify", ["--no-replay"]), ("verify and replay", [])):
                seconds, memory, told = _command(audit, options)
                spent[what].append(seconds)
                most = max(most, memory)
        best = {what: min(seconds) for what, seconds in spent.items()}
        return {
            "entries": entries,
            "shapes": shapes,
            "bytes_an_entry": round(size / entries),
            "rounds": rounds,
            "load": os.getloadavg()[0],
            "entries_a_second": {what: round(entries / seconds) for what, seconds in best.items()},
            "of_hashing": {what: round(seconds / best["hashing"], 2) for what, seconds in best.items()},
            "decisions": told["coverage"]["decisions"],
            "replayed": told["coverage"]["replayed"],
            "memory": most,
        }


def _prototypes(policy: Policy) -> tuple[list[bytes], list[Entry]]:
    """(the first entries of a slot, one entry of each shape that real decisions give)."""
    clock, journal = ManualClock(_START), JournalMemory(0)
    recorder = Recorder(journal, clock, UnsafeSeededEntropy(), policy.digest)
    recorder.facts(replace(policy.facts, epoch=1))
    begun = list(journal.records)
    facts, basis = replace(policy.facts, epoch=1), Basis(clock.now())
    for activity, place in itertools.product(policy.deployment.activities, _PLACES):
        found = replace(person(place), strategy="rightmost_trusted_range")
        deployment = policy.deployment
        finding = replace(found, presume=deployment.presume, conflicts_presumed=deployment.conflicts_presumed)
        decision = policy.decide(activity, finding, frozenset(), facts, basis.now)
        verdict = next((each for each in decision.sinks if each.effect is Effect.PERMIT), None)
        if not decision.permitted or (activity.store is not None and verdict is None):
            recorder.refusal(decision, decision.reason or Reason.NO_SINK, None, {}, basis)
        elif verdict is None:
            recorder.decision(decision, None, {}, basis)
        else:
            own = recorder.intent(decision, verdict.sink.name, activity.operation.value, None, {}, basis)
            recorder.outcome(decision, verdict.sink.name, activity.operation.value, own, "committed")
    return begun, [parse_entry(record) for record in journal.records[len(begun) :]]


def _templates(listed: list[Entry]) -> list[Prototype]:
    found: list[Prototype] = []
    for entry in listed:
        if entry.kind == "outcome":
            found[-1] = (*found[-1][:2], EntryTemplate(entry))
        else:
            found.append((entry, EntryTemplate(entry), None))
    return found


def _entries(begun: list[bytes], templates: list[Prototype]) -> Iterator[bytes]:
    chance, at = random.Random(3), _START
    aliases = [chance.randbytes(16).hex() for _ in range(20_000)]
    following = [0] * _SLOTS

    def own(slot: int) -> str:
        following[slot] += 1
        return f"{slot}.{following[slot] - 1}"

    for slot in range(_SLOTS):
        for record in begun:
            number = own(slot)
            yield record.replace(b'"id":"' + parse_entry(record).id.encode(), b'"id":"' + number.encode())
    while True:
        # Slots are integrated one after the other: what each recorded since the last time.
        for slot in range(_SLOTS):
            for _ in range(chance.randrange(5, 60)):
                entry, template, outcome = chance.choice(templates)
                at += chance.randrange(5, 300)
                alias, intent = chance.choice(aliases), own(slot)
                decided = None if entry.decided is None else at - 9
                yield template.fill(id=intent, at=at, decided=decided, collected=entry.collected, subject=alias)
                if outcome is not None:
                    at += chance.randrange(5, 300)
                    yield outcome.fill(id=own(slot), at=at, of=intent, subject=alias)


def _write(audit: Path, entries: int) -> tuple[int, int]:
    """(bytes of all entries, their shapes) of the audit folder that is written."""
    (audit / "bench.yaml").write_text(_POLICY)
    policy = load(audit / "bench.yaml", {})
    begun, listed = _prototypes(policy)
    for path, data in archived(policy, policy.facts):
        _put(audit / path, data)
    signer, key = note_signer("bench.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    _put(audit / "log" / "log.vkey", (format_verifier_key(key) + "\n").encode())
    tree, size = Tree(), 0
    wanted = itertools.islice(_entries(begun, _templates(listed)), entries)
    while chunk := list(itertools.islice(wanted, 1 << 15)):
        size += sum(map(len, chunk))
        tree, steps = plan_commit(tree, chunk, {}, signer, "bench.example")
        for step in steps:
            if step.kind in (StepKind.TILE, StepKind.CHECKPOINT):
                _put(audit / "log" / step.path, step.data)
    return size, len({replace(entry, id="0.0", of=None, at=0, decided=None) for entry in listed})


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _command(audit: Path, options: list[str]) -> tuple[float, int, dict[str, Any]]:
    """(CPU seconds, most resident bytes, what it told) of one `audit verify`. Raises: SystemExit where it fails."""
    program = str(Path(sys.executable).with_name("residency"))
    log = audit / "log"
    command = [program, "audit", "verify", str(log), "--key", str(log / "log.vkey"), "--json", *options]
    # By a small process in between: a child counts the memory of the one it was forked from as its own.
    done = subprocess.run([sys.executable, "-c", _MEASURED, *command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the log does not hold: {done.stdout}{done.stderr}")
    told, _, usage = done.stdout.strip().rpartition("\n")
    seconds, kilobytes = usage.split()
    return float(seconds), int(kilobytes) * 1024, json.loads(told)


def _hashing(log: Path, entries: int) -> float:
    """CPU seconds of reading each bundle, cutting it and hashing leaves and nodes, in the plainest way."""
    sha256 = hashlib.sha256
    began = time.process_time()
    for start in range(0, entries, 256):
        width = min(256, entries - start)
        path = bundle_path(start // 256, width)
        hashes = [sha256(b"\0" + entry).digest() for entry in parse_bundle((log / path).read_bytes(), width, path)]
        while len(hashes) > 1:
            hashes = [sha256(b"\1" + a + b).digest() for a, b in zip(hashes[::2], hashes[1::2], strict=False)]
    return time.process_time() - began


def main() -> None:
    """Measure, print, exit 3 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), metavar="DIR")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--quick", action="store_true", help="20,000 entries, to see that it works; the bar is not asked"
    )
    options = parser.parse_args()
    found = measure(20_000 if options.quick else options.entries, 1 if options.quick else 3, options.folder)
    if options.json:
        print(json.dumps(found))
    else:
        table = Table(
            "on one core", "entries/s", "CPU, of hashing alone", title=f"verifying {found['entries']:,} entries"
        )
        for what, speed in found["entries_a_second"].items():
            table.add_row(what, f"{speed:,}", f"{found['of_hashing'][what]:.2f}x")
        console = Console()
        console.print(table)
        console.print(
            f"{found['shapes']} shapes, {found['bytes_an_entry']} bytes an entry; {found['replayed']:,} of "
            f"{found['decisions']:,} decisions made again; at most {found['memory'] / 1e6:.0f} MB; "
            f"load {found['load']:.1f}; bar {BAR:,}/s",
            highlight=False,
        )
    end(options.quick or found["entries_a_second"]["verify"] >= BAR)


if __name__ == "__main__":
    main()
