"""Tasks and events of the shipped law packs have names in both languages."""

from __future__ import annotations

from residency.adapters.policy_files import available_laws
from residency.policy.explain_tasks import event, task
from residency.policy.explain_words import LANGUAGES
from residency.policy.parser import parse_law


def test_what_the_shipped_laws_ask_in_time_has_names_in_both_languages() -> None:
    laws = [parse_law(file.read_bytes(), str(file), name) for name, file in available_laws(()).items() if "/" in name]
    duties = [rule.duty for law in laws for rule in law.rules]
    tasks = {due.task for duty in duties for due in duty.deadlines}
    events = {due.event for duty in duties for due in duty.deadlines} | {r.start for d in duties for r in d.retain}
    assert tasks
    assert {name for name in tasks if task(name, "vi") == task(name, "en")} == set()
    assert {name for name in events - {""} if event(name, "vi") == event(name, "en")} == set()


def test_a_name_that_is_not_known_is_shown_with_spaces() -> None:
    for language in LANGUAGES:
        assert task("own.do_this", language) == "own do this"
        assert event("some_day", language) == "some day"
