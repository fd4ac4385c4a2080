"""Documents parsed apart in; the laws a deployment chose, or every problem that shows where they meet, out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from residency.errors import PolicyError, Problem
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc, RuleDoc
from residency.policy.problems import nearest
from residency.policy.tables import MAX_CELLS, cells

__all__ = ["choose_laws", "select_laws", "validate"]


def choose_laws(deployment: DeploymentDoc, names: Collection[str]) -> tuple[str, ...]:
    """The law names that the deployment's names and globs choose among `names`, sorted.

    Raises:
        PolicyError: where one of them chooses nothing.
    """
    chosen: set[str] = set()
    problems = []
    for index, pattern in enumerate(deployment.laws):
        found = [name for name in names if fnmatchcase(name, pattern)]
        chosen.update(found)
        if not found:
            known = f"; known: {', '.join(sorted(names))}" if names else "; none is installed"
            hint = nearest(pattern, names) or known
            problems.append(deployment.source.problem(("laws", index), f"unknown law `{pattern}`{hint}"))
    if problems:
        raise PolicyError(tuple(problems))
    return tuple(sorted(chosen))


def select_laws(deployment: DeploymentDoc, laws: Sequence[LawDoc]) -> tuple[LawDoc, ...]:
    """The laws that the deployment chooses among `laws`, by name.

    Raises:
        PolicyError: where a name or glob chooses nothing, or two laws have one name.
    """
    by_name: dict[str, LawDoc] = {}
    for law in laws:
        if law.name in by_name:
            raise PolicyError((law.source.problem((), f"law `{law.name}` is also {by_name[law.name].source.file}"),))
        by_name[law.name] = law
    return tuple(by_name[name] for name in choose_laws(deployment, by_name))


def validate(deployment: DeploymentDoc, laws: Sequence[LawDoc], registers: Sequence[RegisterDoc]) -> None:
    """Check what only shows where documents meet.

    Raises:
        PolicyError: with all problems.
    """
    rules: dict[str, tuple[LawDoc, RuleDoc]] = {}
    problems: list[Problem] = []
    for law in laws:
        for rule in law.rules:
            if rule.id in rules:
                other = rules[rule.id][0]
                problems.append(
                    law.source.problem((*rule.path, "id"), f"rule `{rule.id}` is also in law `{other.name}`")
                )
            else:
                rules[rule.id] = (law, rule)
    problems += _overrides(rules)
    for rule_id in deployment.modes:
        if rule_id not in rules:
            message = f"unknown rule `{rule_id}`{nearest(rule_id, rules)}"
            problems.append(deployment.source.problem(("modes", rule_id), message))
    for register in registers:
        for index, order in enumerate(register.stop_orders):
            if order.sink != "*" and order.sink not in deployment.sinks:
                message = f"unknown sink `{order.sink}`{nearest(order.sink, deployment.sinks)}"
                problems.append(register.source.problem(("stop_orders", index, "sink"), message))
    problems += _cells(deployment, laws)
    if problems:
        raise PolicyError(tuple(problems))


def _overrides(rules: dict[str, tuple[LawDoc, RuleDoc]]) -> list[Problem]:
    problems = []
    for law, rule in rules.values():
        for name in sorted(rule.overrides):
            where = (*rule.path, "overrides")
            if name not in rules:
                message = f"unknown rule `{name}`{nearest(name, rules) or ': load the law that has it'}"
                problems.append(law.source.problem(where, message))
            elif rule.sink is not None and rules[name][1].sink is None:
                message = f"a rule about sinks cannot override `{name}`, which is about the activity"
                problems.append(law.source.problem(where, message))
            elif _reaches(name, rule.id, rules):
                # Two rules that remove each other would leave neither.
                message = f"`{rule.id}` and `{name}` override each other"
                problems.append(law.source.problem(where, message))
    return problems


def _reaches(start: str, goal: str, rules: dict[str, tuple[LawDoc, RuleDoc]]) -> bool:
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen and name in rules:
            seen.add(name)
            todo += rules[name][1].overrides
    return False


def _cells(deployment: DeploymentDoc, laws: Sequence[LawDoc]) -> list[Problem]:
    problems = []
    for index, activity in enumerate(deployment.activities):
        counts = cells(activity, laws, deployment.operator)
        total = sum(counts.values())
        if total > MAX_CELLS:
            largest = ", ".join(sorted(counts, key=lambda name: (-counts[name], name))[:5])
            message = f"activity `{activity.name}` needs {total} table cells, over the cap of {MAX_CELLS}: {largest} …"
            problems.append(deployment.source.problem(("activities", index), message))
    return problems
