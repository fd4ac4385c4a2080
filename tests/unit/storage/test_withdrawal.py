"""Copies that may no more be there go, and are noted at home; all else stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from residency.storage.fitting import Fitting
from residency.storage.outbox import Round, Wanted
from residency.storage.withdrawal import Home, walk, withdraw
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


def test_while_they_are_deleted_nobody_copies_nor_moves_people_to_where_they_lie() -> None:
    made, alone = copied(), list[str]()

    @asynccontextmanager
    async def only(home: Home) -> AsyncIterator[None]:
        alone.append(home.sink.name)
        # A mover was there before: what it put in the place of a copy is known for none.
        run(made.copied.forget([("people", "1")]))
        yield

    assert run(withdraw(made.target, made.homes, made.deciding, alone=only)).deleted == 0
    assert alone == [], "nothing is deleted"
    made.deployed.stop("sg")
    assert run(withdraw(made.target, made.homes, made.deciding, alone=only)).deleted == 4
    assert (alone, made.lies("sg")) == (["vn"], {"1": b"1", "own": b"own"})


def test_who_is_being_moved_or_lives_there_keeps_what_lies_there() -> None:
    made = copied()
    made.deployed.stop("sg")
    run(made.settle("an", "JP", moving="VN"))
    run(made.walk())
    run(made.settle("an", "SG"))
    run(made.walk())
    assert len(made.lies("sg")) == 6


def test_what_home_lost_without_a_note_goes_and_nothing_else_though_nothing_is_withdrawn() -> None:
    made = copied()
    made.lose("vn", "1")
    done = run(withdraw(made.target, made.homes, made.deciding, ended=False, go=False))
    assert (done.gone, done.deleted, made.outboxes["vn"].rows) == ({"vn": 1}, 0, {})
    done = run(withdraw(made.target, made.homes, made.deciding, ended=False))
    assert (done.gone, done.deleted, len(made.lies("sg"))) == ({"vn": 1}, 0, 6), "it is noted, and the copier looks"
    run(made.copy())
    assert sorted(made.lies("sg")) == ["2", "3", "4", "5", "own"]
    assert "has no more" in (made.deployed.intents[-1][0].note or "")
    assert (
        not made.marks["vn"].of(made.marks["vn"].held) or len(made.marks["vn"].held) == 5
    )  # four, and that all are known
    assert run(withdraw(made.target, made.homes, made.deciding)).gone == {}


def test_what_is_written_again_meanwhile_is_not_mistaken_for_lost() -> None:
    made = copied()
    made.lose("vn", "1")
    run(made.walk())
    made.write("vn", "an", "1", b"again")
    run(made.copy())
    assert made.lies("sg")["1"] == b"again"


def test_it_goes_on_from_page_to_page_and_tells_the_end() -> None:
    made = copied()
    run(made.settle("binh", "VN"))
    made.write("vn", "binh", "6", b"6")
    run(made.copy())
    done = Round()
    assert run(walk(made.target, made.homes, made.deciding, done, "", ended=True, fit=Fitting(1))) == "an"
    assert (done.notes, run(walk(made.target, made.homes, made.deciding, done, "an", ended=True, fit=Fitting(1)))) == (
        5,
        "binh",
    )
    assert (
        run(walk(made.target, made.homes, made.deciding, done, "binh", ended=True, fit=Fitting(1))),
        done.notes,
    ) == (
        None,
        6,
    )


def test_of_whom_no_pin_tells_only_a_home_that_is_the_only_one_is_asked() -> None:
    made = copied()
    run(made.settle("an", None))
    made.lose("vn", "1")
    assert run(withdraw(made.target, made.homes, made.deciding)).gone == {}
    assert run(withdraw(made.target, {None: made.homes["VN"]}, made.deciding)).gone == {"vn": 1}


def test_what_a_mover_put_there_meanwhile_stays_though_its_bytes_are_the_copies_own() -> None:
    made = copied()
    made.deployed.stop("sg")
    begin = made.deciding.begin

    async def moved(acts: Sequence[Wanted]) -> Any:
        begun = await begin(acts)
        with made.heard("vn"):
            made.watch.working = None
            await made.move("an", "vn", "sg", covered=False, between=made.deciding.settled)
        return begun

    made.deciding.begin = moved  # type: ignore[method-assign]  # the mover comes in between
    assert run(withdraw(made.target, made.homes, made.deciding)).deleted == 0
    assert sorted(made.lies("sg")) == ["1", "2", "3", "4", "5", "own"]
    assert made.lies("vn") == {}


def test_a_permission_that_comes_back_while_copies_go_brings_them_back() -> None:
    made = copied()
    made.deployed.stop("sg")
    begin = made.deciding.begin

    async def lifted(acts: Sequence[Wanted]) -> Any:
        begun = await begin(acts)
        made.deciding.begin = begin  # type: ignore[method-assign]
        made.deployed.stop()
        while (await made.copiers["vn"].once()).notes:  # another instance, which knows already
            pass
        return begun

    made.deciding.begin = lifted  # type: ignore[method-assign]
    assert run(withdraw(made.target, made.homes, made.deciding)).deleted == 5
    run(made.copy())
    assert len(made.lies("sg")) == 6
