"""Where the servers are in; caches, sessions and queues over Redis 6.2 or Valkey out. On asyncio.

redis-py does connecting, TLS, authentication and the protocol. Its clients are not used: they retry what may have been
done already, and wait longer than a request has. A connection on which anything went wrong, a cancelled request too, is
closed: an answer that was not waited for would be handed to who asks next.

Each exchange takes `timeout` at most, and a server that did not answer is left alone for a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, ResponseError

from residency.adapters.sink_redis.answers import evicts, followers, may_retry, run_id, stays, together, why
from residency.adapters.sink_redis.servers import AWAY, FAILURES, REFUSES, Gone, Node, Refuses, Server, Words
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.lasting import is_lasting, lasting
from residency.storage.location import Which
from residency.storage.marks import REDIS_KEY, Mark, from_text, to_text
from residency.storage.queues import Delivery

__all__ = ["Locate", "RedisSink"]

Locate = Callable[[], Mapping[Node | None, Sequence[tuple[int, int]]]]
"""Answers which servers are primaries now, and for which hash slots; None = the one of a unix socket. May block. Raises
an error of redis-py's, OSError or ValueError where that cannot be known."""

_log = logging.getLogger("residency")
_SCAN: Final = 1000
_GROUP: Final = "residency"
_NUMBER: Final = """
local stored = redis.call('GET', KEYS[1])
if not stored then
  redis.call('SET', KEYS[1], ARGV[2] .. ARGV[1], 'PX', ARGV[3])
  return ARGV[1]
end
local number = string.sub(stored, #ARGV[2] + 1)
if not string.match(number, '^-?%d+$') then return redis.error_reply('NONUMBER') end
local sum = string.format('%.0f', tonumber(number) + tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.sub(stored, 1, #ARGV[2]) .. sum, 'KEEPTTL')
return sum
"""
_GLOB: Final = str.maketrans({sign: f"\\{sign}" for sign in "\\*?[]^-"})


