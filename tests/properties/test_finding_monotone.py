"""Losing a signal against coverage, or gaining one for it, never permits more; order and repetition change nothing."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from residency.jurisdiction.resolve import presumption, resolve
from residency.model.finding import Anchor, Finding, Presume, Signal, Trust
from residency.model.place import within
from residency.model.subject import Pin

Remembered = tuple[tuple[Anchor, str, Trust], ...]

PLACES = ("VN", "DE", "FR", "EU", "US", "CA", "CA-QC", "CA-ON")
places = st.sampled_from(PLACES)
anchors = st.sampled_from(Anchor)
signals = st.builds(Signal, anchors, places, st.sampled_from(Trust), st.just("test"))
many = st.lists(signals, max_size=6)
remembered = st.lists(st.tuples(anchors, places, st.sampled_from(Trust)), max_size=4).map(tuple)
presumptions = st.dictionaries(anchors, st.sampled_from(Presume)).map(lambda d: presumption(tuple(d.items())))


def found(said: list[Signal], kept: Remembered, presume: tuple[tuple[Anchor, Presume], ...]) -> Finding:
    pin = Pin("00", "VN", kept, "00", "test", "00", 0) if kept else None
    return resolve(said, pin, presume)


def speaks_for(place: str, law: str) -> bool:
    return within(place, law) or within(law, place)


@given(many, remembered, presumptions, signals, places, anchors)
def test_gaining_a_signal_for_coverage_never_uncovers(
    said: list[Signal],
    kept: Remembered,
    presume: tuple[tuple[Anchor, Presume], ...],
    gained: Signal,
    law: str,
    anchor: Anchor,
) -> None:
    if speaks_for(gained.place, law) and found(said, kept, presume).covered(law, anchor):
        assert found([*said, gained], kept, presume).covered(law, anchor)


@given(many, remembered, presumptions, signals, places, anchors)
def test_losing_a_signal_against_coverage_never_uncovers(
    said: list[Signal],
    kept: Remembered,
    presume: tuple[tuple[Anchor, Presume], ...],
    lost: Signal,
    law: str,
    anchor: Anchor,
) -> None:
    if not speaks_for(lost.place, law) and found([*said, lost], kept, presume).covered(law, anchor):
        assert found(said, kept, presume).covered(law, anchor)


@given(many, remembered, presumptions, st.tuples(anchors, places, st.sampled_from(Trust)), places, anchors)
def test_the_pin_obeys_the_same_law_as_a_signal(
    said: list[Signal],
    kept: Remembered,
    presume: tuple[tuple[Anchor, Presume], ...],
    extra: tuple[Anchor, str, Trust],
    law: str,
    anchor: Anchor,
) -> None:
    without = found(said, kept, presume).covered(law, anchor)
    having = found(said, (*kept, extra), presume).covered(law, anchor)
    if speaks_for(extra[1], law):
        assert having or not without
    else:
        assert without or not having


@given(many, remembered, presumptions, st.randoms(use_true_random=False))
def test_order_and_repetition_of_signals_change_nothing(
    said: list[Signal],
    kept: Remembered,
    presume: tuple[tuple[Anchor, Presume], ...],
    chance: Random,
) -> None:
    shuffled = [*said, *said]
    chance.shuffle(shuffled)
    once = found(said, kept, presume)
    again = found(shuffled, tuple(reversed(kept)), presume)
    assert again == once
    assert hash(again) == hash(once)


@given(many, remembered, presumptions, places, anchors)
def test_every_finding_answers_every_question(
    said: list[Signal], kept: Remembered, presume: tuple[tuple[Anchor, Presume], ...], law: str, anchor: Anchor
) -> None:
    assert isinstance(found(said, kept, presume).covered(law, anchor), bool)
