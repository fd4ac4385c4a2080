"""Copies that may no more be there go, and are noted at home; all else stays."""

from __future__ import annotations

from contextlib import suppress

from residency.storage.withdrawal import withdraw
from tests.copies_memory import CopiesWorld, run
from tests.move_world import PulledError


def copied() -> CopiesWorld:
    """Five copies in SG of somebody who lives in VN, and something of their own."""
    made = CopiesWorld()
    run(made.settle("an", "VN"))
    for key in "12345":
        made.write("vn", "an", key, key.encode())
    run(made.copy())
    made.write("sg", "an", "own", b"own")
    return made


def test_while_they_may_be_there_they_stay() -> None:
    made = copied()
    done = run(withdraw(made.target, made.homes, made.deciding))
    assert (done.notes, done.deleted, done.held, len(made.lies("sg"))) == (5, 0, {}, 6)


def test_without_go_it_is_only_told() -> None:
    made = copied()
    made.deployed.stop("sg")
    done = run(withdraw(made.target, made.homes, made.deciding, go=False))
    assert (done.deleted, done.held, len(made.lies("sg"))) == (0, {"stop_order": 5}, 6)


def test_they_go_as_an_act_and_come_back_once_they_may() -> None:
    made = copied()
    made.deployed.stop("sg")
    assert run(withdraw(made.target, made.homes, made.deciding)).deleted == 5
    assert made.lies("sg") == {"own": b"own"}
    entry, word = made.deployed.intents[-1]
    assert (entry.operation, entry.sink, word, entry.subject) == ("erase", "sg", "committed", f"{sum(b'an'):032x}")
    assert "stop_order" in (entry.note or "")
    run(made.copy())
    assert made.lies("sg") == {"own": b"own"}
    made.deployed.stop()
    made.deployed.clock.advance(700_000_000)
    run(made.copy())
    assert len(made.lies("sg")) == 6


def test_killed_anywhere_it_is_begun_again_and_ends() -> None:
    for at in range(1, 14):
        made = copied()
        made.deployed.stop("sg")
        made.plug.calls, made.plug.at = 0, at
        with suppress(PulledError):
            run(made.walk())
        made.plug.at = None
        run(made.walk())
        assert made.lies("sg") == {"own": b"own"}
        made.deployed.stop()
        made.deployed.clock.advance(700_000_000)
        run(made.copy())
        assert len(made.lies("sg")) == 6


def test_who_is_being_moved_or_lives_there_keeps_what_lies_there() -> None:
    made = copied()
    made.deployed.stop("sg")
    run(made.settle("an", "JP", moving="VN"))
    run(made.walk())
    run(made.settle("an", "SG"))
    run(made.walk())
    assert len(made.lies("sg")) == 6