class RedisSink:
    """The `CacheSink` and `QueueSink` ports over the primaries of a Redis or Valkey: one, by Sentinel, or a Cluster."""

    __slots__ = (
        "_database", "_elsewhere", "_locate", "_lock", "_loop", "_make", "_most", "_name", "_optional", "_out",
        "_region", "_shares", "_timeout",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        region: Region,
        locate: Locate,
        options: Mapping[str, Any],
        *,
        tls: bool = False,
        optional: bool = False,
        timeout: float = 0.5,
        most: int = 16,
        elsewhere: Callable[[str], bool] | None = None,
    ) -> None:
        """`options` are redis-py's for a connection, but for host and port. `optional` = nobody needs it: that it is
        away keeps nobody from starting. `timeout` in seconds, for one exchange; `most` connections to each server.
        `elsewhere` = whether a new connection may not be used for the address that it leads to, None = each may.
        """
        self._name = name
        self._region = region
        self._locate = locate
        self._optional = optional
        self._timeout = timeout
        self._most = most
        self._elsewhere = elsewhere
        self._database = int(options.get("db") or 0)
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
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where its bytes rest."""
        return self._region

    # -- SinkPort ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, and see that what must not be lost is not evicted.

        Raises: SinkUnavailable; of an optional one only where it refuses us, for that is a mistake and no accident.
        """
        await self.aclose()
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise SinkUnavailable(f"sink {self._name!r} needs asyncio") from None
        self._lock = asyncio.Lock()
        try:
            infos = await self._everywhere(("INFO", "memory"))
        except SinkUnavailable as error:
            if self._optional and not is_lasting(error):
                return
            raise
        for info in infos:
            if not self._optional and evicts(info):
                raise lasting(
                    self._unavailable("evicts what it holds (maxmemory-policy): give it noeviction, or `scope: cache`")
                )

    async def ping(self) -> None:
        """Raise SinkUnavailable unless each primary answers; of an optional one only where it is closed."""
        if self._loop is None:
            raise self._unavailable("is not open")
        if not self._optional:
            await self._everywhere(("PING",))

    async def aclose(self) -> None:
        """Let all connections go; idempotent."""
        shares, self._shares, self._loop = self._shares, [], None
        for server, _ in shares:
            await server.aclose()

    async def which(self) -> Which:
        """Its primaries and the database in them, and who follows these. Raises: SinkUnavailable."""
        found = [run_id(info) for info in await self._everywhere(("INFO", "server"))]
        told = [followers(info) for info in await self._everywhere(("INFO", "replication"))]
        words = frozenset(f"redis {word} {self._database}" for word in found if word is not None)
        return Which(words, tuple(each for some in told for each in some))

    async def marks(self) -> tuple[Mark, ...]:
        """Which sink it says that it is. Raises: SinkUnavailable."""
        (found,) = await self._run([(REDIS_KEY, ("GET", REDIS_KEY))])
        return from_text(found)

    async def put_marks(self, marks: Sequence[Mark]) -> None:
        """Have it say so, for as long as it keeps anything. Raises: SinkUnavailable."""
        await self._run([(REDIS_KEY, ("SET", REDIS_KEY, to_text(marks)))])

    # -- CacheSink ---------------------------------------------------------------------------------------------

    async def fetch(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the order of the keys. Raises: SinkUnavailable."""
        if len(self._shares) == 1 and len(keys) > 1:
            (found,) = await self._run([(keys[0], ("MGET", *keys))])
            return list(found)
        return await self._run([(key, ("GET", key)) for key in keys])

    async def keep(self, values: Mapping[bytes, bytes], ttl: int) -> None:
        """Keep these for `ttl` milliseconds. Raises: SinkUnavailable."""
        await self._run([(key, ("SET", key, value, "PX", ttl)) for key, value in values.items()])

    async def add(self, key: bytes, value: bytes, ttl: int) -> bool:
        """Keep `value` unless there is one. Raises: SinkUnavailable."""
        (answer,) = await self._run([(key, ("SET", key, value, "PX", ttl, "NX"))], again=False)
        return answer is not None

    async def remove(self, keys: Sequence[bytes]) -> int:
        """Remove these. Raises: SinkUnavailable."""
        return sum(await self._run([(key, ("UNLINK", key)) for key in keys]))

    async def touch(self, keys: Sequence[bytes], ttl: int) -> int:
        """Keep these for `ttl` milliseconds from now. Raises: SinkUnavailable."""
        return sum(await self._run([(key, ("PEXPIRE", key, ttl)) for key in keys]))

    async def count(self, key: bytes, by: int, mark: bytes, ttl: int) -> int:
        """Add to the number behind the mark. Raises: UsageError, SinkUnavailable."""
        (answer,) = await self._run([(key, ("EVAL", _NUMBER, 1, key, by, mark, ttl))], again=False)
        return int(answer)

    async def wipe(self, prefix: bytes, among: Collection[bytes] | None = None) -> int:
        """As the port says. Raises: SinkUnavailable."""
        gone = 0
        async for server, keys in self._keys(prefix):
            going = keys
            if among is not None:
                going = [key for key in keys if key[len(prefix) :].rpartition(b":")[0] in among]
            if going:
                gone += sum(await self._ask(server, [("UNLINK", key) for key in going]))
        return gone

    # -- QueueSink ---------------------------------------------------------------------------------------------

    async def push(self, queue: bytes, job: bytes) -> str:
        """Put a job at the end. Raises: SinkUnavailable."""
        (number,) = await self._run([(queue, ("XADD", queue, "*", "j", job))], again=False)
        return str(number, "ascii")

    async def pull(self, queue: bytes, worker: str, idle: int, wait: int) -> Delivery | None:
        """Hand the next job to `worker`. Raises: SinkUnavailable."""
        await self._run([(queue, ("XGROUP", "CREATE", queue, _GROUP, "0", "MKSTREAM"))])
        cursor: bytes | str = "0-0"
        while True:
            claim: Words = ("XAUTOCLAIM", queue, _GROUP, worker, idle, cursor, "COUNT", 1)
            ((cursor, entries, *_),) = await self._run([(queue, claim)], again=False)
            if entries and entries[0] and entries[0][1]:
                number, (_, job) = entries[0]
                (held,) = await self._run([(queue, ("XPENDING", queue, _GROUP, number, number, 1))])
                return Delivery(str(number, "ascii"), job, int(held[0][3]) if held else 1)
            if cursor == b"0-0":
                break
        # A wait of 0 would be one without end.
        read: Words = ("XREADGROUP", "GROUP", _GROUP, worker, "COUNT", 1, "BLOCK", max(1, wait), "STREAMS", queue, ">")
        (answer,) = await self._run([(queue, read)], again=False, wait=wait / 1000)
        if not answer:
            return None
        number, (_, job) = answer[0][1][0]
        return Delivery(str(number, "ascii"), job)

    async def finish(self, queue: bytes, job: str) -> bool:
        """Take a job away that is done. Raises: SinkUnavailable."""
        _, gone = await self._run([(queue, ("XACK", queue, _GROUP, job)), (queue, ("XDEL", queue, job))])
        return bool(gone)

    async def depth(self, queue: bytes) -> int:
        """How many jobs are not finished. Raises: SinkUnavailable."""
        (number,) = await self._run([(queue, ("XLEN", queue))])
        return int(number)

    async def purge(self, queues: bytes, theirs: Callable[[bytes], bool]) -> int:
        """Take away jobs by what they are. Raises: SinkUnavailable."""
        # A scan may tell of a key twice.
        found = {queue async for _, keys in self._keys(queues) for queue in keys}
        gone = 0
        for queue in sorted(found):
            after = b"-"
            while True:
                (jobs,) = await self._run([(queue, ("XRANGE", queue, after, "+", "COUNT", _SCAN))])
                for number, (_, job) in jobs:
                    if theirs(job):
                        gone += await self.finish(queue, str(number, "ascii"))
                if len(jobs) < _SCAN:
                    break
                after = b"(" + jobs[-1][0]
        return gone

    # -- inside ------------------------------------------------------------------------------------------------

    async def _keys(self, prefix: bytes) -> AsyncIterator[tuple[Server, list[bytes]]]:
        """Each server with some of its keys that begin with `prefix`, until all were told."""
        pattern = prefix.decode().translate(_GLOB) + "*"
        for server in await self._servers():
            cursor: bytes | int = 0
            while True:
                ((cursor, keys),) = await self._ask(server, [("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)])
                if keys:
                    yield server, keys
                if int(cursor) == 0:
                    break

    async def _run(
        self, commands: Sequence[tuple[bytes, Words]], *, again: bool = True, wait: float = 0.0
    ) -> list[Any]:
        """The answers to commands, each with the key that says which server it is for, in their order. `again` = they
        may be done twice, should the first answer be lost."""
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

    async def _ask(self, server: Server, commands: Sequence[Words]) -> list[Any]:
        return [self._whole(answer) for answer in await self._attempt(server, commands, 0.0)]

    async def _everywhere(self, command: Words) -> list[Any]:
        return [(await self._ask(server, [command]))[0] for server in await self._servers()]

    async def _servers(self) -> list[Server]:
        await self._grouped([], fresh=not self._shares)
        return [server for server, _ in self._shares]

    def _whole(self, answer: Any) -> Any:
        if isinstance(answer, Gone | Refuses):
            if not self._out:
                self._out = True
                _log.warning("sink %r %s", self._name, answer)
            error = self._unavailable(str(answer))
            # Neither is a cause of it: what redis-py says of a connection names host and port.
            raise (lasting(error) if isinstance(answer, Refuses) else error) from None
        if isinstance(answer, ResponseError):
            text = str(answer)
            if text.startswith("BUSYGROUP"):
                return None
            if "NONUMBER" in text:
                raise UsageError("what is counted on is no number")
            raise lasting(self._unavailable(why(answer))) if stays(answer) else self._unavailable(why(answer))
        return answer

    def _unavailable(self, what: str) -> SinkUnavailable:
        return SinkUnavailable(f"sink {self._name!r} {what}")

    async def _grouped(self, keys: Sequence[tuple[int, bytes]], *, fresh: bool) -> list[tuple[Server, list[int]]]:
        """Which server each of the numbered keys is for. `fresh` = the servers are looked up anew."""
        if self._loop is None or self._lock is None:
            raise self._unavailable("is not open")
        if asyncio.get_running_loop() is not self._loop:
            raise self._unavailable("was opened in another event loop")
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
                raise self._unavailable("has no server for a part of its keys")
        return list(groups.items())

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(4 * self._timeout):
                found = await asyncio.to_thread(self._locate)
        except AuthenticationError:
            raise lasting(self._unavailable(REFUSES)) from None
        except FAILURES:
            raise self._unavailable(AWAY) from None
        known = {server.node: server for server, _ in self._shares}
        shares: list[tuple[Server, Sequence[tuple[int, int]]]] = []
        for node, ranges in found.items():
            server = known.pop(node) if node in known else Server(node, self._make, self._most, self._elsewhere)
            shares.append((server, ranges))
        self._shares = shares
        for server in known.values():
            await server.aclose()
