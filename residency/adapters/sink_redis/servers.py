"""Commands in, answers out, over connections of redis-py's to one server of a Redis or Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import AuthenticationError, RedisError, ResponseError

__all__ = ["AWAY", "FAILURES", "REFUSES", "Gone", "Node", "Refuses", "Server", "Words"]

Node = tuple[str, int]
"""Host and port."""
Words = tuple[str | bytes | int, ...]
"""One command."""
FAILURES: Final = (RedisError, OSError, ValueError, TimeoutError)
"""What redis-py raises when a server or the way to it fails; ValueError where what arrives is not its protocol."""
AWAY: Final = "cannot be reached"
ELSEWHERE: Final = "has an address in another country than it says"
REFUSES: Final = "does not accept the credentials in its URL"
_REST: Final = 1.0  # seconds


class Gone(Exception):
    """A server or the way to it failed. `sent` = it may have done what it was asked; `resting` = it was not tried, for
    it has just failed."""

    def __init__(self, what: str, *, sent: bool = False, resting: bool = False) -> None:
        super().__init__(what)
        self.sent = sent
        self.resting = resting


class Refuses(Exception):
    """The server refuses our credentials."""


class Server:
    """One server's connections: those that are idle, and as many more as are needed at once."""

    __slots__ = ("_away", "_closed", "_elsewhere", "_idle", "_make", "_room", "_why", "node")

    def __init__(
        self,
        node: Node | None,
        make: Callable[[Node | None], Any],
        most: int,
        elsewhere: Callable[[str], bool] | None = None,
    ) -> None:
        """`elsewhere` = whether an address is none that it may lie at, None = that is not asked."""
        self.node = node
        self._elsewhere = elsewhere
        self._make = make
        self._idle: list[Any] = []
        self._room = asyncio.Semaphore(most)
        self._away = 0.0
        self._why = AWAY
        self._closed = False

    async def ask(self, commands: Sequence[Words], limit: float) -> list[Any]:
        """The answers, in `limit` seconds; an error of the server's stands in its answer's place.

        Raises: Gone, Refuses.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._away:
            raise Gone(self._why, resting=True)
        sent = used = False
        try:
            async with asyncio.timeout(limit), self._room:
                connection, used = await self._take()
                try:
                    sent = True
                    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                    answers = [await _answer(connection) for _ in commands]
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
                self._give(connection)
                return answers
        except AuthenticationError:
            raise Refuses(REFUSES) from None
        except Gone:
            raise
        except FAILURES as error:
            await self._drop_idle()
            if not used or isinstance(error, TimeoutError):  # one that was idle may just have been cut
                self._rest(AWAY)
            raise Gone(AWAY, sent=sent) from None  # the library's own words name host and port

    def _rest(self, why: str) -> None:
        self._away, self._why = asyncio.get_running_loop().time() + _REST, why

    async def aclose(self) -> None:
        """Let the idle ones go; those in use go when they are given back."""
        self._closed = True
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(*FAILURES, RuntimeError):  # the latter of one whose event loop has ended
                await connection.disconnect()

    async def _take(self) -> tuple[Any, bool]:
        """A connection, and whether it was used before."""
        while self._idle:
            connection = self._idle.pop()
            reader = connection._reader
            # Neither hung up on, nor is anything owed to us that somebody else asked for.
            if reader is not None and not reader.at_eof() and not reader._buffer:
                return connection, True
            await connection.disconnect(nowait=True)
        made: Any = self._make(self.node)
        try:
            await made.connect()
            if self._elsewhere is not None and self.node is not None and self._elsewhere(_peer(made)):
                self._rest(ELSEWHERE)
                raise Gone(ELSEWHERE)
            await made.send_command("ROLE", check_health=False)
            role = await _answer(made)
        except BaseException:
            await made.disconnect(nowait=True)
            raise
        # A user who may not ask for it gets an error in the role's place, and is believed to have the right server.
        if isinstance(role, list) and role[0] != b"master":
            await made.disconnect(nowait=True)
            raise Gone("is a replica")
        return made, False

    def _give(self, connection: Any) -> None:
        if self._closed:
            connection._close()
        else:
            self._idle.append(connection)


def _peer(connection: Any) -> str:
    """The address that a connection leads to, "" where nobody can say."""
    peer = connection._writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except AuthenticationError:
        raise
    except ResponseError as error:
        return error
