"""Laws and overlays of laws in; the laws with their overlays applied, out. Each rule keeps where it was written.

An overlay (`extends: NAME`) replaces rules of that law by id, adds rules and drops some, each with a reason (ADR 0014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from residency.errors import PolicyError, Problem
from residency.policy.parsed import LawDoc, RuleDoc, Span
from residency.policy.problems import nearest

__all__ = ["apply_overlays"]

_DEEPEST: Final = 8


def apply_overlays(laws: Sequence[LawDoc]) -> tuple[LawDoc, ...]:
    """The laws that stand on their own, changed by those among `laws` that extend them, in order of their names.

    Raises:
        PolicyError: where an extended law is missing, overlays form a circle, two of them touch one rule, or one drops
            a rule that is not there.
    """
    by_name = {law.name: law for law in laws}
    problems: list[Problem] = []
    overlays: dict[str, list[LawDoc]] = {}
    for law in laws:
        if law.extends is None:
            continue
        root = _root(law, by_name, problems)
        if root is not None:
            overlays.setdefault(root, []).append(law)
    merged = [_merged(law, overlays.get(law.name, []), problems) for law in laws if law.extends is None]
    if problems:
        raise PolicyError(tuple(problems))
    return tuple(sorted(merged, key=lambda law: law.name))


def _root(law: LawDoc, by_name: dict[str, LawDoc], problems: list[Problem]) -> str | None:
    """The law at the bottom of a chain of overlays."""
    at = law
    for _ in range(_DEEPEST):
        if at.extends is None:
            return at.name
        below = by_name.get(at.extends)
        if below is None:
            hint = nearest(at.extends, by_name) or ": name it in `laws` too"
            if at is law:  # an overlay further down says so itself
                problems.append(law.source.problem(("extends",), f"`{at.extends}` is not among the laws here{hint}"))
            return None
        at = below
    problems.append(law.source.problem(("extends",), f"`{law.extends}`: overlays of overlays in a circle, or too many"))
    return None


def _depth(law: LawDoc, overlays: Sequence[LawDoc]) -> int:
    by_name = {each.name: each for each in overlays}
    depth, at = 0, law
    while at.extends in by_name:
        depth, at = depth + 1, by_name[at.extends]
    return depth


def _merged(base: LawDoc, overlays: Sequence[LawDoc], problems: list[Problem]) -> LawDoc:
    """`base` with overlays on it, the nearest first."""
    rules: dict[str, RuleDoc] = {rule.id: rule for rule in base.rules}
    touched: dict[str, LawDoc] = {}
    law = base
    for overlay in sorted(overlays, key=lambda each: (_depth(each, overlays), each.name)):
        if overlay.jurisdiction != base.jurisdiction:
            message = f"jurisdiction {overlay.jurisdiction} is not that of `{base.name}`, {base.jurisdiction}"
            problems.append(overlay.source.problem(("jurisdiction",), message))
        for number, (name, _) in enumerate(overlay.dropped):
            if _may_touch(name, overlay, touched, ("drop", number, "rule"), problems) and rules.pop(name, None) is None:
                message = f"`{name}` is no rule of `{base.name}`{nearest(name, rules)}"
                problems.append(overlay.source.problem(("drop", number, "rule"), message))
        for rule in overlay.rules:
            if _may_touch(rule.id, overlay, touched, (*rule.path, "id"), problems):
                rules[rule.id] = replace(rule, span=_both(rule, overlay), home=overlay.source)
        law = replace(
            law,
            readings={**law.readings, **overlay.readings},
            escalations=(*law.escalations, *overlay.escalations),
            detectors=(*law.detectors, *overlay.detectors),
            must=(*law.must, *overlay.must),
            not_covered=(*law.not_covered, *overlay.not_covered),
            dropped=(*law.dropped, *overlay.dropped),
        )
    return replace(law, rules=tuple(rules.values()))


def _may_touch(
    name: str, overlay: LawDoc, touched: dict[str, LawDoc], path: tuple[str | int, ...], problems: list[Problem]
) -> bool:
    """Whether an overlay may change this rule: one that lies on the other may, two side by side may not."""
    other = touched.setdefault(name, overlay)
    if other is not overlay and overlay.extends != other.name:
        message = f"rule `{name}` is changed by `{other.name}` too: let one extend the other"
        problems.append(overlay.source.problem(path, message))
        return False
    touched[name] = overlay
    return True


def _both(rule: RuleDoc, overlay: LawDoc) -> Span:
    """A rule's span within its overlay's: the base's span bounds both again when it is read."""
    starts = [at for at in (rule.span.start, overlay.span.start) if at is not None]
    ends = [at for at in (rule.span.end, overlay.span.end) if at is not None]
    return Span(max(starts, default=None), min(ends, default=None))
