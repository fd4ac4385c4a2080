"""The tally: each subject is handed over once, none is lost while there is room, and memory is bounded."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.enforcement import counting
from residency.enforcement.counting import Tally


def test_a_subject_is_handed_over_once_for_each_counter() -> None:
    tally = Tally()
    for _ in range(3):
        tally.add(("a", "b"), "1")
    tally.add(("a",), "2")
    assert tally.waiting == 3
    assert {c: set(s) for c, s in tally.take().items()} == {"a": {"1", "2"}, "b": {"1"}}
    tally.add(("a", "b"), "1")
    assert (tally.take(), tally.waiting) == ({}, 0)


def test_what_could_not_be_handed_over_waits_again_beside_what_came_meanwhile() -> None:
    tally = Tally()
    tally.add(("a",), "1")
    taken = tally.take()
    tally.add(("a",), "2")
    tally.give_back(taken)
    assert tally.waiting == 2
    assert {c: set(s) for c, s in tally.take().items()} == {"a": {"1", "2"}}


def test_beyond_the_bound_a_subject_is_left_for_its_next_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_WAITING", 2)
    tally = Tally()
    for subject in "123":
        tally.add(("a",), subject)
    assert (tally.waiting, tally.left) == (2, 1)
    tally.take()
    tally.add(("a",), "3")
    assert {c: set(s) for c, s in tally.take().items()} == {"a": {"3"}}


def test_what_is_forgotten_here_is_only_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_KNOWN", 2)
    tally = Tally()
    for subject in "12312":
        tally.add(("a",), subject)
    assert tally.waiting == 3
    assert {c: set(s) for c, s in tally.take().items()} == {"a": set("123")}


def test_a_forgotten_subject_waits_no_more_and_is_counted_anew() -> None:
    tally = Tally()
    tally.add(("a",), "1")
    tally.add(("a",), "2")
    tally.forget("1")
    assert tally.waiting == 1
    tally.add(("a",), "1")
    assert {c: set(s) for c, s in tally.take().items()} == {"a": {"1", "2"}}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("1234")) | st.none(), max_size=40))
def test_all_who_were_added_are_handed_over_by_the_end(steps: list[tuple[str, str] | None]) -> None:
    tally = Tally()
    told = set[tuple[str, str]]()
    for step in [*steps, None]:
        if step is not None:
            tally.add((step[0],), step[1])
            continue
        for counter, subjects in tally.take().items():
            for subject in subjects:
                assert (counter, subject) not in told
                told.add((counter, subject))
    assert told == {step for step in steps if step is not None}


def test_none_is_lost_while_several_threads_add_and_one_takes() -> None:
    tally = Tally()
    told = set[str]()
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            told.update(*tally.take().values())

    def add(first: int) -> None:
        for number in range(first, first + 3000):
            tally.add(("a",), str(number))

    taker = threading.Thread(target=take)
    adders = [threading.Thread(target=add, args=(first,)) for first in (0, 1500, 3000)]
    for thread in (taker, *adders):
        thread.start()
    for thread in adders:
        thread.join()
    done.set()
    taker.join()
    told.update(*tally.take().values())
    assert told == {str(number) for number in range(6000)}
