"""One primary: its tracking connection with a thread of its own, and the commands that are sent to it.

The thread connects, asks the server to push every change under our prefix (RESP3 client tracking, broadcast mode),
and then listens. Once per beat it asks whether the server is still the primary that it was; the answer moves the lease
of all that was learned under this connection. The server answers in order, so whoever reads the answer to a PING has
read every change that was made before it: a lease counts from when its PING was sent, never later.

Where the order of steps matters it is numbered in `_attach`.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from residency.adapters.pins_redis.exchange import FAILURES, TOLD, Elsewhere, Pool, ServerGone, Wire, Words, fields
from residency.adapters.pins_redis.marks import Marks
from residency.adapters.pins_redis.mirror import Counters, Lease, Mirror
from residency.adapters.pins_redis.urls import Node, Place
from residency.errors import PinsUnavailable

__all__ = ["Group", "Primary", "Settings"]

_T = TypeVar("_T")
_SLOWEST: Final = 1.0
"""Seconds between two attempts to connect, at most."""
_REPLICA: Final = "the pins' server is a replica"
_AWAY: Final = "the pins' server cannot be reached"
_ELSEWHERE: Final = "the pins' server has an address in another country than `pins.region` says"
_DENIED: Final = "the pins' server refuses our user, our password or a command that pins need"
Identity = tuple[str, str]
"""A server process's id and the id of the history it serves; the latter changes whenever a replica is promoted."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`beat`, `timeout`, `stale_for` in seconds; `wait` = milliseconds for a replica to confirm a write."""

    place: Place
    prefix: bytes
    beat: float
    timeout: float
    stale_for: float
    wait: int


class Group(Protocol):
    """What a primary needs of the store it is a part of."""

    mirror: Mirror
    counters: Counters
    marks: Marks

    def owned(self, primary: Primary) -> Callable[[int], bool]:
        """Which hash slots `primary` holds."""

    def attached(self, primary: Primary, identity: Identity) -> None:
        """Its changes are told from now on, and no answer of it is held yet. Raises: FAILURES, PinsUnavailable."""

    def judged(self, primary: Primary, trouble: PinsUnavailable | None, *, lasting: bool = False) -> None:
        """What is wrong with it; None where nothing is. `lasting` = trying again does not help."""

    def confirmed(self, primary: Primary, sent: float, nodes: bytes | None) -> float | None:
        """The last moment, not after `sent`, at which this was sure to be the primary; None where it is in doubt.

        `nodes` = its CLUSTER NODES, in a cluster.
        """


