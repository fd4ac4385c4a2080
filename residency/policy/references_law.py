"""A law's YamlDoc in; problems about its names and dates that do not fit together, out. As `references`, for laws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from residency.errors import Problem
from residency.model.data import CATEGORIES
from residency.model.place import is_place
from residency.policy.docwalk import items, mapping, on_calendar, ordered, unknown, walk
from residency.policy.must import must_problems
from residency.policy.problems import at
from residency.policy.yamldoc import Path, Value, YamlDoc
from residency.signals.recognisers import VALIDATORS

__all__ = ["detector_problems", "law_references"]

_DAYS: Final = frozenset({"from", "to", "date", "checked", "until", "in_use_before"})
_EVENTS: Final = frozenset({"retain", "deadlines"})  # where `from` names an event


def law_references(doc: YamlDoc) -> list[Problem]:
    """Problems of a law file."""
    return [*_law(doc), *_own_names(doc), *detector_problems(doc), *must_problems(doc)]


def detector_problems(doc: YamlDoc) -> Iterator[Problem]:
    """Problems of the detectors of a law or a deployment."""
    for detector in items(doc, ("detectors",)):
        word = at(doc.value, (*detector, "validator"))
        if isinstance(word, str) and word not in VALIDATORS:
            yield doc.problem((*detector, "validator"), unknown("validator", word, dict.fromkeys(VALIDATORS)))


def _law(doc: YamlDoc) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for path, value in walk(doc.value, ()):
        if (
            path
            and path[-1] in ("from", "to", "date", "checked", "until", "in_use_before")
            and "retain" not in path
            and "deadlines" not in path
            and isinstance(value, str)
        ):
            yield from on_calendar(doc, path, value)
    yield from ordered(doc, ("in_force", "from"), ("in_force", "to"))
    for rule in items(doc, ("rules",)):
        yield from ordered(doc, (*rule, "in_force", "from"), (*rule, "in_force", "to"))
        name = at(doc.value, (*rule, "id"))
        if isinstance(name, str) and name in seen:
            yield doc.problem((*rule, "id"), f"rule `{name}` stands already in line {seen[name]}")
        elif isinstance(name, str):
            seen[name] = doc.mark((*rule, "id"))[0]
        sink = at(doc.value, (*rule, "applies", "sink"))
        if isinstance(sink, dict) and not sink:
            yield doc.problem((*rule, "applies", "sink"), "sink: expected what its sinks are, such as `abroad: true`")
        yield from _names(doc, rule)
        for retain in items(doc, (*rule, "duty", "retain")):
            entry = at(doc.value, retain)
            if isinstance(entry, dict) and ("at_least" in entry) == ("at_most" in entry):
                yield doc.problem(retain, "retain: expected either at_least or at_most")
        for clause in items(doc, (*rule, "duty", "require")):
            written = at(doc.value, clause)
            if isinstance(written, dict) and ("within" in written) != ("after" in written):
                yield doc.problem(clause, "require: `within` and `after` stand together, or not at all")
        duty = at(doc.value, (*rule, "duty"))
        if isinstance(duty, dict) and not duty and at(doc.value, (*rule, "overrides")) in (None, []):
            yield doc.problem((*rule, "duty"), "the duty is empty: a rule asks something or overrides something")


def _own_names(doc: YamlDoc) -> Iterator[Problem]:
    root = doc.value if isinstance(doc.value, dict) else {}
    overlay = isinstance(root.get("extends"), str)
    if root.get("rules") == [] and not overlay:
        yield doc.problem(("rules",), "no rule: a law has at least one, save an overlay (`extends`) that drops some")
    if "drop" in root and not overlay:
        yield doc.problem(("drop",), "drop: only an overlay (`extends`) takes rules out", key=True)
    for name in mapping(doc, "categories"):
        if name in CATEGORIES:
            yield doc.problem(
                ("categories", name), f"`{name}` is a category of its own: name yours as `vn.{name}`", key=True
            )
    for question, reading in mapping(doc, "readings").items():
        options = at(reading, ("options",))
        default = at(reading, ("default",))
        if isinstance(options, list) and isinstance(default, str) and default not in options:
            yield doc.problem(("readings", question, "default"), unknown("option", default, _keys(options)))
    for path in items(doc, ("working_days", "holidays")):
        day = at(doc.value, path)
        if isinstance(day, str):
            yield from on_calendar(doc, path, day)
    for path in items(doc, ("escalations",)):
        yield from _categories(doc, (*path, "data"))
        below, subjects = at(doc.value, (*path, "falls_below")), at(doc.value, (*path, "subjects"))
        if isinstance(below, int) and isinstance(subjects, int) and below > subjects:
            yield doc.problem(
                (*path, "falls_below"), f"`{below}` lies above `subjects`: it would rise and fall at once"
            )


def _names(doc: YamlDoc, rule: Path) -> Iterator[Problem]:
    """The names that a rule uses and its file must declare."""
    yield from _categories(doc, (*rule, "applies", "data"))
    lists = mapping(doc, "places")
    for key in ("in", "not_in"):
        for path, name in _words(doc, (*rule, "applies", "sink", key)):
            if not is_place(name) and name not in lists:
                yield doc.problem(path, unknown("list of places", name, lists))
    readings = mapping(doc, "readings")
    answers = at(doc.value, (*rule, "reading"))
    for question, answer in answers.items() if isinstance(answers, dict) else ():
        options = at(readings, (question, "options"))
        if question not in readings:
            yield doc.problem((*rule, "reading", question), unknown("reading", question, readings), key=True)
        elif isinstance(options, list) and isinstance(answer, str) and answer not in options:
            yield doc.problem((*rule, "reading", question), unknown("option", answer, _keys(options)))


def _categories(doc: YamlDoc, path: Path) -> Iterator[Problem]:
    named = mapping(doc, "categories")
    for where, name in _words(doc, path):
        if "." in name and name not in named:
            yield doc.problem(where, unknown("category", name, named))


def _words(doc: YamlDoc, path: Path) -> Iterator[tuple[Path, str]]:
    value = at(doc.value, path)
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, word in enumerate(value):
            if isinstance(word, str):
                yield (*path, index), word


def _keys(words: list[Value]) -> dict[str, Value]:
    return {word: None for word in words if isinstance(word, str)}
