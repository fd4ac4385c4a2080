"""What an authority or a person asked for, and when, in; the steps that laws want done, each with its deadline, out.

A request is kept under the subject's alias and never under an id. Which steps there are and when they are due is asked
of the decision: of a person whom the law covers on every ground, of any data, at the instant the request came. Terms
end on the working days and clocks of the law that sets them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from residency.errors import UsageError
from residency.model import (
    Activity,
    AnchorFinding,
    Deadline,
    FactSet,
    Finding,
    Operation,
    SubjectSource,
    Trust,
    deadline,
)
from residency.model.data import CATEGORIES
from residency.policy.compiler import Policy

__all__ = ["SOON", "Request", "State", "Step", "answered", "extended", "kinds", "steps_for"]

SOON: Final = 86_400_000_000
"""Due within these microseconds is due soon, or within a quarter of the step's time where that is shorter."""
_OF_ANOTHER: Final = frozenset({"extension"})
"""What begins no request: an extension belongs to one that is there. All else is registered when it comes to pass:
what a person or an authority asks for or orders, what was found, the last filing that is to be renewed, a
reorganisation; and what nobody asks for, the day a law commenced or the first processing, for no server reckons such a
term."""
_ALONGSIDE: Final = {"subject": ("subject.reply", "subject.complete")}
"""Steps that every request of a kind brings besides its own, where the law knows them."""


class State(StrEnum):
    """How a step stands at an instant."""

    OPEN = "open"
    SOON = "soon"
    OVERDUE = "overdue"
    DONE = "done"
    LATE = "late"
    """Done, and after it was due."""


