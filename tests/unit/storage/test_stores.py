"""Objects under the real enforcement point: each call one act, on the right sink, with the right word at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_memory import MemorySink
from residency.audit.entry import Entry
from residency.enforcement.context import current
from residency.enforcement.point import Request
from residency.errors import (
    JournalFailed,
    NoDecision,
    Refused,
    ResidencyError,
    SinkUnavailable,
    UnknownStore,
    UsageError,
)
from residency.model import Pin
from residency.storage import StoreHandle, Stores
from tests.world import HANOI, SG, SINGAPORE, VN, Deployed, handling, load_policy, write_deployment

pytestmark = pytest.mark.anyio

DEPLOYMENT = """
sinks:
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://vn"}
stores: {uploads: [files-sg, files-vn]}
activities:
  - {route: "POST /uploads", subject: user, data: [personal], store: uploads}
  - {route: "GET /uploads", subject: user, data: [personal], store: uploads}
  - {route: "DELETE /uploads", subject: user, data: [personal], store: uploads}
"""


class World(Deployed):
    """One deployment with two object sinks, and the acts on them."""

    def __init__(self, folder: Path, mode: str = "enforce") -> None:
        self.vn = FilesSink("files-vn", VN, folder / "vn")
        self.sg = MemorySink("files-sg", SG)
        file = write_deployment(folder, DEPLOYMENT, replace=[("mode: enforce", f"mode: {mode}")])
        super().__init__(load_policy(file), [self.sg, self.vn])

    @contextmanager
    def request(self, method: str = "POST", address: str = HANOI, who: str = "an") -> Iterator[StoreHandle]:
        """Code inside runs as a handler of this request."""
        here = self.point.admit(Request(method, "/uploads", b"/uploads", (), (address, 50_000), SimpleUser(who)))
        with handling(here):
            handle = current().store("uploads")
            assert isinstance(handle, StoreHandle)
            yield handle

    def refusals(self) -> list[Entry]:
        """The entries of refusals, in order."""
        return [entry for entry in self.entries if entry.kind == "refusal"]

    def acts(self) -> list[tuple[str | None, str | None, str | None]]:
        """(sink, operation, outcome) of every intent, None where it stands open."""
        return [(entry.sink, entry.operation, word) for entry, word in self.intents]


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A world whose sinks are started."""
    made = World(tmp_path)
    await made.stores.start()
    return made


async def test_a_covered_persons_object_goes_home_and_anothers_to_the_first_sink(world: World) -> None:
    with world.request() as uploads:
        assert uploads.sink_name == "files-vn"
        await uploads.put("a.jpg", b"An")
    with world.request(address=SINGAPORE, who="tan") as uploads:
        await uploads.put("t.jpg", b"Tan")
    assert (await world.vn.get("a.jpg"), await world.sg.get("t.jpg")) == (b"An", b"Tan")
    assert (await world.sg.get("a.jpg"), await world.vn.get("t.jpg")) == (None, None)
    assert world.acts() == [("files-vn", "write", "committed"), ("files-sg", "write", "committed")]


async def test_a_read_from_abroad_follows_the_data_home(world: World) -> None:
    with world.request() as uploads:
        await uploads.put("a.jpg", b"An")
    with world.request("GET", SINGAPORE) as uploads:
        assert await uploads.get("a.jpg") == b"An"
        assert [key async for key in uploads.keys("a")] == ["a.jpg"]
        assert await uploads.get("b.jpg") is None
    assert world.acts()[1:] == [("files-vn", "read", "committed")] * 3


async def test_erasing_is_an_act_of_its_own_kind(world: World) -> None:
    with world.request() as uploads:
        await uploads.put("a.jpg", b"An")
    with world.request("DELETE") as uploads:
        assert await uploads.delete("a.jpg") is True
        assert await uploads.delete("a.jpg") is False
    assert world.acts()[1:] == [("files-vn", "erase", "committed")] * 2


async def test_the_sink_abroad_asked_for_by_name_is_refused_with_the_article_and_stores_nothing(world: World) -> None:
    with world.request() as uploads, pytest.raises(Refused) as caught:
        await uploads.put("a.jpg", b"An", sink="files-sg")
    assert caught.value.citations == ("Test law art. 1",)
    assert await world.sg.get("a.jpg") is None
    assert world.acts() == []
    assert [entry.sink for entry in world.refusals()] == ["files-sg"]


async def test_a_write_that_only_another_place_permits_is_refused_and_recorded(world: World) -> None:
    pin = Pin(f"{sum(b'an'):064x}", "SG", (), "a" * 32, "write", "0" * 64, 1)
    await world.pins.put(pin)
    with world.request() as uploads, pytest.raises(Refused) as caught:
        await uploads.put("a.jpg", b"An")
    assert caught.value.reason == "not_home"
    assert world.acts() == []
    assert [(entry.sink, entry.reason) for entry in world.refusals()] == [("files-sg", "not_home")]


