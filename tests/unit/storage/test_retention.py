"""How long records stay: floors win, ceilings limit, each by the law that covers the subject."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.model import OPEN, AnchorFinding, Event, Trust
from residency.policy.compiler import Policy
from tests.record_world import (
    DAY,
    DEPLOYMENT,
    KEPT,
    LIMITED,
    NOW,
    covered,
    policy_in,
    row,
    sink_of,
    terms_of,
)
from tests.world import load_policy, write_deployment

LONG_AGO, LATELY = NOW - 40 * DAY, NOW - 2 * DAY


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return policy_in(tmp_path_factory.mktemp("policy"))


def test_a_floor_without_its_event_has_no_end_and_a_ceiling_without_it_no_limit(policy: Policy) -> None:
    terms = terms_of(policy)
    account = terms.judge(row("1", "an", "account"), "people", sink_of(policy, "vn"), covered())
    assert (account.retained.until, account.floors, account.limit) == (OPEN, ("test.floor",), None)
    person = terms.judge(row("1", "an"), "people", sink_of(policy, "vn"), covered())
    assert (person.retained.until, person.limit) == (None, None)
    assert person.retained.may_erase(NOW)
    assert not person.retained.must_erase(NOW)


def test_a_ceiling_of_a_scope_limits_that_copy_alone(policy: Policy) -> None:
    terms, old = terms_of(policy), row("1", "an", times={"creation": LONG_AGO})
    assert terms.judge(old, "people", sink_of(policy, "old"), covered()).retained.must_erase(NOW)
    assert not terms.judge(old, "people", sink_of(policy, "vn"), covered()).retained.must_erase(NOW)


def test_a_floor_that_outlasts_a_ceiling_wins_and_both_are_named(policy: Policy) -> None:
    terms = terms_of(policy)
    asked = covered({"erasure_request": LONG_AGO})
    judged = terms.judge(row("1", "an", "account", {"account_end": LATELY}), "people", sink_of(policy, "vn"), asked)
    assert judged.floors == ("test.floor",)
    assert judged.ceilings == ("test.ceiling",)
    assert judged.limit is not None
    assert judged.limit < NOW
    assert not judged.retained.may_erase(NOW)
    assert not judged.retained.must_erase(NOW)
    assert judged.retained.overdue


@pytest.mark.parametrize(("head", "early"), [("", 0), ('time_zone: "+07:00"\n', 7)])
def test_days_end_on_the_clocks_of_the_law(tmp_path: Path, head: str, early: int) -> None:
    file = write_deployment(tmp_path, DEPLOYMENT, (KEPT.replace("10 days", "1 day"),))
    law = tmp_path / "laws" / "vn" / "test.yaml"
    law.write_text(law.read_text().replace("rules:\n", f"{head}rules:\n", 1))
    policy = load_policy(file)
    record = row("1", "an", "account", {"account_end": NOW})
    judged = terms_of(policy).judge(record, "people", sink_of(policy, "vn"), covered())
    assert judged.retained.until == NOW + 2 * DAY - early * 3_600_000_000


def test_an_event_of_the_operator_ends_a_floor_under_its_own_law_once_it_has_happened(tmp_path: Path) -> None:
    policy = policy_in(tmp_path, (KEPT.replace("account_end", "order"),))
    record, sink = row("1", "an", "account"), sink_of(policy, "vn")

    def until(event: Event) -> int | None:
        terms = terms_of(policy, facts=replace(policy.facts, events=(event,)))
        return terms.judge(record, "people", sink, covered()).retained.until

    assert until(Event("order", "VN", LONG_AGO)) == LONG_AGO + 11 * DAY
    assert until(Event("order", "SG", LONG_AGO)) == OPEN
    assert until(Event("order", "VN", NOW + DAY)) == OPEN


@pytest.mark.parametrize("turned", [1, -1])
def test_of_several_events_of_a_kind_the_last_holds_and_the_first_limits(tmp_path: Path, turned: int) -> None:
    limited = LIMITED.replace("erasure_request", "order")
    policy = policy_in(tmp_path, (KEPT.replace("account_end", "order"), limited))
    record, sink = row("1", "an", "account"), sink_of(policy, "vn")
    events = (Event("order", "VN", LONG_AGO), Event("order", "VN", LATELY), Event("order", "VN", NOW + DAY))[::turned]
    judged = terms_of(policy, facts=replace(policy.facts, events=events)).judge(record, "people", sink, covered())
    assert judged.retained.until == LATELY + 11 * DAY
    assert judged.limit is not None
    assert LONG_AGO < judged.limit < LATELY
    assert not judged.retained.may_erase(NOW)


ADS = """
  - id: test.ads
    article: art. 15
    text: What was collected for advertising goes after 30 days, and its proof stays for 90.
    applies: {anchor: territory, data: [personal], purpose: ads}
    duty: {retain: [{at_most: 30 days, from: creation}]}
  - id: test.proof
    article: art. 16
    text: What was collected for advertising can be proved for 10 days.
    applies: {anchor: territory, data: [account], purpose: ads}
    duty: {retain: [{at_least: 10 days, from: creation}]}
