"""The watch over sinks: what drifts is told, recorded and, where the deployment says so, refused."""

from __future__ import annotations

import logging
from dataclasses import replace

import anyio
import pytest

from residency.adapters import location_watch
from residency.adapters.location_watch import LocationWatch
from residency.errors import JournalFull
from residency.model import Filing, FilingResult
from residency.storage.location import Address, BucketAnswer, Seen, Standing, Which
from tests.servers import eventually

pytestmark = pytest.mark.anyio
HOME = Seen(addresses=(Address("203.0.113.1", "public", "VN"),))
AWAY = Seen(addresses=(Address("198.51.100.1", "public", "SG"),))
PRIVATE = Seen(addresses=(Address("10.0.0.1", "private"),))
PLACED = {text: Address(text, "public", country) for text, country in (("203.0.113.9", "VN"), ("198.51.100.9", "SG"))}
BLIND = Seen(problem="its name cannot be resolved now")


class Sinks:
    """Two sinks in Vietnam that lie where this says, and the watch over them."""

    def __init__(self, *, refuse: bool = True, every: int = 60_000_000) -> None:
        self.lies = {"a": HOME, "b": PRIVATE}
        self.told: list[str] = []
        self.full = False
        self.filings: list[Filing] = []
        self.which: dict[str, Which] = {}
        self.now = 1_000_000
        looks = {name: ((lambda name=name: self._look(name)),) for name in self.lies}
        self.watch = LocationWatch(
            {"a": "VN", "b": "VN"},
            looks,
            filings=lambda: self.filings,
            now=lambda: self.now,
            tell=self._tell,
            every=every,
            refuse=refuse,
            which=lambda: self.which,
            placed=lambda text: PLACED.get(text, Address(text, "private")),
        )

    async def _look(self, name: str) -> Seen:
        return self.lies[name]

    def _tell(self, note: str) -> None:
        if self.full:
            raise JournalFull("no room")
        self.told.append(note)


async def test_a_sink_that_moves_abroad_is_told_recorded_and_refused_until_it_is_back() -> None:
    sinks = Sinks()
    watch, misplaced = sinks.watch, sinks.watch.misplaced
    await watch.look()
    assert (sinks.told, misplaced) == ([], set())
    sinks.lies["a"] = AWAY
    await watch.look()
    await watch.look()
    assert sinks.told == ["location a contradicted: it has an address in SG"]
    assert misplaced == {"a"}
    sinks.lies["a"] = HOME
    await watch.look()
    assert sinks.told[1:] == ["location a well: it has an address in VN"]
    assert (misplaced, watch.misplaced is misplaced) == (set(), True)
    assert (watch.events["looked"], watch.events["contradicted"], watch.events["well"]) == (4, 1, 1)
    assert watch.looked_at == sinks.now


async def test_a_door_of_a_cloud_that_is_near_says_nothing_of_what_lies_behind_it() -> None:
    sinks = Sinks()
    sinks.watch.places = {"a": "VN", "b": "SG"}
    sinks.lies = {"a": replace(HOME, round_trip=500), "b": replace(AWAY, round_trip=500)}
    await sinks.watch.look()
    assert {each.verdict.standing for each in sinks.watch.watched.values()} == {Standing.UNDETERMINED}
    sinks = Sinks()
    sinks.watch.places = {"a": "VN", "b": "SG"}
    behind = replace(AWAY, round_trip=500, front=True, bucket=BucketAnswer("x", None, "SG"))
    sinks.lies = {"a": replace(HOME, round_trip=500), "b": behind}
    await sinks.watch.look()
    assert {each.verdict.standing for each in sinks.watch.watched.values()} == {Standing.CONSISTENT}


async def test_drift_that_is_only_warned_of_refuses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    sinks = Sinks(refuse=False)
    sinks.lies["a"] = AWAY
    with caplog.at_level(logging.WARNING, "residency"):
        await sinks.watch.look()
    assert (sinks.watch.misplaced, sinks.watch.watched["a"].drift, len(sinks.told)) == (set(), True, 1)
    assert caplog.messages == ["location: sink a is contradicted (contradicted): it has an address in SG"]


async def test_an_attestation_that_expires_is_drift() -> None:
    sinks = Sinks()
    sinks.filings = [Filing("location", "1/2026", 0, FilingResult.PASSED, 2_000_000, sinks=frozenset({"b"}))]
    await sinks.watch.look()
    assert sinks.watch.watched["b"].verdict.attested
    sinks.now = 2_000_000
    await sinks.watch.look()
    assert sinks.told == ["location b lost: its attestation has run out; it has a private address"]
    assert sinks.watch.misplaced == {"b"}


