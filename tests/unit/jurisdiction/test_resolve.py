"""The precedence table, case by case: which signals speak, what they establish, and what stays contested."""

from __future__ import annotations

import pytest

from residency.jurisdiction.resolve import presumption, resolve
from residency.model.finding import SILENT, Anchor, AnchorFinding, Finding, Presume, Signal, State, Trust
from residency.model.subject import Pin

DEFAULT = presumption(())


def signal(anchor: Anchor, place: str, trust: Trust) -> Signal:
    return Signal(anchor, place, trust, "test")


def pinned(*anchors: tuple[Anchor, str, Trust]) -> Pin:
    return Pin("00", "VN", anchors, "aa", "first_write", "p", 0)


def settled(*places: str, trust: Trust) -> AnchorFinding:
    return AnchorFinding(established=frozenset(places), trust=trust)


def contested(*places: str, trust: Trust) -> AnchorFinding:
    return AnchorFinding(contested=frozenset(places), trust=trust)


def test_no_signal_and_no_pin_is_silent_everywhere() -> None:
    assert resolve((), None, DEFAULT) == Finding()


@pytest.mark.parametrize("anchor", Anchor)
def test_the_highest_trust_speaks_and_the_lower_is_silent(anchor: Anchor) -> None:
    said = [signal(anchor, "DE", Trust.DECLARED), signal(anchor, "VN", Trust.VERIFIED)]
    assert resolve(said, None, DEFAULT).anchor(anchor) == settled("VN", trust=Trust.VERIFIED)


@pytest.mark.parametrize("anchor", Anchor)
def test_two_places_at_equal_trust_are_both_contested_and_both_cover(anchor: Anchor) -> None:
    said = [signal(anchor, "DE", Trust.VERIFIED), signal(anchor, "VN", Trust.VERIFIED)]
    finding = resolve(said, None, DEFAULT)
    assert finding.anchor(anchor) == contested("DE", "VN", trust=Trust.VERIFIED)
    assert finding.covered("VN", anchor)
    assert finding.covered("EU", anchor)
    assert not finding.covered("US", anchor)


def test_a_part_of_a_country_and_the_country_agree() -> None:
    said = [signal(Anchor.RESIDENCE, "CA", Trust.DECLARED), signal(Anchor.RESIDENCE, "CA-QC", Trust.DECLARED)]
    assert resolve(said, None, DEFAULT).residence == settled("CA", "CA-QC", trust=Trust.DECLARED)


@pytest.mark.parametrize("trust", [Trust.NETWORK, Trust.HINT])
def test_neither_network_nor_hint_speaks_for_citizenship(trust: Trust) -> None:
    assert resolve([signal(Anchor.CITIZENSHIP, "VN", trust)], None, DEFAULT).citizenship == SILENT
    assert resolve((), pinned((Anchor.CITIZENSHIP, "VN", Trust.NETWORK)), DEFAULT).citizenship == SILENT


@pytest.mark.parametrize("anchor", Anchor)
@pytest.mark.parametrize("conflicts_presumed", [False, True])
def test_nothing_outranks_a_hint_of_a_pin_and_it_excludes_nobody(anchor: Anchor, conflicts_presumed: bool) -> None:
    pin = pinned((anchor, "VN", Trust.HINT))
    for said in ([], ["US"], ["US", "DE"]):
        signals = [signal(anchor, place, Trust.VERIFIED) for place in said]
        finding = resolve(signals, pin, DEFAULT, conflicts_presumed=conflicts_presumed)
        without = resolve(signals, None, DEFAULT, conflicts_presumed=conflicts_presumed)
        assert finding.covered_how("VN", anchor) == (True, False)
        for place in ("US", "DE", "FR"):
            assert finding.covered_how(place, anchor) == without.covered_how(place, anchor)


@pytest.mark.parametrize("anchor", [Anchor.TERRITORY, Anchor.COLLECTION, Anchor.RESIDENCE])
def test_a_hint_covers_its_own_place_and_leaves_all_others_to_their_presumption(anchor: Anchor) -> None:
    nobody = presumption(((Anchor.TERRITORY, Presume.NOT_COVERED),))
    for said, pin in (((signal(anchor, "US", Trust.HINT),), None), ((), pinned((anchor, "US", Trust.HINT)))):
        finding = resolve(said, pin, nobody)
        assert finding.state("US", anchor) is State.UNDETERMINED
        assert finding.covered_how("US", anchor) == (True, False)
        assert finding.covered_how("VN", anchor) == (False, True)
        assert resolve(said, pin, DEFAULT).covered_how("VN", anchor) == (True, True)


