"""Floors of benchmarks keep what is promised of an entry; a missed bar says whether they miss it."""

from __future__ import annotations

import os
import threading
from itertools import pairwise
from pathlib import Path
from struct import Struct
from typing import Any
from zlib import crc32

import anyio
import pytest

from benchmarks.floors import open_floor
from benchmarks.verdict import Bar

_HEAD = Struct("<IIQ")
_LENGTH = 832


@pytest.mark.parametrize("warm", [False, True])
def test_an_entry_is_in_the_file_with_its_length_checksum_and_number(tmp_path: Path, warm: bool) -> None:
    with open_floor(tmp_path / "floor", _LENGTH, warm=warm) as floor:
        assert [floor.record() for _ in range(3)] == [0, 1, 2]
        with (tmp_path / "floor").open("rb") as file:
            kept = file.read(1 << 16)
    at, times = 0, []
    for number in range(3):
        length, checksum, told = _HEAD.unpack_from(kept, at)
        entry = kept[at + _HEAD.size : at + _HEAD.size + length]
        assert (length, checksum, told) == (_LENGTH, crc32(entry), number)
        assert int(entry[19:38]) == number
        times.append(int(entry[:19]))
        at += _HEAD.size + length
    assert all(one <= other for one, other in pairwise(times))
    assert not any(kept[at:])


def test_a_full_file_begins_anew(tmp_path: Path) -> None:
    with open_floor(tmp_path / "floor", _LENGTH, warm=True) as floor:
        size = (tmp_path / "floor").stat().st_size
        for _ in range(size // (_LENGTH + _HEAD.size)):
            floor.record()
        last = floor.record()
        assert _HEAD.unpack_from((tmp_path / "floor").read_bytes())[2] == last
        assert (tmp_path / "floor").stat().st_size == size


def test_who_comes_while_the_disk_works_waits_for_the_next_fdatasync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdatasync
    begun, ended = [0], [0]  # how many entries were recorded when each fdatasync began; of those that ended
    working, joined = threading.Event(), threading.Event()
    recorded = came = 0

    def fdatasync(fd: Any) -> None:
        begun.append(recorded)
        working.set()
        joined.wait(30)
        real(fd)
        ended.append(begun[-1])

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with open_floor(tmp_path / "floor", _LENGTH) as floor:

        async def first() -> None:
            nonlocal recorded
            recorded = floor.record() + 1
            await floor.durable()

        async def later() -> None:
            nonlocal recorded, came
            while not working.is_set():  # noqa: ASYNC110 - a thread's event, which nobody can await
                await anyio.sleep(0.001)
            number = floor.record()
            recorded = number + 1
            durable = floor.durable()
            came += 1
            if came == 3:
                joined.set()
            await durable
            assert ended[-1] > number
            assert floor.is_durable(number)

        async def both() -> None:
            async with anyio.create_task_group() as group:
                for one in (first, later, later, later):
                    group.start_soon(one)

        anyio.run(both)
    assert ended == [0, 1, 4], "they share"


@pytest.mark.parametrize(
    ("found", "floor", "least", "word"),
    [
        (5.0, 1.0, False, "holds"),
        (11.0, 9.0, False, "MISSED"),
        (11.0, 10.5, False, "MISSED, beyond the floor"),
        (11.0, None, False, "MISSED"),
        (11.0, 9.0, True, "holds"),
        (9.0, 12.0, True, "MISSED"),
        (9.0, 9.5, True, "MISSED, beyond the floor"),
    ],
)
def test_a_missed_bar_says_whether_the_floor_misses_it_too(
    found: float, floor: float | None, least: bool, word: str
) -> None:
    assert Bar("what", found, 10.0, floor, least).word == word
