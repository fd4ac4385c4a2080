"""What is noted, counted and escalated in and out, over Redis or Valkey, shared by all processes of a deployment.

All keys carry one hash tag, so in a Cluster they lie on one primary and one connection is enough. What is changed is
waited for on a replica, where there is one: who is told that it is noted may rely on it. A mark tells whether the store
is the one that this process saw first: one that came back empty would start every term and count anew.

    <prefix>mark              a random name, set by whoever came first
    <prefix>events            hash: "<kind> <place>" -> microseconds
    <prefix>escalated         set of ids
    <prefix>counters          set of the counters' names
    <prefix>counted:<name>    set of subjects' digests, 32 bytes each
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from redis.exceptions import RedisError, ResponseError

from residency.errors import FactsUnavailable
from residency.model import Event

__all__ = ["Connect", "NotedRedis", "Server"]

_FAILURES: Final = (RedisError, OSError, ValueError)
_AWAY: Final = "the store of what is noted of the operator cannot be reached"
_AT_ONCE: Final = 1000  # subjects in one command
_PUT_BACK: Final = """
local at = redis.call('HGET', KEYS[1], ARGV[1])
if (not at) or tonumber(at) > tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 1
"""
Command = tuple[str | bytes | int, ...]


class Server(Protocol):
    """An open connection to a server. What goes wrong is raised as redis-py raises it, or a ValueError."""

    def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands sent at once; an error of the server stands in its answer's place."""

    def close(self) -> None:
        """Disconnect; idempotent."""


Connect = Callable[[bytes], Server]
"""From a key to an open connection to the primary that holds it."""


class NotedRedis:
    """The `Noted` port over Redis or Valkey. Open it anew after a fork."""

    __slots__ = ("_connect", "_lock", "_mark", "_prefix", "_server", "_wait")

    def __init__(self, connect: Connect, *, deployment: str, wait: int = 500) -> None:
        """Nothing is connected yet. `wait` = milliseconds for a replica to confirm a change."""
        self._connect = connect
        self._prefix = f"residency:{{{deployment}}}:facts:".encode()
        self._wait = wait
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._mark: bytes | None = None

    def events(self) -> tuple[Event, ...]:
        """Every event that is noted. Raises: FactsUnavailable."""
        (found,) = self._ask(("HGETALL", self._prefix + b"events"))
        return tuple(sorted((_event(field, at) for field, at in _pairs(found)), key=lambda e: (e.kind, e.place)))

    def note(self, event: Event) -> Event:
        """Note `event` unless one of its kind and place is; the one that stands. Raises: FactsUnavailable."""
        key, field = self._prefix + b"events", f"{event.kind} {event.place}".encode()
        _, at = self._ask(("HSETNX", key, field, event.at), ("HGET", key, field), changes=True)
        return _event(field, at)

    def put_back(self, event: Event) -> None:
        """Note `event` again unless an earlier one is noted. Raises: FactsUnavailable."""
        field = f"{event.kind} {event.place}"
        self._ask(("EVAL", _PUT_BACK, 1, self._prefix + b"events", field, event.at), changes=True)

    def count(self, subjects: Mapping[str, Collection[str]], counters: Collection[str]) -> dict[str, int]:
        """Count each subject once in its counter; how many each of `counters` has then. Raises: FactsUnavailable."""
        commands = [command for counter, digests in subjects.items() for command in self._adding(counter, digests)]
        asked = [("SCARD", self._counter(counter)) for counter in counters]
        answers = self._ask(*commands, *asked, changes=bool(commands))
        sizes = answers[len(commands) :]
        return {counter: _number(size) for counter, size in zip(counters, sizes, strict=True)}

    def forget(self, subject: str) -> None:
        """Take a subject out of every counter. Raises: FactsUnavailable."""
        (names,) = self._ask(("SMEMBERS", self._prefix + b"counters"))
        digest = bytes.fromhex(subject)
        if names:
            self._ask(*(("SREM", self._prefix + b"counted:" + name, digest) for name in names), changes=True)

    def escalated(self) -> frozenset[str]:
        """The escalations that are up. Raises: FactsUnavailable."""
        (found,) = self._ask(("SMEMBERS", self._prefix + b"escalated"))
        return frozenset(each.decode() for each in found)

    def escalate(self, escalation: str, *, up: bool) -> bool:
        """Say whether an escalation is up; whether that was news. Raises: FactsUnavailable."""
        (news,) = self._ask(("SADD" if up else "SREM", self._prefix + b"escalated", escalation), changes=True)
        return bool(news)

    def close(self) -> None:
        """Disconnect; idempotent."""
        with self._lock:
            self._drop()

    # -- inside ------------------------------------------------------------------------------------------------

    def _counter(self, name: str) -> bytes:
        return self._prefix + b"counted:" + name.encode()

    def _adding(self, counter: str, digests: Collection[str]) -> Iterator[Command]:
        key, listed = self._counter(counter), [bytes.fromhex(digest) for digest in digests]
        if listed:
            yield "SADD", self._prefix + b"counters", counter
        for at in range(0, len(listed), _AT_ONCE):
            yield "SADD", key, *listed[at : at + _AT_ONCE]

    def _ask(self, *commands: Command, changes: bool = False) -> list[Any]:
        """The answers to all commands, of the store that this process saw first; what `changes` is on a replica too,
        where there is one."""
        with self._lock:
            while True:
                fresh = self._server is None
                try:
                    if self._server is None:
                        self._server = self._connect(self._prefix)
                    return self._answers(self._server, commands, changes)
                except FactsUnavailable:
                    self._drop()
                    raise
                except _FAILURES:
                    # One that was idle may have been cut, or its server no longer holds the keys: once more, anew.
                    self._drop()
                    if fresh:
                        raise FactsUnavailable(_AWAY) from None

    def _answers(self, server: Server, commands: Sequence[Command], changes: bool) -> list[Any]:
        # 1. Is it a primary, and the store that it was?
        mark = self._prefix + b"mark"
        name: list[Command] = [("SET", mark, secrets.token_hex(8), "NX")] if self._mark is None else []
        *_, found, role = self._whole(server.ask_all([*name, ("GET", mark), ("ROLE",)]))
        if role[0] != b"master":
            raise ValueError("a replica")
        if not isinstance(found, bytes) or (self._mark is not None and found != self._mark):
            raise FactsUnavailable(
                "the store of what is noted of the operator came back without what it held: restore its data, or"
                " restart this service to go on with none"
            )
        self._mark = found
        # 2. The commands.
        if not changes or len(role) < 3 or not role[2]:
            return self._whole(server.ask_all(commands))
        *answers, confirmed = self._whole(server.ask_all([*commands, ("WAIT", 1, self._wait)]))
        if not confirmed:
            # It stands on the primary and may be lost with it; who tries again finds it there.
            raise FactsUnavailable("no replica confirmed in time what was noted of the operator")
        return answers

    @staticmethod
    def _whole(answers: list[Any]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    def _drop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()


def _pairs(found: Any) -> Iterator[tuple[bytes, bytes]]:
    if isinstance(found, dict):
        yield from found.items()
    else:
        yield from zip(found[::2], found[1::2], strict=True)


def _event(field: bytes, at: Any) -> Event:
    try:
        kind, _, place = field.decode().partition(" ")
        return Event(kind, place, int(at))
    except (ValueError, TypeError) as error:
        raise FactsUnavailable("what is stored in an event's place is no event") from error


def _number(size: Any) -> int:
    if not isinstance(size, int):
        raise FactsUnavailable("a counter is no counter")
    return size
