"""Stores that start on the sinks they mean, and stop acts on one that is exchanged under them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from residency.adapters.log_files import LogFiles
from residency.adapters.sink_memory import MemorySink
from residency.errors import JournalFull, SinkUnavailable, UsageError
from residency.model import Region
from residency.observe import names
from residency.observe.cells import Metrics
from residency.storage.barred import Barred
from residency.storage.lasting import is_lasting
from residency.storage.location import Which
from residency.storage.marks import OBJECT, Mark, mark_of, write_marks
from residency.storage.marks_seen import LOST, SeenMarks, State
from residency.storage.stores import Stores
from residency.wiring.marks import MarkedStores, MarkWatch, meter_marks, tell_marks, told_which

VN, SG = Region("vn-han", "VN"), Region("sg", "SG")


@pytest.fixture
def anyio_backend() -> str:
    """The loop that looks again and again."""
    return "asyncio"


class Kept(MemorySink):
    """One whose values outlive `aclose`, as a server's do."""

    async def aclose(self) -> None:
        """Keep all."""


@pytest.fixture
async def sinks() -> dict[str, MemorySink]:
    """Two started sinks."""
    made: dict[str, MemorySink] = {"vn": Kept("vn", VN), "sg": Kept("sg", SG)}
    for sink in made.values():
        await sink.start()
    return made


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    with anyio.fail_after(30):
        while not holds():  # noqa: ASYNC110 - what changes tells nobody
            await anyio.sleep(0.005)


@pytest.mark.anyio
async def test_sinks_without_marks_and_with_their_own_start(sinks: dict[str, MemorySink]) -> None:
    stores = MarkedStores(sinks, {"files": ("vn", "sg")})
    await stores.start()
    await stores.aclose()
    for sink in sinks.values():
        await write_marks(sink, [mark_of(sink)])
    await stores.start()
    assert "vn" not in stores.misplaced
    await stores.aclose()


class Telling(Kept):
    """One whose server says which it is, where it is there."""

    word: str | None = "x"

    async def which(self) -> Which:
        if self.word is None:
            raise SinkUnavailable("it is away")
        return Which(frozenset({self.word}))


@pytest.mark.anyio
async def test_what_servers_say_of_themselves_is_known_from_the_start_on_and_stays_while_they_are_away(
    sinks: dict[str, MemorySink],
) -> None:
    telling = Telling("told", VN)
    stores = MarkedStores({**sinks, "told": telling}, {"files": ("vn", "sg", "told")})
    assert told_which(stores) == {}
    await stores.start()
    assert told_which(stores) == {"told": Which(frozenset({"x"}))}
    watch = stores.misplaced
    assert isinstance(watch, MarkWatch)
    telling.word = None
    await watch.look()
    assert told_which(stores) == {"told": Which(frozenset({"x"}))}
    telling.word = "y"
    await watch.look()
    assert told_which(stores) == {"told": Which(frozenset({"y"}))}
    await stores.aclose()
    assert told_which(Stores({}, {})) == {}


@pytest.mark.anyio
async def test_sinks_that_were_exchanged_do_not_start_and_the_error_names_all(sinks: dict[str, MemorySink]) -> None:
    await write_marks(sinks["vn"], [mark_of(sinks["sg"])])
    await write_marks(sinks["sg"], [mark_of(sinks["vn"])])
    stores = MarkedStores(sinks, {"files": ("vn", "sg")})
    with pytest.raises(SinkUnavailable) as caught:
        await stores.start()
    assert is_lasting(caught.value)
    assert "sink 'vn' bears the mark of sink 'sg'" in str(caught.value)
    assert "sink 'sg' bears the mark of sink 'vn'" in str(caught.value)


@pytest.mark.anyio
async def test_a_sink_that_is_exchanged_later_takes_no_act_until_it_is_its_own_again(
    sinks: dict[str, MemorySink], caplog: pytest.LogCaptureFixture
) -> None:
    watch = MarkWatch(sinks)
    watch.elsewhere = frozenset({"sg"})
    told: list[str] = []

    def tell(note: str) -> None:
        told.append(note)
        raise JournalFull("no room")  # which lets nothing go on that may not

    watch.tell = tell
    watch.watch(lambda: 0.005)
    await write_marks(sinks["vn"], [Mark("other", "sg", "SG")])
    await until(lambda: "vn" in watch)
    assert "sg" in watch, "other evidence counts as before"
    await write_marks(sinks["vn"], [mark_of(sinks["vn"])])
    await until(lambda: "vn" not in watch)
    assert told == [
        "mark vn: bears the mark of sink 'other' (sg, SG): its URL is another's",
        "mark vn: bears its own mark again",
    ]
    assert "'vn' bears the mark of sink 'other'" in caplog.text
    await watch.stop()
    await watch.stop()


@pytest.mark.anyio
async def test_what_does_not_tell_stays_as_it_was_and_the_log_says_so_once(
    sinks: dict[str, MemorySink], caplog: pytest.LogCaptureFixture
) -> None:
    watch = MarkWatch(sinks)
    await write_marks(sinks["vn"], [Mark("other", "sg", "SG")])
    assert set(await watch.look()) == {"vn"}
    await MemorySink.aclose(sinks["vn"])
    assert set(await watch.look()) == {"vn"}
    assert set(await watch.look()) == {"vn"}
    assert caplog.text.count("'vn' does not say which sink it is") == 1


