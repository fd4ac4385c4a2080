"""The verifier that docs/how-to/verify.md prints runs as it is printed, and sees what ours sees."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from residency.audit.entry import format_entry
from tests.audit_log import INTENT, write_log

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "verify.md"


def verified(folder: Path, log: Path) -> subprocess.CompletedProcess[str]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    program = folder / "own.py"
    program.write_text(code)
    command = [sys.executable, str(program), str(log), str(log / "log.vkey")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def written(folder: Path, count: int) -> Path:
    """A log of intents, every second one with its outcome."""
    entries = []
    for number in range(count):
        outcome = {"kind": "outcome", "act": "committed", "of": f"0.{number - 1}"} if number % 2 else {}
        entries.append(replace(INTENT, id=f"0.{number}", **outcome))  # type: ignore[arg-type]  # words of the fields
    return write_log(folder / "log", [format_entry(entry) for entry in entries])


@pytest.mark.parametrize(("count", "open_"), [(1, 1), (256, 0), (601, 1)])
def test_a_log_holds(tmp_path: Path, count: int, open_: int) -> None:
    done = verified(tmp_path, written(tmp_path, count))
    assert (done.returncode, done.stdout) == (0, f"holds: {count} entries, {open_} open\n"), done.stderr


@pytest.mark.parametrize("file", ["tile/entries/001", "tile/0/001", "checkpoint", "log.vkey"])
def test_a_byte_that_was_changed_does_not(tmp_path: Path, file: str) -> None:
    log = written(tmp_path, 601)
    data = bytearray((log / file).read_bytes())
    data[len(data) // 2] ^= 1
    (log / file).write_bytes(data)
    assert verified(tmp_path, log).returncode == 1


def test_an_act_that_ended_twice_does_not(tmp_path: Path) -> None:
    ends = [replace(INTENT, id=f"0.{number}", kind="outcome", act="committed", of="0.0") for number in (1, 2)]
    log = write_log(tmp_path / "log", [format_entry(entry) for entry in (INTENT, *ends)])
    done = verified(tmp_path, log)
    assert (done.returncode, done.stderr) == (1, "does not hold: outcome 0.2\n")
