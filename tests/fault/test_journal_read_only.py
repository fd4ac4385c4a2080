"""A disk that turns read-only: what cannot be written is refused, the message names the file, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import Sequencer
from residency.errors import JournalFailed
from tests.log_bytes import check_log
from tests.write_path import NAMES_A_FILE, Lives, open_journal, payload, recover_and_check

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True, capture_output=True)


@pytest.mark.needs("tmpfs")
def test_a_log_that_turns_read_only_under_the_sequencer_goes_on_once_it_can_be_written_again(
    tmpfs: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = tmpfs("4m")
    journal = open_journal(tmp_path)
    sequencer = Sequencer(tmp_path / "journal", LogFiles(disk), LogFiles(tmp_path), key=KEY, origin="log.example")
    journal.append(payload(0, 0))
    sequencer.tick()
    remount(disk, "ro")
    journal.append(payload(0, 1))  # the journal is elsewhere: it records
    sequencer._try_tick()
    assert sequencer.problem is not None
    assert sequencer.problem.startswith("the log cannot be written: ")
    assert sequencer.problem.endswith(".tmp (EROFS)")
    assert check_log(disk) == [payload(0, 0)]
    remount(disk, "rw")
    sequencer._try_tick()
    assert sequencer.problem is None
    assert check_log(disk) == [payload(0, 0), payload(0, 1)]
    sequencer.stop()
    journal.close()


@pytest.mark.needs("tmpfs")
def test_a_journal_on_a_disk_that_is_read_only_refuses_to_open_and_opens_later(
    tmpfs: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = tmpfs("4m")
    journal = open_journal(disk)
    journal.append(payload(0, 0))
    journal.close()
    remount(disk, "ro")
    with pytest.raises(JournalFailed, match=r"journal/0/lock \(EROFS\)"):
        open_journal(disk)
    remount(disk, "rw")
    journal = open_journal(disk)
    assert journal.next_seq == 1
    journal.close()


# A kernel lets nobody remount a disk on which files are open for writing; a failing disk does it to itself. From the
# N-th of these calls on, all of them say so.
CHANGES = ("fallocate", "rename", "mkdir", "unlink", "unlinkat", "rmdir", "pwrite64")


@pytest.mark.needs("strace")
@pytest.mark.parametrize("number", [1, 3, 4, 9])
def test_a_disk_that_turns_read_only_under_a_running_process_refuses_and_loses_nothing(
    tmp_path: Path, number: int
) -> None:
    with Lives(tmp_path) as lives:
        for name in CHANGES:
            folder, code, log = lives.run(
                "faults", "-e", "trace=all", "-e", f"inject={name}:error=EROFS:when={number}+"
            )
            if "(INJECTED)" not in log:
                continue
            refused = (folder / "refused").read_text().splitlines()
            print(
                f"read-only from {name} {number} on: {len(refused)} refused, {recover_and_check(folder)}, {refused[0]}"
            )
            assert all(NAMES_A_FILE.search(words) for words in refused), refused
            assert code in (0, 98)  # 98: it could not even open a journal
