"""`kill -9` at every system call that the write path makes: nothing acknowledged is lost, nothing torn is claimed."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.write_path import WAITS, Lives, calls, every_kill, recover_and_check

pytestmark = pytest.mark.needs("strace")
KILLED = -9


def killed_at(lives: Lives, life: str, name: str, number: int) -> str | None:
    """What became of a life that dies at its call `number` of `name`; None where it made no such call."""
    folder, code, log = lives.run(life, "-e", "trace=all", "-e", f"inject={name}:signal=SIGKILL:when={number}")
    assert code in (0, KILLED), f"{name} {number}: the life ended with {code}"
    assert (code == KILLED) == ("+++ killed by SIGKILL +++" in log)
    try:
        outcome = recover_and_check(folder)
    except Exception as error:
        raise AssertionError(f"killed at {name} {number}") from error
    shutil.rmtree(folder)
    return outcome if code == KILLED else None


def clean(lives: Lives, life: str) -> Counter[str]:
    """The system calls that a life makes which nobody kills: of several, what each of them makes."""
    least: Counter[str] | None = None
    for _ in range(3):
        folder, code, log = lives.run(life)
        assert code == 0
        assert "0 recorded and not acknowledged" in recover_and_check(folder)
        least = calls(log) if least is None else least & calls(log)
    assert least is not None
    return least


@pytest.mark.parametrize(("life", "every"), [("requests_and_sequencer", 30), ("helper", 10)])
def test_a_kill_at_some_calls_of_every_kind_loses_nothing_and_claims_nothing(
    tmp_path: Path, life: str, every: int
) -> None:
    with Lives(tmp_path) as lives:
        counts = clean(lives, life)
        delivered = 0
        for name, number in every_kill(counts, every):
            outcome = killed_at(lives, life, name, number)
            print(f"{life}: killed at {name} {number}: {outcome}")
            assert outcome is not None or name in WAITS, f"{name} {number}: only the clean run made it"
            delivered += outcome is not None
        print(f"{life}: {delivered} kills over {sum(counts.values())} system calls (every {every}th, first and last)")
    assert len(counts) > 10


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("life", ["requests_and_sequencer", "helper"])
def test_a_kill_at_every_single_call_loses_nothing_and_claims_nothing(tmp_path: Path, life: str) -> None:
    with Lives(tmp_path) as lives:
        counts = clean(lives, life)
        delivered: Counter[str] = Counter()
        for name in sorted(counts):
            # How often a thread waits for another differs from run to run: such a call is asked for again.
            patience = 20 if name in WAITS else 0
            while (outcome := killed_at(lives, life, name, delivered[name] + 1)) is not None or (
                delivered[name] < counts[name] and (patience := patience - 1) >= 0
            ):
                if outcome is not None:
                    delivered[name] += 1
                    print(f"{life}: killed at {name} {delivered[name]}: {outcome}")
        print(f"{life}: N = {sum(delivered.values())} kills, a clean run makes {sum(counts.values())} system calls")
    assert counts - delivered == Counter(), "calls of a clean run at which nobody was killed"
