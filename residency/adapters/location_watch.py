"""The ways to every sink in; whether each lies where it says, looked at again and again, out.

A thread looks at the start and every so often; nothing of a request waits for it. What drifts stands in an entry, on
the metrics page, in the log, and where the deployment says `drift: refuse` in `misplaced`, which acts are checked by.
There a sink counts as misplaced too until it was looked at for the first time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import anyio

from residency.errors import ResidencyError
from residency.model import Filing
from residency.storage.barred import Barred
from residency.storage.location import (
    EVENTS,
    Address,
    Seen,
    Standing,
    Verdict,
    Watched,
    Which,
    attested,
    behind,
    called,
    follow,
    followed,
    judge,
    lapsed,
    near,
    same,
)

__all__ = ["LocationWatch"]

_log = logging.getLogger("residency")
_SECOND: Final = 1_000_000
_PATIENCE: Final = 20.0  # seconds that a start waits for the first look, and an end for the last one
_NOTICE: Final = 0.1  # seconds until a look notices that it is to end
_SOON: Final = 10.0  # seconds until a sink is looked at again that could not be looked at yet
_NOTE: Final = 200  # characters of an entry's note
_NOBODY: Final = Which()

Looks = Mapping[str, tuple[Callable[[], Awaitable[Seen]], ...]]


class LocationWatch:
    """Watches the sinks of one process. A forked child makes its own."""

    def __init__(
        self,
        places: Mapping[str, str],
        looks: Looks,
        *,
        filings: Callable[[], Iterable[Filing]],
        now: Callable[[], int],
        tell: Callable[[str], object],
        every: int,
        refuse: bool,
        which: Callable[[], Mapping[str, Which]] = dict,
        placed: Callable[[str], Address] = lambda text: Address(text, "private"),
    ) -> None:
        """`places` and `looks` by sink: where it says that it lies, and what looks at each way to it. `now` and `every`
        in microseconds; `tell` records a note, and raises Unavailable where it cannot. `which` has, by sink, what the
        servers behind it told of themselves; `placed` says of an address where it lies."""
        self.places = places
        self.misplaced = Barred()
        """Sinks that no act may use now. The same object for as long as this lives."""
        self.watched: dict[str, Watched] = {}
        """Every sink after its last look."""
        self.seen: dict[str, tuple[Seen, ...]] = {}
        """What was last seen of the ways to every sink."""
        self.events = dict.fromkeys((*EVENTS, "looked", "failed"), 0)
        """How often each of these came to pass in this process; `failed` are looks that broke off."""
        self.every = every
        self.looked_at: int | None = None
        """When all sinks were last looked at (microseconds), None = not yet."""
        self._looks = looks
        self._filings = filings
        self._now = now
        self._tell = tell
        self._refuse = refuse
        self._which = which
        self._placed = placed
        self._followed: dict[str, tuple[str, ...]] = {}
        self._stop = threading.Event()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name="residency-location", daemon=True)

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look. Where drift is refused the first look is waited for, so that no act goes before it."""
        if self._refuse:
            self.misplaced.bar(lambda: self.places)
        self._thread.start()
        if self._refuse:
            self._first.wait(_PATIENCE)

    def stop(self) -> None:
        """End, in the middle of a look too. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                anyio.run(self._look_until_stopped)
            except Exception as error:  # noqa: BLE001 - whatever went wrong, the next look comes
                self.events["failed"] += 1
                why = str(error) if isinstance(error, ResidencyError) else type(error).__name__
                _log.warning("location: sinks could not be looked at (%s); what was last seen stands", why)
            self._first.set()
            wait = self.every / _SECOND
            if any(each.base is None and not each.drift for each in self.watched.values()) or not self.watched:
                wait = min(wait, _SOON)
            self._stop.wait(wait)

    async def _look_until_stopped(self) -> None:
        async def stopped() -> None:
            while not self._stop.is_set():  # noqa: ASYNC110 - a thread's event, which nobody can await
                await anyio.sleep(_NOTICE)
            group.cancel_scope.cancel()

        problem: ResidencyError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(stopped)
            try:
                await self.look()
            except ResidencyError as error:
                problem = error  # as itself, and not in a group
            group.cancel_scope.cancel()
        if problem is not None:
            raise problem

    # -- looking -----------------------------------------------------------------------------------------------

    async def look(self) -> dict[str, Watched]:
        """One look at every sink, with all that follows of it. Raises: Unavailable where it cannot be recorded."""
        seen = await self._see()
        for name, verdict in self.judged(seen).items():
            watched, event = follow(self.watched.get(name), verdict)
            self._place(name, watched)
            if event is not None:
                self.events[event] += 1
                self._say(name, event, watched)
            # Last, so that what could not be recorded is news again at the next look.
            self.watched[name] = watched
            if verdict.followed != self._followed.get(name, ()):
                what = "; ".join(verdict.followed) or "no server elsewhere follows it any more"
                _log.warning("location: %s: %s", called(name), what)
                self._tell(f"location {name} followed: {what}"[:_NOTE])
                self._followed[name] = verdict.followed
        self.seen = seen
        self.looked_at = self._now()
        self.events["looked"] += 1
        return dict(self.watched)

    def judged(self, seen: Mapping[str, tuple[Seen, ...]]) -> dict[str, Verdict]:
        """What the looks at all sinks say of each."""
        now, filings = self._now(), tuple(self._filings())
        verdicts = {
            name: judge(
                self.places[name],
                ways,
                attested=attested(filings, name, now),
                lapsed=lapsed(filings, name, now),
            )
            for name, ways in seen.items()
        }
        asked = self._which()
        told = {name: _joined([asked.get(name, _NOBODY), *(way.which for way in ways)]) for name, ways in seen.items()}
        for name, which in told.items():
            verdicts[name] = behind(self.places[name], verdicts[name], map(self._placed, which.reached))
        verdicts = near(verdicts, self.places, {name: took for name, ways in seen.items() if (took := _fastest(ways))})
        verdicts = same(verdicts, self.places, {name: which.words for name, which in told.items()})
        for name, which in told.items():
            abroad = followed(self.places[name], map(self._placed, which.followers))
            verdicts[name] = replace(verdicts[name], followed=abroad)
        return verdicts

    async def _see(self) -> dict[str, tuple[Seen, ...]]:
        found: dict[str, list[Seen | None]] = {name: [None] * len(looks) for name, looks in self._looks.items()}

        async def one(name: str, number: int, look: Callable[[], Awaitable[Seen]]) -> None:
            found[name][number] = await look()

        async with anyio.create_task_group() as group:
            for name, looks in self._looks.items():
                for number, look in enumerate(looks):
                    group.start_soon(one, name, number, look)
        return {name: tuple(each for each in ways if each is not None) for name, ways in found.items()}

    def _place(self, name: str, watched: Watched) -> None:
        unknown = watched.base is None and watched.verdict.standing is not Standing.CONTRADICTED
        barred = {name} if self._refuse and (watched.drift or unknown) else set()
        self.misplaced.bar(lambda: self.misplaced - {name} | barred)

    def _say(self, name: str, event: str, watched: Watched) -> None:
        what = "; ".join(watched.verdict.why if event != "changed" else sorted(watched.marks))
        level = logging.WARNING if event != "changed" else logging.INFO
        _log.log(level, "location: %s is %s (%s): %s", called(name), watched.verdict.standing.value, event, what)
        if event != "unseen":
            self._tell(f"location {name} {event}: {what}"[:_NOTE])


def _joined(said: Sequence[Which]) -> Which:
    """All that is said of what lies behind the ways to one sink."""
    return Which(
        frozenset(word for each in said for word in each.words),
        tuple(address for each in said for address in each.followers),
        tuple(address for each in said for address in each.reached),
    )


def _fastest(ways: Iterable[Seen]) -> int | None:
    """The least round trip of ways that lead to public addresses alone (microseconds). A front door of a cloud may be
    near, whatever lies behind it."""
    times = [
        seen.round_trip
        for seen in ways
        if seen.round_trip is not None
        and not seen.front
        and seen.addresses
        and all(each.reach == "public" for each in seen.addresses)
    ]
    return min(times, default=None)
