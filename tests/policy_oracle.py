"""A world in; where the compiled policy and the oracle disagree, told with the smallest world that shows it, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace

from residency.errors import PolicyError
from residency.model import Decision
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parsed import LawDoc, RegisterDoc, RuleDoc
from residency.policy.reference import reference_decide
from tests.policy_worlds import Asked, World, laws_only, make_world

__all__ = ["answer", "compiled", "disagreements", "expected", "run"]

_FIELDS = tuple(field.name for field in fields(Decision))


def compiled(world: World) -> Policy:
    """The world's policy, as the product compiles it."""
    return compile_policy(world.deployment, world.laws, [RegisterDoc("r")], "digest")


def answer(policy: Policy, asked: Asked) -> Decision:
    """What the compiled policy decides."""
    activity = None if asked.activity is None else policy.deployment.activities[asked.activity]
    return policy.decide(
        activity, asked.finding, asked.evidence, asked.facts, asked.now, asked.requested, asked.collected
    )


def expected(world: World, asked: Asked) -> Decision:
    """What the oracle decides."""
    activity = None if asked.activity is None else world.deployment.activities[asked.activity]
    return reference_decide(
        world.deployment, world.laws, "digest", activity, asked.finding, asked.evidence, asked.facts, asked.now,
        asked.requested, asked.collected,
    )  # fmt: skip


def disagreements(world: World) -> Iterator[tuple[Asked, Decision, Decision]]:
    """Questions on which the two differ, with both decisions: the compiled policy's and the oracle's."""
    policy = compiled(world)
    truth = [(asked, expected(world, asked)) for asked in world.questions]
    # Forwards and backwards over one policy: its slices and memo answer where they may, and only there.
    for asked, right in (*truth, *reversed(truth)):
        found = answer(policy, asked)
        if found != right:
            yield asked, found, right


def run(seeds: Iterable[int], questions: int = 20) -> int:
    """How many questions were asked of the worlds of `seeds`.

    Raises:
        AssertionError: on the first disagreement.
    """
    count = 0
    for seed in seeds:
        world = make_world(seed, questions)
        for asked, _, _ in disagreements(world):
            raise AssertionError(_told(world, asked))
        count += len(world.questions)
    return count


def _told(world: World, asked: Asked) -> str:
    alone = replace(world, questions=(asked,))
    if next(disagreements(alone), None) is None:
        # It answers this one well by itself: what was asked before it matters.
        alone = world
    small = _smallest(alone, lambda smaller: next(disagreements(smaller), None) is not None)
    asked, found, right = next(disagreements(small))
    differing = {
        name: (getattr(found, name), getattr(right, name))
        for name in _FIELDS
        if getattr(found, name) != getattr(right, name)
    }
    activity = None if asked.activity is None else small.deployment.activities[asked.activity]
    lines = [
        f"seed {world.seed}: the compiled policy and the oracle disagree",
        *(f"{name}:\n    compiled {a}\n    oracle   {b}" for name, (a, b) in differing.items()),
        *(f"law {law}" for law in small.laws),
        f"asked {asked} of {len(small.questions)}",
        f"activity {activity}",
        f"modes {small.deployment.modes} {small.deployment.modes_from} {small.deployment.operator}",
    ]
    return "\n".join(lines)


def _smallest(world: World, fails: Callable[[World], bool]) -> World:
    """The world with all taken away that is not needed for it to fail, one thing after another."""
    shrinking = True
    while shrinking:
        shrinking = False
        for smaller in _smaller(world):
            try:
                failed = fails(smaller)
            except PolicyError:  # a world that does not compile, say because an overridden rule is gone
                failed = False
            if failed:
                world, shrinking = smaller, True
                break
    return world


def _smaller(world: World) -> Iterator[World]:
    for at in range(len(world.laws)):
        yield laws_only(world, world.laws[:at] + world.laws[at + 1 :])
        law = world.laws[at]
        for other in _smaller_law(law):
            yield laws_only(world, (*world.laws[:at], other, *world.laws[at + 1 :]))
    if len(world.questions) > 1:
        for at in range(len(world.questions)):
            yield replace(world, questions=world.questions[:at] + world.questions[at + 1 :])
    else:
        (asked,) = world.questions
        for name in ("filings", "stop_orders", "orders", "exemptions", "events"):
            values = getattr(asked.facts, name)
            for at in range(len(values)):
                facts = replace(asked.facts, **{name: values[:at] + values[at + 1 :]})
                yield replace(world, questions=(replace(asked, facts=facts),))
        for token in asked.evidence:
            yield replace(world, questions=(replace(asked, evidence=asked.evidence - {token}),))


def _smaller_law(law: LawDoc) -> Iterator[LawDoc]:
    for at in range(len(law.rules)):
        yield replace(law, rules=law.rules[:at] + law.rules[at + 1 :])
        for rule in _smaller_rule(law.rules[at]):
            yield replace(law, rules=(*law.rules[:at], rule, *law.rules[at + 1 :]))
    if law.escalations:
        yield replace(law, escalations=())
    if law.detectors:
        yield replace(law, detectors=())


def _smaller_rule(rule: RuleDoc) -> Iterator[RuleDoc]:
    plain = RuleDoc(
        rule.id, rule.article, rule.text, rule.text_vi, rule.source, rule.confidence, rule.checked, "enforce",
        replace(rule.span, start=None, end=None), rule.anchors, rule.duty,
    )  # fmt: skip
    for field in fields(rule):
        if getattr(rule, field.name) != getattr(plain, field.name):
            yield replace(rule, **{field.name: getattr(plain, field.name)})
    for clause in rule.duty.require:
        yield replace(rule, duty=replace(rule.duty, require=rule.duty.require - {clause}))
