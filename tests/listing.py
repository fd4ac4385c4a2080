"""In: nothing. Out: a deployment whose one route lists people of three sinks in three countries, and requests to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.authentication import SimpleUser

from residency.adapters.sink_memory import MemorySink
from residency.enforcement.current import Current
from residency.enforcement.point import Request
from residency.model import Region
from tests.world import SG, SINGAPORE, VN, Deployed, load_policy, write_deployment

PLACES = {"sg": "SG", "vn": "VN", "us": "US"}
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  us: {region: us, provider: US, keys: US, encrypted: true, url: "memory:"}
stores: {people: [sg, vn, us]}
activities:
  - {route: "GET /people", subject: none, data: [personal], operation: read, store: people}
"""
THREE = ("sg: {country: SG}}", "sg: {country: SG}, us: {country: US}}")
"""What makes the regions of a test's deployment (`tests.world`) three."""


def three_sinks() -> list[MemorySink]:
    """The sinks of that deployment, empty."""
    return [MemorySink("sg", SG), MemorySink("vn", VN), MemorySink("us", Region("us", "US"))]


def list_request(address: str = SINGAPORE) -> Request:
    """Sue asks for the list."""
    return Request("GET", "/people", b"/people", (), (address, 5), SimpleUser("sue"))


@contextmanager
def a_lister() -> Iterator[Current]:
    """A request that lists, as its handler has it."""
    with tempfile.TemporaryDirectory() as name:
        policy = load_policy(write_deployment(Path(name), DEPLOYMENT, replace=[THREE]))
        made = Deployed(policy, three_sinks()).point.admit(list_request())
        assert isinstance(made, Current)
        yield made
