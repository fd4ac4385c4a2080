"""Figures: what is counted of a period is what counting the entries one by one gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from residency.audit import figures
from residency.audit.entry import Entry
from residency.audit.figures import Figures, day_of
from residency.audit.recall import Beside, Recall
from residency.policy.archive import facts_digest
from residency.policy.replay import Replayer
from tests.recorded_log import DAY, START, RecordedLog, some_weeks


def counted(
    log: RecordedLog, since: int, until: int, change: Callable[[Entry], Entry] = lambda entry: entry
) -> Figures:
    found, recall = Figures(since, until), Recall()
    replayer = Replayer({log.policy.digest: log.policy}.get, {facts_digest(log.facts): log.facts}.get)
    for index, entry in enumerate(map(change, log.entries)):
        taken = recall.take(entry)
        if isinstance(taken, Beside):
            found.add(index, entry, taken, None)
        else:
            found.add(index, entry, taken[0], replayer.replay(*taken))
    found.finish()
    return found


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize(("start", "end"), [(0, 1000), (5, 12), (900, 1000)])
def test_every_number_is_what_counting_one_by_one_gives(tmp_path: Path, mode: str, start: int, end: int) -> None:
    log = some_weeks(tmp_path, mode=mode)
    since, until = START + start * DAY, START + end * DAY
    found = counted(log, since, until)
    inside = [entry for entry in log.entries if since <= entry.at < until]
    made = [entry for entry in inside if entry.decided is not None]
    refusals = [entry for entry in inside if entry.kind == "refusal"]

    def count(names: object) -> Counter[str]:
        return Counter(names)  # type: ignore[call-overload, no-any-return]

    assert (found.before, found.after) == (
        sum(entry.at < since for entry in log.entries), sum(entry.at >= until for entry in log.entries)
    )  # fmt: skip
    assert (found.entries, found.kinds) == (len(inside), count(entry.kind for entry in inside))
    assert found.decisions == len(made) == found.replayed
    assert (found.wrongs, found.gaps) == (0, Counter())
    assert found.effects == count(entry.effect for entry in made)
    assert found.presumed == sum(bool(entry.presumed) for entry in made)
    assert found.presumptions == count(anchor for entry in made for anchor in entry.presumed)
    assert found.covered == count(place for entry in made for place in entry.jurisdictions)
    assert found.uncovered == sum(not entry.jurisdictions for entry in made)
    assert found.observing == sum(entry.mode == "observe" for entry in made)
    assert found.exempt == count(entry.activity for entry in inside if entry.note == "exempt")
    assert found.early == count(entry.reason for entry in inside if entry.reason == "path_ambiguous")
    assert found.acts == count(entry.act for entry in inside if entry.act is not None)
    assert found.refused == count(entry.reason for entry in refusals)
    assert found.refused_by_rule == count(rule for entry in refusals for rule in entry.rules)
    assert found.refused_routes == count(entry.activity or "" for entry in refusals)
    assert found.would_refuse == count(
        entry.reason for entry in made if entry.kind != "refusal" and entry.effect != "permit" and entry.reason
    )
    assert {rule: counts["observed"] for rule, counts in found.rules.items() if counts["observed"]} == dict(
        count(rule for entry in made for rule in entry.observed)
    )
    for effect in ("permit", "hold", "deny"):
        assert {rule: counts[effect] for rule, counts in found.rules.items() if counts[effect]} == dict(
            count(rule for entry in made if entry.effect == effect for rule in entry.rules)
        )
        assert {day: counts[effect] for day, counts in found.days.items() if counts[effect]} == dict(
            count(day_of(entry.at) for entry in made if entry.effect == effect)
        )
        assert {name: counts[effect] for name, counts in found.activities.items() if counts[effect]} == dict(
            count(entry.activity for entry in made if entry.effect == effect)
        )
    assert len(found.people) == len({entry.subject[:16] for entry in made if entry.subject is not None})
    ((digest, each),) = found.policies.items() if inside else ((log.policy.digest, None),)
    assert digest == log.policy.digest
    if each is not None:
        assert (each.entries, each.decisions) == (len(inside), len(made))
        assert (each.first, each.last) == (inside[0].at, inside[-1].at)
    assert found.coverage()["decisions"] == len(made)


def test_the_whole_has_something_of_everything(tmp_path: Path) -> None:
    found = counted(some_weeks(tmp_path), START, START + 1000 * DAY)
    assert all(
        (found.presumed, found.uncovered, found.exempt, found.early, found.acts["failed"], found.refused, found.people)
    )
    assert found.rules["test.never"]["observed"]
    assert found.rules["test.verified"]["deny"]
    assert len(found.days) > 20


def test_records_that_tell_another_decision_are_counted_and_named(tmp_path: Path) -> None:
    log = some_weeks(tmp_path, 40)
    first = next(n for n, entry in enumerate(log.entries) if entry.decided is not None and entry.effect == "permit")

    def forged(entry: Entry) -> Entry:
        return replace(entry, rules=("test.verified",)) if entry.id == f"0.{first}" else entry

    found = counted(log, 0, 1 << 62, forged)
    assert (found.wrongs, [told.index for told in found.wrong], found.wrong[0].what) == (1, [first], "rules")


def test_clocks_that_go_back_within_a_slot_are_counted_and_the_largest_told(tmp_path: Path) -> None:
    log = some_weeks(tmp_path, 40)

    def back(entry: Entry) -> Entry:
        number = int(entry.id.partition(".")[2])
        return replace(entry, at=entry.at - 30 * DAY) if number == 20 else entry

    found = counted(log, 0, 1 << 62, back)
    assert found.steps_back == 1
    assert found.largest_step is not None
    assert found.largest_step.index == 20
    assert counted(log, 0, 1 << 62).steps_back == 0


def test_past_the_bound_people_are_a_lower_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "PEOPLE_KEPT", 3)
    told = counted(some_weeks(tmp_path, 60), START, START + 1000 * DAY).coverage()
    assert (told["people"], told["people_exact"]) == (3, False)


def test_more_kinds_of_decisions_than_are_held_at_once_are_counted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = some_weeks(tmp_path, 80)
    whole = counted(log, 0, 1 << 62)
    monkeypatch.setattr(figures, "_ALIKE", 1)
    again = counted(log, 0, 1 << 62)
    assert (again.effects, again.rules, again.refused) == (whole.effects, whole.rules, whole.refused)


def test_a_time_beyond_the_calendar_is_a_day_of_its_own() -> None:
    assert (day_of(0), day_of(-1), day_of(1 << 52)) == ("1970-01-01", "1969-12-31", "2112-09-17")
    assert day_of(1 << 60) == "beyond the calendar"
