"""Where the servers are in; caches, sessions and queues over Redis 6.2 or Valkey out. On asyncio.

redis-py does connecting, TLS, authentication and the protocol. Its clients are not used: they retry what may have been
done already, and wait longer than a request has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from residency.adapters.sink_redis.answers import evicts, followers, run_id
from residency.adapters.sink_redis.primaries import Locate, Primaries
from residency.adapters.sink_redis.servers import Server, Words
from residency.errors import SinkUnavailable
from residency.model import Region
from residency.storage.lasting import is_lasting, lasting
from residency.storage.location import Which
from residency.storage.marks import REDIS_KEY, Mark, from_text, to_text
from residency.storage.queues import Delivery

__all__ = ["Locate", "RedisSink"]

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

    __slots__ = ("_ask", "_database", "_name", "_optional", "_primaries", "_region", "_run")

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
        self._optional = optional
        self._database = int(options.get("db") or 0)
        self._primaries = Primaries(name, locate, options, tls=tls, timeout=timeout, most=most, elsewhere=elsewhere)
        self._run = self._primaries.run
        self._ask = self._primaries.ask

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
        await self._primaries.open()
        try:
            infos = await self._primaries.everywhere(("INFO", "memory"))
        except SinkUnavailable as error:
            if self._optional and not is_lasting(error):
                return
            raise
        for info in infos:
            if not self._optional and evicts(info):
                what = "evicts what it holds (maxmemory-policy): give it noeviction, or `scope: cache`"
                raise lasting(self._primaries.unavailable(what))

    async def ping(self) -> None:
        """Raise SinkUnavailable unless each primary answers; of an optional one only where it is closed."""
        self._primaries.must_be_open()
        if not self._optional:
            await self._primaries.everywhere(("PING",))

    async def aclose(self) -> None:
        """Let all connections go; idempotent."""
        await self._primaries.aclose()

    async def which(self) -> Which:
        """Its primaries and the database in them, and who follows these. Raises: SinkUnavailable."""
        found = [run_id(info) for info in await self._primaries.everywhere(("INFO", "server"))]
        told = [followers(info) for info in await self._primaries.everywhere(("INFO", "replication"))]
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
        if self._primaries.alone and len(keys) > 1:
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
        for server in await self._primaries.servers():
            cursor: bytes | int = 0
            while True:
                ((cursor, keys),) = await self._ask(server, [("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)])
                if keys:
                    yield server, keys
                if int(cursor) == 0:
                    break
