"""Duties: which treatments go together, and which duties cannot all be met."""

from __future__ import annotations

from itertools import combinations

import pytest

from residency.model import Conflict, Duty, Effect, Protection, treatment
from residency.model.duty import TRANSFORMS

# By hand (ADR 0002): what each transform also is.
ALSO = {
    "drop": {"drop", "refuse", "tokenise", "hash", "encrypt", "mask"},
    "refuse": {"drop", "refuse", "tokenise", "hash", "encrypt", "mask"},
    "tokenise": {"tokenise", "mask"},
    "hash": {"hash", "mask"},
    "encrypt": {"encrypt"},
    "mask": {"mask"},
}
MILD = ("mask", "encrypt", "hash", "tokenise", "refuse", "drop")  # the mildest first
SETS = [frozenset(some) for size in range(len(TRANSFORMS) + 1) for some in combinations(TRANSFORMS, size)]


@pytest.mark.parametrize("asked", SETS, ids=lambda asked: "+".join(sorted(asked)) or "nothing")
def test_one_treatment_is_all_that_is_asked_and_the_mildest_that_is(asked: frozenset[str]) -> None:
    able = [transform for transform in MILD if transform in asked and asked <= ALSO[transform]]
    assert treatment(asked) == (able[0] if able else None)


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (("drop", "mask"), "drop"),
        (("tokenise", "mask"), "tokenise"),
        (("hash", "mask"), "hash"),
        (("encrypt", "mask"), None),
        (("hash", "tokenise"), None),
        (("refuse", "drop"), "refuse"),
    ],
)
def test_a_field_asked_for_in_two_ways(asked: tuple[str, str], chosen: str | None) -> None:
    def duty(directions: tuple[str, str]) -> Duty:
        pairs = zip(asked, directions, strict=True)
        return Duty(protect=frozenset(Protection("phone", way, how, "protected") for how, way in pairs))

    assert treatment(frozenset(asked)) == chosen
    assert duty(("in", "in")).conflicts == (frozenset() if chosen else {Conflict.TREATMENT})
    assert duty(("in", "out")).conflicts == frozenset()


@pytest.mark.parametrize(
    ("duty", "conflicts"),
    [
        (Duty(first_write=frozenset({"VN", "RU"})), {Conflict.FIRST_WRITE_TWICE}),
        (Duty(only=frozenset()), {Conflict.ONLY_NOWHERE}),
        (Duty(only=frozenset({"EU"}), copies=frozenset({"DE"})), set()),
        (Duty(only=frozenset({"DE"}), copies=frozenset({"EU"})), {Conflict.COPY_OUTSIDE_ONLY}),
        (Duty(only=frozenset({"DE"}), first_write=frozenset({"VN"})), {Conflict.FIRST_WRITE_OUTSIDE_ONLY}),
        (Duty(copies=frozenset({"VN", "DE"})), set()),
    ],
)
def test_places_that_cannot_all_be_met_are_a_conflict(duty: Duty, conflicts: set[Conflict]) -> None:
    assert duty.conflicts == conflicts


def test_only_is_kept_normal_and_effects_are_ordered() -> None:
    assert Duty(only=frozenset({"EU", "DE", "CA-QC"})).only == frozenset({"EU", "CA-QC"})
    assert Effect.PERMIT < Effect.HOLD < Effect.DENY
    assert Effect.HOLD.word == "hold"
