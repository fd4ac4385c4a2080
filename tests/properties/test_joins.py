"""The joins of duties: commutative, associative, idempotent, and nothing that one law asks is lost in another's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from residency.model import NEUTRAL, Bound, Conflict, Duty, Effect, Protection, Retention, join
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
    st.builds(Protection, st.sampled_from(["a", "b"]), st.just("in"), st.sampled_from(["drop", "mask"]), st.just("x")),
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
)


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


@given(duties, duties, duties)
def test_no_duty_vanishes_in_three_laws(a: Duty, b: Duty, c: Duty) -> None:
    whole = join(join(a, b), c)
    for part in (a, b, c):
        assert part.copies <= whole.copies
        assert part.first_write <= whole.first_write
        assert part.require <= whole.require
        assert part.retain <= whole.retain
        assert part.protect <= whole.protect
        assert part.log <= whole.log
        assert part.label <= whole.label
        assert part.effect <= whole.effect
        if part.only is not None:
            assert whole.only is not None
            assert all(any(within(p, o) for o in part.only) for p in whole.only)


@given(duties, duties)
def test_a_conflict_never_heals(a: Duty, b: Duty) -> None:
    healed = a.conflicts - join(a, b).conflicts
    # Where no region is left at all, that one conflict stands for the narrower ones.
    assert not healed or Conflict.ONLY_NOWHERE in join(a, b).conflicts


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
