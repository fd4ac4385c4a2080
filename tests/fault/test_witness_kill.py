"""`kill -9` at every system call by which a witness writes: it never cosigned what it does not remember.

A witness that forgot what it signed could be shown, and would sign, a second history.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.adapters.log_files import LogFiles
from residency.adapters.witness_state import WitnessState
from residency.audit.checkpoint import verify_checkpoint
from residency.audit.cosignature import COSIGNER_KINDS, find_cosignature
from residency.audit.note import parse_verifier_key
from residency.cli.audit import audit_app
from tests.audit_log import ORIGIN, VERIFIER, write_log

pytestmark = pytest.mark.needs("strace")
CALLS = (
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "mkdir",
)


def witness(folder: Path) -> list[str]:
    given = ("log", "--log-key", "given.vkey", "--keys", "keys", "--state", "state", "--out", "out")
    return ["witness", *(word if word.startswith("--") else str(folder / word) for word in given)]


def prepared(folder: Path) -> Path:
    """A witness that has cosigned five entries, of a log that has nine by now."""
    write_log(folder / "log", [b"entry %d" % number for number in range(5)])
    (folder / "given.vkey").write_bytes((folder / "log/log.vkey").read_bytes())
    for command in (["witness-key", str(folder / "keys"), "--name", "w.example"], witness(folder)):
        assert CliRunner().invoke(audit_app, command).exit_code == 0
    write_log(folder / "log", [b"entry %d" % number for number in range(9)])
    return folder


def traced(folder: Path, call: str = "", number: int = 0) -> int:
    """The witness in a process of its own, killed at its `number`-th `call` (0 = not at all); the wait status."""
    gate, opened = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.close(opened)
            os.read(gate, 1)
            with (folder / "said").open("w", encoding="utf-8") as said:
                sys.stdout = sys.stderr = said
                code = audit_app(witness(folder), standalone_mode=False) or 0
        finally:
            os._exit(code)
    os.close(gate)
    # strace counts each call by itself, so one of them is tampered with at a time.
    kill = ["-e", f"inject={call}:signal=SIGKILL:when={number}"] if number else []
    command = ["strace", "-qq", "-o", str(folder / "calls"), "-e", f"trace={','.join(CALLS)}", *kill, "-p", str(child)]
    tracer = subprocess.Popen(command)
    while "TracerPid:\t0\n" in Path(f"/proc/{child}/status").read_text():
        time.sleep(0.001)
    os.write(opened, b"g")
    os.close(opened)
    _, status = os.waitpid(child, 0)
    tracer.wait(20)
    return status


def cosigned(folder: Path) -> list[bytes]:
    """Notes that the witness gave away: what it printed under the log's checkpoint, and the file it wrote."""
    printed = (folder / "said").read_bytes()
    lines = printed[: printed.rfind(b"\n") + 1].decode(errors="replace").splitlines(keepends=True)
    kept = "".join(line for line in lines if line.startswith("— "))
    notes = [(folder / "log/checkpoint").read_bytes() + kept.encode()] if kept else []
    return [*notes, (folder / "out").read_bytes()]


def remembered(folder: Path) -> int:
    with WitnessState.holding(folder / "state", ORIGIN, LogFiles) as memory:
        note = memory.recall()
    assert note is not None
    return verify_checkpoint(note, VERIFIER).size


def test_whatever_call_it_dies_at_a_witness_remembers_what_it_cosigned(tmp_path: Path) -> None:
    whole = prepared(tmp_path / "whole")
    key = parse_verifier_key((whole / "keys/witness.vkey").read_text().split()[0], COSIGNER_KINDS)

    def life(call: str = "", number: int = 0) -> tuple[Path, int]:
        folder = tmp_path / f"{call}-{number}"
        shutil.copytree(whole, folder)
        status = traced(folder, call, number)
        for note in cosigned(folder):
            assert find_cosignature(note, key) is not None
            assert verify_checkpoint(note, VERIFIER).size <= remembered(folder), (call, number)
        return folder, status

    clean, status = life()
    assert (status, remembered(clean)) == (0, 9)
    assert [verify_checkpoint(note, VERIFIER).size for note in cosigned(clean)] == [9, 9]
    counts = Counter(line.partition("(")[0] for line in (clean / "calls").read_text().splitlines())
    told = {}
    for call, count in counts.items():
        for number in range(1, count + 1):
            folder, status = life(call, number)
            assert os.WTERMSIG(status) == signal.SIGKILL, (call, number)
            told[f"{call} {number}"] = remembered(folder)
            result = CliRunner().invoke(audit_app, witness(folder))
            assert result.exit_code == 0, result.output
            assert remembered(folder) == 9
    print(f"killed at each of {len(told)} of {counts.total()} calls; remembered after each: {told}")
    assert len(told) == counts.total() >= 12
    assert set(told.values()) == {5, 9}
