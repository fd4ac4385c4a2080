"""A sink of objects over members: the first that answers, home or nowhere, and no change twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_members import ObjectMembers
from residency.enforcement.ports import OCTETS, ObjectMeta, nothing
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.failover import Bounds

pytestmark = pytest.mark.anyio
HANOI, SAIGON, SINGAPORE = Region("vn-han", "VN"), Region("vn-sgn", "VN"), Region("sg", "SG")
BOUNDS = Bounds(limit=2, rest=5_000_000, lease=1_000_000)


class Way(FilesSink):
    """One of several ways to the same folder, which may be away, slow, or break off once it has stored."""

    def __init__(self, folder: Path, region: Region) -> None:
        super().__init__("files", region, folder)
        self.away = self.breaks = self.hangs = False
        self.asked: list[str] = []

    async def _arrive(self, what: str) -> None:
        self.asked.append(what)
        if self.hangs:
            await anyio.sleep_forever()
        if self.away:
            raise SinkUnavailable("sink 'files' cannot be reached")

    async def start(self) -> None:
        await self._arrive("start")
        await super().start()

    async def head(self, key: str) -> ObjectMeta | None:
        await self._arrive("head")
        return await super().head(key)

    async def get(self, key: str) -> bytes | None:
        await self._arrive("get")
        if self.breaks:
            raise SinkUnavailable("sink 'files' broke off")
        return await super().get(key)

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        await self._arrive("put")
        meta = await super().put(key, value, content_type)
        if self.breaks:
            raise SinkUnavailable("sink 'files' broke off")
        done()
        return meta

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        await self._arrive("list")
        async for meta in super().list(prefix, after):
            yield meta


class Ways:
    """Two ways in Vietnam, the sink over them, and a clock that only tests move."""

    def __init__(self, folder: Path) -> None:
        self.now = 0
        self.one, self.other = Way(folder, HANOI), Way(folder, SAIGON)
        self.sink = ObjectMembers(
            "files", HANOI, [self.one, self.other], now=lambda: self.now, bounds=BOUNDS, reach=1.0
        )

    def after(self, seconds: float) -> list[str]:
        """Let time go by, and forget what was asked; the ways' names as they will be asked."""
        self.now += int(seconds * 1_000_000)
        self.one.asked.clear()
        self.other.asked.clear()
        return self.other.asked


@pytest.fixture
async def ways(tmp_path: Path) -> Ways:
    made = Ways(tmp_path / "files")
    await made.sink.start()
    made.after(0)
    return made


async def test_the_first_member_is_used_while_it_answers_and_no_other_is_asked(ways: Ways) -> None:
    await ways.sink.put("a", b"1")
    assert await ways.sink.get("a") == b"1"
    assert (ways.one.asked, ways.other.asked) == (["put", "get"], [])


async def test_a_member_that_was_silent_for_a_second_is_asked_before_it_is_sent_anything(ways: Ways) -> None:
    ways.after(1)
    await ways.sink.put("a", b"1")
    assert ways.one.asked == ["head", "put"]


async def test_one_that_is_away_costs_a_question_and_the_next_takes_the_act(ways: Ways) -> None:
    ways.after(1)
    ways.one.away = True
    done: list[int] = []
    await ways.sink.put("a", b"1", done=lambda: done.append(1))
    assert (ways.one.asked, ways.other.asked, done) == (["head"], ["head", "put"], [1])
    assert await ways.sink.get("a") == b"1"


async def test_one_that_never_answers_is_waited_for_so_long_and_no_longer(ways: Ways) -> None:
    ways.after(1)
    ways.one.hangs = True
    with anyio.fail_after(5):
        assert await ways.sink.get("a") is None
    assert ways.other.asked == ["head", "get"]


async def test_a_change_that_may_have_arrived_is_made_nowhere_else(ways: Ways) -> None:
    ways.one.breaks = True
    done: list[int] = []
    with pytest.raises(SinkUnavailable, match="broke off"):
        await ways.sink.put("a", b"1", done=lambda: done.append(1))
    assert (ways.other.asked, done) == ([], [])  # and nobody says that it was stored


async def test_a_read_that_broke_off_goes_on_to_the_next(ways: Ways) -> None:
    await ways.sink.put("a", b"1")
    ways.one.breaks = True
    assert await ways.sink.get("a") == b"1"
    assert ways.other.asked == ["get"]


async def test_a_member_that_fails_again_and_again_is_left_alone_for_a_while_and_then_tried_by_one(ways: Ways) -> None:
    ways.one.away = True
    for _ in range(BOUNDS.limit):
        ways.after(1)
        await ways.sink.get("a")
    ways.after(1)
    await ways.sink.get("a")
    assert ways.one.asked == []
    ways.one.away = False
    ways.after(5)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ways.sink.get, "a")
    assert ways.one.asked == ["head", "get"]
    ways.after(0)
    await ways.sink.get("a")
    assert (ways.one.asked, ways.other.asked) == (["get"], [])  # it is the first again


async def test_where_all_are_away_the_sink_is(ways: Ways) -> None:
    ways.after(1)
    ways.one.away = ways.other.away = True
    with pytest.raises(SinkUnavailable, match="'files' cannot be reached: none of its 2 ways answers"):
        await ways.sink.put("a", b"1")
    with pytest.raises(SinkUnavailable):
        await ways.sink.ping()
    ways.after(0)
    with pytest.raises(SinkUnavailable):
        await ways.sink.get("a")  # all circuits are open: nobody is asked
    assert (ways.one.asked, ways.other.asked) == ([], [])


async def test_a_start_needs_one_member_and_the_other_is_started_when_it_is_needed(tmp_path: Path) -> None:
    ways = Ways(tmp_path / "files")
    ways.one.away = ways.other.away = True
    with pytest.raises(SinkUnavailable):
        await ways.sink.start()
    ways.other.away = False
    await ways.sink.start()
    ways.one.away, ways.other.away = False, True
    ways.after(6)
    assert await ways.sink.get("a") is None
    assert ways.one.asked == ["start", "get"]


async def test_a_value_in_pieces_begins_where_it_can_and_stays_there(ways: Ways) -> None:
    ways.after(1)
    ways.one.away = True
    upload = await ways.sink.upload("a")
    ways.one.away = False
    await upload.write(b"1")
    await upload.commit()
    assert await ways.sink.get("a") == b"1"


async def test_a_listing_is_of_one_member(ways: Ways) -> None:
    for key in ("a", "b", "c"):
        await ways.sink.put(key, b"1")
    ways.after(1)
    ways.one.away = True
    assert [meta.key async for meta in ways.sink.list()] == ["a", "b", "c"]
    assert ways.other.asked == ["head", "list"]


async def test_a_key_that_may_not_be_is_no_failure_of_a_member(ways: Ways) -> None:
    for _ in range(5):
        with pytest.raises(UsageError):
            await ways.sink.get("")
    assert await ways.sink.get("a") is None
    assert ways.other.asked == []


def test_a_member_elsewhere_is_no_member(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="failover never leaves its place"):
        ObjectMembers("files", HANOI, [Way(tmp_path, HANOI), Way(tmp_path, SINGAPORE)])


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
