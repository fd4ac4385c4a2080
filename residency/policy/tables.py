"""A law and an activity in; what its rules ask of a person, and so how many answers its table has, out.

Most of what rules test is settled before any person comes: by the time, the activity, the sink. What remains are the
anchors and `unless`. Each is a predicate that holds or does not, and a law's table for one activity has a cell for each
combination of answers. The compiler meets cells as bits (`rulebook`); `residency check` goes through all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from residency.model import Anchor, Trust
from residency.policy.parsed import RuleDoc

__all__ = ["MAX_CELLS", "Predicate", "cells", "predicates", "speaking"]

MAX_CELLS: Final = 4096

Predicate = tuple[Anchor, Trust | None] | frozenset[str]
"""An anchor with its `excluded_by`, or the tokens of an `unless`, one of which is given."""


def predicates(rules: Iterable[RuleDoc]) -> tuple[Predicate, ...]:
    """What these rules ask of a person, anchors first."""
    rules = tuple(rules)
    anchors = {(anchor, rule.excluded_by) for rule in rules for anchor in rule.anchors}
    lifted = {rule.unless for rule in rules if rule.unless}
    return (*sorted(anchors, key=lambda p: (p[0], p[1] or 0)), *sorted(lifted, key=sorted))


def named(predicate: Predicate) -> str:
    """A predicate in words."""
    if isinstance(predicate, frozenset):
        return f"unless {' or '.join(sorted(predicate))}"
    anchor, trust = predicate
    return anchor.value if trust is None else f"{anchor.value} (excluded_by: {trust.name.lower()})"


def speaking(rule: RuleDoc, answers: dict[Predicate, bool]) -> bool:
    """Whether a rule speaks in the cell of these answers."""
    if rule.unless and answers[rule.unless]:
        return False
    return any(answers[anchor, rule.excluded_by] for anchor in rule.anchors)


def cells(rules: Iterable[RuleDoc]) -> Iterator[tuple[dict[Predicate, bool], tuple[RuleDoc, ...]]]:
    """Every cell: the answers, and the rules that speak under them."""
    rules = tuple(rules)
    asked = predicates(rules)
    for answer in product((False, True), repeat=len(asked)):
        answers = dict(zip(asked, answer, strict=True))
        yield answers, tuple(rule for rule in rules if speaking(rule, answers))
