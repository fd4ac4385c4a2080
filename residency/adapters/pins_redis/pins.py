"""Pins in, pins out, over Redis or Valkey: the `Pins` port.

`peek` answers from the local copy (see `mirror`); what it does not hold is asked for in a worker thread, so that
asyncio and trio are served alike and a blocked event loop stops no heartbeat. Every wait is bounded: by `timeout` for
connecting and for each answer, and a server known to be away is not waited for at all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from residency.adapters.pins_redis.exchange import FAILURES, Wire, Words
from residency.adapters.pins_redis.group import AWAY, CLOSED, Primaries
from residency.adapters.pins_redis.marks import Marks
from residency.adapters.pins_redis.mirror import Counters, Mirror, Peek
from residency.adapters.pins_redis.primary import Primary, Settings
from residency.adapters.pins_redis.recent import Recent
from residency.adapters.pins_redis.scripts import FORGET, PUT, Script, format_pin, parse_pin
from residency.adapters.pins_redis.urls import Node, parse_redis_url
from residency.errors import PinsUnavailable, StaleVersion
from residency.model import Pin

__all__ = ["PinsRedis"]

_T = TypeVar("_T")
_THREADS: Final = 16
"""Questions under way at once, per event loop; those of the app's own sync handlers are not counted."""
_limiter: Final[RunVar[CapacityLimiter]] = RunVar("residency_pins_redis_limiter")


