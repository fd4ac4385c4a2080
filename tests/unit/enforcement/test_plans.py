"""Plans: one template for what is alike, another for what differs; bounded, and right after they are cleared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.entry import ENTRY_LIMIT, Entry, EntryTemplate, format_entry, parse_entry
from residency.enforcement.plans import Ending, Opening, Plans
from residency.errors import EntryError
from residency.model import Effect, Reason, RuleRef


def entry_of(template: EntryTemplate) -> Entry:
    return parse_entry(template.brief(0, 0, 1, 1, None))


def test_the_same_decision_gets_the_same_plan_and_the_same_templates(world: Any) -> None:
    decision, plans = world.admit(who="an").decision, Plans()
    plan = plans.of(decision)
    assert plans.of(decision) is plan
    first = plans.template(plan, "intent", sink="vn", operation="write")
    assert plans.template(plan, "intent", sink="vn", operation="write") is first
    assert len(plans) == 2


def test_an_equal_decision_that_is_another_object_gets_a_plan_of_its_own(world: Any) -> None:
    decision, plans = world.admit(who="an").decision, Plans()
    other = replace(decision, evidence=frozenset({"identity:phone"}))
    assert entry_of(plans.of(decision).plain).evidence == ()
    assert entry_of(plans.of(other).plain).evidence == ("identity:phone",)


def test_whatever_differs_makes_another_entry(world: Any) -> None:
    decision, plans = world.admit(who="an").decision, Plans()
    plan = plans.of(decision)
    rules = tuple(RuleRef(name, "VN", "Law", "art. 1", "", "low", "enforce") for name in ("a.b.1", "a.b.2"))
    templates = [
        plans.template(plan, "decision"),
        plans.template(plan, "refusal"),
        plans.template(plan, "refusal", reason=Reason.NOT_HOME),
        plans.template(plan, "refusal", reason=Reason.INTERNAL),
        plans.template(plan, "refusal", note="n"),
        plans.template(plan, "refusal", sink="vn"),
        plans.template(plan, "refusal", sink="sg"),
        plans.template(plan, "refusal", operation="read"),
        plans.template(plan, "refusal", rules=rules[:1]),
        plans.template(plan, "refusal", rules=rules[1:]),
        plans.template(plan, "refusal", rules=()),
    ]
    assert len({template.brief(0, 0, 1, 1, None) for template in templates}) == len(templates)


def test_outcomes_differ_by_how_they_ended(world: Any) -> None:
    decision, plans = world.admit(who="an").decision, Plans()
    plan = plans.of(decision)
    ended = [
        plans.template(plan, "outcome", sink="vn", operation="write", act=act).fill(id="0.1", at=1, of="0.0")
        for act in ("committed", "failed")
    ]
    assert [parse_entry(data).act for data in ended] == ["committed", "failed"]


def test_a_permit_that_is_recorded_with_a_reason_is_told_as_a_denial(world: Any) -> None:
    decision, plans = world.admit(who="an").decision, Plans()
    assert decision.effect is Effect.PERMIT
    assert entry_of(plans.template(plans.of(decision), "refusal", reason=Reason.NOT_HOME)).effect == "deny"


def test_many_decisions_leave_a_bounded_number_of_templates_and_a_plan_in_hand_stays_right(world: Any) -> None:
    decision, plans = world.admit(who="an").decision, Plans()
    held = plans.of(decision)
    for number in range(5_000):
        one = replace(decision, epoch=number)
        plan = plans.of(one)
        assert entry_of(plan.plain).epoch == number
        plans.template(plan, "intent", sink="vn", operation="write")
    assert len(plans) <= 4096
    assert entry_of(plans.template(held, "intent", sink="vn")).sink == "vn"
    assert plans.of(decision) is not held


def test_intents_and_outcomes_are_made_once_and_differ_by_all_that_is_told_of_them(world: Any) -> None:
    decision, plans = world.admit(who="an").decision, Plans()
    plan = plans.of(decision)
    intent = plans.intent(plan, "vn", "write", None, None)
    assert plans.intent(plan, "vn", "write", None, None) is intent
    others = [
        plans.intent(plan, "sg", "write", None, None),
        plans.intent(plan, "vn", "read", None, None),
        plans.intent(plan, "vn", "write", "n", None),
        plans.intent(plan, "vn", "write", None, Reason.NOT_HOME),
        plans.intent(plan, "vn", "write", None, Reason.INTERNAL),
    ]
    assert len({entry_of(each.template) for each in (intent, *others)}) == 6
    assert entry_of(intent.template) == entry_of(plans.template(plan, "intent", sink="vn", operation="write"))
    ending = plans.ending(plan, "vn", "write", "committed")
    assert plans.ending(plan, "vn", "write", "committed") is ending
    words = [("sg", "write", "committed"), ("vn", "read", "committed"), ("vn", "write", "failed")]
    assert len({ending.brief(0, 1, 2, 0), *(plans.ending(plan, *each).brief(0, 1, 2, 0) for each in words)}) == 4


@given(slot=st.integers(0, 999), seq=st.integers(0, 2**40), at=st.integers(0, 2**52), of=st.integers(0, 2**40))
def test_an_outcome_written_from_its_pattern_is_the_entry_written_in_full(
    slot: int, seq: int, at: int, of: int
) -> None:
    head = Entry(
        id="0.0", kind="outcome", at=0, effect="permit", policy="ab" * 32, act="failed", of="0.0", note="100 %"
    )
    ending = Ending(head)
    full = format_entry(replace(head, id=f"{slot}.{seq}", at=at, of=f"{slot}.{of}"))
    assert ending.brief(slot, seq, at, of) == full
    assert ending.template.fill(id=f"{slot}.{seq}", at=at, of=f"{slot}.{of}") == full


@given(
    slot=st.integers(0, 999),
    seq=st.integers(0, 2**40),
    at=st.integers(0, 2**52),
    requested=st.none() | st.integers(0, 2**52),
    subject=st.none() | st.binary(min_size=8, max_size=16).map(bytes.hex),
)
def test_an_intent_written_from_its_pattern_is_the_entry_written_in_full(
    slot: int, seq: int, at: int, requested: int | None, subject: str | None
) -> None:
    head = Entry(id="0.0", kind="intent", at=0, effect="permit", policy="ab" * 32, note="100 %")
    opening = Opening(head)
    full = format_entry(replace(head, id=f"{slot}.{seq}", at=at, decided=at + 1, requested=requested, subject=subject))
    assert opening.brief(slot, seq, at, at + 1, requested, subject) == full


@pytest.mark.parametrize("subject", ["", 'a"b', "\u0661".join("ab"), "a,b"])
def test_an_intent_takes_an_alias_and_nothing_else_for_its_subject(subject: str) -> None:
    head = Entry(id="0.0", kind="intent", at=0, effect="permit", policy="ab" * 32)
    with pytest.raises(EntryError):
        Opening(head).brief(0, 1, 2, 3, None, subject)


def test_an_intent_that_grows_too_long_is_refused() -> None:
    head = Entry(id="0.0", kind="intent", at=0, effect="permit", policy="ab" * 32)
    note = "x" * (ENTRY_LIMIT - len(format_entry(head)))
    opening = Opening(replace(head, note=note))
    with pytest.raises(EntryError, match="too long"):
        opening.brief(0, 1, 2**52, 2**52, 2**52, "ab" * 8)
