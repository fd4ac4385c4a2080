"""Two deployments in; what of their difference cannot be brought into force while requests are served, out. And facts.

What is named here is read anew by every request, so a reload applies it whole. All else is built once: connections,
folders, keys, how identity is read, a key that a later version adds. One such difference and nothing is applied, for
half a policy is no policy that anybody wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Final

from residency.errors import Problem
from residency.model import Event, FactSet, Filing, Order
from residency.policy.parsed import DeploymentDoc

__all__ = ["RELOADABLE", "carried_over", "needs_restart", "register_changes"]

RELOADABLE: Final = frozenset(
    {
        "activities",
        "assume",
        "conflicts_presumed",
        "detectors",
        "exempt",
        "http",
        "law_digests",
        "laws",
        "laws_from",
        "mode",
        "modes",
        "modes_from",
        "must",
        "offices",
        "operator",
        "presume",
        "readers",
        "readings",
        "registers",
        "stores",
        "strict_clocks",
        "unclassified",
    }
)
"""Fields of a deployment that a reload changes."""
_AT_ONCE: Final = 100  # records that one note names at most
_WRITTEN: Final = {"keys_folder": "keys"}


def needs_restart(old: DeploymentDoc, new: DeploymentDoc) -> tuple[Problem, ...]:
    """Each difference that only a restart applies, at its line of the new file. Empty = a reload may apply it all."""
    problems = []
    for field in fields(DeploymentDoc):
        if field.name in RELOADABLE or not field.compare:
            continue
        if getattr(old, field.name) != getattr(new, field.name):
            key = _WRITTEN.get(field.name, field.name)
            what = (
                f"{key}: cannot change while requests are served, so nothing of the file was applied: restart to apply"
            )
            problems.append(new.source.problem((key,), what))
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))


def carried_over(old: FactSet, now: FactSet, new: FactSet) -> FactSet:
    """The facts once registers that said `old` say `new`: what came to `now` besides while requests were served (an
    escalation, say) stays. The epoch is the present one where nothing changes by it, else the next.
    """
    kept = {}
    for field in fields(FactSet):
        if field.name == "epoch":
            continue
        was, here, written = (getattr(facts, field.name) for facts in (old, now, new))
        if isinstance(written, frozenset):
            kept[field.name] = written | (here - was)
        else:
            kept[field.name] = (*written, *(each for each in here if each not in was and each not in written))
    merged = replace(new, epoch=now.epoch, **kept)
    return now if merged == now else replace(merged, epoch=now.epoch + 1)


def register_changes(old: FactSet, new: FactSet) -> tuple[str, ...]:
    """What came, changed and went between two states of the registers, as notes of entries: kinds and numbers only,
    as in `register: came stop_orders 7; went filings vn.transfer_dossier 12/2026`. Empty = nothing."""
    words = []
    for name in ("filings", "stop_orders", "orders", "exemptions", "events"):
        was, becomes = (_numbered(getattr(facts, name)) for facts in (old, new))
        words += [("came", f"{name} {each}") for each in becomes if each not in was]
        words += [("changed", f"{name} {each}") for each in becomes if each in was and becomes[each] != was[each]]
        words += [("went", f"{name} {each}") for each in was if each not in becomes]
    return tuple(_notes(sorted(words)))


def _notes(words: list[tuple[str, str]]) -> Iterator[str]:
    for start in range(0, len(words), _AT_ONCE):
        part = words[start : start + _AT_ONCE]
        told = [(how, [what for each, what in part if each == how]) for how in ("came", "changed", "went")]
        yield "register: " + "; ".join(f"{how} {', '.join(which)}" for how, which in told if which)


def _numbered(records: tuple[object, ...]) -> dict[str, list[object]]:
    """Records by what registers call them. Two of one number are told apart by nothing else, and are taken together."""
    found: dict[str, list[object]] = {}
    for each in records:
        if isinstance(each, Event):
            name = f"{each.kind}.{each.place}"
        else:
            number = str(getattr(each, "number", ""))
            name = f"{each.kind} {number}" if isinstance(each, Filing | Order) else number
        found.setdefault(name, []).append(each)
    return found
