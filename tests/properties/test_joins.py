"""The joins of duties: commutative, associative, idempotent, and nothing that one law asks is lost in another's."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from functools import reduce
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from residency.model import (
    NEUTRAL,
    Bound,
    Conflict,
    Deadline,
    Duty,
    Effect,
    Protection,
    Retention,
    Term,
    join,
    treatment,
)
from residency.model.duty import TRANSFORMS
from residency.model.place import meet, normal, within

PLACES = ["VN", "DE", "FR", "EU", "US", "US-CA", "CA-QC", "CN", "RU"]
TOKENS = ["identity:phone", "identity:eid", "filing:a.b", "filing:c.d", "consent:x"]

places = st.frozensets(st.sampled_from(PLACES), max_size=3)
clauses = st.frozensets(st.frozensets(st.sampled_from(TOKENS), max_size=2), max_size=3)
retentions = st.frozensets(
    st.builds(
        Retention,
        st.sampled_from(["personal", "log"]),
        st.sampled_from(Bound),
        st.integers(0, 24),
        st.integers(0, 90),
        st.sampled_from(["last_use", "creation"]),
    ),
    max_size=2,
)
protections = st.frozensets(
    st.builds(
        Protection,
        st.sampled_from(["a", "b"]),
        st.sampled_from(["in", "out"]),
        st.sampled_from(TRANSFORMS),
        st.just("x"),
    ),
    max_size=3,
)
deadlines = st.frozensets(
    st.builds(
        Deadline,
        st.sampled_from(["subject.erase", "breach.notify_authority"]),
        st.builds(Term, st.integers(0, 2), st.integers(0, 30), st.integers(0, 72), st.booleans()),
        st.sampled_from(["request", "detection"]),
        st.sampled_from(PLACES),
    ),
    max_size=2,
)
duties = st.builds(
    Duty,
    copies=places,
    first_write=places,
    only=st.none() | places,
    require=clauses,
    retain=retentions,
    protect=protections,
    log=st.frozensets(st.sampled_from(["ip", "account"])),
    label=st.frozensets(st.sampled_from(["ai", "ad"])),
    effect=st.sampled_from(Effect),
    deadlines=deadlines,
)
SLOTS = {field.name for field in fields(Duty) if field.init}


@given(duties, duties)
def test_join_does_not_care_for_order(a: Duty, b: Duty) -> None:
    assert join(a, b) == join(b, a)


@given(duties, duties, duties)
def test_join_does_not_care_for_grouping(a: Duty, b: Duty, c: Duty) -> None:
    assert join(join(a, b), c) == join(a, join(b, c))


@given(duties)
def test_joining_a_duty_with_itself_changes_nothing(a: Duty) -> None:
    assert join(a, a) == a
    assert join(a, NEUTRAL) == a


@given(st.lists(duties, max_size=6), st.randoms(use_true_random=False))
def test_many_duties_join_to_one_in_whatever_order_and_however_often(many: list[Duty], chance: random.Random) -> None:
    again = [*many, *chance.sample(many, len(many) // 2)]
    chance.shuffle(again)
    assert reduce(join, again, NEUTRAL) == reduce(join, many, NEUTRAL)


@given(st.lists(duties, min_size=3, max_size=5))
def test_no_duty_vanishes_in_three_and_more_laws(parts: list[Duty]) -> None:
    whole = reduce(join, parts)
    for part in parts:
        assert join(whole, part) == whole
        for slot in SLOTS - {"only", "effect"}:
            assert getattr(part, slot) <= getattr(whole, slot)
        assert part.effect <= whole.effect
        if part.only is not None:
            assert whole.only is not None
            assert all(any(within(p, o) for o in part.only) for p in whole.only)


@given(st.lists(duties, min_size=3, max_size=5))
def test_nothing_is_asked_that_no_law_asks(parts: list[Duty]) -> None:
    whole = reduce(join, parts)
    for slot in SLOTS - {"only", "effect"}:
        assert getattr(whole, slot) == frozenset().union(*(getattr(part, slot) for part in parts))
    assert whole.effect == max(part.effect for part in parts)
    assert (whole.only is None) == all(part.only is None for part in parts)


@given(duties, st.sampled_from(sorted(SLOTS)))
def test_each_slot_joins_by_itself(duty: Duty, slot: str) -> None:
    alone = replace(NEUTRAL, **{slot: getattr(duty, slot)})
    assert getattr(join(NEUTRAL, alone), slot) == getattr(duty, slot)
    for other in SLOTS - {slot}:
        assert getattr(join(alone, NEUTRAL), other) == getattr(NEUTRAL, other)


@given(duties, duties)
def test_a_conflict_of_places_never_heals(a: Duty, b: Duty) -> None:
    healed = a.conflicts - join(a, b).conflicts - {Conflict.TREATMENT}
    # Where no region is left at all, that one conflict stands for the narrower ones.
    assert not healed or Conflict.ONLY_NOWHERE in join(a, b).conflicts


def test_a_conflict_of_treatments_never_heals() -> None:
    def treated(*how: str) -> Duty:
        return Duty(protect=frozenset(Protection("phone", "in", transform, "protected") for transform in how))

    for one, other, third in combinations(TRANSFORMS, 3):
        for first, more in (((one, other), third), ((one, third), other), ((other, third), one)):
            before, after = treated(*first), join(treated(*first), treated(more))
            assert before.conflicts <= after.conflicts


@given(places, places)
def test_a_meet_allows_only_what_both_allow(a: frozenset[str], b: frozenset[str]) -> None:
    both = meet(normal(a), normal(b))
    for place in PLACES:
        in_both = any(within(place, p) for p in a) and any(within(place, p) for p in b)
        assert any(within(place, p) for p in both) == in_both


def test_copies_here_first_write_there_and_only_elsewhere_all_stand() -> None:
    whole = join(
        join(Duty(copies=frozenset({"VN"})), Duty(first_write=frozenset({"RU"}))), Duty(only=frozenset({"CN"}))
    )
    assert whole.copies == {"VN"}
    assert whole.first_write == {"RU"}
    assert whole.only == frozenset({"CN"})
    assert whole.conflicts == {Conflict.COPY_OUTSIDE_ONLY, Conflict.FIRST_WRITE_OUTSIDE_ONLY}


@given(st.frozensets(st.sampled_from(TRANSFORMS)), st.frozensets(st.sampled_from(TRANSFORMS)))
def test_more_treatments_asked_are_met_by_a_stronger_one_or_by_none(a: frozenset[str], b: frozenset[str]) -> None:
    one, both = treatment(a), treatment(a | b)
    if both is not None:
        # What achieves all of both achieves all of each.
        assert treatment(a | {both}) == both
        assert both in a | b
    if one is not None and b <= a:
        assert both == one