@dataclass(frozen=True, slots=True)
class Step:
    """One task of a request: when it is due, by which rules, and when it was done (microseconds; None = not yet)."""

    task: str
    due: int
    rules: tuple[str, ...]
    done: int | None = None
    extended: bool = False

    def state(self, received: int, now: int) -> State:
        """How it stands at `now`, of a request that came at `received` (microseconds)."""
        if self.done is not None:
            return State.DONE if self.done < self.due else State.LATE
        if now >= self.due:
            return State.OVERDUE
        return State.SOON if self.due - now <= min(SOON, (self.due - received) // 4) else State.OPEN


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `kind` is the task that it asks for, `place` the jurisdiction whose law sets its terms, `received`
    an instant (microseconds); `alias` the subject's stand-in in the log (None = of nobody in particular), `reference`
    a file number that names nobody, `answer` what became of it. `number` counts from 1, 0 = not registered yet."""

    kind: str
    place: str
    received: int
    steps: tuple[Step, ...]
    alias: str | None = None
    reference: str | None = None
    answer: str | None = None
    number: int = 0

    @property
    def closed(self) -> bool:
        """Whether every step is done."""
        return all(step.done is not None for step in self.steps)

    def state(self, now: int) -> State:
        """The worst of its steps at `now` (microseconds)."""
        states = {step.state(self.received, now) for step in self.steps}
        return next(
            state for state in (State.OVERDUE, State.SOON, State.OPEN, State.LATE, State.DONE) if state in states
        )


def kinds(policy: Policy, facts: FactSet, place: str, at: int) -> dict[str, Deadline]:
    """What may be asked under the law of `place` at an instant (microseconds), each with its shortest term."""
    return {task: due for task, (due, _) in _registered(_deadlines(policy, facts, place, at)).items()}


def steps_for(policy: Policy, facts: FactSet, kind: str, place: str, received: int) -> tuple[Step, ...]:
    """The steps of a request of `kind` under the law of `place` that came at `received` (microseconds), in due order.

    Raises: UsageError where that law sets no term for it.
    """
    asked = _registered(_deadlines(policy, facts, place, received))
    wanted = (kind, *_ALONGSIDE.get(kind.partition(".")[0], ()))
    steps = {
        task: Step(task, _end(policy, received, due, rules), rules)
        for task, (due, rules) in asked.items()
        if task in wanted
    }
    if kind not in steps:
        known = ", ".join(sorted(asked)) or "none"
        raise UsageError(f"the laws of {place} in use here set no term for {kind!r}; they do for: {known}")
    return tuple(sorted(steps.values(), key=lambda step: (step.due, step.task)))


def answered(request: Request, task: str | None, at: int, answer: str | None) -> Request:
    """The request with one of its steps, or all that are open, done at `at` (microseconds).

    Raises: UsageError where it has no such step, or nothing is open.
    """
    _check_step(request, task)
    steps = tuple(
        replace(step, done=at) if step.done is None and task in (None, step.task) else step for step in request.steps
    )
    if steps == request.steps:
        raise UsageError("that is answered already")
    return replace(request, steps=steps, answer=answer if answer is not None else request.answer)


def extended(policy: Policy, facts: FactSet, request: Request, task: str, at: int) -> Request:
    """The request with the term of one open step extended, once, as its law lets it: from `at` (microseconds) on.

    Raises: UsageError where the law knows no extension of it, it was extended before, is done, or is overdue.
    """
    _check_step(request, task)
    step = next(each for each in request.steps if each.task == task)
    if step.done is not None or step.extended or at >= step.due:
        raise UsageError(f"{task} cannot be extended: it is done, overdue, or was extended before")
    base = task.removesuffix("_by_processor")
    asked = _deadlines(policy, facts, request.place, at)
    found = asked.get((f"{base}_extension", "extension"))
    if found is None:
        raise UsageError(f"the laws of {request.place} in use here know no extension of {task}")
    later = replace(step, due=max(step.due, _end(policy, at, *found)), rules=found[1], extended=True)
    return replace(request, steps=tuple(later if each is step else each for each in request.steps))


def _end(policy: Policy, at: int, due: Deadline, rules: Iterable[str]) -> int:
    """When a term from `at` has run out, on the working days and clocks of the laws whose rules set it: where these
    count differently the first end counts."""
    setting = set(rules)
    calendars = {law.calendar for law in policy.laws if any(rule.id in setting for rule in law.rules)}
    return min(deadline(at, due.term, calendar) for calendar in calendars)


def _check_step(request: Request, task: str | None) -> None:
    if task is not None and all(step.task != task for step in request.steps):
        raise UsageError(f"this request has no step {task!r}; it has: {', '.join(s.task for s in request.steps)}")


def _registered(
    asked: Mapping[tuple[str, str], tuple[Deadline, tuple[str, ...]]],
) -> dict[str, tuple[Deadline, tuple[str, ...]]]:
    """What may be registered, by task. Of a task that counts from two events the shorter term: who registers says when
    it began, and not by which of them."""
    found: dict[str, tuple[Deadline, tuple[str, ...]]] = {}
    for (task, event), each in asked.items():
        if event not in _OF_ANOTHER:
            found.setdefault(task, each)  # they come in the order of their terms
    return found


def _deadlines(
    policy: Policy, facts: FactSet, place: str, at: int
) -> Mapping[tuple[str, str], tuple[Deadline, tuple[str, ...]]]:
    """By (task, event): the shortest term that the law of `place` sets, with the ids of the rules that set it."""
    everywhere = AnchorFinding(frozenset({place}), frozenset(), Trust.VERIFIED)
    finding = Finding(everywhere, everywhere, everywhere, everywhere)
    table = policy.table(facts, at)
    asked: set[Deadline] = set()
    spoke: set[str] = set()
    nobody, stores = SubjectSource("none"), tuple(policy.deployment.stores)
    for operation in Operation:
        # In every store, for some terms stand in rules about sinks: who keeps data abroad renews the dossier of that.
        anything = Activity("requests", "ANY", "/", nobody, frozenset(CATEGORIES), operation, stores=stores)
        decision = table.decide(anything, finding, frozenset())
        asked |= decision.duty.deadlines.union(*(verdict.duty.deadlines for verdict in decision.sinks))
        spoke.update(rule.id for rule in decision.rules)
        spoke.update(rule.id for verdict in decision.sinks for rule in verdict.rules)
    found: dict[tuple[str, str], tuple[Deadline, tuple[str, ...]]] = {}
    for due in sorted(asked, key=_length):
        if due.place == place and (due.task, due.event) not in found:
            found[due.task, due.event] = due, tuple(sorted(_rules(policy, due, spoke)))
    return found


def _length(due: Deadline) -> tuple[int, int, int, Deadline]:
    # Working days are five in seven: only the order of terms is asked here.
    days = due.term.days * 7 // 5 if due.term.working else due.term.days
    return due.term.months * 30 * 24 + days * 24 + due.term.hours, due.term.months, days, due


def _rules(policy: Policy, due: Deadline, spoke: Iterable[str]) -> set[str]:
    named = {rule.id for law in policy.laws for rule in law.rules if due in rule.duty.deadlines}
    return named & set(spoke) or named
