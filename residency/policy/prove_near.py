"""A policy in; words of its activities and operator that no rule asks about while one asks about a word like it, out.

`action`, `purpose`, `basis`, the keys of `ai` and `sectors` are open lists: an operator may have words of its own. So a
slip of the pen there is no mistake that a parser sees, and yet it takes a rule out: `regster_account` asks for no age.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from residency.model import Activity
from residency.policy.compiler import Policy
from residency.policy.parsed import LawDoc
from residency.policy.problems import nearest
from residency.policy.prove_reports import Report, report

__all__ = ["near_reports"]

_TRUTH = frozenset({"true", "false"})


def near_reports(policy: Policy) -> Iterator[Report]:
    """A warning for each word that is likely another one misspelt."""
    deployment = policy.deployment
    asked = _asked(policy.laws)
    for index, activity in enumerate(deployment.activities):
        for key, word in _words(activity):
            if hint := _hint(key, word, asked):
                message = f"activity `{activity.name}`: no rule in use asks about {key} `{word}`{hint}"
                path: tuple[str | int, ...] = ("activities", index, *key.split("."))
                yield report(deployment.source, path, "warning", "near", message, activities=[activity.name])
    for word in sorted(deployment.operator.sectors):
        if hint := _hint("sectors", word, asked):
            message = f"operator: no rule in use asks about sector `{word}`{hint}"
            yield report(deployment.source, ("operator", "sectors"), "warning", "near", message)


def _hint(key: str, word: str, asked: dict[str, set[str]]) -> str:
    """What is likely meant, or nothing where the word is known or like no other."""
    known = asked.get(key, set())
    return "" if word in known else nearest(word, known)


def _words(activity: Activity) -> Iterator[tuple[str, str]]:
    yield from (("action", word) for word in sorted(activity.actions))
    if activity.purpose is not None:
        yield "purpose", activity.purpose
    if activity.basis is not None:
        yield "basis", activity.basis
    for key, word in activity.ai:
        yield "ai", key
        yield f"ai.{key}", word


def _asked(laws: tuple[LawDoc, ...]) -> dict[str, set[str]]:
    """The words that rules and their clauses test, by the key that they stand under."""
    found: dict[str, set[str]] = defaultdict(set)
    for law in laws:
        for rule in law.rules:
            found["action"] |= rule.actions or set()
            found["purpose"] |= rule.purposes or set()
            found["basis"] |= rule.bases or set()
            found["sectors"] |= rule.operator.sector or set()
            for transition in rule.transitions:
                found["sectors"] |= transition.sectors or set()
            for key, words in rule.ai or ():
                found["ai"].add(key)
                # A yes is also told by any other word, such as the number of what there is.
                found[f"ai.{key}"] |= words - _TRUTH
            for token in (token for clause in rule.duty.require for token in clause):
                kind, _, rest = token.partition(":")
                if kind == "ai":
                    found["ai"].add(rest.partition(".")[0])
                elif kind in ("basis", "consent") and "{" not in rest:
                    found["purpose" if kind == "consent" else kind].add(rest)
    # What an activity is besides: no rule asks about it, and it is spelt right.
    found["ai"].add("system")
    return found
