"""One activity with several stores: each act goes to a sink of the store that it names, and its entry says which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.sink_memory import MemorySink
from residency.enforcement.current import Current
from residency.enforcement.point import Refusal, Request
from residency.errors import Refused, UnknownStore
from residency.model import Reason
from tests.world import HANOI, SG, SINGAPORE, VN, Deployed, handling, load_policy, write_deployment

pytestmark = pytest.mark.anyio
LAW = """
  - id: test.home
    article: art. 1
    text: At home only.
    applies: {anchor: territory, data: personal}
    duty: {only: VN}
"""
DEPLOYMENT = """
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  cache-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:", scope: cache}
stores:
  {people: [people-sg, people-vn], files: [files-sg, files-vn], abroad: files-sg, cache: cache-sg, other: files-vn}
activities:
  - {route: "POST /both", subject: user, data: [personal], store: [people, files]}
  - {route: "POST /halves", subject: user, data: [personal], store: [people, abroad]}
  - {route: "POST /cached", subject: user, data: [personal], store: [people, cache]}
"""
SINKS = {"people-sg": SG, "people-vn": VN, "files-sg": SG, "files-vn": VN, "cache-sg": SG}


class World(Deployed):
    """One deployment with five sinks in two countries."""

    def __init__(self, folder: Path) -> None:
        policy = load_policy(write_deployment(folder, DEPLOYMENT, [LAW]))
        super().__init__(policy, [MemorySink(name, region) for name, region in SINKS.items()])

    @contextmanager
    def request(self, path: str, address: str = HANOI) -> Iterator[Current]:
        here = self.admit(path, address)
        assert isinstance(here, Current)
        with handling(here):
            yield here

    def admit(self, path: str, address: str = HANOI) -> object:
        return self.point.admit(Request("POST", path, path.encode(), (), (address, 5), SimpleUser(address)))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_each_act_goes_to_its_own_store_and_its_entry_says_which(world: World) -> None:
    for address, places in ((HANOI, "vn"), (SINGAPORE, "sg")):
        with world.request("/both", address) as here:
            await here.store("people").put("a", b"1")
            await here.store("files").put("a", b"2")
            for store in ("people", "files"):
                assert here.store(store).sink_name == f"{store}-{places}"
    acts = [(entry.store, entry.sink, entry.region) for entry, word in world.intents if word == "committed"]
    assert acts == [
        ("people", "people-vn", "vn-han"),
        ("files", "files-vn", "vn-han"),
        ("people", "people-sg", "sg"),
        ("files", "files-sg", "sg"),
    ]


async def test_nothing_is_done_by_halves(world: World) -> None:
    refused = world.admit("/halves")
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.ONLY_IN_COUNTRY
    with world.request("/halves", SINGAPORE) as here:
        await here.store("abroad").put("a", b"1")


async def test_a_cache_that_may_not_hold_the_data_refuses_alone(world: World) -> None:
    with world.request("/cached") as here:
        await here.store("people").put("a", b"1")
        with pytest.raises(Refused) as caught:
            here.store("cache").begin()
        assert caught.value.reason == Reason.ONLY_IN_COUNTRY


async def test_a_store_that_the_activity_does_not_name_is_unknown(world: World) -> None:
    with world.request("/both") as here:
        with pytest.raises(UnknownStore):
            here.store("other")
        with pytest.raises(UnknownStore):
            await here.store("people").put("a", b"1", sink="files-vn")
