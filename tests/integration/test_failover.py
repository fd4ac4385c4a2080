"""Members under the whole point: whatever befalls them, nothing goes abroad, and no outcome is a false word."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_members import ObjectMembers
from residency.enforcement.current import Current
from residency.enforcement.ports import OCTETS, ObjectMeta, nothing
from residency.enforcement.request import Request
from residency.errors import SinkUnavailable
from residency.model import Region
from tests.world import HANOI, SG, VN, Deployed, handling, load_policy, write_deployment

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
sinks:
  uploads-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://sg"}
  uploads-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://vn"}
stores: {uploads: [uploads-sg, uploads-vn]}
activities:
  - {route: "POST /uploads", subject: user, data: [personal], store: uploads}
"""
WELL, AWAY, BREAKS = "well", "away", "breaks"
STATES = tuple(product((WELL, AWAY, BREAKS), repeat=2))


class Way(FilesSink):
    """A way to one folder: well, away, or breaking off when an act has arrived."""

    state = WELL

    async def head(self, key: str) -> ObjectMeta | None:
        if self.state == AWAY:
            raise SinkUnavailable("sink 'uploads-vn' is away")
        return await super().head(key)

    async def get(self, key: str) -> bytes | None:
        value = await super().get(key)
        self._end()
        return value

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        if self.state == AWAY:
            self._end()
        meta = await super().put(key, value, content_type)
        self._end()
        done()
        return meta

    def _end(self) -> None:
        if self.state != WELL:
            raise SinkUnavailable("sink 'uploads-vn' broke off")


class World(Deployed):
    """Two ways to one folder in Vietnam, and one in Singapore that is always well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0
        self.ways = [Way("uploads-vn", region, folder / "vn") for region in (VN, Region("vn-sgn", "VN"))]
        self.home = ObjectMembers("uploads-vn", VN, self.ways, now=lambda: self.now)
        super().__init__(
            load_policy(write_deployment(folder, DEPLOYMENT)),
            [FilesSink("uploads-sg", SG, folder / "sg"), self.home],
        )

    def request(self) -> Current:
        """A Vietnamese person's request."""
        here = self.point.admit(Request("POST", "/uploads", b"/uploads", (), (HANOI, 50_000), SimpleUser("an")))
        assert isinstance(here, Current)
        return here

    def files(self, place: str) -> int:
        """How many files lie at a place."""
        return sum(file.is_file() for file in (self.folder / place).rglob("*"))


@pytest.mark.parametrize("states", STATES, ids="-".join)
@pytest.mark.parametrize("silent", [False, True], ids=["just-heard", "silent"])
async def test_whatever_befalls_the_members_nothing_lies_abroad_and_no_outcome_is_false(
    states: tuple[str, str], silent: bool, tmp_path: Path
) -> None:
    world = World(tmp_path)
    await world.stores.start()
    for way, state in zip(world.ways, states, strict=True):
        way.state = state
    world.now = 2_000_000 if silent else 0
    failed = False
    with handling(world.request()) as here:
        try:
            await here.store("uploads").put("value", b"data")
        except SinkUnavailable:
            failed = True
    ((entry, outcome),) = world.intents
    assert (entry.sink, world.files("sg")) == ("uploads-vn", 0)
    # A member that was heard a moment ago is not asked first: an act that then breaks off is tried nowhere else.
    there = [state for state in states if state != AWAY] if silent else list(states)
    assert failed == (there[:1] != [WELL])
    assert outcome == ("unknown" if failed else "committed")
    assert world.files("vn") == (1 if there and there[0] != AWAY else 0)


@pytest.mark.parametrize("states", STATES, ids="-".join)
async def test_a_read_is_answered_by_whichever_member_can_and_never_from_abroad(
    states: tuple[str, str], tmp_path: Path
) -> None:
    world = World(tmp_path)
    await world.stores.start()
    with handling(world.request()) as here:
        await here.store("uploads").put("value", b"data")
    for way, state in zip(world.ways, states, strict=True):
        way.state = state
    world.now = 2_000_000
    with handling(world.request()) as here:
        if WELL in states:
            assert await here.store("uploads").get("value") == b"data"
        else:
            with pytest.raises(SinkUnavailable, match="'uploads-vn' cannot be reached"):
                await here.store("uploads").get("value")
    assert [entry.sink for entry, _ in world.intents] == ["uploads-vn", "uploads-vn"]