def test_a_hint_says_nothing_beside_a_signal_of_more_trust() -> None:
    said = [signal(Anchor.TERRITORY, "US", Trust.NETWORK), signal(Anchor.TERRITORY, "VN", Trust.HINT)]
    assert resolve(said, None, DEFAULT).territory == settled("US", trust=Trust.NETWORK)


@pytest.mark.parametrize("anchor", [Anchor.TERRITORY, Anchor.COLLECTION])
def test_a_pinned_place_stands_beside_what_is_seen_today(anchor: Anchor) -> None:
    finding = resolve([signal(anchor, "US", Trust.NETWORK)], pinned((anchor, "VN", Trust.NETWORK)), DEFAULT)
    assert finding.state("VN", anchor) is State.ESTABLISHED
    assert finding.state("US", anchor) is State.ESTABLISHED
    assert finding.state("DE", anchor) is State.EXCLUDED


@pytest.mark.parametrize("anchor", [Anchor.CITIZENSHIP, Anchor.RESIDENCE])
def test_a_pinned_citizenship_or_residence_outranks_a_declared_one_and_yields_to_a_verified_one(anchor: Anchor) -> None:
    pin = pinned((anchor, "VN", Trust.VERIFIED))
    declared = resolve([signal(anchor, "DE", Trust.DECLARED)], pin, DEFAULT)
    verified = resolve([signal(anchor, "DE", Trust.VERIFIED)], pin, DEFAULT)
    assert declared.anchor(anchor) == settled("VN", trust=Trust.PINNED)
    assert verified.anchor(anchor) == settled("DE", trust=Trust.VERIFIED)


@pytest.mark.parametrize("anchor", [Anchor.CITIZENSHIP, Anchor.RESIDENCE])
def test_what_was_only_declared_gains_nothing_by_being_pinned(anchor: Anchor) -> None:
    pin = pinned((anchor, "DE", Trust.DECLARED))
    assert resolve((), pin, DEFAULT).anchor(anchor) == settled("DE", trust=Trust.DECLARED)
    later = resolve([signal(anchor, "VN", Trust.DECLARED)], pin, DEFAULT)
    assert later.anchor(anchor) == contested("DE", "VN", trust=Trust.DECLARED)


def test_a_vietnamese_citizen_in_berlin_is_covered_by_both_laws() -> None:
    said = [
        signal(Anchor.TERRITORY, "DE", Trust.NETWORK),
        signal(Anchor.COLLECTION, "DE", Trust.NETWORK),
        signal(Anchor.CITIZENSHIP, "VN", Trust.VERIFIED),
    ]
    finding = resolve(said, None, DEFAULT)
    assert finding.covered("VN", Anchor.CITIZENSHIP)
    assert not finding.covered("VN", Anchor.TERRITORY)
    assert finding.covered("EU", Anchor.TERRITORY)
    assert not finding.covered("DE", Anchor.CITIZENSHIP)


def test_a_visitor_whom_nobody_asked_is_taken_for_a_citizen_of_where_the_network_is() -> None:
    finding = resolve([signal(Anchor.TERRITORY, "US", Trust.NETWORK)], None, DEFAULT)
    assert finding.covered_how("US", Anchor.CITIZENSHIP) == (True, True)
    assert finding.covered_how("VN", Anchor.CITIZENSHIP) == (False, True)


def test_a_presumption_that_names_some_anchors_keeps_the_defaults_of_the_others() -> None:
    given = ((Anchor.TERRITORY, Presume.NOT_COVERED),)
    assert resolve((), None, given) == resolve((), None, presumption(given))
    assert not resolve((), None, given).covered("VN", Anchor.CITIZENSHIP)
    assert presumption(tuple(reversed(presumption(given)))) == presumption(given)


@pytest.mark.parametrize("anchor", Anchor)
def test_a_conflict_is_presumed_where_the_deployment_says_so_and_stays_visible(anchor: Anchor) -> None:
    said = [signal(anchor, place, Trust.DECLARED) for place in ("VN", "DE")]
    nobody = presumption(tuple((each, Presume.NOT_COVERED) for each in Anchor))
    both = resolve(said, None, nobody)
    neither = resolve(said, None, nobody, conflicts_presumed=True)
    assert both.covered_how("VN", anchor) == (True, False)
    assert neither.covered_how("VN", anchor) == (False, True)
    assert neither.anchor(anchor) == both.anchor(anchor) == contested("VN", "DE", trust=Trust.DECLARED)
    assert resolve(said, None, DEFAULT, conflicts_presumed=True).covered_how("VN", anchor) == (True, True)


def test_a_hint_is_no_conflict() -> None:
    finding = resolve([signal(Anchor.TERRITORY, "VN", Trust.HINT)], None, DEFAULT, conflicts_presumed=True)
    assert finding.state("VN", Anchor.TERRITORY) is State.UNDETERMINED
