"""Home or nowhere, as properties of the pure choice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from residency.enforcement.admission import CHANGES
from residency.errors import Refused, UnknownStore
from residency.model import (
    NEUTRAL,
    Activity,
    Decision,
    Duty,
    Effect,
    Finding,
    Operation,
    Pin,
    Reason,
    Sink,
    SinkVerdict,
    SubjectSource,
)
from residency.model.place import within
from residency.storage.routing import choose

PLACES = ("VN", "SG", "DE", "FR")
SINKS = tuple(Sink(f"s{i}-{place}", f"r-{place}", place, "VN", place, True) for i in (1, 2) for place in PLACES)


def verdict(sink: Sink, effect: Effect = Effect.PERMIT, reason: Reason | None = None) -> SinkVerdict:
    """The verdict of a decision on one sink."""
    return SinkVerdict(sink, effect, None if effect is Effect.PERMIT else reason or Reason.ONLY_IN_COUNTRY)


def decision(
    *verdicts: SinkVerdict, mode: str = "enforce", operation: Operation = Operation.WRITE, duty: Duty = NEUTRAL
) -> Decision:
    """A decision with the given verdicts, permitted ones first as the words promise."""
    activity = Activity("a", "POST", "/a", SubjectSource("app"), frozenset(), operation, stores=("people",))
    return Decision(
        activity=activity,
        effect=Effect.PERMIT,
        mode=mode,
        reason=None,
        duty=duty,
        sinks=tuple(sorted(verdicts, key=lambda v: v.effect)),
        rules=(),
        observed=(),
        jurisdictions=(),
        presumed=(),
        finding=Finding(),
        evidence=frozenset(),
        policy="0" * 64,
        epoch=1,
    )


def pin(home: str) -> Pin:
    """A pin whose data lies at `home`."""
    return Pin("d" * 64, home, (), "a" * 32, "write", "0" * 64, 1)


SG, VN = (next(s for s in SINKS if s.place == place) for place in ("SG", "VN"))
ORDER = tuple(s.name for s in SINKS)

verdicts = st.lists(st.sampled_from(SINKS), min_size=1, max_size=6, unique=True).flatmap(
    lambda sinks: st.tuples(*(st.builds(verdict, st.just(s), st.sampled_from(list(Effect))) for s in sinks))
)
pins = st.none() | st.builds(
    lambda home, moving: replace(pin(home), moving=moving), st.sampled_from(PLACES), st.none() | st.sampled_from(PLACES)
)
operations = st.sampled_from(list(Operation))


@given(verdicts, pins, operations, st.data())
def test_a_refused_verdict_is_never_returned_as_permitted(
    given_verdicts: tuple[SinkVerdict, ...], home: Pin | None, operation: Operation, data: st.DataObject
) -> None:
    mode = data.draw(st.sampled_from(["enforce", "observe"]))
    requested = data.draw(st.none() | st.sampled_from([v.sink.name for v in given_verdicts]))
    made = decision(*given_verdicts, mode=mode, operation=operation)
    chosen = choose(made, home, requested, order=tuple(v.sink.name for v in given_verdicts))
    own = made.sink(chosen.sink.name)
    assert own is not None
    assert chosen.effect >= own.effect
    assert (chosen.reason is None) == (chosen.effect is Effect.PERMIT)


@given(verdicts, pins, operations, st.frozensets(st.sampled_from([*PLACES, "EU"]), min_size=1))
def test_with_only_in_force_no_sink_outside_is_ever_permitted(
    given_verdicts: tuple[SinkVerdict, ...], home: Pin | None, operation: Operation, only: frozenset[str]
) -> None:
    bound = tuple(
        v if any(within(v.sink.place, place) for place in only) else verdict(v.sink, Effect.DENY)
        for v in given_verdicts
    )
    chosen = choose(decision(*bound, operation=operation, duty=Duty(only=only)), home, None, order=ORDER)
    assert chosen.effect is not Effect.PERMIT or any(within(chosen.sink.place, place) for place in only)


@given(verdicts, st.sampled_from(PLACES), operations)
def test_a_pinned_subject_is_served_at_home_or_nowhere(
    given_verdicts: tuple[SinkVerdict, ...], home: str, operation: Operation
) -> None:
    assume(len(given_verdicts) > 1)
    chosen = choose(decision(*given_verdicts, operation=operation), pin(home), None, order=ORDER)
    assert chosen.sink.place == home or chosen.effect is not Effect.PERMIT


@given(
    st.sampled_from(PLACES),
    st.sampled_from([Effect.HOLD, Effect.DENY]),
    st.lists(st.sampled_from(SINKS), min_size=1, max_size=5, unique=True),
    st.sampled_from(sorted(CHANGES)),
)
def test_a_write_that_only_another_place_permits_is_refused_as_not_home(
    home: str, effect: Effect, others: list[Sink], operation: Operation
) -> None:
    at_home = [verdict(s, effect) for s in SINKS if s.place == home]
    elsewhere = [verdict(s) for s in others if s.place != home]
    assume(elsewhere)
    chosen = choose(decision(*at_home, *elsewhere, operation=operation), pin(home), None, order=ORDER)
    assert (chosen.sink.place, chosen.effect, chosen.reason) == (home, Effect.DENY, Reason.NOT_HOME)


def test_a_first_write_goes_where_the_decision_puts_it_first() -> None:
    made = decision(verdict(SG, Effect.DENY), verdict(VN))
    assert choose(made, None, None, order=(SG.name, VN.name)).sink is VN


def test_a_read_follows_the_data_even_where_reading_it_is_refused() -> None:
    made = decision(verdict(SG), verdict(VN, Effect.DENY, Reason.STOP_ORDER), operation=Operation.READ)
    chosen = choose(made, pin("VN"), None, order=(SG.name, VN.name))
    assert (chosen.sink, chosen.reason) == (VN, Reason.STOP_ORDER)


def test_a_read_inside_a_write_activity_keeps_the_home_sinks_own_reason() -> None:
    made = decision(verdict(SG), verdict(VN, Effect.DENY, Reason.STOP_ORDER))
    assert choose(made, pin("VN"), None, order=(SG.name, VN.name), operation=Operation.READ).reason is Reason.STOP_ORDER


def test_where_nothing_is_permitted_the_home_sink_keeps_its_own_reason() -> None:
    held = (verdict(SG, Effect.HOLD, Reason.IDENTITY_MISSING), verdict(VN, Effect.HOLD, Reason.IDENTITY_MISSING))
    assert choose(decision(*held), pin("VN"), None, order=(SG.name, VN.name)).reason is Reason.IDENTITY_MISSING


def test_a_home_that_the_store_no_longer_has_is_not_guessed_at() -> None:
    chosen = choose(
        decision(verdict(SG), verdict(VN), operation=Operation.READ), pin("DE"), None, order=(SG.name, VN.name)
    )
    assert chosen.reason is Reason.NOT_HOME


def test_a_store_of_one_sink_leaves_nothing_to_guess() -> None:
    assert choose(decision(verdict(SG)), pin("DE"), None, order=(SG.name,)) == verdict(SG)


def test_a_requested_sink_answers_with_its_own_verdict() -> None:
    made = decision(verdict(SG, Effect.DENY), verdict(VN))
    assert choose(made, pin("VN"), SG.name, order=(SG.name, VN.name)).reason is Reason.ONLY_IN_COUNTRY


def test_observing_leaves_the_app_where_it_was() -> None:
    made = decision(verdict(SG, Effect.DENY), verdict(VN), mode="observe")
    assert choose(made, pin("VN"), None, order=(SG.name, VN.name)).sink is SG


def test_observing_follows_a_subject_whose_data_was_moved() -> None:
    made = decision(verdict(SG, Effect.DENY), verdict(VN), mode="observe")
    assert choose(made, replace(pin("VN"), set_by="move"), None, order=(SG.name, VN.name)).sink is VN
    assert choose(made, replace(pin("DE"), set_by="move"), None, order=(SG.name, VN.name)).sink is SG


def test_observing_follows_every_pin_once_all_who_had_data_have_one() -> None:
    made = decision(verdict(VN), verdict(SG, Effect.DENY), mode="observe")
    order = (SG.name, VN.name)
    assert choose(made, pin("VN"), None, order=order, known=True).sink is VN
    assert choose(made, pin("SG"), None, order=order, known=True).sink is SG
    assert choose(made, pin("DE"), None, order=order, known=True).sink is SG
    assert choose(made, None, None, order=order, known=True).sink is VN, "who has none is new"
    assert choose(made, None, SG.name, order=order, known=True).sink is SG
    nowhere = decision(verdict(VN, Effect.DENY), verdict(SG, Effect.DENY), mode="observe")
    assert choose(nowhere, None, None, order=order, known=True).sink is SG, "nothing binds while observing"


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("requested", [None, SG.name, VN.name])
def test_while_a_subject_moves_reads_follow_the_data_and_nobody_writes(mode: str, requested: str | None) -> None:
    made = decision(verdict(SG, Effect.DENY), verdict(VN), mode=mode)
    moving = replace(pin("VN"), moving="SG")
    order = (SG.name, VN.name)
    for operation in CHANGES:
        refused = choose(made, moving, requested, order=order, operation=operation)
        assert (refused.effect, refused.reason) == (Effect.DENY, Reason.SUBJECT_MOVING)
    read = choose(made, moving, requested, order=order, operation=Operation.READ)
    if requested == VN.name:
        assert read.reason is Reason.SUBJECT_MOVING, "home would answer empty"
    else:
        assert (read.sink, read.effect) == (SG, Effect.DENY), "the decision's own verdict, and no milder one"


def test_of_a_store_with_one_sink_nothing_is_moved() -> None:
    made = decision(verdict(SG))
    moving = replace(pin("VN"), moving="SG")
    assert choose(made, moving, None, order=(SG.name,), operation=Operation.WRITE) is made.sinks[0]


def test_a_sink_of_another_store_is_unknown() -> None:
    with pytest.raises(UnknownStore):
        choose(decision(verdict(SG)), None, VN.name, order=(SG.name,))


def test_a_decision_without_a_sink_refuses() -> None:
    with pytest.raises(Refused) as caught:
        choose(decision(), None, None, order=(SG.name, VN.name))
    assert caught.value.reason == Reason.NO_SINK
