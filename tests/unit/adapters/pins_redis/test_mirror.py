"""The local copy holds nothing that was overtaken, whatever the order in which replies and invalidations arrive."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.pins_redis.mirror import Counters, Lease, Mirror, Ticket
from residency.errors import PinsUnavailable
from residency.model import Pin

PIN = Pin("5" * 64, "VN", (), "a1" * 16, "write", "0" * 64, 1_800_000_000_000_000)
ASK = (None, False)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(limit: int = 10) -> tuple[Mirror, Lease, Clock]:
    clock = Clock()
    lease = Lease()
    lease.until = 110.0
    return Mirror(limit, Counters(), clock), lease, clock


def hold(mirror: Mirror, lease: Lease, pin: Pin | None, subject: str = PIN.subject) -> bool:
    return mirror.finish(mirror.begin(subject, lease), pin)


def test_what_was_never_asked_for_is_to_be_asked_for() -> None:
    mirror, _, _ = make()
    assert mirror.peek(PIN.subject) == ASK


def test_a_reply_is_held_and_so_is_that_there_is_none() -> None:
    mirror, lease, _ = make()
    assert hold(mirror, lease, PIN)
    assert hold(mirror, lease, None, "6" * 64)
    assert mirror.peek(PIN.subject) == (PIN, True)
    assert mirror.peek("6" * 64) == (None, True)


def test_a_reply_overtaken_by_its_own_invalidation_is_discarded() -> None:
    mirror, lease, _ = make()
    ticket = mirror.begin(PIN.subject, lease)
    mirror.invalidate([PIN.subject])
    assert not mirror.finish(ticket, PIN)
    assert mirror.peek(PIN.subject) == ASK
    assert mirror.counters.poisoned == 1


def test_an_invalidation_of_another_subject_overtakes_nothing() -> None:
    mirror, lease, _ = make()
    ticket = mirror.begin(PIN.subject, lease)
    mirror.invalidate(["6" * 64])
    assert mirror.finish(ticket, PIN)


@pytest.mark.parametrize("breaks", ["clear", "poison"])
def test_whatever_breaks_the_chain_of_invalidations_overtakes_every_question(breaks: str) -> None:
    mirror, lease, _ = make()
    tickets = [mirror.begin(subject, lease) for subject in ("1", "2")]
    getattr(mirror, breaks)()
    assert [mirror.finish(ticket, None) for ticket in tickets] == [False, False]


def test_the_lease_ends_every_answer_that_was_learned_under_it() -> None:
    mirror, lease, clock = make()
    hold(mirror, lease, PIN)
    clock.now = 110.0
    assert mirror.peek(PIN.subject) == (PIN, True)
    clock.now = 110.1
    with pytest.raises(PinsUnavailable):
        mirror.peek(PIN.subject)
    lease.until = 120.0
    assert mirror.peek(PIN.subject) == (PIN, True)


def test_two_replies_that_differ_are_both_let_go() -> None:
    mirror, lease, _ = make()
    first, second = mirror.begin(PIN.subject, lease), mirror.begin(PIN.subject, lease)
    assert mirror.finish(second, dataclasses.replace(PIN, version=2))
    assert not mirror.finish(first, PIN)
    assert mirror.peek(PIN.subject) == ASK


def test_a_full_copy_starts_anew_and_never_holds_more_than_its_limit() -> None:
    mirror, lease, _ = make(limit=3)
    for number in range(10):
        assert hold(mirror, lease, None, str(number))
        assert mirror.peek(str(number)) == (None, True)
        assert len(mirror) <= 3


def test_what_is_refused_is_refused_until_it_is_not() -> None:
    mirror, lease, _ = make()
    hold(mirror, lease, PIN)
    ticket = mirror.begin("6" * 64, lease)
    mirror.refuse("emptied")
    assert not mirror.finish(ticket, None)
    with pytest.raises(PinsUnavailable, match="emptied"):
        mirror.peek(PIN.subject)
    mirror.refuse(None)
    assert mirror.peek(PIN.subject) == ASK


def test_a_question_without_a_reply_leaves_nothing_behind() -> None:
    mirror, lease, _ = make()
    mirror.abandon(mirror.begin(PIN.subject, lease))
    assert mirror._asked == {}
    assert mirror.counters.misses == 1


def test_in_a_forked_child_leaving_takes_no_lock() -> None:
    mirror, lease, _ = make()
    hold(mirror, lease, PIN)
    with mirror._lock:
        mirror.leave("closed")
    with pytest.raises(PinsUnavailable, match="closed"):
        mirror.peek(PIN.subject)


STEPS = st.lists(st.sampled_from(["ask", "reply", "write", "tell", "own write", "break", "forget"]), max_size=60)


@given(steps=STEPS, data=st.data())
def test_in_every_order_of_replies_and_invalidations_the_copy_ends_up_right(
    steps: list[str], data: st.DataObject
) -> None:
    mirror, lease, _ = make()
    stored: Pin | None = None
    written = 0
    asked: list[tuple[Ticket, Pin | None]] = []  # what the server answered, not yet arrived
    told = 0  # invalidations sent, not yet arrived
    acknowledged = 0  # our own last write
    for step in steps:
        match step:
            case "ask":
                asked.append((mirror.begin(PIN.subject, lease), stored))
            case "reply" if asked:
                mirror.finish(*asked.pop(data.draw(st.integers(0, len(asked) - 1))))
            case "write" | "forget" | "own write":
                written += 1
                if step == "own write":
                    mirror.drop(PIN.subject)
                stored = None if step == "forget" else dataclasses.replace(PIN, version=written)
                told += 1
                if step == "own write":
                    mirror.drop(PIN.subject)
                    acknowledged = written
            case "tell" if told:
                told -= 1
                mirror.invalidate([PIN.subject])
            case "break":
                told = 0
                mirror.clear()
            case _:
                pass
        found, known = mirror.peek(PIN.subject)
        if known and found is not None:
            assert found.version >= acknowledged, "never older than what this process wrote"
        if known and not told:
            assert found == stored, "once every change is told, what is held is what is stored"
