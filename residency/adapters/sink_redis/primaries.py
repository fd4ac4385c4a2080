"""Which servers are primaries now in; commands with their keys in, what the sink answers to them, out.

A connection on which anything went wrong, a cancelled request too, is closed: an answer that was not waited for would
be handed to who asks next. Each exchange takes `timeout` at most, and a server that did not answer is left alone for a
second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, ResponseError

from residency.adapters.sink_redis.answers import may_retry, stays, together, why
from residency.adapters.sink_redis.servers import AWAY, FAILURES, REFUSES, Gone, Node, Refuses, Server, Words
from residency.errors import SinkUnavailable, UsageError
from residency.storage.lasting import lasting

__all__ = ["Locate", "Primaries"]

Locate = Callable[[], Mapping[Node | None, Sequence[tuple[int, int]]]]
"""Answers which servers are primaries now, and for which hash slots; None = the one of a unix socket. May block. Raises
an error of redis-py's, OSError or ValueError where that cannot be known."""

_log = logging.getLogger("residency")


class Primaries:
    """The servers of one sink that take writes: which of them a command is for, and what comes of it."""

    __slots__ = (
        "_elsewhere", "_locate", "_lock", "_loop", "_make", "_most", "_name", "_out", "_shares", "_timeout",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        locate: Locate,
        options: Mapping[str, Any],
        *,
        tls: bool,
        timeout: float,
        most: int,
        elsewhere: Callable[[str], bool] | None,
    ) -> None:
        """As `RedisSink` says."""
        self._name = name
        self._locate = locate
        self._timeout = timeout
        self._most = most
        self._elsewhere = elsewhere
        kept: dict[str, Any] = {
            key: value for key, value in options.items() if key not in ("socket_timeout", "socket_connect_timeout")
        }
        kept.update(protocol=2, decode_responses=False, parser_class=_AsyncRESP2Parser, socket_connect_timeout=timeout)
        kind: type[Any] = SSLConnection if tls else UnixDomainSocketConnection if "path" in kept else Connection

        def make(node: Node | None) -> Any:  # its methods carry no types
            connection = kind(**kept, **({} if node is None else {"host": node[0], "port": node[1]}))
            connection.driver_info = connection.lib_name = connection.lib_version = None  # who we are costs round trips
            return connection

        self._make = make
        self._shares: list[tuple[Server, Sequence[tuple[int, int]]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock: asyncio.Lock | None = None
        self._out = False

    @property
    def alone(self) -> bool:
        """Whether one server has all keys, as far as is known."""
        return len(self._shares) == 1

    async def open(self) -> None:
        """Belong to the event loop that runs; nothing is connected yet. Raises: SinkUnavailable where none does."""
        await self.aclose()
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise SinkUnavailable(f"sink {self._name!r} needs asyncio") from None
        self._lock = asyncio.Lock()

    async def aclose(self) -> None:
        """Let all connections go; idempotent."""
        shares, self._shares, self._loop = self._shares, [], None
        for server, _ in shares:
            await server.aclose()

    def must_be_open(self) -> None:
        """Raise SinkUnavailable where it is not."""
        if self._loop is None:
            raise self.unavailable("is not open")

    async def run(self, commands: Sequence[tuple[bytes, Words]], *, again: bool = True, wait: float = 0.0) -> list[Any]:
        """The answers to commands, each with the key that says which server it is for, in their order. `again` = they
        may be done twice, should the first answer be lost; `wait` (seconds) = how long a server may take besides.

        Raises: SinkUnavailable, UsageError where a number was asked for and there is none.
        """
        left: Sequence[int] = range(len(commands))
        answers: list[Any] = [None] * len(commands)
        for attempt in (1, 2):
            groups = await self._grouped([(number, commands[number][0]) for number in left], fresh=attempt == 2)
            asked = [self._attempt(server, [commands[n][1] for n in numbers], wait) for server, numbers in groups]
            told = await together(asked)
            for (_, numbers), found in zip(groups, told, strict=True):
                for number, answer in zip(numbers, found, strict=True):
                    answers[number] = answer
            left = [number for number in left if may_retry(answers[number], again)]
            if not left:
                break
        found = [self._whole(answer) for answer in answers]
        if self._out:
            self._out = False
            _log.warning("sink %r serves again", self._name)
        return found

    async def _attempt(self, server: Server, commands: Sequence[Words], wait: float) -> list[Any]:
        try:
            return await server.ask(commands, self._timeout + wait)
        except (Gone, Refuses) as error:
            return [error] * len(commands)

    async def ask(self, server: Server, commands: Sequence[Words]) -> list[Any]:
        """The answers of one server. Raises: as `run`."""
        return [self._whole(answer) for answer in await self._attempt(server, commands, 0.0)]

    async def everywhere(self, command: Words) -> list[Any]:
        """What each server answers to a command. Raises: SinkUnavailable."""
        return [(await self.ask(server, [command]))[0] for server in await self.servers()]

    async def servers(self) -> list[Server]:
        """The primaries. Raises: SinkUnavailable."""
        await self._grouped([], fresh=not self._shares)
        return [server for server, _ in self._shares]

    def _whole(self, answer: Any) -> Any:
        if isinstance(answer, Gone | Refuses):
            if not self._out:
                self._out = True
                _log.warning("sink %r %s", self._name, answer)
            error = self.unavailable(str(answer))
            # Neither is a cause of it: what redis-py says of a connection names host and port.
            raise (lasting(error) if isinstance(answer, Refuses) else error) from None
        if isinstance(answer, ResponseError):
            text = str(answer)
            if text.startswith("BUSYGROUP"):
                return None
            if "NONUMBER" in text:
                raise UsageError("what is counted on is no number")
            raise lasting(self.unavailable(why(answer))) if stays(answer) else self.unavailable(why(answer))
        return answer

    def unavailable(self, what: str) -> SinkUnavailable:
        """The error that says `what` is wrong with the sink."""
        return SinkUnavailable(f"sink {self._name!r} {what}")

    async def _grouped(self, keys: Sequence[tuple[int, bytes]], *, fresh: bool) -> list[tuple[Server, list[int]]]:
        """Which server each of the numbered keys is for. `fresh` = the servers are looked up anew."""
        if self._loop is None or self._lock is None:
            raise self.unavailable("is not open")
        if asyncio.get_running_loop() is not self._loop:
            raise self.unavailable("was opened in another event loop")
        if fresh or not self._shares:
            before = self._shares
            async with self._lock:
                if self._shares is before:  # else somebody else has just looked
                    await self._look()
        if len(self._shares) == 1:
            return [(self._shares[0][0], [number for number, _ in keys])] if keys else []
        groups: dict[Server, list[int]] = {}
        for number, key in keys:
            slot = key_slot(key)
            for server, ranges in self._shares:
                if any(low <= slot <= high for low, high in ranges):
                    groups.setdefault(server, []).append(number)
                    break
            else:
                raise self.unavailable("has no server for a part of its keys")
        return list(groups.items())

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(4 * self._timeout):
                found = await asyncio.to_thread(self._locate)
        except AuthenticationError:
            raise lasting(self.unavailable(REFUSES)) from None
        except FAILURES:
            raise self.unavailable(AWAY) from None
        known = {server.node: server for server, _ in self._shares}
        shares: list[tuple[Server, Sequence[tuple[int, int]]]] = []
        for node, ranges in found.items():
            server = known.pop(node) if node in known else Server(node, self._make, self._most, self._elsewhere)
            shares.append((server, ranges))
        self._shares = shares
        for server in known.values():
            await server.aclose()
