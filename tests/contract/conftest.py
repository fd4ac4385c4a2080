"""For contract suites: real servers, started once for all of them, each when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import find_redis
from tests.servers import Server, Servers


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], list[Server]]]:
    """The servers of "redis", "valkey" (one) or "cluster" (several), emptied."""
    programs = {flavour: find_redis(flavour) for flavour in ("redis", "valkey")}
    with Servers(tmp_path_factory.mktemp("servers"), programs) as servers:
        found: dict[str, list[Server]] = {}

        def start(what: str) -> list[Server]:
            if what not in found:
                found[what] = servers.cluster() if what == "cluster" else [servers.single(what)]
            for server in found[what]:
                server.client.flushall()
            return found[what]

        yield start
