"""In: a folder. Out: one deployment with caches, sessions and queues in two countries, requests to it, their acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from starlette.authentication import SimpleUser

from residency.adapters.cache_memory import CacheMemory
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_redis import RedisSink
from residency.audit.entry import Entry
from residency.enforcement.context import current
from residency.enforcement.point import Request
from residency.enforcement.ports import SinkPort
from residency.storage.caches import CacheHandle
from residency.wiring.caches import redis_sink
from tests.world import HANOI, HOME, SG, VN, Deployed, handling, load_policy, write_deployment

__all__ = ["DEPLOYMENT", "CacheWorld", "redis_sink_at"]

DEPLOYMENT = """
sinks:
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  cache-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:cache", scope: cache}
  cache-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:cache", scope: cache}
  jobs-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:cache"}
  jobs-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:cache"}
stores: {files: [files-sg, files-vn], cache: [cache-sg, cache-vn], abroad: [cache-sg], jobs: [jobs-sg, jobs-vn]}
activities:
  - {route: "GET /me", subject: user, data: [personal], store: [files, cache, abroad, jobs]}
  - {route: "POST /me", subject: user, data: [personal], store: [files, cache, abroad, jobs]}
  - {route: "DELETE /me", subject: user, data: [personal], store: [files, cache, abroad, jobs]}
  - {route: "GET /open", subject: none, data: [personal], store: [cache, abroad]}
  - {route: "GET /bare", subject: none, data: [personal]}
  - {route: "POST /login", subject: app, data: [personal], store: [cache, jobs]}
  - {route: "GET /people/{id}", subject: path.id, data: [personal], store: [files, cache]}
"""


class CacheWorld(Deployed):
    """One deployment with caches and queues, and the acts on them. `caches` replaces cache-sg and cache-vn."""

    def __init__(
        self,
        folder: Path,
        mode: str = "enforce",
        *,
        rules: Sequence[str] = (HOME,),
        caches: Sequence[SinkPort] | None = None,
        journal: JournalMemory | None = None,
        replace: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.sg, self.vn = CacheMemory("cache-sg", SG), CacheMemory("cache-vn", VN)
        self.jobs_sg, self.jobs_vn = CacheMemory("jobs-sg", SG), CacheMemory("jobs-vn", VN)
        file = write_deployment(folder, DEPLOYMENT, rules, [("mode: enforce", f"mode: {mode}"), *replace])
        sinks = [
            MemorySink("files-sg", SG), MemorySink("files-vn", VN), *(caches or (self.sg, self.vn)),
            self.jobs_sg, self.jobs_vn,
        ]  # fmt: skip
        super().__init__(load_policy(file), sinks, journal=journal)

    @contextmanager
    def request(
        self, path: str = "/me", method: str = "GET", *, address: str = HANOI, who: str = "an", store: str = "cache"
    ) -> Iterator[CacheHandle]:
        """Code inside runs as a handler of this request."""
        user = SimpleUser(who)
        here = self.point.admit(Request(method, path, path.encode(), (), (address, 50_000), user))
        with handling(here):
            handle = current().store(store)
            assert isinstance(handle, CacheHandle)
            yield handle

    async def settle_home(self, who: str, address: str = HANOI) -> None:
        """Write something of `who`, so that where it goes is their home."""
        here = self.point.admit(Request("POST", "/me", b"/me", (), (address, 50_000), SimpleUser(who)))
        with handling(here):
            await current().store("files").put("first", b"x")

    def acts(self) -> list[tuple[str | None, str | None, str | None]]:
        """(sink, operation, outcome) of every intent, None where it stands open."""
        return [(entry.sink, entry.operation, word) for entry, word in self.intents]

    def refusals(self) -> list[Entry]:
        """The entries of refusals, in order."""
        return [entry for entry in self.entries if entry.kind == "refusal"]


def redis_sink_at(
    folder: Path,
    url: str,
    *,
    name: str = "cache-vn",
    scope: str = "cache",
    elsewhere: Callable[[str], bool] | None = None,
) -> RedisSink:
    """The sink that a deployment with this `url` makes; it is patient where the URL does not say how much."""
    if "socket_timeout" not in url:
        url += f"{'&' if '?' in url else '?'}socket_timeout=5"
    text = f"""
sinks:
  {name}: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "{url}", scope: {scope}}}
stores: {{cache: [{name}]}}
"""
    place = folder / f"deployment-{len(list(folder.iterdir()))}"
    place.mkdir()
    deployment = load_policy(write_deployment(place, text)).deployment
    made = redis_sink(deployment, deployment.sinks[name], VN, elsewhere)
    assert isinstance(made, RedisSink)
    return made
