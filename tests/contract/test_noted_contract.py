"""What `Noted` promises, over every adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from residency import wiring
from residency.adapters.facts_memory import NotedMemory
from residency.adapters.facts_sqlite import NotedSqlite
from residency.enforcement.ports import Noted
from residency.model import Event
from tests.servers import Server
from tests.world import load_policy, write_deployment

FIRST = Event("first_transfer", "VN", 1_800_000_000_000_000)
Make = Callable[[], Noted]


REDIS = [
    pytest.param("redis", marks=pytest.mark.needs("redis")),
    pytest.param("valkey", marks=pytest.mark.needs("valkey")),
    pytest.param("cluster", marks=pytest.mark.needs("redis")),
]


@pytest.fixture(params=["memory", "sqlite", *REDIS])
def make(request: pytest.FixtureRequest, tmp_path: Path, started: Callable[[str], list[Server]]) -> Iterator[Make]:
    """Opens the same, at first empty store once more, as another process would."""
    opened: list[Noted] = []
    match request.param:
        case "memory":
            one = NotedMemory()
            yield lambda: one
            return
        case "sqlite":
            make: Make = lambda: NotedSqlite(tmp_path / "data" / "pins-facts.db")  # noqa: E731
        case what:
            servers = started(what)
            url = servers[0].url.replace("redis", "redis+cluster" if what == "cluster" else "redis")
            deployment = load_policy(write_deployment(tmp_path, f'pins: {{url: "{url}"}}\n')).deployment

            def make() -> Noted:
                opened.append(wiring.open_noted(deployment, lambda path: tmp_path / path))
                return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_an_empty_store_has_noted_nothing(make: Make) -> None:
    noted = make()
    assert noted.events() == ()
    assert noted.escalated() == frozenset()
    assert noted.count({}, ["VN:sensitive"]) == {"VN:sensitive": 0}


def test_the_first_event_of_a_kind_and_place_stands_whoever_asks(make: Make) -> None:
    one, other = make(), make()
    assert one.note(FIRST) == FIRST
    for at in (FIRST.at + 1, FIRST.at - 1):
        assert other.note(Event("first_transfer", "VN", at)) == FIRST
    lao, start = Event("first_transfer", "LA", 5), Event("in_use", "VN", 6)
    assert (other.note(lao), other.note(start)) == (lao, start)
    assert set(make().events()) == {FIRST, lao, start}


def test_what_was_lost_is_put_back_and_the_earlier_stands(make: Make) -> None:
    noted = make()
    noted.put_back(FIRST)
    for at, stands in ((FIRST.at + 9, FIRST.at), (FIRST.at - 9, FIRST.at - 9)):
        noted.put_back(Event("first_transfer", "VN", at))
        assert noted.events() == (Event("first_transfer", "VN", stands),)


def test_a_subject_counts_once_in_each_counter_whoever_counts_it(make: Make) -> None:
    one, other = make(), make()
    some = [f"{n:064x}" for n in range(2500)]
    assert one.count({"VN:sensitive": some, "VN:personal:2026": some[:3]}, ["VN:sensitive", "VN:personal:2026"]) == {
        "VN:sensitive": 2500,
        "VN:personal:2026": 3,
    }
    more = {"VN:sensitive": [*some[:50], "f" * 64]}
    assert other.count(more, ["VN:sensitive", "LA:personal"]) == {"VN:sensitive": 2501, "LA:personal": 0}
    assert one.count({}, ["VN:sensitive"]) == {"VN:sensitive": 2501}


def test_a_forgotten_subject_is_in_no_counter_and_counts_anew(make: Make) -> None:
    noted = make()
    counters = ["VN:personal", "VN:sensitive"]
    noted.count({counter: ["a" * 64, "b" * 64] for counter in counters}, counters)
    noted.forget("a" * 64)
    noted.forget("c" * 64)
    assert noted.count({}, counters) == dict.fromkeys(counters, 1)
    assert noted.count({"VN:personal": ["a" * 64]}, counters) == {"VN:personal": 2, "VN:sensitive": 1}


def test_an_escalation_is_news_once(make: Make) -> None:
    one, other = make(), make()
    assert [one.escalate("vn.core", up=True), other.escalate("vn.core", up=True)] == [True, False]
    assert other.escalated() == {"vn.core"}
    assert [other.escalate("vn.core", up=False), one.escalate("vn.core", up=False)] == [True, False]
    assert one.escalated() == frozenset()


def test_of_many_that_note_at_once_one_is_noted_and_all_are_told_so(make: Make) -> None:
    gate = threading.Barrier(8)
    stands: list[Event] = []
    news: list[bool] = []

    def race(number: int) -> None:
        noted = make()
        gate.wait()
        stands.append(noted.note(Event("first_transfer", "VN", number)))
        news.append(noted.escalate("vn.core", up=True))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stands) == 8
    assert set(stands) == set(make().events())
    assert sorted(news) == [False] * 7 + [True]


def test_closing_twice_does_no_harm(make: Make) -> None:
    noted = make()
    noted.note(FIRST)
    noted.close()
    noted.close()
