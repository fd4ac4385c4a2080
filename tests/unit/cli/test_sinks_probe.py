"""Whether a sink can serve, asked as its kind can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from residency.adapters.cache_memory import CacheMemory
from residency.adapters.sink_redis import RedisSink
from residency.cli.sinks_probe import ANSWERS, probe
from residency.errors import SinkUnavailable
from residency.model import Region
from residency.wiring import storage
from tests.world import load_policy, write_deployment

pytestmark = pytest.mark.anyio
HAN = Region("vn-han", "VN")


async def test_a_cache_is_started_and_asked() -> None:
    sink = CacheMemory("cache", HAN)
    await probe(sink, "cache")
    await sink.aclose()


async def test_a_cache_that_the_app_could_do_without_is_away_all_the_same(tmp_path: Path) -> None:
    text = """
sinks:
  cache: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: cache, url: "redis://127.0.0.1:1/0"}
stores: {cache: [cache]}
"""
    policy = load_policy(write_deployment(tmp_path, text))
    sink = storage.sinks(policy.deployment, Path, tmp_path)["cache"]
    assert isinstance(sink, RedisSink)
    with pytest.raises(SinkUnavailable, match="'cache'"):
        await probe(sink, "cache")
    await sink.aclose()


def test_each_kind_has_its_words() -> None:
    assert set(ANSWERS) == {"rows", "objects", "cache", "service"}


@pytest.mark.needs("redis")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cache_on_a_server_that_runs_answers(tmp_path: Path, redis_servers: Any) -> None:
    server = redis_servers.single()
    text = f"""
sinks:
  jobs: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "{server.url}"}}
stores: {{jobs: [jobs]}}
"""
    sink = storage.sinks(load_policy(write_deployment(tmp_path, text)).deployment, Path, tmp_path)["jobs"]
    await probe(sink, "cache")
    await sink.aclose()
