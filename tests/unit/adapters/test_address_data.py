"""What is in force changes whole or not at all: for files that are whole, newer and plausible, and for age."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from residency.adapters import mmdb
from residency.adapters.address_data import OUTCOMES, AddressData
from residency.adapters.address_tables import AddressTables, Content, PackagedTable, Sources, open_table
from residency.adapters.clock_manual import ManualClock
from residency.errors import AddressDataUnavailable
from residency.model.finding import Anchor, Trust
from residency.signals.peer import ClientAddress, Peer
from tests.mmdb_files import BUILT, METADATA, countries

HANOI, SINGAPORE, UNKNOWN, PRIVATE = "14.160.0.1", "8.128.0.1", "9.9.9.9", "10.0.0.1"
PLACES: Final = {"14.160.0.0/11": "VN", "8.128.0.0/10": "SG", "2001:ee0::/32": "VN"}
OLD: Final = countries(PLACES)
NEW: Final = countries({**PLACES, "9.9.9.0/24": "CH"}, built=BUILT + 86_400)
DAY: Final = 86_400_000_000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the compiled table of OLD: its name depends on the content and not on the place."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "own.mmdb").write_bytes(OLD)
    open_table(Sources(folder / "own.mmdb"), folder / "address", mmdb)
    return folder / "address"


class World:
    """A database on disk, address data over it, and a clock."""

    def __init__(self, folder: Path, prepared: Path) -> None:
        self.clock = ManualClock((BUILT + 5 * 86_400) * 1_000_000)
        self.database = folder / "own.mmdb"
        self.database.write_bytes(OLD)
        self.sources = Sources(self.database)
        self.folder = folder / "address"
        self.folder.mkdir()
        for table in prepared.glob("*.table"):
            shutil.copy(table, self.folder)
        self._opened: list[AddressData[Content]] = []

    def data(self, **options: Any) -> AddressData[Content]:
        """Address data as another process would have it: nothing shared but the disk."""
        tables = AddressTables(self.sources, self.folder, mmdb)
        data = AddressData(tables, now=self.clock.now, **{"max_age": 30 * DAY, **options})
        self._opened.append(data)
        return data

    def write(self, content: bytes, path: Path | None = None, *, in_place: bool = False) -> None:
        path = path or self.database
        if in_place:
            path.write_bytes(content)
        else:
            new = path.with_suffix(".new")
            new.write_bytes(content)
            new.replace(path)

    def close(self) -> None:
        for data in self._opened:
            data.close()


@pytest.fixture
def world(tmp_path: Path, prepared: Path) -> Iterator[World]:
    world = World(tmp_path, prepared)
    yield world
    world.close()


def said(data: AddressData[Content], address: str | None) -> list[tuple[str, str]]:
    """What it says of an address; that what it says of a client there is the same, asked once or again."""
    client = seen(address)
    signals = data.signals(address)
    assert data.signals_of(client) == data.signals_of(client) == signals
    return [(s.place, s.source) for s in signals if s.anchor is Anchor.TERRITORY]


def seen(address: str | None) -> ClientAddress:
    """The client at `address`, as strategies tell it."""
    return Peer().client(None if address is None else (address, 40_000), [])


def looked(data: AddressData[Content], times: int = 2) -> dict[str, int]:
    """What became of the files over some looks: outcomes that were counted."""
    before = dict(data.outcomes)
    for _ in range(times):
        data.look()
    return {outcome: count - before[outcome] for outcome, count in data.outcomes.items() if count != before[outcome]}


# -- answers ---------------------------------------------------------------------------------------------------


def test_the_first_question_opens_the_data(world: World) -> None:
    data = world.data()
    assert said(data, HANOI) == [("VN", "address")]
    assert said(data, SINGAPORE) == [("SG", "address")]
    assert said(data, "2001:ee0::1") == [("VN", "address")]


@pytest.mark.parametrize("address", [None, UNKNOWN, PRIVATE, "::1", "no address", ""])
def test_what_is_unknown_private_or_no_address_says_nothing(world: World, address: str | None) -> None:
    assert world.data().signals(address) == ()


def test_addresses_that_are_answered_alike_are_answered_with_the_very_same_signals(world: World) -> None:
    data = world.data()
    assert data.signals_of(seen(HANOI)) is data.signals_of(seen("14.160.0.2")) is data.signals("2001:ee0::1")


def test_what_was_said_of_a_client_is_remembered_and_holds_no_table(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, client = world.data(), seen(HANOI)
    first = data.signals_of(client)
    asked: list[bytes] = []
    monkeypatch.setattr(data._answers, "lookup", asked.append)
    assert data.signals_of(client) is first
    assert not asked
    assert client.answer is not None
    assert not gc.get_referents(client.answer[0])


def test_a_client_of_whom_only_the_text_is_known_is_answered_as_well(world: World) -> None:
    data = world.data()
    assert data.signals_of(ClientAddress(HANOI, "peer")) == data.signals(HANOI)
    assert data.signals_of(ClientAddress("no address", "peer")) == ()


def test_a_client_is_asked_of_anew_when_the_data_or_its_age_changes(world: World) -> None:
    data, client = world.data(max_age=6 * DAY), seen(UNKNOWN)
    assert data.signals_of(client) == ()
    world.write(NEW)
    assert looked(data) == {"taken": 1}
    assert {s.source for s in data.signals_of(client)} == {"address"}
    world.clock.advance(3 * DAY)
    data.look()
    assert {s.source for s in data.signals_of(client)} == {"address (stale)"}


def test_one_data_does_not_believe_what_another_said_of_a_client(world: World) -> None:
    old, client = world.data(), seen(UNKNOWN)
    assert old.signals_of(client) == ()
    world.write(NEW)
    new = world.data()
    for _ in range(2):
        assert new.signals_of(client)
        assert old.signals_of(client) == ()


def test_a_refusal_is_never_remembered_as_an_answer_nor_an_answer_kept_over_a_refusal(world: World) -> None:
    data, client = world.data(max_age=6 * DAY, stale="refuse"), seen(HANOI)
    start = world.clock.now()
    for _ in range(2):
        world.clock.set_wall(start)
        data.look()
        assert data.signals_of(client)
        world.clock.set_wall(start + 2 * DAY)
        data.look()
        for _ in range(2):
            with pytest.raises(AddressDataUnavailable, match="older than the deployment allows"):
                data.signals_of(client)
        with pytest.raises(AddressDataUnavailable):
            data.signals_of(late := seen(SINGAPORE))
        assert late.answer is None


def test_it_says_what_is_in_force(world: World) -> None:
    data = world.data()
    assert data.built_at == BUILT
    assert data.age_seconds() == 5 * 86_400
    assert data.meta["source"] == "own.mmdb"
    assert len(data.meta["sha256"]) == 64
    assert data.meta["vn_addresses"] == {"ipv4": 2**21, "ipv6_64": 2**32}
    assert tuple(data.outcomes) == OUTCOMES
    assert not any(data.outcomes.values())


def test_sources_that_cannot_be_used_at_the_first_opening_are_an_error_each_time(world: World) -> None:
    world.database.unlink()
    data = world.data()
    for _ in range(2):
        with pytest.raises(AddressDataUnavailable, match=r"`own\.mmdb` cannot be read"):
            data.open()
    with pytest.raises(AddressDataUnavailable, match=r"`own\.mmdb` cannot be read"):
        data.signals(HANOI)
    world.write(OLD)
    assert said(data, HANOI) == [("VN", "address")]


def test_a_packaged_table_answers_and_has_nothing_to_look_for(world: World) -> None:
    (shipped,) = world.folder.glob("*.table")
    data = AddressData(PackagedTable(shipped), now=world.clock.now, max_age=30 * DAY)
    assert data.signals(HANOI)
    for _ in range(3):
        data.look()
    assert not any(data.outcomes.values())


# -- a change that is taken ------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True])
def test_a_newer_file_is_in_force_once_it_has_held_still(
    world: World, caplog: pytest.LogCaptureFixture, *, in_place: bool
) -> None:
    data = world.data()
    assert said(data, UNKNOWN) == []
    world.write(NEW, in_place=in_place)
    assert looked(data, 1) == {}
    assert said(data, UNKNOWN) == []
    with caplog.at_level(logging.INFO, "residency"):
        assert looked(data, 1) == {"taken": 1}
    assert said(data, UNKNOWN) == [("CH", "address")]
    assert data.built_at == BUILT + 86_400
    (record,) = caplog.records
    assert "`own.mmdb`" in record.message
    assert str(world.folder.parent) not in record.message
    assert looked(data, 5) == {}


def test_a_file_that_is_touched_or_written_again_as_it_was_changes_nothing(world: World) -> None:
    data = world.data()
    data.open()
    os.utime(world.database)
    assert looked(data, 3) == {}
    world.write(OLD)
    assert looked(data, 3) == {}


def test_what_one_worker_took_the_others_map_and_late_comers_too(world: World) -> None:
    one, two = world.data(), world.data()
    one.open()
    two.open()
    world.write(NEW)
    assert looked(one) == {"taken": 1}
    assert looked(two) == {"taken": 1}
    for data in (one, two, world.data()):
        assert said(data, UNKNOWN) == [("CH", "address")]
    assert len(list(world.folder.glob("*.table"))) == 2


def test_a_list_may_change_at_any_time_and_a_broken_one_stays_out(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("14.160.0.0/16 hosting\n")
    world.sources = Sources(world.database, lists=(own,))
    data = world.data()
    assert said(data, HANOI) == [("VN", "address (hosting)")]
    for broken in (b"", b"14.160.0.0/16 relay\n14.160.0.0/1"):
        world.write(broken, own, in_place=True)
        assert looked(data) == {"torn": 1}
        assert said(data, HANOI) == [("VN", "address (hosting)")]
    assert "own.txt:2: " in caplog.text
    world.write(b"14.160.0.0/16 relay\n", own, in_place=True)
    assert looked(data) == {"taken": 1}
    assert said(data, HANOI) == [("VN", "address (relay)")]


# -- changes that are not --------------------------------------------------------------------------------------


def torn() -> dict[str, bytes]:
    at, other = NEW.index(METADATA), OLD.index(METADATA)
    return {
        "nothing": b"",
        "cut short": NEW[:-40],
        "without its metadata": NEW[:at],
        "half new, half old": NEW[: at // 2] + OLD[at // 2 :],
        "new metadata after an old half": OLD[: other // 2] + NEW[other // 2 :],
        "zeros in the middle": NEW[: at // 3] + bytes(at // 3) + NEW[at // 3 * 2 :],
        "garbage before its metadata": b"\xa5" * at + NEW[at:],
        "text": b"start,end,country\n" * 50,
    }


def test_data_that_is_too_old_when_it_is_opened_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.clock.advance(30 * DAY)
    world.data().open()
    (record,) = caplog.records
    assert (record.levelname, "is too old, and gives hints only" in record.message) == ("WARNING", True)


@pytest.mark.parametrize("name", torn())
def test_a_torn_write_stays_out_and_is_told_once(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    data = world.data()
    before = dict(data.table.meta)
    world.write(torn()[name], in_place=True)
    (outcome,) = found = looked(data)
    assert found == {outcome: 1}
    # A half that is whole by itself is caught by its date or by its count of Vietnamese addresses.
    assert outcome in {"torn", "older", "moved_too_much"}
    assert said(data, HANOI) == [("VN", "address")]
    assert data.meta == before
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    os.utime(world.database)
    assert looked(data, 4) == {}
    assert len(caplog.records) == 1
    world.write(NEW, in_place=True)
    assert looked(data) == {"taken": 1}


def test_a_file_that_goes_away_and_comes_back_older_newer_or_the_same(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    data = world.data()
    data.open()
    world.database.unlink()
    assert looked(data, 4) == {"unreadable": 1}
    assert "`own.mmdb` cannot be read: No such file" in caplog.text
    world.write(OLD)
    assert looked(data, 4) == {}
    world.write(countries({"14.160.0.0/11": "VN", "2001:ee0::/32": "VN"}, built=BUILT - 1))
    assert looked(data, 4) == {"older": 1}
    assert "is not newer: it was built" in caplog.text
    world.write(countries({"14.160.0.0/11": "VN", "2001:ee0::/32": "VN"}, built=BUILT))
    assert looked(data, 4) == {"older": 1}
    assert said(data, SINGAPORE) == [("SG", "address")]


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"14.160.0.0/12": "VN", "2001:ee0::/32": "VN"}, "IPv4 addresses in Vietnam went from 2,097,152 to 1,048,576"),
        ({"14.160.0.0/11": "VN", "2001:ee0::/33": "VN"}, "IPv6 /64s in Vietnam went from 4,294,967,296 to 2,147,"),
        ({"14.160.0.0/11": "LA", "2001:ee0::/32": "VN"}, "to 0"),
        ({"14.160.0.0/11": "VN", "1.0.0.0/13": "VN", "2001:ee0::/32": "VN"}, "to 2,621,440"),
    ],
)
def test_a_file_with_another_vietnam_stays_out(
    world: World, caplog: pytest.LogCaptureFixture, places: dict[str, str], told: str
) -> None:
    data = world.data()
    data.open()
    world.write(countries(places, built=BUILT + 1))
    assert looked(data, 4) == {"moved_too_much": 1}
    assert told in caplog.text
    assert said(data, HANOI) == [("VN", "address")]


def test_a_deployment_may_say_that_another_vietnam_is_no_mistake(world: World) -> None:
    world.data().open()
    world.write(countries({"14.160.0.0/11": "LA"}, built=BUILT + 1))
    data = world.data(max_change=1.01)
    assert said(data, HANOI) == [("LA", "address")]
    assert not any(data.outcomes.values())  # it never had anything else


def test_a_second_database_is_judged_like_the_first(world: World, tmp_path: Path) -> None:
    second = tmp_path / "second.mmdb"
    second.write_bytes(countries({"14.160.0.0/11": "VN"}))
    world.sources = Sources(world.database, second)
    data = world.data()
    assert said(data, HANOI) == [("VN", "address")]
    assert said(data, SINGAPORE) == [("SG", "address (unconfirmed)")]
    world.write(countries({"14.160.0.0/11": "VN"}, built=BUILT - 1), second)
    world.write(NEW)  # one source that is not taken keeps the others out too: they are one table
    assert looked(data) == {"older": 1}
    world.write(countries({"8.128.0.0/10": "CN"}, built=BUILT + 1), second)
    assert looked(data) == {"moved_too_much": 1}
    world.write(countries({"14.160.0.0/11": "VN", "8.128.0.0/10": "CN"}, built=BUILT + 1), second)
    assert looked(data) == {"taken": 1}
    assert said(data, SINGAPORE) == [("SG", "address"), ("CN", "address (second)")]
    assert {s.trust for s in data.signals(SINGAPORE)} == {Trust.NETWORK}


# -- across processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["torn", "older", "moved_too_much", "unreadable"])
def test_a_worker_that_starts_beside_a_bad_file_takes_what_its_neighbours_have_in_force(world: World, bad: str) -> None:
    world.data().open()
    if bad == "unreadable":
        world.database.unlink()
    else:
        content = {
            "torn": NEW[:-40],
            "older": countries(PLACES | {"9.9.9.0/24": "CH"}, built=BUILT - 1),
            "moved_too_much": countries({"14.160.0.0/11": "LA"}, built=BUILT + 1),
        }
        world.write(content[bad])
    late = world.data()
    assert said(late, HANOI) == [("VN", "address")]
    assert late.built_at == BUILT
    assert {outcome: count for outcome, count in late.outcomes.items() if count} == {bad: 1}
    assert looked(late, 3) == {}
    world.write(NEW)
    assert looked(late) == {"taken": 1}


def test_a_worker_that_missed_a_change_comes_to_it_though_the_next_one_is_bad(world: World) -> None:
    one, two = world.data(), world.data()
    one.open()
    two.open()
    world.write(NEW)
    assert looked(one) == {"taken": 1}
    world.write(NEW[:-40])
    assert looked(two) == {"taken": 1, "torn": 1}
    assert said(two, UNKNOWN) == [("CH", "address")]


def test_without_a_folder_files_are_judged_by_what_is_held(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    world.folder = tmp_path / "file" / "address"
    data = world.data()
    assert said(data, HANOI) == [("VN", "address")]
    world.write(countries({"14.160.0.0/11": "LA"}, built=BUILT + 1))
    assert looked(data, 3) == {"moved_too_much": 1}
    world.write(NEW)
    assert looked(data) == {"taken": 1}
    assert said(data, UNKNOWN) == [("CH", "address")]


# -- age -------------------------------------------------------------------------------------------------------


def test_data_that_grows_too_old_gives_hints_until_newer_data_comes(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    data = world.data(max_age=6 * DAY)
    assert said(data, HANOI) == [("VN", "address")]
    world.clock.advance(DAY)
    data.look()
    assert not data.is_stale  # exactly as old as it may be
    world.clock.advance(1)
    data.look()
    assert data.is_stale
    assert said(data, HANOI) == [("VN", "address (stale)")]
    assert {s.trust for s in data.signals(HANOI)} == {Trust.HINT}
    assert "is too old, and gives hints only" in caplog.text
    assert "counts in full again" not in caplog.text
    world.write(NEW)
    assert looked(data) == {"taken": 1}
    assert said(data, HANOI) == [("VN", "address")]
    data.look()
    assert caplog.text.count("is young enough, and counts in full again") == 1


def test_a_scrape_alone_sees_to_it_that_age_has_its_effect(world: World) -> None:
    data = world.data(max_age=6 * DAY)
    data.open()
    world.clock.advance(2 * DAY)
    assert said(data, HANOI) == [("VN", "address")]
    assert data.age_seconds() == 7 * 86_400
    assert said(data, HANOI) == [("VN", "address (stale)")]


def test_data_too_old_is_refused_where_the_deployment_says_so_but_nobodys_addresses_are_not(world: World) -> None:
    data = world.data(max_age=4 * DAY, stale="refuse")
    for _ in range(2):
        for address in (HANOI, UNKNOWN, "2001:ee0::1"):
            with pytest.raises(AddressDataUnavailable, match="older than the deployment allows"):
                data.signals(address)
        assert data.signals(PRIVATE) == data.signals(None) == ()
    world.write(NEW)
    world.clock.set_wall((BUILT + 2 * 86_400) * 1_000_000)
    looked(data)
    assert said(data, HANOI) == [("VN", "address")]


def test_no_age_can_be_told_of_data_from_the_future_so_it_counts_as_old(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.clock.set_wall((BUILT - 3 * 86_400) * 1_000_000)
    data = world.data()
    assert said(data, HANOI) == [("VN", "address (stale)")]
    assert "is dated in the future, and gives hints only" in caplog.text
    world.clock.advance(2 * DAY)
    data.look()
    assert said(data, HANOI) == [("VN", "address")]


# -- the watch -------------------------------------------------------------------------------------------------


def wait_until(data: AddressData[Content], address: str, place: str) -> None:
    end = time.monotonic() + 30
    while said(data, address) != [(place, "address")]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_watch_takes_a_newer_file_by_itself_until_it_is_closed_and_again_after(world: World) -> None:
    data = world.data(check_every=5_000)
    data.start()
    data.start()
    world.write(NEW)
    wait_until(data, UNKNOWN, "CH")
    data.close()
    data.close()
    world.write(countries({**PLACES, "9.9.9.0/24": "DE"}, built=BUILT + 2 * 86_400))
    time.sleep(0.05)
    assert said(data, UNKNOWN) == [("CH", "address")]
    data.start()
    wait_until(data, UNKNOWN, "DE")


def test_the_watch_outlives_whatever_a_look_raises(world: World, caplog: pytest.LogCaptureFixture) -> None:
    data = world.data(check_every=5_000)
    data.start()
    world.clock.set_wall(None)  # type: ignore[arg-type]
    end = time.monotonic() + 30
    while "a look at the source files failed" not in caplog.text:
        assert time.monotonic() < end
        time.sleep(0.01)
    world.clock.set_wall((BUILT + 5 * 86_400) * 1_000_000)
    world.write(NEW)
    wait_until(data, UNKNOWN, "CH")


def test_a_forked_child_answers_from_what_is_in_force_and_watches_when_started(world: World) -> None:
    data = world.data(check_every=5_000)
    data.start()
    with data._lock:  # as if the parent's watch were in the middle of a look
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert said(data, HANOI) == [("VN", "address")]
                data.start()
                world.write(NEW)
                wait_until(data, UNKNOWN, "CH")
                data.close()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert status == 0
    wait_until(data, UNKNOWN, "CH")
