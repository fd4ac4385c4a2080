"""Documents parsed apart in; the laws a deployment chose, or every problem that shows where they meet, out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase

from residency.errors import PolicyError, Problem
from residency.model.filing import ATTESTATION
from residency.model.place import is_place
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc, RuleDoc
from residency.policy.parsed_reading import READER
from residency.policy.problems import nearest, nearest_law
from residency.policy.rulebook import Rulebook
from residency.policy.tables import MAX_CELLS, named, predicates

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
            shown = deployment.source.as_written(("laws", index), pattern)
            problems.append(
                deployment.source.problem(("laws", index), f"unknown law `{shown}`{nearest_law(shown, names)}")
            )
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


def validate(deployment: DeploymentDoc, laws: Sequence[LawDoc], registers: Sequence[RegisterDoc]) -> list[Problem]:
    """All problems that only show where documents meet; `laws` have their overlays worked in."""
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
    for rule_id in dict.fromkeys((*deployment.modes, *deployment.modes_from)):
        if rule_id not in rules:
            problems.append(deployment.source.problem(("modes", rule_id), _unknown("rule", rule_id, rules)))
    problems += _readings(deployment, laws)
    problems += _digests(deployment, laws)
    for register in registers:
        problems += _register(register, deployment, rules)
    if not problems:
        problems += _cells(deployment, tuple(laws))
    return problems


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    return f"unknown {what} `{name}`{nearest(name, known)}"


def _readings(deployment: DeploymentDoc, laws: Sequence[LawDoc]) -> Iterator[Problem]:
    questions: dict[str, set[str]] = {}
    for law in laws:
        for question, reading in law.readings.items():
            questions.setdefault(question, set(reading.options)).intersection_update(reading.options)
    for question, answer in deployment.readings.items():
        if question not in questions:
            yield deployment.source.problem(("readings", question), _unknown("reading", question, questions))
        elif answer not in questions[question]:
            message = _unknown("answer", answer, questions[question])
            yield deployment.source.problem(("readings", question), f"{question}: {message}")


def _digests(deployment: DeploymentDoc, laws: Sequence[LawDoc]) -> Iterator[Problem]:
    found = {law.name: law.sha256 for law in laws}
    for name, digest in deployment.law_digests.items():
        if name not in found:
            yield deployment.source.problem(("law_digests", name), _unknown("law", name, found))
        elif found[name] != digest:
            message = f"law `{name}` is not the file that is pinned here: its SHA-256 is {found[name] or 'not known'}"
            yield deployment.source.problem(("law_digests", name), message)


class _Sinks(dict[str, object]):
    """A deployment's sinks, and reading at any place, as registers may name them."""

    def __contains__(self, name: object) -> bool:
        of_place = str(name).removeprefix(READER)
        return super().__contains__(name) or (of_place != name and (of_place == "ZZ" or is_place(of_place)))


def _register(register: RegisterDoc, deployment: DeploymentDoc, rules: Collection[str]) -> Iterator[Problem]:
    activities = {activity.name for activity in deployment.activities}
    sinks = _Sinks(deployment.sinks)
    for index, order in enumerate(register.stop_orders):
        if order.sink != "*" and order.sink not in sinks:
            message = _unknown("sink", order.sink, deployment.sinks)
            yield register.source.problem(("stop_orders", index, "sink"), message)
    for index, filing in enumerate(register.filings):
        # Where locators, pins and instances at home lie may be attested, too; nothing else is filed of them.
        filed = _Sinks({**deployment.sinks, **deployment.keepers()}) if filing.kind == ATTESTATION else sinks
        for name in sorted(name for name in filing.sinks or () if name not in filed):
            yield register.source.problem(("filings", index, "sinks"), _unknown("sink", name, filed))
    for index, exemption in enumerate(register.exemptions):
        for key, what, names, known in (
            ("rules", "rule", exemption.rules, rules),
            ("activities", "activity", exemption.activities or frozenset(), activities),
            ("sinks", "sink", exemption.sinks or frozenset(), sinks),
        ):
            for name in sorted(names):
                if name not in known:
                    yield register.source.problem(("exemptions", index, key), _unknown(what, name, known))


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


def _cells(deployment: DeploymentDoc, laws: tuple[LawDoc, ...]) -> Iterator[Problem]:
    """Tables that are too large to go through, by activity and law."""
    # A law that stays under the cap with all its rules does so in every activity: most need no closer look.
    large = [law for law in laws if 1 << len(predicates(law.rules)) > MAX_CELLS]
    if not large:
        return
    book = Rulebook(deployment, tuple(large))
    for index, activity in enumerate(deployment.activities):
        concerning = book.concerning(activity) & book.data(activity)
        for law in large:
            asked = predicates(rule for rule in law.rules if concerning >> book.numbers[rule.id] & 1)
            if (count := 1 << len(asked)) > MAX_CELLS:
                message = (
                    f"activity `{activity.name}`: law `{law.name}` would need {count} table cells, over the cap of "
                    f"{MAX_CELLS}: it tests {', '.join(named(p) for p in asked)}"
                )
                yield deployment.source.problem(("activities", index), message)
