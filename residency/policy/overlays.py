"""The laws that a deployment chose in, overlays among them; the laws as they hold, or what cannot be worked in, out.

An overlay (`extends: NAME`) is a law file of its own: it replaces rules of the other by id, takes out those that `drop`
names, and adds the rest. Its rules keep its dates and readings, and the place where they were written; what either
file's detectors find counts for the rules of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from residency.errors import Problem
from residency.policy.parsed import Detector, LawDoc
from residency.policy.problems import nearest

__all__ = ["merged"]

_Path = tuple[str | int, ...]


def merged(laws: Sequence[LawDoc]) -> tuple[tuple[LawDoc, ...], tuple[Problem, ...]]:
    """(the laws with every overlay worked into what it extends, in their order; what hinders).

    An overlay of a law that is not chosen, of another jurisdiction or of itself; a dropped rule that is not there; two
    overlays of one rule.
    """
    by_name = {law.name: law for law in laws}
    lines = {law.name: _line(law, by_name) for law in laws}
    problems: list[Problem] = []
    touched: dict[tuple[str, str], tuple[LawDoc, _Path]] = {}
    for law in laws:
        if law.extends is None:
            continue
        base = by_name.get(law.extends)
        if base is None:
            hint = nearest(law.extends, by_name) or ": the deployment names it in `laws` too"
            problems.append(law.source.problem(("extends",), f"unknown law `{law.extends}`{hint}"))
        elif by_name[lines[law.name][-1]].extends in by_name:
            problems.append(law.source.problem(("extends",), f"law `{law.name}` extends itself"))
        elif base.jurisdiction != law.jurisdiction:
            message = f"`{law.extends}` is a law of {base.jurisdiction}, and this one says {law.jurisdiction}"
            problems.append(law.source.problem(("jurisdiction",), message))
        else:
            problems += _work_in(law, base, touched)
    detectors: dict[str, dict[Detector, None]] = {}
    for law in laws:
        detectors.setdefault(lines[law.name][-1], {}).update(dict.fromkeys(law.detectors))
    worked = tuple(
        replace(
            law,
            rules=tuple(rule for rule in law.rules if (law.name, rule.id) not in touched),
            detectors=tuple(detectors[lines[law.name][-1]]),
        )
        for law in laws
    )
    return worked, tuple(problems)


def _work_in(law: LawDoc, base: LawDoc, touched: dict[tuple[str, str], tuple[LawDoc, _Path]]) -> Iterator[Problem]:
    there = {rule.id for rule in base.rules}
    changes: list[tuple[str, _Path]] = [(rule.id, (*rule.path, "id")) for rule in law.rules if rule.id in there]
    for index, (name, _) in enumerate(law.dropped):
        path: _Path = ("drop", index, "rule")
        if name in there:
            changes.append((name, path))
        else:
            yield law.source.problem(path, f"law `{base.name}` has no rule `{name}`{nearest(name, there)}")
    for name, path in changes:
        first, at = touched.setdefault((base.name, name), (law, path))
        if (first.name, at) != (law.name, path):
            where = first.source.problem(at, "")
            yield law.source.problem(path, f"rule `{name}` is changed in {where.file}:{where.line} already")


def _line(law: LawDoc, by_name: Mapping[str, LawDoc]) -> list[str]:
    """The law's name and those of the laws that it extends, nearest first."""
    line = [law.name]
    while law.extends is not None and law.extends in by_name and law.extends not in line:
        law = by_name[law.extends]
        line.append(law.name)
    return line
