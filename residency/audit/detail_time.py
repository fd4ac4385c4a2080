"""What time is known to have passed since details were kept, and which of them may go by then: clocks and heads in.

A clock can be set, by accident or by who means harm, and what a law wants kept would be erased years too early. So
beside the details stands a *count* of time: it begins at what the clock said, and grows by nothing but what the
machine's monotonic clock ran on within one boot. Time in which the machine was off is not in it: it lags, and never
leads.

    floor     is over once as much time was counted since the detail was filed as the law asks: whatever the clock says
    ceiling   is reached once the count says so, or the clock, as long as the two are no more than `APART` apart

A detail goes when both are so. Where clock and count are further apart, which of them is right is for a person to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from residency.audit.detail_head import Head

__all__ = ["APART", "Count", "Moment", "Span", "count_on", "span_of"]

APART: Final = 86_400_000_000
"""A day (microseconds): how far clock and count may be from each other before the clock is not believed."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks say, in microseconds: `wall` since the epoch, `monotonic` of the boot that is called `boot`."""

    wall: int
    boot: str
    monotonic: int


@dataclass(frozen=True, slots=True)
class Count:
    """The count of time (microseconds since the epoch) as it stood at `monotonic` of `boot`."""

    time: int
    boot: str
    monotonic: int

    def believed(self, wall: int) -> int | None:
        """What the clock says, where it is near enough; None where it is not."""
        return wall if abs(wall - self.time) <= APART else None


@dataclass(frozen=True, slots=True)
class Span:
    """Until when one detail is kept: `due` by the clock; `over` (its term) and `free` (its floor) by the count."""

    due: int
    over: int
    free: int

    def ended(self, count: Count, wall: int) -> bool:
        """Whether it may go."""
        clock = count.believed(wall)
        return self.free <= count.time and (self.over <= count.time or (clock is not None and self.due <= clock))


def count_on(known: Count | None, now: Moment, newest: int | None) -> Count:
    """The count at `now`. Where there is none yet it begins at the clock, or at `newest`, when the newest detail was
    recorded, if there are any and that is earlier."""
    if known is None:
        return Count(now.wall if newest is None else min(newest, now.wall), now.boot, now.monotonic)
    if known.boot != now.boot:
        return replace(known, boot=now.boot, monotonic=now.monotonic)
    # Another process may have counted on since these clocks were read: nothing is counted twice.
    passed = max(now.monotonic - known.monotonic, 0)
    return replace(known, time=known.time + passed, monotonic=known.monotonic + passed)


def span_of(head: Head, since: int | None, count: Count) -> Span:
    """Until when a detail is kept that is filed at `count` and was recorded no earlier than `since` of an earlier count
    (None = nothing is known of that)."""
    # When it was recorded, by the count: as its head says, as far as that can be.
    recorded = min(head.at if since is None else max(head.at, since), count.time)
    late = recorded - head.at
    return Span(
        due=head.due + max(late, 0),
        over=head.due + late,
        free=recorded if head.keep_until is None else head.keep_until + late,
    )
