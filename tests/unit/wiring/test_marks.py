"""Stores that start on the sinks they mean, and stop acts on one that is exchanged under them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import anyio
import pytest

from residency.adapters.sink_memory import MemorySink
from residency.errors import JournalFull, SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.barred import Barred
from residency.storage.lasting import is_lasting
from residency.storage.marks import Mark, mark_of, write_marks
from residency.wiring.marks import MarkedStores, MarkWatch, tell_marks

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
