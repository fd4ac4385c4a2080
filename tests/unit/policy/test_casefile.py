"""Files of tests become cases: layers, days, what has no day, which mistakes are told."""

from __future__ import annotations

import pytest

from residency.errors import PolicyError
from residency.model import Anchor, Trust
from residency.policy.casefile import Some
from residency.policy.times import instant
from tests.case_world import HEAD, cases

NOON = 12 * 3_600_000_000


def test_a_key_that_is_written_again_stands_in_the_place_of_the_former() -> None:
    head = HEAD + "people: {linh: {territory: LA verified, evidence: identity:phone, residence: LA verified}}\n"
    plain, linh, own = cases(
        "activity: x, expect: {effect: deny}",
        "who: linh, activity: x, expect: {effect: deny}",
        "who: linh, activity: x, territory: DE hint, expect: {effect: deny}",
        head=head,
    ).cases
    assert [(s.anchor, s.place, s.trust) for s in plain.signals] == [(Anchor.TERRITORY, "VN", Trust.NETWORK)]
    assert (linh.signals[0].place, linh.evidence) == ("LA", frozenset({"identity:phone"}))
    assert [(s.anchor, s.place) for s in own.signals] == [(Anchor.TERRITORY, "DE"), (Anchor.RESIDENCE, "LA")]


def test_a_route_takes_the_place_of_the_files_activity_and_the_other_way_round() -> None:
    head = HEAD.replace("territory: VN network", "activity: x")
    one, two = cases("route: GET /a, expect: {effect: deny}", "expect: {effect: deny}", head=head).cases
    assert (one.activity, one.route) == (None, ("GET", "/a"))
    assert (two.activity, two.route) == ("x", None)


def test_a_day_is_its_noon_on_the_clocks_of_the_file_and_a_filings_day_its_first_instant() -> None:
    head = HEAD.replace("given:", 'time_zone: "+07:00"\ngiven:')
    (case,) = cases(
        "activity: x, collected: 2026-01-02, filings: [{kind: a, date: 2026-03-04}], expect: {effect: deny}", head=head
    ).cases
    assert case.now == instant("2026-11-22", "+07:00") + NOON
    assert (case.requested, case.collected) == (None, instant("2026-01-02", "+07:00") + NOON)
    assert case.facts.filings[0].date == instant("2026-03-04", "+07:00")


def test_what_has_no_day_stands_for_long_and_for_long_to_come() -> None:
    (case,) = cases(
        'activity: x, filings: [a], orders: [o], stop_orders: ["*"], exemptions: [vn.a], expect: {effect: deny}'
    ).cases
    for day in ("1990-01-01", "2090-01-01"):
        now = instant(day, "+00:00")
        assert case.facts.filings[0].stands(now)
        assert case.facts.stopped(now) == {"*"}
        assert case.facts.exemptions[0].holds(now)


def test_a_clause_is_the_same_in_whatever_order_its_tokens_stand() -> None:
    (case,) = cases("activity: x, expect: {unmet: [identity:phone or identity:eid], rules: []}").cases
    assert case.expect.several["unmet"] == Some(frozenset({"identity:eid or identity:phone"}))
    assert case.expect.several["rules"] == Some(frozenset())


@pytest.mark.parametrize("expect", ["{}", "{refused: {}}", "{rules: {}, duties: {}}"])
def test_a_test_that_could_not_fail_is_refused(expect: str) -> None:
    with pytest.raises(PolicyError, match="such a test would always hold"):
        cases(f"activity: x, expect: {expect}")


@pytest.mark.parametrize("expect", ["{effect: null}", "{effect: deny, rules: null}", "{duties: {copies: null}}"])
def test_null_expects_nothing_and_is_refused(expect: str) -> None:
    with pytest.raises(PolicyError, match="`null` expects nothing"):
        cases(f"activity: x, expect: {expect}")


@pytest.mark.parametrize("token", ["known:territory", "basis:consent", "ai:portal_id", "sink:encrypted"])
def test_evidence_that_nobody_can_give_is_refused(token: str) -> None:
    with pytest.raises(PolicyError, match="nobody's to give"):
        cases(f"activity: x, evidence: ['{token}'], expect: {{effect: deny}}")
