"""The `Pins` port over Redis or Valkey in, with a local copy that the server keeps right; `PinsRedis` out.

urls       where the servers are: one, behind Sentinel, or a Cluster
scripts    what is stored and the compare-and-set over it
mirror     the local copy and the race it must win: pure, no network
exchange   one command, one answer, over a redis-py connection
primary    one primary: its tracking connection and thread, and its commands
topology   which servers are primaries, and for which keys
marks      whether the store is the one it was
pins       the port itself
"""

from __future__ import annotations

from residency.adapters.pins_redis.pins import PinsRedis
from residency.adapters.pins_redis.urls import parse_redis_url

__all__ = ["PinsRedis", "parse_redis_url"]
