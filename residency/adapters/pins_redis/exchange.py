"""Commands in, answers out, over one connection of redis-py's; and a handful of such connections kept for the next one.

redis-py does connecting, TLS, authentication and the protocol. Its clients and pools are not used: they retry, follow
redirections and reconnect by themselves, and whether a connection still leads to the server whose changes are tracked
has to be known here.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as ServerGone
from redis.exceptions import NoScriptError, RedisError, ResponseError

from residency.adapters.pins_redis.scripts import Script

__all__ = ["FAILURES", "TOLD", "Elsewhere", "Pool", "ServerGone", "Wire", "Words", "at_home", "fields"]

FAILURES: Final = (RedisError, OSError, ValueError)
"""What redis-py raises when a server or the way to it fails; ValueError where what arrives is not its protocol."""
Words = tuple[str | bytes | int, ...]
"""One command."""
TOLD: Final = object()
"""What is read where a push was, which has been told."""


class Elsewhere(ServerGone):
    """A connection leads to an address that it may not lead to."""


def at_home(elsewhere: Callable[[str], bool]) -> Callable[[Any], None]:
    """What redis-py is to do with each new connection: nothing is sent, no password either, to an address that
    `elsewhere` says no to. A socket of this machine has none."""

    def connected(connection: Any) -> None:
        peer = connection._sock.getpeername()
        if isinstance(peer, tuple) and elsewhere(str(peer[0])):
            raise Elsewhere
        connection.on_connect()

    return connected


class Wire:
    """A connection of redis-py's that speaks RESP3, not open yet. Each method raises one of FAILURES."""

    __slots__ = ("_connection",)

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection: Any = connection  # its methods carry no types

    def open(self, told: Callable[[list[Any]], object] | None = None) -> None:
        """Connect and authenticate. `told` gets each push; it must not raise, for redis-py forgets what it raises."""
        self._connection.connect()
        parser = self._connection._parser
        hand_over = parser.handle_push_response
        if told is not None:
            parser.set_invalidation_push_handler(told)
            parser.set_pubsub_push_handler(told)

        def handle(message: list[Any]) -> object:
            hand_over(message)
            return TOLD

        parser.handle_push_response = handle

    def close(self) -> None:
        """Disconnect; idempotent."""
        self._connection.disconnect()

    def ask(self, *command: str | bytes | int) -> Any:
        """The answer to one command; pushes that come before it are told."""
        self._connection.send_command(*command)
        return self._answer()

    def ask_all(self, commands: Sequence[Words]) -> list[Any]:
        """The answers to commands sent at once; an error of the server stands in its answer's place."""
        self._connection.send_packed_command(self._connection.pack_commands(commands))
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(self._answer())
            except ResponseError as error:
                answers.append(error)
        return answers

    def run(self, script: Script, key: bytes, arguments: Iterable[str | bytes | int], *then: Words) -> list[Any]:
        """The script's answer and those to `then`, which follow on the same connection."""
        answers = self.ask_all([("EVALSHA", script.sha, 1, key, *arguments), *then])
        if isinstance(answers[0], NoScriptError):
            return self.run_whole(script, key, arguments, *then)
        return _first_whole(answers)

    def run_whole(self, script: Script, key: bytes, arguments: Iterable[str | bytes | int], *then: Words) -> list[Any]:
        """As `run`, in one command whether the server knows the script or not."""
        return _first_whole(self.ask_all([("EVAL", script.text, 1, key, *arguments), *then]))

    def readable(self) -> bool:
        """Whether something was said that is not read yet."""
        return bool(self._connection.can_read(0))

    def read(self) -> object:
        """TOLD where the next is a push, else the answer."""
        return self._connection.read_response(push_request=True)

    def _answer(self) -> Any:
        # redis-py looks past a push by calling itself: where a thousand come before an answer that is too deep.
        while (answer := self.read()) is TOLD:
            pass
        return answer

    @property
    def socket(self) -> socket.socket:
        """What `select` waits for."""
        found = self._connection._sock
        if not isinstance(found, socket.socket):
            raise ServerGone("not connected")
        return found


def _first_whole(answers: list[Any]) -> list[Any]:
    if isinstance(answers[0], ResponseError):
        raise answers[0]
    return answers


def fields(info: bytes) -> dict[str, str]:
    """What INFO and CLUSTER INFO say, by name."""
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


class Pool:
    """Open connections that were used and work; as many as were needed at once."""

    __slots__ = ("_closed", "_idle", "_lock", "_make")

    def __init__(self, make: Callable[[], Wire]) -> None:
        """`make` answers an open one."""
        self._make = make
        self._idle: list[Wire] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def wire(self) -> Iterator[Wire]:
        """A connection for one exchange. What fails in between other than the server's own error ends it."""
        wire = self._take()
        try:
            yield wire
        except ResponseError:
            self._give_back(wire)
            raise
        except BaseException:
            wire.close()
            raise
        self._give_back(wire)

    def close(self) -> None:
        """Let all go; those in use go when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()

    def _take(self) -> Wire:
        while True:
            with self._lock:
                wire = self._idle.pop() if self._idle else None
            if wire is None:
                return self._make()
            try:
                if not wire.readable():  # nothing is owed to us, and the server has not hung up
                    return wire
            except FAILURES:
                pass
            wire.close()

    def _give_back(self, wire: Wire) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(wire)
                return
        wire.close()
