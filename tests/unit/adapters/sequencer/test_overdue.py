"""What waits too long for the log bars what comes, and a healthy log, a takeover or a pause of one's own does not."""

from __future__ import annotations

import pytest

from residency.adapters.sequencer import Overdue, overdue
from residency.errors import VerificationError


class Clock:
    """Stands for `time` in the module."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Place:
    """A slot and a log that move as they are told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.recorded = 0
        self.done = 0
        self.fails: Exception | None = None
        self.reads = 0
        self.watch = Overdue(3, lambda: self.recorded, self.integrated, overdue.OVERDUE_AFTER)

    def integrated(self) -> dict[int, int]:
        self.reads += 1
        if self.fails is not None:
            raise self.fails
        return {2: 10**6, 3: self.done}

    def barred(self, seconds: int, each: int = 0, done: int = 0) -> int:
        """Let the time pass, `each` entries be recorded and `done` integrated per second; how often one was barred."""
        times = 0
        for _ in range(seconds * 2):
            self.clock.now += 0.5
            self.recorded += each
            self.done += done
            times += self.watch.look() is not None
        return times


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    clock = Clock()
    monkeypatch.setattr(overdue, "time", clock)
    return Place(clock)


def test_a_log_that_follows_bars_nothing_and_an_idle_worker_asks_for_nothing(place: Place) -> None:
    place.done = -3
    place.recorded = 2
    assert place.barred(300, each=5, done=5) == 0
    place.done = place.recorded
    place.barred(2)
    asked = place.reads
    assert place.barred(3600) == 0
    assert place.reads == asked


@pytest.mark.parametrize("fails", [None, OSError(5, "EIO"), VerificationError("sequencer.json fails its checksum")])
def test_entries_that_wait_longer_than_the_bound_bar_what_comes_until_they_are_in(
    place: Place, fails: Exception | None
) -> None:
    place.barred(10, each=1, done=1)
    place.recorded += 100
    place.fails = fails
    assert place.barred(60) == 0
    assert place.barred(3) > 0
    why = place.watch.look()
    assert why is not None
    assert "60 s" in why
    assert 60 < place.watch.waited < 65
    assert place.barred(10) == 20
    place.fails, place.done = None, place.recorded
    place.barred(2)
    assert (place.watch.look(), place.watch.waited) == (None, 0.0)


def test_one_entry_alone_is_enough(place: Place) -> None:
    place.recorded = 1
    assert place.barred(60) == 0
    assert place.barred(5) > 0


def test_a_log_that_moves_and_falls_ever_further_behind_bars_too(place: Place) -> None:
    assert place.barred(300, each=100, done=10) > 0


def test_takeovers_bar_nothing(place: Place) -> None:
    for _ in range(50):
        assert place.barred(2, each=100) == 0
        place.done = place.recorded
        assert place.barred(1, each=100, done=100) == 0


def test_a_pause_of_ones_own_is_no_wait(place: Place) -> None:
    place.barred(5, each=1)
    place.clock.now += 3600
    assert place.watch.look() is None
