"""What time alone settles: which clock reads which rule, from when to when, and how rules are cited meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.policy.compiled import Compiled
from residency.policy.parsed import LawDoc, RuleDoc, Span
from residency.policy.rulebook import Rulebook
from residency.policy.windows import Times, Window, edges, reference
from tests.policy_worlds import make_world

WORLD = make_world(0, 1)
LAW = replace(WORLD.laws[0], span=Span(), readings={})
RULE = replace(
    LAW.rules[0], span=Span(), mode="enforce", mode_from=(), clock="evaluation", reading=(), overrides=frozenset()
)
DEPLOYMENT = replace(WORLD.deployment, modes={}, modes_from={}, activities=(), readings={})


def window(
    *rules: RuleDoc, law: LawDoc = LAW, now: int = 5, requested: int = 5, collected: int | None = None
) -> Window:
    times = Times(now, requested, collected)
    return Compiled(DEPLOYMENT, (replace(law, rules=rules),), "d").window(times)


@pytest.mark.parametrize(
    ("clock", "times", "there"),
    [
        ("evaluation", (5, 50, 50), 1),
        ("evaluation", (50, 5, 5), 0),
        ("request", (50, 5, 50), 1),
        ("request", (5, 50, 5), 0),
        ("collection", (50, 50, 5), 1),
        ("collection", (5, 5, 50), 0),
        ("collection", (50, 50, None), 1),  # ended, but the data may be older
        ("collection", (0, 0, None), 0),  # not begun: no data can be of that time
    ],
)
def test_a_rule_is_read_at_the_time_of_its_clock(clock: str, times: tuple[int, int, int | None], there: int) -> None:
    now, requested, collected = times
    found = window(
        replace(RULE, clock=clock, span=Span(1, 10)), now=now, requested=requested, collected=collected
    )  # fmt: skip
    assert found.present == there


def test_both_the_laws_span_and_the_rules_own_must_hold() -> None:
    law = replace(LAW, span=Span(3, None))
    assert [window(replace(RULE, span=Span(None, 8)), law=law, now=now).present for now in (2, 3, 7, 8)] == [0, 1, 1, 0]


def test_modes_change_on_their_days_and_citations_with_them() -> None:
    rule = replace(RULE, mode="observe", mode_from=((10, "enforce"), (20, "off")))
    seen = [(w.present, w.enforced, w.cite(1)[0].mode) for w in (window(rule, now=now) for now in (9, 10, 20))]
    assert seen == [(1, 0, "observe"), (1, 1, "enforce"), (0, 0, "off")]


def test_rules_about_the_activity_are_cited_before_those_about_a_sink() -> None:
    about = next(r for seed in range(40) for law in make_world(seed, 1).laws for r in law.rules if r.sink is not None)
    rules = (replace(RULE, id="s", sink=about.sink), replace(RULE, id="g", sink=None))
    found = window(*rules)
    assert [ref.id for ref in found.cite(0b11)] == ["g", "s"]
    assert [ref.id for ref in found.cite(0b11, mixed=True)] == ["s", "g"]
    assert found.cite(0) == ()


def test_a_citation_carries_what_an_error_body_shows() -> None:
    ref = reference(LAW, replace(RULE, link="https://x", fine="5%", text_vi="v"), "warn")
    assert (ref.mode, ref.link, ref.fine, ref.text_vi, ref.jurisdiction) == (
        "warn",
        "https://x",
        "5%",
        "v",
        LAW.jurisdiction,
    )


def test_a_law_without_rules_still_has_its_days() -> None:
    book = Rulebook(DEPLOYMENT, (replace(LAW, rules=(), span=Span(4, 9)),))
    assert set(edges(book)) == {4, 9}
