"""The local copy of pins: answers and invalidations in, `peek` out.

Three rules make it right, whatever the order in which a reply and its invalidation arrive:

1. A question is announced by `begin` before it is sent and its reply stored by `finish`. An invalidation of the subject
   in between *poisons* it, and the reply is not stored: it may be older than the change it was overtaken by, and no
   second invalidation would ever correct it.
2. Each answer is held under the *lease* of the tracking connection that would have told of a change. A lease lasts
   until `until`; the connection's heartbeat moves that on. Beyond it the answer is worth nothing.
3. Whatever breaks the chain of invalidations (a reconnection, a null invalidation, other servers) empties the copy
   and poisons every question under way.

`peek` takes no lock: one probe of a dict and one comparison with a monotonic clock. Everything that changes takes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from residency.errors import PinsUnavailable
from residency.model import Pin

__all__ = ["Counters", "Lease", "Mirror", "Peek", "Ticket"]

_ASK: Final[tuple[Pin | None, bool]] = (None, False)
_NEVER: Final = float("-inf")


class Counters:
    """What happened, as plain integers that only grow."""

    __slots__ = (
        "_lock",
        "clears",
        "conflicts",
        "distrusted",
        "invalidations",
        "misses",
        "poisoned",
        "reconnects",
        "redirected",
        "replayed",
        "wait_failed",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.misses = 0
        """Questions that went to the server."""
        self.invalidations = 0
        """Subjects that the server said have changed."""
        self.clears = 0
        """Times the copy was emptied, the first connection's included."""
        self.poisoned = 0
        """Replies not stored because a change or a break overtook them."""
        self.reconnects = 0
        """Tracking connections established after another one."""
        self.replayed = 0
        """Pins put back after another primary turned out to lack them."""
        self.conflicts = 0
        """Pins not put back because their subjects have got other homes since: in a failover, or forgotten before."""
        self.wait_failed = 0
        """Writes that no replica confirmed in time."""
        self.redirected = 0
        """Commands that a cluster sent elsewhere."""
        self.distrusted = 0
        """Times the store turned out to have lost what it held, to be another one, or to be unfit."""

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter that several threads may add to."""
        with self._lock:
            setattr(self, name, getattr(self, name) + by)


class Lease:
    """How long answers under one tracking connection may be given, on `time.monotonic()`; `fresh` = until when it is
    in good health. Both start in the past."""

    __slots__ = ("fresh", "until")

    def __init__(self) -> None:
        self.until = _NEVER
        self.fresh = _NEVER


class Ticket:
    """One question under way."""

    __slots__ = ("lease", "poisoned", "subject")

    def __init__(self, subject: str, lease: Lease) -> None:
        self.subject = subject
        self.lease = lease
        self.poisoned = False


class Peek(Protocol):
    """What `Pins.peek` is."""

    def __call__(self, subject: str) -> tuple[Pin | None, bool]:
        """(pin, known) without waiting. Raises: PinsUnavailable."""


_Held = dict[str, tuple[Lease, tuple[Pin | None, bool]]]


class Mirror:
    """At most `limit` answers, by subject; emptied when full, for a cache of this kind refills in one question each."""

    __slots__ = ("_asked", "_held", "_limit", "_lock", "counters", "peek", "refusal")

    peek: Peek
    """(pin, True), (None, True) if there is none, (None, False): ask. Raises: PinsUnavailable beyond a lease."""

    def __init__(self, limit: int, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self.counters = counters
        self.refusal: str | None = None
        """Why nothing is answered at all; None where it is."""
        self._limit = limit
        self._held: _Held = {}
        self._asked: dict[str, list[Ticket]] = {}
        self._lock = threading.Lock()
        self.peek = self._peek(self._held, clock)

    def __len__(self) -> int:
        return len(self._held)

    def _peek(self, held: _Held, clock: Callable[[], float]) -> Peek:
        # A closure: what every request pays is half of what a method over attributes would cost.
        def peek(subject: str) -> tuple[Pin | None, bool]:
            try:
                lease, answer = held[subject]
            except KeyError:
                if self.refusal is not None:
                    raise PinsUnavailable(self.refusal) from None
                return _ASK
            if clock() <= lease.until:
                return answer
            raise PinsUnavailable("the pins' server was not heard of for longer than `stale_for`")

        return peek

    def refuse(self, why: str | None) -> None:
        """From now on hold nothing and raise `why`; None ends that."""
        with self._lock:
            self.refusal = why
            self._empty()

    def begin(self, subject: str, lease: Lease) -> Ticket:
        """Announce a question, before it is sent."""
        ticket = Ticket(subject, lease)
        with self._lock:
            self.counters.misses += 1
            self._asked.setdefault(subject, []).append(ticket)
        return ticket

    def finish(self, ticket: Ticket, pin: Pin | None) -> bool:
        """Store a reply unless it was overtaken; whether it was stored."""
        with self._lock:
            self._done(ticket)
            if ticket.poisoned or self.refusal is not None:
                self.counters.poisoned += 1
                return False
            held = self._held.get(ticket.subject)
            if held is not None and held[1][0] != pin:
                # Two replies about one subject differ: a change fell between them, and which of them is the older one
                # cannot be told. Its invalidation is on the way; until then neither is held.
                self._forget(ticket.subject)
                self.counters.poisoned += 1
                return False
            if held is None and len(self._held) >= self._limit:
                self._held.clear()
            self._held[ticket.subject] = (ticket.lease, (pin, True))
            return True

    def abandon(self, ticket: Ticket) -> None:
        """The question got no reply."""
        with self._lock:
            self._done(ticket)

    def drop(self, subject: str) -> None:
        """Hold nothing of `subject`, and store no reply to a question about it that is under way."""
        with self._lock:
            self._forget(subject)

    def invalidate(self, subjects: list[str]) -> None:
        """The server says that these have changed."""
        with self._lock:
            self.counters.invalidations += len(subjects)
            for subject in subjects:
                self._forget(subject)

    def poison(self) -> None:
        """Store no reply to any question under way; what is held stays."""
        with self._lock:
            self._poison()

    def clear(self) -> None:
        """Empty the copy and poison every question under way."""
        with self._lock:
            self.counters.clears += 1
            self._empty()

    def pins(self) -> list[Pin]:
        """The pins that are held."""
        with self._lock:
            return [pin for _, (pin, _) in self._held.values() if pin is not None]

    def leave(self, why: str) -> None:
        """As `refuse`, in a forked child: without the lock, for a thread that is not there may hold it."""
        self.refusal = why
        self._held.clear()

    def _done(self, ticket: Ticket) -> None:
        asked = self._asked.get(ticket.subject)
        if asked is not None and ticket in asked:
            asked.remove(ticket)
            if not asked:
                del self._asked[ticket.subject]

    def _forget(self, subject: str) -> None:
        self._held.pop(subject, None)
        for ticket in self._asked.get(subject, ()):
            ticket.poisoned = True

    def _poison(self) -> None:
        for asked in self._asked.values():
            for ticket in asked:
                ticket.poisoned = True

    def _empty(self) -> None:
        self._held.clear()  # in place: `peek` reads this very dict
        self._poison()
