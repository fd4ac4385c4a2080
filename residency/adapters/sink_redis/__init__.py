"""Where the servers are in; caches, sessions and queues over Redis 6.2 or Valkey out (`RedisSink`).

servers    one server's connections: one command, one answer, in a bounded time
sink       the ports, and which server a key is for
"""

from __future__ import annotations

from residency.adapters.sink_redis.sink import Locate, RedisSink

__all__ = ["Locate", "RedisSink"]