class Primary:
    """One primary. `lease` is None while its changes are not told."""

    def __init__(self, node: Node | None, settings: Settings, group: Group) -> None:
        self.node = node
        self.lease: Lease | None = None
        self.heard = float("-inf")
        """When the last PING was sent that was answered, on `time.monotonic()`."""
        self.replicas = 0
        self.appends = True
        """Whether it keeps an append-only file, as far as it said."""
        self._settings = settings
        self._group = group
        self._identity: Identity | None = None
        self._run_id = ""
        self._pool = Pool(self._connect_command)
        self._ended = False
        self._broken = False
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        # Not `select`, which knows no file descriptors beyond 1023.
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="residency-pins", daemon=True)

    def start(self) -> None:
        """Connect, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread soon; `join` waits for it."""
        self._ended = True
        self.lease = None
        self.nudge()

    def join(self) -> None:
        """Wait for the thread, which may be waiting for the server: two timeouts at most."""
        self._thread.join()
        self._pool.close()
        self._selector.close()
        self._wake.close()
        self._waker.close()

    def nudge(self) -> None:
        """Look at once whether all is well."""
        with suppress(OSError):  # ended already
            self._waker.send(b"!")

    def current(self) -> Lease:
        """The lease under which an answer may be asked for. Raises: PinsUnavailable at once where there is none."""
        lease = self.lease
        if lease is None or time.monotonic() > lease.until:
            raise PinsUnavailable(_AWAY)
        return lease

    def exchange(self, work: Callable[[Wire], _T]) -> _T:
        """What `work` answers on a connection to this very server process. Raises: FAILURES."""
        with self._pool.wire() as wire:
            return work(wire)

    def waiting(self) -> list[Words]:
        """The command that waits for a replica to have what was written; none where there is no replica."""
        return [("WAIT", 1, self._settings.wait)] if self.replicas else []

    # -- connections -------------------------------------------------------------------------------------------

    def _connect_command(self) -> Wire:
        wire = self._settings.place.wire(self.node, self._settings.timeout)
        wire.open()
        try:
            # A name or an address may lead to another server by now, whose changes would not be told to us.
            if fields(wire.ask("INFO", "server")).get("run_id") != self._run_id:
                self.nudge()
                raise ServerGone("another server answers in this one's place")
        except BaseException:
            wire.close()
            raise
        return wire

    def _run(self) -> None:
        pause = 0.05
        while not self._ended:
            wire = self._settings.place.wire(self.node, self._settings.timeout)
            try:
                self._attach(wire)
                pause = 0.05
                self._listen(wire)
            except FAILURES as error:
                self._group.judged(self, PinsUnavailable(_why(error)))
            except PinsUnavailable as trouble:
                self._group.judged(self, trouble, lasting=True)
            finally:
                self._detach(wire)
            if not self._ended:
                self._wait(pause)
                pause = min(2 * pause, _SLOWEST)

    def _attach(self, wire: Wire) -> None:
        settings, group = self._settings, self._group
        # (1) From here on changes are told.
        self._broken = False
        wire.open(self._told)
        wire.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", settings.prefix)
        # (2) Which server this is, and whether it keeps what it is given.
        said = fields(wire.ask("INFO"))
        if said.get("role") != "master":
            raise ServerGone(_REPLICA)
        if said.get("maxmemory_policy", "").startswith("allkeys"):
            raise PinsUnavailable("the pins' server may evict pins: set its maxmemory-policy to noeviction")
        self.appends = said.get("aof_enabled") != "0"
        identity = (said.get("run_id", ""), said.get("master_replid", ""))
        self._run_id = identity[0]
        group.marks.adopt(wire, group.marks.keys(group.owned(self)))
        # (3) What was learned before is no longer told of. A crash of the server here leaves an empty copy.
        self._pool.close()
        self._pool = Pool(self._connect_command)
        group.attached(self, identity)
        if self._identity is not None:
            group.counters.count("reconnects")
        self._identity = identity
        # (4) Only now answers are held, under a lease that the first beat makes good.
        lease = Lease()
        self._beat(wire, lease)
        self.lease = lease
        group.judged(self, None)

    def _detach(self, wire: Wire) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.fresh = float("-inf")
        # A question under way might be answered after a change that nobody told us of.
        self._group.mirror.poison()
        wire.close()

    def _listen(self, wire: Wire) -> None:
        lease, due = self.lease, time.monotonic() + self._settings.beat
        ears = wire.socket
        self._selector.register(ears, selectors.EVENT_READ)
        try:
            while lease is not None and not self._ended:
                while wire.readable():
                    if wire.read() is not TOLD or self._broken:
                        raise ServerGone("neither an answer nor a change that can be read")
                if time.monotonic() >= due:
                    due = time.monotonic() + self._settings.beat
                    self._beat(wire, lease)
                    self._group.judged(self, None)
                elif self._wait(due - time.monotonic()):
                    due = 0.0
        finally:
            self._selector.unregister(ears)

    def _wait(self, seconds: float) -> bool:
        """Until something is said, or somebody nudges: then True."""
        if all(key.fileobj is not self._wake for key, _ in self._selector.select(max(0.0, seconds))):
            return False
        with suppress(BlockingIOError):
            self._wake.recv(4096)
        return True

    def _told(self, message: list[Any]) -> None:
        changed = message[1] if len(message) == 2 and message[0] == b"invalidate" else ()
        if changed is None:
            self._group.mirror.clear()
        elif isinstance(changed, list) and all(isinstance(key, bytes) for key in changed):
            size = len(self._settings.prefix)
            self._group.mirror.invalidate([key[size:].decode("utf-8", "replace") for key in changed])
        else:
            self._broken = True

    def _beat(self, wire: Wire, lease: Lease) -> None:
        """Ask whether this is still the primary that it was, and move the lease. Raises: FAILURES, PinsUnavailable."""
        cluster = self._settings.place.kind == "cluster"
        marks = self._group.marks.keys(self._group.owned(self))[:1]
        sent = time.monotonic()
        commands: list[Words] = [("INFO", "replication"), *(("GET", mark) for mark in marks)]
        if cluster:
            commands += [("CLUSTER", "INFO"), ("CLUSTER", "NODES")]
        answers = wire.ask_all([*commands, ("PING",)])
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        said = fields(answers[0])
        if said.get("role") != "master" or self._identity is None or said.get("master_replid") != self._identity[1]:
            raise ServerGone(_REPLICA if said.get("role") != "master" else "another history")
        for mark, found in zip(marks, answers[1:], strict=False):
            self._group.marks.check(mark, found)
        if cluster and fields(answers[-3]).get("cluster_state") != "ok":
            raise ServerGone("the cluster is down")
        self.replicas = sum(name.startswith("slave") and "state=online" in value for name, value in said.items())
        self.heard = sent
        confirmed = self._group.confirmed(self, sent, answers[-2] if cluster else None)
        if confirmed is None:
            return
        lease.until = confirmed + self._settings.stale_for
        lease.fresh = confirmed + 2 * self._settings.beat + 0.5


def _why(error: Exception) -> str:
    """What may be told of a failure: never what the library says, for that names hosts."""
    if isinstance(error, AuthenticationError | NoPermissionError):
        return _DENIED
    if isinstance(error, Elsewhere):
        return _ELSEWHERE
    return _REPLICA if str(error) == _REPLICA else _AWAY
