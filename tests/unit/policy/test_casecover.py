"""Coverage: which rules could have spoken on the days asked about, and which of them no test met."""

from __future__ import annotations

from residency.policy.casecover import covered
from tests.case_world import outcomes, policy

READ = "activity: 'GET /people/{id}', expect: {effect: permit}"
POST = "activity: posting, expect: {effect: deny}"


def unmet(*texts: str) -> set[str]:
    return {rule.id for rule in covered(policy(), outcomes(*texts)).unmet}


def test_a_rule_that_no_test_met_is_named_whether_it_binds_or_not() -> None:
    assert unmet(READ) == {"vn.post", "vn.move", "vn.important", "vn.order", "vn.old"}
    assert unmet(READ.replace("expect", "territory: SG network, expect")) >= {"vn.copy", "vn.idea"}


def test_a_rule_that_could_not_have_spoken_is_not_counted() -> None:
    found = covered(policy(), outcomes(READ))
    # Without vn.agencies, for we are none; vn.japan, for no sink lies there; vn.later and vn.asked, which no test asks
    # about. With vn.old, although it has ended: data may be of its time.
    assert found.rules == 7
    assert "vn.later" in unmet("date: 2027-06-01, territory: SG network, " + READ)


def test_everything_met_is_a_whole() -> None:
    all_of_them = (
        READ,
        POST,
        "activity: posting, evidence: identity:phone, expect: {effect: permit}",
        f"citizenship: VN verified, events: [{{kind: first_transfer, jurisdiction: VN, date: 2026-01-01}}], {READ}",
        f"escalations: vn.many, {READ}",
        f"orders: [vn.stop], {READ}",
    )
    found = covered(policy(), outcomes(*all_of_them))
    assert (found.unmet, found.rule_share, found.cell_share) == ((), 1.0, 1.0)


def test_a_cell_is_an_activity_under_a_law() -> None:
    found = covered(policy(), outcomes(READ))
    assert (found.cells, found.unmet_cells) == (2, (("posting", "one"),))
    assert found.cell_share == 0.5


def test_without_tests_that_decide_there_is_nothing_to_cover() -> None:
    found = covered(policy(), outcomes("route: GET /healthz, expect: {effect: exempt}"))
    assert (found.rules, found.rule_share, found.cell_share) == (0, 1.0, 1.0)
