"""What was ever sent abroad: marked at home, and learned from the sink's own list where nobody marked it."""

from __future__ import annotations

from residency.storage.sent import learn
from tests.copies_memory import CopiesWorld, run


def world() -> CopiesWorld:
    """Copies in SG of people who live in VN, in JP, nowhere known and in SG, and something that is no copy."""
    made = CopiesWorld()
    for who, home in (("an", "VN"), ("carol", "JP")):
        run(made.settle(who, home, covered=False))
        made.write(home.lower(), who, f"{who}1", b"a")
    made.write("vn", "binh", "binh1", b"a")
    run(made.copy())
    made.write("sg", "an", "an9", b"own")
    for name, marks in made.marks.items():
        marks.held.clear()
        run(made.sent[name].doubt("sg"))
    return made


def marked(made: CopiesWorld, home: str) -> list[str]:
    marks = made.marks[home]
    return sorted(key for _, key in marks.of(marks.held))


def learned(made: CopiesWorld, home: str) -> bool:
    with made.heard(home):
        return run(learn(made.sent[home], made.target, made.copiers[home].home, made.deciding, made.copiers[home].keep))


def test_what_lies_there_of_who_lives_here_or_of_nobody_known_is_marked_and_nothing_of_who_lives_elsewhere() -> None:
    made = world()
    made.watch.permitted = lambda home, key: False
    assert run(made.sent["vn"].among("sg", [])) is None
    assert learned(made, "vn")
    assert marked(made, "vn") == ["an1", "binh1"]
    assert run(made.sent["vn"].among("sg", [("people", "an1"), ("people", "an9")])) == frozenset({("people", "an1")})
    assert learned(made, "jp")
    assert marked(made, "jp") == ["binh1", "carol1"]


def test_who_is_being_moved_away_is_marked_where_their_data_still_lies_too() -> None:
    made = world()
    run(made.settle("an", "JP", moving="VN", covered=False))
    assert learned(made, "vn")
    assert learned(made, "jp")
    assert "an1" in marked(made, "vn")
    assert "an1" in marked(made, "jp")


def test_who_lost_the_outbox_meanwhile_has_learned_nothing_and_its_notes_wait() -> None:
    made = world()

    async def lost() -> bool:
        return False

    made.copiers["vn"].keep = lost
    assert not learned(made, "vn")
    assert run(made.sent["vn"].among("sg", [])) is None
    made.write("vn", "an", "an1", None)
    assert run(made.copiers["vn"].once()).held == {"changed": 1}
    assert "an1" in made.lies("sg")


def test_what_was_copied_before_there_were_marks_goes_when_home_deletes_it() -> None:
    made = world()
    made.write("vn", "an", "an1", None)
    run(made.copy())
    assert sorted(made.lies("sg")) == ["an9", "binh1", "carol1"]
    assert marked(made, "vn") == ["binh1"]