@pytest.mark.anyio
async def test_stores_of_a_later_policy_go_on_with_the_same_marks(sinks: dict[str, MemorySink]) -> None:
    first = MarkedStores(sinks, {"files": ("vn",)})
    first.misplaced = frozenset({"sg"})
    later = MarkedStores(sinks, {"files": ("vn", "sg")})
    later.misplaced = first.misplaced
    told: list[str] = []
    tell_marks(first, told.append)
    await write_marks(sinks["vn"], [Mark("other", "sg", "SG")])
    with pytest.raises(SinkUnavailable):
        await later.start()
    assert len(told) == 1
    assert later.misplaced is first.misplaced
    assert "sg" in later.misplaced


@pytest.mark.anyio
@pytest.mark.parametrize("refuse", [False, True])
async def test_a_mark_that_vanished_is_told_at_once_and_by_the_next_process_until_it_is_there_again(
    sinks: dict[str, MemorySink], tmp_path: Path, refuse: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    async def begun() -> MarkedStores:
        stores = MarkedStores(sinks, {"files": ("vn", "sg")})
        tell_marks(stores, told.append, SeenMarks(LogFiles(tmp_path)), refuse=refuse)
        await stores.start()
        return stores

    def watch(stores: MarkedStores) -> MarkWatch:
        assert isinstance(stores.misplaced, MarkWatch)
        return stores.misplaced

    await write_marks(sinks["vn"], [mark_of(sinks["vn"])])
    first = await begun()
    assert (watch(first).standing, told) == ({"vn": "own", "sg": "none"}, [])
    await sinks["vn"].delete(OBJECT)
    await watch(first).look()
    await watch(first).look()
    note = f"mark vn: {LOST}"
    assert told == [note], "once"
    assert ("vn" in first.misplaced, "sg" in first.misplaced) == (refuse, False)
    await first.aclose()
    second = await begun()
    assert (told, watch(second).standing["vn"]) == ([note, note], "lost"), "and by each that begins"
    assert ("vn" in second.misplaced) is refuse
    await second.aclose()
    await write_marks(sinks["vn"], [mark_of(sinks["vn"])])
    third = await begun()
    assert told[2:] == ["mark vn: bears its own mark again"]
    assert "vn" not in third.misplaced
    await third.aclose()
    await (await begun()).aclose()
    assert len(told) == 3
    assert caplog.text.count(LOST) == 2


@pytest.mark.anyio
async def test_what_was_seen_and_cannot_be_read_is_said_and_the_process_remembers_for_itself(
    sinks: dict[str, MemorySink], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = LogFiles(tmp_path)
    files.write("marked/vn", b"torn")
    watch = MarkWatch(sinks)
    watch.seen = SeenMarks(files)
    await write_marks(sinks["vn"], [mark_of(sinks["vn"])])
    await watch.look()
    assert "mark of sink 'vn' cannot be read (JSONDecodeError)" in caplog.text
    assert SeenMarks(files).of("vn") == State(borne=True)


@pytest.mark.anyio
async def test_the_metrics_page_tells_what_each_mark_says(sinks: dict[str, MemorySink]) -> None:
    metrics = Metrics()
    stores = MarkedStores(sinks, {"files": ("vn", "sg")})
    meter_marks(metrics, stores)

    def page() -> dict[tuple[str, ...], float]:
        return next(dict(family.series) for family in metrics.families() if family.spec.name == names.SINK_MARK)

    assert page() == {}  # nobody has looked yet: unknown, and not 0
    await write_marks(sinks["vn"], [mark_of(sinks["vn"])])
    await stores.start()
    assert {labels for labels, value in page().items() if value == 1} == {("vn", "own"), ("sg", "none")}
    await stores.aclose()


def test_what_other_evidence_says_later_counts_at_once_and_neither_lifts_the_bar_of_the_other() -> None:
    stores = MarkedStores({"vn": MemorySink("vn", VN), "sg": MemorySink("sg", SG)}, {"files": ("vn", "sg")})
    drifted = Barred()
    stores.misplaced = drifted
    watch = stores.misplaced
    assert isinstance(watch, MarkWatch)
    drifted.bar(lambda: {"vn"})
    assert set(watch) == {"vn"}
    watch._found("vn", "bears another's mark")
    watch._found("sg", "bears another's mark")
    drifted.bar(lambda: ())
    assert set(watch) == {"vn", "sg"}
    watch._found("sg", None)
    drifted.bar(lambda: {"sg"})
    watch._found("vn", None)
    assert set(watch) == {"sg"}


def test_a_set_that_may_change_unheard_is_refused() -> None:
    with pytest.raises(UsageError):
        MarkedStores({"vn": MemorySink("vn", VN)}, {"files": ("vn",)}).misplaced = {"vn"}


def test_to_ask_whether_a_sink_is_barred_calls_no_function_of_ours() -> None:
    stores = MarkedStores({"vn": MemorySink("vn", VN)}, {"files": ("vn",)})
    called: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        barred = "vn" in stores.misplaced
    finally:
        sys.setprofile(before)
    assert (barred, called) == (False, [])


def test_without_asyncio_nobody_looks_again_and_all_else_holds() -> None:
    async def on_trio() -> None:
        stores = MarkedStores({"vn": MemorySink("vn", VN)}, {"files": ("vn",)})
        await stores.start()
        await stores.aclose()

    anyio.run(on_trio, backend="trio")