"""


@pytest.mark.parametrize(
    ("purposes", "limited", "held"),
    [(["ads"], True, True), (["ads", "care"], False, True), (["care"], False, False), ([], True, True)],
)
def test_what_one_purpose_no_longer_needs_stays_for_another_and_a_floor_of_any_holds(
    tmp_path: Path, purposes: list[str], limited: bool, held: bool
) -> None:
    route = '  - {route: "POST /people", subject: app, data: [personal, account], store: people}\n'
    routes = [
        route.replace("/people", f"/{purpose}").replace("store:", f"purpose: {purpose}, store:") for purpose in purposes
    ]
    policy = policy_in(tmp_path, (ADS,), DEPLOYMENT.replace(route, "".join(routes) or route))
    terms, times = terms_of(policy), {"creation": LONG_AGO}
    person = terms.judge(row("1", "an", times=times), "people", sink_of(policy, "vn"), covered())
    assert (person.retained.must_erase(NOW), person.ceilings) == (limited, ("test.ads",) if limited else ())
    account = terms.judge(row("1", "an", "account", {"creation": LATELY}), "people", sink_of(policy, "vn"), covered())
    assert (account.retained.may_erase(NOW), account.floors) == (not held, ("test.proof",) if held else ())


ALSO = """
  - id: sg.floor
    article: art. 1
    text: Accounts are kept for twenty days after they end, as long as in Vietnam, and for a day after they are made.
    applies: {anchor: citizenship, data: [account]}
    duty:
      retain:
        - {at_least: 20 days, from: account_end}
        - {at_least: 10 days, from: account_end}
        - {at_most: 3 days, from: erasure_request}
  - id: sg.unless
    article: art. 2
    text: What nobody agreed to is gone in a day.
    applies: {anchor: citizenship, data: [account], unless: ["consent:storage"]}
    duty: {retain: [{at_most: 1 day, from: erasure_request}]}
"""


@pytest.fixture(scope="module")
def two_laws(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("two")
    more = [("laws: [vn/test]", "laws: [vn/test, sg/test]")]
    file = write_deployment(folder, DEPLOYMENT, (KEPT, LIMITED), more)
    (folder / "laws" / "sg").mkdir()
    text = (folder / "laws" / "vn" / "test.yaml").read_text()
    head = text.partition("rules:\n")[0].replace("jurisdiction: VN", "jurisdiction: SG")
    (folder / "laws" / "sg" / "test.yaml").write_text(f"{head}rules:\n{ALSO}")
    return load_policy(file)


def test_of_two_laws_the_longest_floor_and_the_shortest_ceiling_count(two_laws: Policy) -> None:
    both = AnchorFinding(frozenset({"SG"}), frozenset(), Trust.VERIFIED)
    who = covered({"erasure_request": LONG_AGO})
    who = who._replace(finding=replace(who.finding, citizenship=both))
    record, sink = row("1", "an", "account", {"account_end": LATELY}), sink_of(two_laws, "vn")
    judged = terms_of(two_laws).judge(record, "people", sink, who)
    assert (judged.retained.until, judged.floors) == (LATELY + 21 * DAY, ("sg.floor",))
    assert (judged.limit, judged.ceilings) == (LONG_AGO + 4 * DAY, ("sg.floor",))  # what evidence may lift is left out


def test_a_law_that_does_not_cover_asks_nothing_though_its_words_are_the_same(two_laws: Policy) -> None:
    record, sink = row("1", "an", "account", {"account_end": LATELY}), sink_of(two_laws, "vn")
    judged = terms_of(two_laws).judge(record, "people", sink, covered())
    assert (judged.retained.until, judged.floors) == (LATELY + 11 * DAY, ("test.floor",))


def test_nobody_whom_no_law_covers_is_limited_or_held(policy: Policy) -> None:
    abroad = covered({"erasure_request": LONG_AGO}, place="SG")
    judged = terms_of(policy).judge(row("1", "an", "account"), "people", sink_of(policy, "vn"), abroad)
    assert (judged.retained.until, judged.limit) == (None, None)


@given(
    ended=st.none() | st.integers(0, 60),
    asked=st.none() | st.integers(0, 60),
    created=st.none() | st.integers(0, 60),
    sink=st.sampled_from(["vn", "sg", "old"]),
    name=st.sampled_from(["person", "account"]),
)
def test_a_record_goes_only_past_a_ceiling_and_never_below_a_floor(
    policy: Policy, ended: int | None, asked: int | None, created: int | None, sink: str, name: str
) -> None:
    times = {
        word: NOW - days * DAY for word, days in (("account_end", ended), ("creation", created)) if days is not None
    }
    who = covered({} if asked is None else {"erasure_request": NOW - asked * DAY})
    judged = terms_of(policy).judge(row("1", "an", name, times), "people", sink_of(policy, sink), who)
    held = name == "account" and (ended is None or ended <= 10)
    past = (asked is not None and asked > 5) or (sink == "old" and created is not None and created > 30)
    assert judged.retained.may_erase(NOW) is not held
    assert judged.retained.must_erase(NOW) is (past and not held)
