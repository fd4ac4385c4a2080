"""Where the servers are in; caches, sessions and queues over Redis 6.2 or Valkey out (`RedisSink`).

servers    one server's connections: one command, one answer, in a bounded time
primaries  which server a command is for
sink       the ports
"""

from __future__ import annotations

from residency.adapters.sink_redis.primaries import Locate
from residency.adapters.sink_redis.sink import RedisSink

__all__ = ["Locate", "RedisSink"]