async def test_a_server_that_says_that_it_is_reached_elsewhere_is_there_behind_whatever_relay() -> None:
    sinks = Sinks()
    sinks.which = {"a": Which(reached=("198.51.100.9",)), "b": Which(reached=("203.0.113.9",))}
    await sinks.watch.look()
    assert sinks.told == ["location a contradicted: its server says that it has an address in SG"]
    assert sinks.watch.watched["b"].verdict.standing is Standing.UNDETERMINED, "which it may say who lies"
    assert sinks.watch.misplaced == {"a"}
    sinks.which = {"a": Which(reached=("10.0.0.9",))}
    await sinks.watch.look()
    assert sinks.watch.misplaced == set()


async def test_a_server_elsewhere_that_follows_a_sink_is_told_when_it_comes_and_when_it_goes_and_is_no_drift() -> None:
    sinks = Sinks()
    sinks.which = {"a": Which(followers=("203.0.113.9", "198.51.100.9", "10.0.0.9"))}
    await sinks.watch.look()
    await sinks.watch.look()
    what = "a server that follows it has an address in SG"
    assert sinks.told == [f"location a followed: {what}"]
    assert sinks.watch.watched["a"].verdict.followed == (what,)
    sinks.which = {}
    sinks.full = True
    with pytest.raises(JournalFull):
        await sinks.watch.look()
    sinks.full = False
    await sinks.watch.look()
    assert sinks.told[1:] == ["location a followed: no server elsewhere follows it any more"]
    assert (sinks.watch.misplaced, sinks.watch.watched["a"].drift) == (set(), False)


async def test_what_could_not_be_recorded_is_refused_at_once_and_news_again_at_the_next_look() -> None:
    sinks = Sinks()
    await sinks.watch.look()
    sinks.lies["a"], sinks.full = AWAY, True
    with pytest.raises(JournalFull):
        await sinks.watch.look()
    assert sinks.watch.misplaced == {"a"}
    sinks.full = False
    await sinks.watch.look()
    assert len(sinks.told) == 1


async def test_a_resolver_that_is_away_moves_nothing() -> None:
    sinks = Sinks()
    await sinks.watch.look()
    sinks.lies = {"a": BLIND, "b": BLIND}
    await sinks.watch.look()
    assert (sinks.told, sinks.watch.misplaced, sinks.watch.events["unseen"]) == ([], set(), 2)


def test_where_drift_is_refused_no_act_goes_before_the_first_look() -> None:
    sinks = Sinks(every=20_000)
    sinks.lies = {"a": BLIND, "b": PRIVATE}
    sinks.watch.start()
    try:
        assert sinks.watch.misplaced == {"a"}  # nobody has seen yet where it lies
        sinks.lies["a"] = HOME
        eventually(lambda: not sinks.watch.misplaced, what="the next look")
    finally:
        sinks.watch.stop()
        sinks.watch.stop()


def test_a_look_that_breaks_off_is_counted_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    sinks = Sinks(every=20_000, refuse=False)
    sinks.lies["a"], sinks.full = AWAY, True
    with caplog.at_level(logging.WARNING, "residency"):
        sinks.watch.start()
        try:
            eventually(lambda: sinks.watch.events["failed"] > 1, what="two failures")
            sinks.full = False
            eventually(lambda: sinks.watch.events["looked"], what="a look")
        finally:
            sinks.watch.stop()
    assert "location: sinks could not be looked at (no room); what was last seen stands" in caplog.messages


@pytest.mark.parametrize("refuse", [False, True])
def test_a_look_that_hangs_holds_nothing_up_and_where_drift_is_refused_no_act_goes_meanwhile(
    refuse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location_watch, "_PATIENCE", 1.0)

    async def hang() -> Seen:
        await anyio.sleep_forever()
        return HOME

    told: list[str] = []
    watch = LocationWatch(
        {"a": "VN"}, {"a": (hang,)}, filings=tuple, now=lambda: 0, tell=told.append, every=60_000_000, refuse=refuse
    )
    watch.start()
    assert watch.misplaced == ({"a"} if refuse else set())
    watch.stop()
    assert not watch._thread.is_alive()
    assert (watch.looked_at, watch.events["failed"], told) == (None, 0, [])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