async def test_observing_leaves_data_where_it_was(tmp_path: Path) -> None:
    world = World(tmp_path, "observe")
    await world.stores.start()
    with world.request() as uploads:
        await uploads.put("a.jpg", b"An")
    assert await world.sg.get("a.jpg") == b"An"


async def test_a_stop_order_before_the_act_stops_it_where_only_that_sink_may_take_the_data(world: World) -> None:
    with world.request() as uploads:
        world.stop("files-vn")
        with pytest.raises(Refused):
            await uploads.put("a.jpg", b"An")
    assert world.acts() == []


async def test_a_stop_order_before_the_first_write_moves_it_where_another_sink_may_take_the_data(world: World) -> None:
    with world.request(address=SINGAPORE, who="tan") as uploads:
        world.stop("files-sg")
        await uploads.put("t.jpg", b"Tan")
    assert world.acts() == [("files-vn", "write", "committed")]


async def test_intent_and_outcome_of_a_write_survive_a_power_cut_before_the_app_goes_on(world: World) -> None:
    with world.request() as uploads:
        await uploads.put("a.jpg", b"An")
        assert world.journal.durable == len(world.journal.records)
    with world.request("DELETE") as uploads:
        await uploads.delete("a.jpg")
        assert world.journal.durable == len(world.journal.records)


async def test_a_read_activity_stores_and_removes_nothing(world: World) -> None:
    with world.request("GET") as uploads:
        with pytest.raises(ResidencyError):
            await uploads.put("a.jpg", b"An")
        with pytest.raises(ResidencyError):
            await uploads.delete("a.jpg")
    assert world.acts() == []


async def test_a_sink_that_fails_a_write_leaves_the_word_unknown_and_a_failed_read_failed(world: World) -> None:
    await world.sg.aclose()
    with world.request(address=SINGAPORE, who="tan") as uploads:
        for call in (uploads.put("t", b"1"), uploads.get("t")):
            with pytest.raises(SinkUnavailable):
                await call
    assert [act[2] for act in world.acts()] == ["unknown", "failed"]


async def test_a_journal_that_fails_before_the_effect_stops_it(world: World) -> None:
    with world.request() as uploads:
        world.journal.fail()
        with pytest.raises(JournalFailed):
            await uploads.put("a.jpg", b"An")
    assert await world.vn.get("a.jpg") is None


async def test_a_listing_that_is_left_early_is_one_act(world: World) -> None:
    with world.request() as uploads:
        await uploads.put("a", b"1")
        await uploads.put("b", b"2")
        listing = uploads.keys()
        assert await anext(listing) == "a"
        await listing.aclose()  # type: ignore[attr-defined]
    assert world.acts()[2:] == [("files-vn", "read", "committed")]


async def test_a_handle_kept_from_one_request_is_of_no_use_to_the_next(world: World) -> None:
    with world.request(address=SINGAPORE, who="us") as kept:
        await kept.put("us/1", b"mine")
    with pytest.raises(NoDecision):
        await kept.put("an/1", b"hers")
    with world.request(who="an"), pytest.raises(UsageError, match="its own request only"):
        await kept.put("an/1", b"hers")
    assert [key async for key in world.sg.keys("")] == ["us/1"]
    assert len(world.acts()) == 1


async def test_a_bad_key_begins_no_act(world: World) -> None:
    with world.request() as uploads, pytest.raises(UsageError):
        await uploads.put("../x", b"1")
    assert world.acts() == []


async def test_a_store_of_objects_gives_no_session_where_none_is_built(world: World) -> None:
    with world.request() as uploads, pytest.raises(UsageError):
        uploads.session()


async def test_stores_refuse_what_is_not_there(world: World) -> None:
    assert world.stores.names == ("uploads",)
    assert world.stores.sinks_of("uploads") == (world.sg, world.vn)
    await world.stores.ping()
    with pytest.raises(UnknownStore):
        world.stores.sinks_of("people")
    with world.request() as uploads, pytest.raises(UnknownStore):
        uploads.sink("people-vn")
    with pytest.raises(UsageError, match="no sink"):
        Stores({}, {"people": ()})
    with pytest.raises(UsageError, match="not built"):
        Stores({}, {"people": ("people-vn",)})


async def test_a_sink_that_does_not_start_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    broken = FilesSink("files-vn", VN, tmp_path / "file" / "folder")
    stores = Stores({"files-sg": MemorySink("files-sg", SG), "files-vn": broken}, {"uploads": ("files-sg", "files-vn")})
    with pytest.raises(SinkUnavailable):
        await stores.start()
