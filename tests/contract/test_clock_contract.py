"""What `Clock` promises, over every adapter."""

from __future__ import annotations

import pytest

from residency.adapters.clock_manual import ManualClock
from residency.adapters.clock_system import SystemClock
from residency.enforcement.ports import Clock


@pytest.fixture(params=[SystemClock, ManualClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    """One clock of each kind."""
    made: Clock = request.param()
    return made


def test_now_is_whole_microseconds_since_the_epoch(clock: Clock) -> None:
    now = clock.now()
    assert isinstance(now, int)
    assert 1_700_000_000_000_000 < now < 1 << 53


def test_monotonic_never_goes_backwards(clock: Clock) -> None:
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_manual_clock_moves_only_when_it_is_moved() -> None:
    clock = ManualClock(1_800_000_000_000_000)
    clock.advance(5)
    assert (clock.now(), clock.monotonic()) == (1_800_000_000_000_005, 5)
    clock.set_wall(1_700_000_000_000_000)
    assert (clock.now(), clock.monotonic()) == (1_700_000_000_000_000, 5)
    with pytest.raises(ValueError, match="forwards"):
        clock.advance(-1)
