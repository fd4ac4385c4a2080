"""Whose records are, in and out, over Redis or Valkey, shared by all processes of a deployment.

One server for each country, because it lies where the sinks do; keys carry the country too, so that two which share a
server in tests are two. All keys of one carry one hash tag, so that a change of several is one step also in a Cluster.

    <prefix>k:<key digest>        the subject's digest, 32 bytes
    <prefix>s:<subject digest>    set of the key digests, 32 bytes each, that are this subject's
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final, TypeVar

import anyio.to_thread
import redis
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from residency.errors import SinkUnavailable
from residency.storage.locator import Located, conflict

__all__ = ["LocatorRedis"]

_T = TypeVar("_T")
_AT_ONCE: Final = 500
_CONFLICT: Final = "ANOTHERS"
# KEYS: the prefix, for its slot. ARGV: key digest, subject digest, and so on, raw.
_NOTE: Final = """
local added = 0
for i = 1, #ARGV, 2 do
  local there = redis.call('GET', KEYS[1] .. 'k:' .. ARGV[i])
  if there and there ~= ARGV[i + 1] then return redis.error_reply('ANOTHERS') end
end
for i = 1, #ARGV, 2 do
  if redis.call('SETNX', KEYS[1] .. 'k:' .. ARGV[i], ARGV[i + 1]) == 1 then added = added + 1 end
  redis.call('SADD', KEYS[1] .. 's:' .. ARGV[i + 1], ARGV[i])
end
return added
"""
_FORGET: Final = """
local gone = 0
for i = 1, #ARGV do
  local subject = redis.call('GET', KEYS[1] .. 'k:' .. ARGV[i])
  if subject then
    redis.call('DEL', KEYS[1] .. 'k:' .. ARGV[i])
    redis.call('SREM', KEYS[1] .. 's:' .. subject, ARGV[i])
    gone = gone + 1
  end
end
return gone
"""
_FORGET_SUBJECT: Final = """
local keys = redis.call('SMEMBERS', KEYS[1] .. 's:' .. ARGV[1])
for _, key in ipairs(keys) do redis.call('DEL', KEYS[1] .. 'k:' .. key) end
redis.call('DEL', KEYS[1] .. 's:' .. ARGV[1])
return #keys
"""


class LocatorRedis:
    """The `Locator` port over one Redis or Valkey server, or a Cluster. Open it anew after a fork."""

    at_once = 1000  # scripts take a few thousand
    __slots__ = ("_client", "_place", "_prefix", "_wait")

    def __init__(
        self,
        url: str,
        *,
        deployment: str,
        place: str,
        timeout: float = 2.0,
        wait: int = 0,
        elsewhere: Callable[[str], bool] | None = None,
    ) -> None:
        """Nothing is connected yet. `url` is as redis-py reads it, `redis+cluster://` for a Cluster; `timeout` in
        seconds. `wait` = milliseconds for a replica to confirm a change (0 = there is none). `elsewhere` = whether an
        address is none that it may lie at, None = that is not asked.

        Raises: SinkUnavailable for a URL that cannot be used.
        """
        self._place = place
        self._prefix = f"residency:{{{deployment}:{place}}}:at:".encode()
        self._wait = wait
        options: Any = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        if elsewhere is not None:
            options["redis_connect_func"] = _judge(elsewhere, single="+cluster://" not in url)
        try:
            if url.startswith(("redis+cluster://", "rediss+cluster://")):
                url = url.replace("+cluster", "", 1)
                # Connecting is put off: a Cluster's client asks for its map as it is made.
                self._client: Callable[[], Any] = _once(lambda: redis.RedisCluster.from_url(url, **options))
                redis.connection.parse_url(url)  # type: ignore[no-untyped-call]  # untyped there
            else:
                client = redis.Redis.from_url(url, **options)
                self._client = lambda: client
        except ValueError:
            raise SinkUnavailable(f"{self._name} has a URL that cannot be used") from None

    @property
    def _name(self) -> str:
        return f"the locator of {self._place}"

    async def owners(self, keys: Sequence[str]) -> tuple[str | None, ...]:
        """The subject's digest for each key's, None where it is not noted. Raises: SinkUnavailable."""

        def ask() -> list[bytes | None]:
            client = self._client()
            names = [self._prefix + b"k:" + bytes.fromhex(key) for key in keys]
            parts = (client.mget(names[at : at + _AT_ONCE]) for at in range(0, len(names), _AT_ONCE))
            return list(chain.from_iterable(parts))

        return tuple(None if found is None else found.hex() for found in await self._run(ask))

    async def note(self, located: Sequence[Located]) -> int:
        """Note these, all or none; how many were not noted before. Raises: RecordConflict, SinkUnavailable."""
        wanted: dict[str, str] = {}
        for key, subject in located:
            if wanted.setdefault(key, subject) != subject:
                raise conflict(self._place)
        digests = [bytes.fromhex(each) for pair in wanted.items() for each in pair]
        return await self._change(_NOTE, digests)

    async def forget(self, keys: Sequence[str]) -> int:
        """Take these keys out; how many were noted. Raises: SinkUnavailable."""
        return await self._change(_FORGET, [bytes.fromhex(key) for key in keys])

    async def forget_subject(self, subject: str) -> int:
        """Take out all that is noted of a subject; how many keys. Raises: SinkUnavailable."""
        return await self._change(_FORGET_SUBJECT, [bytes.fromhex(subject)])

    async def aclose(self) -> None:
        """Disconnect; idempotent."""
        with suppress(SinkUnavailable):  # of a Cluster that was never reached
            await self._run(lambda: self._client().close())

    async def _change(self, script: str, digests: list[bytes]) -> int:
        if not digests:
            return 0

        def change() -> int:
            client = self._client()
            changed = int(client.eval(script, 1, self._prefix, *digests))
            # Who is told that it is noted may rely on it, also where a replica takes over.
            if self._wait and client.execute_command("WAIT", 1, self._wait) < 1:
                raise SinkUnavailable(f"{self._name} has no replica that confirms")
            return changed

        return await self._run(change)

    async def _run(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            try:
                return work()
            except ResponseError as error:
                if _CONFLICT in str(error):
                    raise conflict(self._place) from None
                raise SinkUnavailable(f"{self._name} cannot be used") from None
            except (RedisError, RedisClusterException, OSError) as error:  # their words name host and port
                # A Cluster's client says it in words of its own where no node that it tried is at home.
                abroad = isinstance(error, _Elsewhere) or isinstance(error.__cause__, _Elsewhere)
                what = "has an address in another country than it says" if abroad else "cannot be reached"
                raise SinkUnavailable(f"{self._name} {what}") from None

        return await anyio.to_thread.run_sync(guarded)


class _Elsewhere(RedisError):
    """A new connection leads to an address that it may not lead to. It is not tried again, as one that broke is."""


def _judge(elsewhere: Callable[[str], bool], *, single: bool) -> Callable[[Any], None]:
    """What redis-py calls with each new connection; of a `single` server before anything is sent, else after it has
    greeted the node itself."""

    def connected(connection: Any) -> None:
        peer = connection._sock.getpeername()
        if isinstance(peer, tuple) and elsewhere(str(peer[0])):
            raise _Elsewhere
        if single:
            connection.on_connect()

    return connected


def _once(make: Callable[[], _T]) -> Callable[[], _T]:
    made: list[_T] = []

    def get() -> _T:
        if not made:
            made.append(make())
        return made[0]

    return get