class PinsRedis:
    """The `Pins` port over Redis or Valkey: one server, behind Sentinel, or a Cluster. Open it anew after a fork."""

    peek: Peek
    """From the local copy, else (None, False). Raises PinsUnavailable beyond `stale_for`, and once closed.

    The mirror's own method: a frame in between would cost every request as much again.
    """
    counters: Counters
    """What happened."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "residency:pin:",
        stale_for: int = 10_000_000,
        local: int = 100_000,
        key_mark: str | None = None,
        recent: Callable[[], Iterable[Pin]] = tuple,
        replay: int = 3_600_000_000,
        timeout: float = 2.0,
        wait: int = 500,
        elsewhere: Callable[[str], bool] | None = None,
    ) -> None:
        """Connect, and have all changes under `prefix` told from now on.

        `stale_for` (microseconds) = for how long after the server was last heard of the local copy serves; `local` =
        the answers it holds at most; `key_mark` tells the key under which subjects are digested from any other;
        `recent` answers pins that the audit log tells of, to be put back where a new primary lacks them, and `replay`
        (microseconds) for how long a change counts as recent; `timeout` (seconds) for connecting and for each answer;
        `wait` (milliseconds) for a replica to confirm a write; `elsewhere` = whether an address is none that the
        server may lie at, None = that is not asked.

        Raises: ValueError where the URL cannot be read, PinsUnavailable where the server cannot be reached or trusted.
        """
        place = replace(parse_redis_url(url), elsewhere=elsewhere)
        self.counters = Counters()
        self._prefix = prefix.encode()
        self._mirror = Mirror(local, self.counters)
        self._settings = Settings(
            place, self._prefix, min(1.0, stale_for / 4_000_000), timeout, stale_for / 1_000_000, wait
        )
        self._recent = Recent(recent, within=replay / 1_000_000, limit=local)
        marks = Marks(self._prefix, key_mark, cluster=place.kind == "cluster")
        self._group = Primaries(
            self._settings, self._mirror, self.counters, marks, self._recent, max(1, replay // 1_000)
        )
        self._pid = os.getpid()
        self.peek = self._mirror.peek
        try:
            self._group.start()
        except BaseException:
            self._group.close()
            raise

    # -- the port ----------------------------------------------------------------------------------------------

    async def get(self, subject: str) -> Pin | None:
        """The newest pin of `subject`. Raises: PinsUnavailable."""
        return await _in_thread(lambda: self._get(subject))

    async def put(self, pin: Pin) -> None:
        """Store `pin` if it is the stored one's next version, and wait for a replica where there is one.

        Raises: StaleVersion; PinsUnavailable, after which the pin may or may not be stored.
        """
        await _in_thread(lambda: self._put(pin))

    async def forget(self, subject: str, version: int) -> None:
        """Remove the pin whose version is `version`. Raises: StaleVersion; PinsUnavailable as `put`."""
        await _in_thread(lambda: self._forget(subject, version))

    async def aclose(self) -> None:
        """Release threads and connections; idempotent. In a forked child, forget them."""
        if os.getpid() != self._pid:
            # The parent's threads are not here, and may have held any lock when they were left behind.
            self._group.closed = True
            self._mirror.leave(CLOSED)
            return
        await anyio.to_thread.run_sync(self._group.close)

    # -- what metrics ask --------------------------------------------------------------------------------------

    def is_stale(self) -> bool:
        """Whether some server has not been heard of lately, so that what the copy serves may be behind."""
        now = time.monotonic()
        for primary in self._group.all():
            lease = primary.lease
            if lease is None or now > lease.fresh:
                return True
        return False

    def is_forgetful(self) -> bool:
        """Whether some server keeps no append-only file, so that a restart loses what it was told last."""
        return not all(primary.appends for primary in self._group.all())

    def gauges(self) -> dict[str, float]:
        """`connected` primaries, `primaries` in all, `local` answers held, `heard` = seconds since the least recent
        answer to a PING (infinite before the first)."""
        primaries = self._group.all()
        now = time.monotonic()
        return {
            "connected": float(sum(primary.lease is not None for primary in primaries)),
            "primaries": float(len(primaries)),
            "local": float(len(self._mirror)),
            "heard": max((now - primary.heard for primary in primaries), default=float("inf")),
        }

    # -- commands, in worker threads ---------------------------------------------------------------------------

    def _get(self, subject: str) -> Pin | None:
        key = self._prefix + subject.encode()

        def read(wire: Wire) -> Pin | None:
            return parse_pin(subject, wire.ask("GET", key))

        def ask(primary: Primary) -> Pin | None:
            ticket = self._mirror.begin(subject, primary.current())
            try:
                # Begun after the copy was emptied, and under the lease from before: nothing would ever renew that.
                if primary.lease is not ticket.lease:
                    raise PinsUnavailable(AWAY)
                pin = primary.exchange(read)
            except BaseException:
                self._mirror.abandon(ticket)
                raise
            self._mirror.finish(ticket, pin)
            return pin

        # What a cluster hands over just now is asked for where it goes to, and not held.
        return self._directed(key, ask, lambda wire, then: read(wire))

    def _put(self, pin: Pin) -> None:
        stored = format_pin(pin)
        if not self._change(pin.subject, PUT, (stored, pin.version), lambda _: self._recent.wrote(pin)):
            raise StaleVersion("the pin has another version than the one this was based on")

    def _forget(self, subject: str, version: int) -> None:
        arguments = (version, self._group.replay_ms)
        if not self._change(subject, FORGET, arguments, lambda stone: self._recent.forgot(subject, stone)):
            raise StaleVersion("the pin has another version than the one to forget")

    def _change(
        self, subject: str, script: Script, arguments: tuple[str | bytes | int, ...], done: Callable[[Any], None]
    ) -> bool:
        """Whether the script found the version it was to find."""
        key = self._prefix + subject.encode()

        def change(primary: Primary) -> list[Any]:
            primary.current()
            then: list[Words] = primary.waiting()
            return primary.exchange(lambda wire: wire.run(script, key, arguments, *then))

        # The copy holds nothing of this subject from before the change is sent until after it is known: whether it
        # fails or not, an answer read in between may be the old one.
        self._mirror.drop(subject)
        try:
            # ASKING is good for one command.
            answers = self._directed(key, change, lambda wire, then: wire.run_whole(script, key, arguments, *then))
        finally:
            self._mirror.drop(subject)
        if answers[0] == 0:
            return False
        done(answers[0])
        if len(answers) > 1 and (not isinstance(answers[1], int) or answers[1] < 1):
            self.counters.count("wait_failed")
            # It is stored on the primary and may be lost with it. Whoever asks again finds it there.
            raise PinsUnavailable("no replica confirmed the pin in time")
        return True

    def _directed(self, key: bytes, work: Callable[[Primary], _T], handed: Callable[[Wire, list[Words]], _T]) -> _T:
        """What `work` answers at the primary that holds `key`; `handed` at one that is just taking it over.

        `handed` gets what to send after a write.
        """
        end = time.monotonic() + 2 * self._settings.timeout
        while True:
            primary = self._group.owner(key)
            try:
                return work(primary)
            except MovedError:
                self.counters.count("redirected")
            except AskError as asked:
                self.counters.count("redirected")
                try:
                    return self._hand((asked.host or (primary.node or ("", 0))[0], asked.port), handed)
                except (MovedError, TryAgainError):
                    pass
                except FAILURES:  # their words name hosts and ports
                    raise PinsUnavailable(AWAY) from None
            except (TryAgainError, ClusterDownError):
                pass
            except FAILURES:
                primary.nudge()
                raise PinsUnavailable(AWAY) from None
            self._group.look()
            if time.monotonic() >= end:
                raise PinsUnavailable("the cluster does not settle where the pin lies")
            time.sleep(0.02)

    def _hand(self, node: Node, work: Callable[[Wire, list[Words]], _T]) -> _T:
        primary = self._group.at(node)
        wire = self._settings.place.wire(node, self._settings.timeout)
        try:
            wire.open()
            wire.ask("ASKING")
            return work(wire, [] if primary is None else primary.waiting())
        finally:
            wire.close()


async def _in_thread(work: Callable[[], _T]) -> _T:
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(_THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(work, limiter=limiter)
