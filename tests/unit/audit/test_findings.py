"""What is odd of a log is told in a sentence that names the entry, and in words for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from residency.audit.continuity import Continuity
from residency.audit.entry import Entry, format_entry
from residency.audit.entry_reader import EntryReader
from residency.audit.findings import Finding, findings_of
from residency.audit.redecide import Redecide
from residency.policy.replay import Replayer

START = 1_795_000_000_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND
REFUSAL = Entry(id="0.0", kind="refusal", at=START, effect="deny", policy="ab" * 32, decided=START, reason="only")
NOTHING = Redecide(Replayer(lambda _: None, lambda _: None))


def found(
    entries: Sequence[Entry], *, now: int = START + 9 * DAY, redecide: Redecide | None = NOTHING
) -> list[Finding]:
    continuity = Continuity(now, DAY)
    cut = EntryReader().scan(0, [format_entry(entry) for entry in entries])
    continuity.take(0, *cut)
    continuity.finish()
    if redecide is not None and redecide is not NOTHING:
        redecide.take(0, *cut)
        redecide.finish()
    return list(findings_of(continuity, redecide, now, DAY))


def at(*times: int) -> list[Entry]:
    return [replace(REFUSAL, id=f"0.{seq}", at=START + time, decided=START + time) for seq, time in enumerate(times)]


def test_of_a_log_like_any_other_nothing_is_told() -> None:
    assert found(at(0, SECOND, DAY)) == []


def test_a_clock_set_back_is_told_with_the_first_and_the_largest_step() -> None:
    (finding,) = found(at(0, 10 * SECOND, 8 * SECOND, 9 * SECOND, 0))
    assert (finding.what, finding.count, finding.index) == ("clock_step", 2, 2)
    assert "first at entry 2 (0.2) by 2 s, most at entry 4 (0.4) by 9 s" in finding.message


def test_a_length_of_time_is_told_as_people_write_it() -> None:
    (finding,) = found(at(0, 10 * SECOND, 8 * SECOND - 80_462))
    assert "by 2.1 s" in finding.message
    (finding,) = found(at(0, 10 * SECOND, 10 * SECOND - 1_500))
    assert "by 0.0015 s" in finding.message


def test_a_silence_is_told_with_how_long_it_was() -> None:
    (finding,) = found(at(0, 3 * DAY))
    assert (finding.what, finding.index) == ("time_gap", 1)
    assert finding.message == "nothing was recorded for more than 24.0 h: once, first at entry 1 (0.1) for 3.0 d"


def test_times_that_cannot_be_are_told() -> None:
    assert [finding.what for finding in found(at(0, 3 * SECOND), now=START - DAY)] == ["future"]
    other = replace(REFUSAL, id="1.0", at=START - DAY)
    assert [finding.what for finding in found([*at(0), other])] == ["before_first"]


def test_an_act_that_has_just_begun_is_none_and_one_that_never_ended_is() -> None:
    intent = replace(REFUSAL, kind="intent", effect="permit", reason=None)
    assert found([intent], now=START + 59 * SECOND) == []
    (finding,) = found([intent, replace(intent, id="0.1", at=START + 1)], now=START + 7_200 * SECOND)
    assert (finding.what, finding.count, finding.index) == ("open_intents", 2, 0)
    assert "the oldest 2.0 h ago, entry 0 (0.0)" in finding.message


def test_decisions_that_were_not_made_again_are_told_and_so_is_that_none_was() -> None:
    (finding,) = found(at(0, 1), redecide=Redecide(Replayer(lambda _: None, lambda _: None)))
    assert (finding.what, finding.count) == ("not_replayed", 2)
    assert "its policy is not archived" in finding.message
    assert [finding.what for finding in found(at(0), redecide=None)] == ["not_replayed"]


def test_a_finding_is_plain_for_programs() -> None:
    assert Finding("time_gap", "…", 1, 4).data() == {"what": "time_gap", "message": "…", "count": 1, "index": 4}


def test_what_is_decided_on_another_day_or_not_at_all_is_told() -> None:
    redecide = Redecide(Replayer(lambda _: None, lambda _: None))
    late = replace(REFUSAL, at=START + 3 * DAY)
    act = replace(REFUSAL, id="0.1", at=START + 3 * DAY, kind="intent", effect="permit", sink="sg", decided=None)
    done = replace(act, id="0.2", kind="outcome", act="committed", of="0.1")
    told = {finding.what: finding for finding in found([late, act, done], redecide=redecide)}
    assert told["decided_apart"].message == (
        "a decision was not made when it was recorded: once, first at entry 0 (0.0) by 3.0 d"
    )
    assert told["undecided"].message == "an act or a permit has no decision behind it: once, first at entry 1 (0.1)"
    assert "unregistered" not in told
