"""Queues, what is known of people and where their data should lie in; how many jobs wait where their subject does not
live, out.

A move leaves them: they were promised, and a worker of that place takes them. What such a job says of its subject lies
there until it is done, so that whoever proves that all is home is told of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from residency.model import Pin, Signal
from residency.storage.misplaced import Homing
from residency.storage.queues import QueueSink, queues_of, whose

__all__ = ["JobsLeft", "jobs_left"]


@dataclass(frozen=True, slots=True)
class JobsLeft:
    """Jobs of one sink in the queues of one place, whose subjects should be, or are, at home elsewhere."""

    store: str
    sink: str
    place: str
    jobs: int
    subjects: int


async def jobs_left(
    deployment: str,
    store: str,
    sink: QueueSink,
    places: Collection[str],
    homing: Homing,
    pin_of: Callable[[str], Awaitable[Pin | None]],
    digest: Callable[[str], str],
    known: Mapping[str, tuple[Signal, ...]],
) -> list[JobsLeft]:
    """By place, where there are any; nothing is taken from a queue. `known` is as for `survey`. It reads every job.

    Raises: SinkUnavailable, PinsUnavailable.
    """
    found = []
    for place in sorted(places):
        jobs: Counter[str] = Counter()

        def count(job: bytes, jobs: Counter[str] = jobs) -> bool:
            if (subject := whose(job)) is not None:
                jobs[subject] += 1
            return False

        await sink.purge(queues_of(deployment, store, place), count)
        left = []
        for subject, number in jobs.items():
            pin = await pin_of(digest(subject))
            if homing.home(homing.finding(known.get(subject, ()), pin), pin) != place:
                left.append(number)
        if left:
            found.append(JobsLeft(store, sink.name, place, sum(left), len(left)))
    return found
