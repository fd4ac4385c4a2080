"""First copies that are put without a look: what is in their way is looked at afterwards, and told."""

from __future__ import annotations

from tests.copies_memory import CopiesWorld, run


def world() -> CopiesWorld:
    """Somebody who lives in VN, with three records there."""
    made = CopiesWorld()
    run(made.settle("an", "VN"))
    for key in ("an1", "an2", "an3"):
        made.write("vn", "an", key, b"a")
    return made


def test_one_that_is_in_the_way_of_many_holds_itself_alone_and_is_not_changed() -> None:
    made = world()
    made.write("sg", "an", "an2", b"own")
    done = run(made.copiers["vn"].once())
    assert (done.copied, done.held) == (2, {"not_a_copy": 1})
    assert made.lies("sg") == {"an1": b"a", "an2": b"own", "an3": b"a"}
    assert [word for entry, word in made.deployed.intents if entry.sink == "sg"] == ["committed"]


def test_what_is_in_the_way_is_looked_at_before_it_is_tried_again_and_no_act_begins() -> None:
    made = world()
    made.write("sg", "an", "an2", b"own")
    run(made.copiers["vn"].once())
    entries = len(made.deployed.entries)
    made.deployed.clock.advance(2_000_000)
    assert run(made.copiers["vn"].once()).held == {"not_a_copy": 1}
    assert len(made.deployed.entries) == entries
    made.at["sg"].held.pop(("people", "an2"))
    made.deployed.clock.advance(10_000_000)
    assert run(made.copiers["vn"].once()).copied == 1


def test_killed_between_the_mark_and_the_copy_the_next_one_looks_and_makes_it() -> None:
    made = world()
    made.at["sg"].away = True
    run(made.sent["vn"].learned("sg"))
    assert run(made.copiers["vn"].once()).held == {"unreachable": 3}
    marks = made.marks["vn"]
    assert len(marks.of(marks.held)) == 3, "nobody knows whether they arrived"
    made.at["sg"].away = False
    made.deployed.clock.advance(2_000_000)
    assert run(made.copiers["vn"].once()).copied == 3


def test_what_was_decided_on_and_changed_before_it_was_sent_is_not_marked() -> None:
    made = world()
    begin = made.deciding.begin

    async def meanwhile(acts):  # type: ignore[no-untyped-def]  # in a test
        begun = await begin(acts)
        await made.settle("an", "JP", moving="VN")
        return begun

    made.deciding.begin = meanwhile  # type: ignore[method-assign]
    run(made.copiers["vn"].once())
    marks = made.marks["vn"]
    assert (marks.of(marks.held), made.watch.asked) == ([], set())
