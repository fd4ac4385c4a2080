"""A pin remembers what covered, moves only on stronger signals or by an operator, and its version only grows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.errors import StaleVersion
from residency.jurisdiction.pins import arrived, first_pin, leaving, may_move, moved, strengthened, widened
from residency.jurisdiction.resolve import presumption, resolve
from residency.model.finding import Anchor, Signal, Trust

FINDING = resolve(
    [
        Signal(Anchor.TERRITORY, "VN", Trust.NETWORK, "address"),
        Signal(Anchor.CITIZENSHIP, "VN", Trust.VERIFIED, "jwt"),
        Signal(Anchor.CITIZENSHIP, "DE", Trust.VERIFIED, "jwt"),
        Signal(Anchor.COLLECTION, "VN", Trust.HINT, "locale"),
    ],
    None,
    presumption(()),
)
PIN = first_pin("d1", "VN", FINDING, alias="a1", set_by="first_write", policy="p1", at=1_000)


def test_a_first_pin_remembers_established_and_contested_places_and_hints_as_hints() -> None:
    assert PIN.version == 1
    assert PIN.anchors == (
        (Anchor.TERRITORY, "VN", Trust.NETWORK),
        (Anchor.CITIZENSHIP, "DE", Trust.VERIFIED),
        (Anchor.CITIZENSHIP, "VN", Trust.VERIFIED),
        (Anchor.COLLECTION, "VN", Trust.HINT),
    )


def test_what_is_remembered_covers_alone_what_the_signals_covered() -> None:
    again = resolve((), PIN, presumption(()))
    for anchor in Anchor:
        for place in ("VN", "DE", "EU"):
            assert again.covered(place, anchor) or not FINDING.covered(place, anchor)


def test_an_operator_moves_the_home_to_the_next_version_under_the_same_alias() -> None:
    after = moved(PIN, "SG", operator="operator", policy="p2", at=2_000)
    assert (after.version, after.home, after.alias, after.subject) == (2, "SG", PIN.alias, PIN.subject)
    assert (after.set_by, after.policy, after.at, after.anchors) == ("operator", "p2", 2_000, PIN.anchors)


def test_a_verified_signal_moves_what_was_remembered_on_less() -> None:
    old = replace(PIN, anchors=((Anchor.TERRITORY, "VN", Trust.NETWORK), (Anchor.RESIDENCE, "VN", Trust.DECLARED)))
    said = [Signal(Anchor.RESIDENCE, "LA", Trust.VERIFIED, "jwt"), Signal(Anchor.TERRITORY, "LA", Trust.VERIFIED, "x")]
    after = strengthened(old, said, policy="p2", at=2_000)
    assert after is not None
    assert after.anchors == (
        (Anchor.TERRITORY, "VN", Trust.NETWORK),
        (Anchor.RESIDENCE, "LA", Trust.VERIFIED),
        (Anchor.RESIDENCE, "VN", Trust.HINT),  # what was written until now stays covered
    )
    assert (after.home, after.alias, after.version, after.set_by) == ("VN", PIN.alias, 2, "stronger_signal")
    assert (after.policy, after.at) == ("p2", 2_000)
    assert strengthened(after, said, policy="p3", at=3_000) is None


def test_a_clock_that_stepped_back_makes_no_pin_older_than_its_forerunner() -> None:
    said = [Signal(Anchor.RESIDENCE, "LA", Trust.VERIFIED, "jwt")]
    after = strengthened(PIN, said, policy="p2", at=999)
    assert after is not None
    assert (after.version, after.at) == (2, PIN.at)


@pytest.mark.parametrize("trust", [trust for trust in Trust if trust is not Trust.VERIFIED])
@pytest.mark.parametrize("kept", [(), ((Anchor.RESIDENCE, "VN", Trust.NETWORK),)])
def test_nothing_less_than_verified_moves_a_pin(trust: Trust, kept: tuple[tuple[Anchor, str, Trust], ...]) -> None:
    said = [Signal(anchor, "US", trust, "test") for anchor in Anchor]
    assert strengthened(replace(PIN, anchors=kept), said, policy="p2", at=2_000) is None


def test_what_was_verified_once_is_not_moved_by_what_is_verified_later() -> None:
    assert strengthened(PIN, [Signal(Anchor.CITIZENSHIP, "US", Trust.VERIFIED, "jwt")], policy="p", at=2_000) is None


def test_it_does_not_move_to_before_it_was_set() -> None:
    with pytest.raises(StaleVersion):
        moved(PIN, "SG", operator="op", policy="p2", at=999)


@pytest.mark.parametrize(
    ("signal", "asks"),
    [
        (Signal(Anchor.CITIZENSHIP, "US", Trust.VERIFIED, "jwt"), True),
        (Signal(Anchor.RESIDENCE, "US", Trust.VERIFIED, "jwt"), True),
        (Signal(Anchor.CITIZENSHIP, "VN", Trust.VERIFIED, "jwt"), False),
        (Signal(Anchor.CITIZENSHIP, "US", Trust.DECLARED, "app"), False),
        (Signal(Anchor.TERRITORY, "US", Trust.VERIFIED, "gateway"), False),
    ],
)
def test_only_a_verified_contradiction_of_citizenship_or_residence_is_a_reason_to_ask(
    signal: Signal, asks: bool
) -> None:
    assert may_move(PIN, [signal]) is asks


def test_a_pin_that_leaves_keeps_all_but_its_home_and_one_that_arrives_says_no_more_from_where() -> None:
    old = replace(PIN, home="SG", at=5, version=3)
    going = leaving(old, "VN", "SG", policy="1" * 64, at=4)
    assert (going.home, going.moving, going.version, going.at, going.set_by) == ("VN", "SG", 4, 5, "move")
    there = arrived(going, policy="1" * 64, at=9)
    assert (there.home, there.moving, there.version, there.at) == ("VN", None, 5, 9)
    assert (there.anchors, there.alias, there.subject) == (old.anchors, old.alias, old.subject)
    assert moved(going, "SG", operator="operator", policy="1" * 64, at=9).moving is None


def test_a_pin_tells_of_a_place_where_something_was_written_and_keeps_its_home() -> None:
    old = replace(PIN, anchors=((Anchor.TERRITORY, "SG", Trust.NETWORK),), home="SG")
    hanoi = resolve([Signal(Anchor.TERRITORY, "VN", Trust.NETWORK, "address")], old, presumption(()))
    after = widened(old, hanoi, policy="p2", at=999)
    assert after is not None
    assert after.anchors == ((Anchor.TERRITORY, "SG", Trust.NETWORK), (Anchor.TERRITORY, "VN", Trust.HINT))
    assert (after.home, after.moving, after.alias, after.version) == ("SG", None, old.alias, 2)
    assert (after.set_by, after.policy, after.at) == ("also_covered", "p2", old.at)
    assert widened(after, hanoi, policy="p3", at=3_000) is None
    singapore = resolve([Signal(Anchor.TERRITORY, "SG", Trust.NETWORK, "address")], after, presumption(()))
    assert singapore.covered("VN", Anchor.TERRITORY)
    assert not singapore.covered("DE", Anchor.TERRITORY)


def test_a_signal_that_was_outranked_covered_nothing_and_is_not_told_of() -> None:
    old = replace(PIN, anchors=((Anchor.RESIDENCE, "SG", Trust.VERIFIED),))
    said = [Signal(Anchor.RESIDENCE, "VN", Trust.DECLARED, "app"), Signal(Anchor.TERRITORY, "SG", Trust.NETWORK, "a")]
    after = widened(old, resolve(said, old, presumption(())), policy="p", at=2_000)
    assert after is not None
    assert after.anchors == ((Anchor.TERRITORY, "SG", Trust.HINT), (Anchor.RESIDENCE, "SG", Trust.VERIFIED))


def test_signals_of_which_a_deployment_presumes_that_they_say_nothing_are_not_told_of() -> None:
    said = [Signal(Anchor.RESIDENCE, place, Trust.DECLARED, "app") for place in ("VN", "SG")]
    old = replace(PIN, anchors=())
    assert widened(old, resolve(said, old, presumption(()), conflicts_presumed=True), policy="p", at=1) is None
    assert widened(old, resolve(said, old, presumption(())), policy="p", at=1) is not None


def test_a_pin_whose_data_was_moved_keeps_who_set_it_and_when() -> None:
    """Who began before the move may end for a moment after that time, and the mover waits no longer."""
    there = replace(PIN, set_by="move", at=5)
    said = [Signal(Anchor.TERRITORY, "SG", Trust.NETWORK, "a"), Signal(Anchor.RESIDENCE, "SG", Trust.VERIFIED, "jwt")]
    wider = widened(there, resolve(said, there, presumption(())), policy="p", at=9)
    stronger = strengthened(there, said, policy="p", at=9)
    assert wider is not None
    assert stronger is not None
    assert {(pin.set_by, pin.at, pin.version) for pin in (wider, stronger)} == {("move", 5, 2)}


def test_who_names_ever_other_parts_of_countries_makes_no_endless_pin() -> None:
    pin = replace(PIN, anchors=())
    for part in [f"CA-{number}" for number in range(200)] + [f"US-{number}" for number in range(200)]:
        said = [Signal(Anchor.CITIZENSHIP, part, Trust.DECLARED, "app")]
        pin = widened(pin, resolve(said, pin, presumption(())), policy="p", at=1) or pin
        assert resolve((), pin, presumption(())).covered(part, Anchor.CITIZENSHIP)
        assert len(pin.anchors) <= 33
    assert {place for _, place, _ in pin.anchors if len(place) == 2} == {"CA", "US"} or len(pin.anchors) <= 33
