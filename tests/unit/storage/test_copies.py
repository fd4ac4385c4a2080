"""What a copier does with one note, case by case."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from residency.errors import SinkUnavailable
from residency.model import StopOrder
from residency.storage import copies, fitting
from residency.storage.copied import Key
from residency.storage.outbox import Round
from residency.storage.records import Change, Record
from tests.copies_memory import LAW, TEXT, CopiesWorld, run
from tests.move_world import PulledError

DOSSIER = (
    LAW
    + """
  - id: test.dossier
    article: art. 2
    text: Transfers abroad need a dossier.
    applies: {anchor: territory, data: [personal], sink: {abroad: true}}
    duty: {require: [["filing:vn.transfer_dossier"]]}
"""
)
TREATED = (
    LAW
    + """
  - id: test.treated
    article: art. 3
    text: Phones leave as hashes.
    applies: {anchor: territory, data: [personal], sink: {abroad: true}}
    duty: {protect: [{field: phone, direction: out, transform: mask}]}
"""
)


def world(law: str = LAW, text: str = TEXT) -> CopiesWorld:
    """Somebody who lives in VN."""
    made = CopiesWorld(law=law, text=text)
    run(made.settle("an", "VN"))
    return made


def once(made: CopiesWorld, home: str = "vn") -> Round:
    return run(made.copiers[home].once())


def held(made: CopiesWorld, home: str = "vn") -> dict[str, int]:
    return dict(run(made.outboxes[home].standing()).held)


def test_a_change_is_copied_once_and_its_note_goes() -> None:
    made = world()
    made.write("vn", "an", "1", b"a")
    made.write("vn", "an", "1", b"b")
    done = once(made)
    assert (done.notes, done.copied, made.lies("sg")) == (2, 1, {"1": b"b"})
    assert not made.outboxes["vn"].rows
    made.outboxes["vn"].noted(("people", "1"))
    entries = len(made.deployed.entries)
    assert once(made).copied == 0
    assert len(made.deployed.entries) == entries, "what is as it should be is no act"


def test_a_filing_that_is_missing_halts_and_is_told_and_asked_again_seldom() -> None:
    made = world(DOSSIER)
    made.write("vn", "an", "1", b"a")
    assert once(made).held == {"filing_missing": 1}
    assert (made.lies("sg"), held(made)) == ({}, {"filing_missing": 1})
    assert once(made).notes == 0
    made.deployed.clock.advance(601_000_000)
    assert once(made).notes == 1


def test_a_stop_order_halts_also_who_no_law_covers_and_lifted_it_goes_on() -> None:
    made = world()
    run(made.settle("carol", "VN", covered=False))
    made.deployed.stop("sg")
    made.write("vn", "an", "1", b"a")
    assert once(made).held == {"stop_order": 1}
    made.deployed.stop()
    run(made.outboxes["vn"].release())
    assert once(made).copied == 1


def test_who_is_being_moved_waits_a_second_and_who_lives_elsewhere_is_held() -> None:
    made = world()
    run(made.settle("an", "JP", moving="VN"))
    made.write("vn", "an", "1", b"a")
    assert once(made).held == {"subject_moving": 1}
    run(made.settle("an", "JP"))
    made.deployed.clock.advance(2_000_000)
    assert once(made).held == {"not_at_home": 1}
    assert made.lies("sg") == {}


def test_what_is_gone_at_home_goes_unless_its_subject_lives_there_or_elsewhere_now() -> None:
    made = world()
    for key in "123":
        made.write("vn", "an", key, b"a")
    once(made)
    made.write("vn", "an", "1", None)
    assert once(made).deleted == 1
    run(made.settle("an", "JP"))
    made.write("jp", "an", "2", b"a")
    made.write("vn", "an", "2", None)
    made.write("vn", "an", "3", None)
    assert once(made).deleted == 1, "2 lies in JP now; 3 lies nowhere"
    run(made.settle("an", "SG"))
    made.write("jp", "an", "2", None)
    once(made, "jp")
    assert made.lies("sg") == {"2": b"a"}, "whoever lives there keeps what lies there"


def test_what_is_deleted_while_its_subject_moves_to_where_its_copy_lies_does_not_arrive_there() -> None:
    made = world()
    made.write("vn", "an", "1", b"a")
    once(made)
    made.write("vn", "an", "1", None)
    run(made.settle("an", "SG", moving="VN"))
    assert once(made).deleted == 1
    assert made.lies("sg") == {}


def test_a_sink_that_is_away_keeps_its_notes_and_is_asked_more_and_more_seldom() -> None:
    made = world()
    made.write("vn", "an", "1", b"a")
    made.at["sg"].away = True
    for seconds in (1, 2, 4):
        assert once(made).held == {"unreachable": 1}
        made.deployed.clock.advance(seconds * 1_000_000 - 1_000)
        assert once(made).notes == 0
        made.deployed.clock.advance(2_000)
    made.at["sg"].away = False
    assert once(made).copied == 1


def test_another_record_of_that_key_is_left_alone() -> None:
    made = world()
    made.write("sg", "an", "1", b"own")
    made.write("vn", "an", "1", b"a")
    assert once(made).held == {"not_a_copy": 1}
    made.write("vn", "an", "1", None)
    once(made)
    assert made.lies("sg") == {"1": b"own"}


def test_who_may_not_be_copied_or_is_moving_or_lives_elsewhere_is_never_asked_for_abroad() -> None:
    made = world(DOSSIER)
    for who, home, moving in (("carol", "JP", None), ("binh", "JP", "VN"), ("dung", "SG", None)):
        run(made.settle(who, home, moving=moving))
        made.write("vn", who, who, b"a")
        made.write("vn", who, who + "-gone", None)
    made.write("vn", "an", "1", b"a")
    made.write("vn", "an", "2", None)
    made.watch.permitted = lambda home, key: False
    run(made.copy())
    with made.heard("vn"):
        run(made.copiers["vn"].settle({("people", "1"), ("people", "2"), ("people", "9")}))
    assert (made.watch.asked, made.lies("sg")) == (set(), {})
    assert held(made) == {"filing_missing": 1, "not_at_home": 2, "subject_moving": 1}


def test_another_home_is_asked_only_for_keys_of_who_lives_there() -> None:
    made = world()
    made.watch.lives = lambda key: {"an": "VN", "carol": "JP"}[key[1][:-1]]
    run(made.settle("carol", "VN", covered=False))
    for key, who in (("an1", "an"), ("carol1", "carol")):
        made.write("vn", who, key, b"a")
    run(made.copy())
    run(made.settle("carol", "JP", covered=False))
    made.write("jp", "carol", "carol1", b"a")
    for key, who in (("an1", "an"), ("carol1", "carol")):
        made.write("vn", who, key, None)
    run(made.copy())
    assert made.lies("sg") == {"carol1": b"a"}, "the copy of who moved stays, and their new home tells of it"
    made.write("jp", "carol", "carol1", None)
    run(made.copy())
    assert made.lies("sg") == {}


def test_a_first_copy_meets_a_copy_of_ours_that_nobody_marked_and_takes_its_place() -> None:
    made = world()
    made.write("vn", "an", "an1", b"a")
    once(made)
    marks = made.marks["vn"]
    marks.held -= {each for each in marks.held if marks.of([each])}
    made.write("vn", "an", "an1", b"b")
    assert (once(made).copied, made.lies("sg")) == (1, {"an1": b"b"})
    marks.held -= {each for each in marks.held if marks.of([each])}
    made.outboxes["vn"].noted(("people", "an1"))
    once(made)
    assert not made.outboxes["vn"].rows
    made.write("vn", "an", "an1", None)
    assert (once(made).deleted, made.lies("sg")) == (1, {})


def test_a_mark_goes_with_the_copy_and_what_went_by_other_hands_loses_it_too() -> None:
    made = world()
    for key in ("an1", "an2", "an3"):
        made.write("vn", "an", key, b"a")
    once(made)
    marks = made.marks["vn"]
    assert sorted(key for _, key in marks.of(marks.held)) == ["an1", "an2", "an3"]
    made.write("vn", "an", "an1", None)
    made.at["sg"].held.pop(("people", "an2"))
    made.write("vn", "an", "an2", None)
    once(made)
    assert marks.of(marks.held) == [("people", "an3")]
    made.deployed.stop("sg")
    run(made.walk())
    once(made)
    assert marks.of(marks.held) == [], "withdrawn, and looked at once more"


def test_settling_for_one_person_leaves_copies_of_another_who_moved_known_as_such() -> None:
    made = world()
    run(made.settle("carol", "VN", covered=False))
    made.write("vn", "carol", "1", b"a")
    once(made)
    run(made.settle("carol", "JP", covered=False))
    made.write("jp", "carol", "1", b"a")
    made.write("vn", "carol", "1", None)
    run(made.copiers["vn"].settle({("people", "7")}))
    assert run(made.copied.held([("people", "1")]))["people", "1"].ours
    made.write("jp", "carol", "1", b"b")
    run(made.copy())
    assert made.lies("sg") == {"1": b"b"}


def test_fields_are_treated_and_a_copy_that_cannot_be_is_none() -> None:
    made = world(TREATED)
    made.write("vn", "an", "1", b"no row")
    assert once(made).held == {"cannot_be_treated": 1}
    row = Record("people", '{"id":"2"}', "an", frozenset({"personal"}), b'{"id":"2","phone":"0901"}')
    made.at["vn"].held["people", row.key] = row
    made.outboxes["vn"].noted(("people", row.key))
    assert once(made).copied == 1
    assert made.lies("sg") == {row.key: b'{"id":"2","phone":"***"}'}


def test_facts_that_move_after_the_decision_stop_the_copy() -> None:
    made = world()
    made.write("vn", "an", "1", b"a")
    begin = made.deciding.begin

    async def meanwhile(acts):  # type: ignore[no-untyped-def]  # in a test
        begun = await begin(acts)
        facts = made.deployed.facts
        facts.replace(replace(facts.current(), stop_orders=(StopOrder("8", "sg", 0),)))
        return begun

    made.deciding.begin = meanwhile  # type: ignore[method-assign]
    assert once(made).held == {"changed": 1}
    assert made.lies("sg") == {}
    assert [word for entry, word in made.deployed.intents if entry.sink == "sg"] == ["failed"]


def test_a_pin_that_moves_after_the_decision_stops_the_copy() -> None:
    made = world()
    made.write("vn", "an", "1", b"a")
    begin = made.deciding.begin

    async def meanwhile(acts):  # type: ignore[no-untyped-def]  # in a test
        begun = await begin(acts)
        await made.settle("an", "JP", moving="VN")
        return begun

    made.deciding.begin = meanwhile  # type: ignore[method-assign]
    assert once(made).held == {"changed": 1}
    assert made.lies("sg") == {}


def test_who_lost_the_outbox_to_another_worker_writes_nothing() -> None:
    made = world()
    made.write("vn", "an", "1", b"a")

    async def lost() -> bool:
        return False

    made.copiers["vn"].keep = lost
    assert once(made).held == {"changed": 1}
    assert made.lies("sg") == {}


def test_killed_before_or_after_any_change_it_comes_to_the_same() -> None:
    at = 0
    while True:
        at += 1
        made = world()
        made.write("vn", "an", "1", b"a")
        made.plug.calls, made.plug.at = 0, at
        killed = True
        with suppress(PulledError):
            once(made)
            killed = False
        made.plug.at = None
        made.write("vn", "an", "2", b"b")
        once(made)
        made.deployed.clock.advance(700_000_000)
        once(made)
        assert made.lies("sg") == {"1": b"a", "2": b"b"}
        assert not made.outboxes["vn"].rows
        if not killed:
            break
    assert at > 8


def test_settling_removes_copies_and_notes_of_what_home_has_no_more_and_nothing_else() -> None:
    made = world()
    made.write("vn", "an", "1", b"a")
    made.write("vn", "an", "2", b"b")
    once(made)
    made.deployed.stop("sg")
    made.write("vn", "an", "2", b"c")
    once(made)
    made.write("vn", "an", "1", None)
    assert run(made.copiers["vn"].settle({("people", "1"), ("people", "2")})) == 2
    assert made.lies("sg") in ({"2": b"b"}, {})
    assert [row.note.key for row in made.outboxes["vn"].rows.values()] == ["2"]


def test_the_law_knows_what_nobody_writes_by_itself() -> None:
    made = world(text=TEXT.replace("data: [personal], store", "data: [content], store"))
    made.write("vn", "an", "1", b"a")
    assert once(made).copied == 1


def test_what_is_large_is_read_and_copied_few_at_a_time_and_all_of_it_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "MOST", 100)
    monkeypatch.setattr(copies, "MOST", 100)
    made = world()
    for number in "123456789":
        made.write("vn", "an", f"an{number}", number.encode() * 90)
    asked: list[int] = []
    get = made.at["vn"].get

    async def counted(keys: Collection[Key]) -> Mapping[Key, Record]:
        asked.append(len(keys))
        return await get(keys)

    made.at["vn"].get = counted  # type: ignore[method-assign]
    assert (once(made).copied, asked) == (2, [1, 1])
    while once(made).notes:
        pass
    assert (len(made.lies("sg")), max(asked), held(made)) == (9, 1, {})


def test_of_what_is_held_one_note_is_kept_and_what_is_noted_meanwhile_is_its_own() -> None:
    made = world(DOSSIER)
    for value in (b"a", b"b", b"c"):
        made.write("vn", "an", "1", value)
    first = min(made.outboxes["vn"].rows)
    assert once(made).held == {"filing_missing": 1}
    assert list(made.outboxes["vn"].rows) == [first]
    made.write("vn", "an", "1", b"d")
    assert len(made.outboxes["vn"].rows) == 2


def test_a_row_whose_subject_is_empty_is_nobody_s_and_holds_up_no_other() -> None:
    made = world()
    made.write("vn", "", "0", b"nobody's")
    made.write("vn", "an", "1", b"a")
    assert once(made).copied == 1
    assert (made.lies("sg"), made.outboxes["vn"].rows) == ({"1": b"a"}, {})


def test_what_the_sink_abroad_refuses_holds_up_no_other_and_a_sink_that_is_away_is_told_so() -> None:
    made = world()
    for key, value in (("an1", b"a"), ("an2", b"too long there"), ("an3", b"c")):
        made.write("vn", "an", key, value)
    replace_there = made.at["sg"].replace

    async def refusing(changes: Sequence[Change]) -> None:
        if any(record.value == b"too long there" for record, _ in changes):
            raise SinkUnavailable("sink 'sg' refuses a value")
        await replace_there(changes)

    made.at["sg"].replace = refusing  # type: ignore[method-assign]
    done = once(made)
    assert (done.copied, done.held, made.lies("sg")) == (2, {"refused_there": 1}, {"an1": b"a", "an3": b"c"})
    assert made.deployed.intents[-1][1] == "committed"
    made.write("vn", "an", "an2", b"b")
    made.at["sg"].away = True
    made.deployed.clock.advance(700_000_000)
    assert once(made).held == {"unreachable": 1}
    made.at["sg"].away = False
    made.deployed.clock.advance(700_000_000)
    assert once(made).copied == 1
    assert (len(made.lies("sg")), held(made)) == (3, {})
