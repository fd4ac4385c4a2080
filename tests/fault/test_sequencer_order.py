"""What a power cut could undo: in the system calls of a whole life, nothing is built upon what is not on disk yet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.write_path import Lives

pytestmark = pytest.mark.needs("strace")

SYNC = re.compile(r"f(?:data)?sync\(\d+<([^>]+)>\) += 0")
RENAME = re.compile(r'rename\("([^"]+)", "([^"]+)"\) += 0')
MKDIR = re.compile(r'mkdir\("([^"]+)", \d+\) += 0')
CHECKPOINT, STATE = "log/checkpoint", "sequencer.json"


class Disk:
    """What would be there after a power cut, as the calls so far have it: names whose folder was synchronised since,
    contents that were synchronised before they got their name."""

    def __init__(self, folder: Path) -> None:
        self._prefix = f"{folder}/"
        self._whole: set[str] = set()  # files whose content is on disk
        self.pending: set[str] = set()  # names and folders that a power cut would take back
        self.renamed: list[str] = []

    def take(self, line: str) -> str | None:
        """One call; the path that has got a new file by it, where one has."""
        if found := SYNC.match(line):
            path = found[1].removesuffix("(deleted)")
            self._whole.add(path)
            self.pending = {name for name in self.pending if name.rpartition("/")[0] != path}
        elif found := MKDIR.match(line):
            self.pending.add(found[1])
        elif found := RENAME.match(line):
            assert found[1] in self._whole, f"{found[2]} gets its name before its content is on disk"
            self.pending.add(found[2])
            self.renamed.append(self.short(found[2]))
            return self.renamed[-1]
        return None

    def short(self, path: str) -> str:
        return path.removeprefix(self._prefix)


def test_tiles_are_on_disk_before_the_state_and_the_state_before_the_checkpoint(tmp_path: Path) -> None:
    with Lives(tmp_path) as lives:
        folder, code, log = lives.run(
            "requests_and_sequencer", "-y", "-s", "4096", "-e", "trace=fsync,fdatasync,rename,mkdir"
        )
    assert code == 0
    disk = Disk(folder)
    seen = {STATE: 0, CHECKPOINT: 0}
    since_state: set[str] = set()
    for line in log.splitlines():
        if (found := SYNC.match(line)) and found[1].endswith(".seg"):
            since_state.add(found[1])
        name = disk.take(line)
        if name == STATE:
            waiting = {disk.short(path) for path in disk.pending} - {STATE, CHECKPOINT}
            assert waiting == set(), "the state counts what a power cut could still take"
            assert since_state, "the tree would hold what a power cut could take from the journals"
            since_state.clear()
        if name == CHECKPOINT:
            assert STATE not in {disk.short(path) for path in disk.pending}, "published before the state is on disk"
        if name in seen:
            seen[name] += 1
    assert seen[STATE] >= 3
    assert seen[CHECKPOINT] == seen[STATE] + 1  # the empty log has no state yet
    assert sum(name.startswith("log/tile/") for name in disk.renamed) >= 8
    assert sum(name.endswith(".seg") for name in disk.renamed) >= 3
