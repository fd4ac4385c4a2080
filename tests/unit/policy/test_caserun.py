"""Cases are judged: what holds says nothing, what does not says what was expected, what came, and by which rule."""

from __future__ import annotations

import pytest

from residency.errors import PolicyError
from residency.policy.caserun import check_names
from tests.case_world import HEAD, cases, outcome, outcomes, policy

READ = "activity: 'GET /people/{id}'"
CITIZEN = "citizenship: VN verified"
HOLDS = [
    f"{READ}, expect: {{effect: permit, first: people-vn, permitted: [people-sg, people-vn], rules: vn.copy}}",
    f"{READ}, escalations: vn.many, expect: {{permitted: people-vn, refused: {{people-sg: only_in_country}}}}",
    f"{READ}, expect: {{observed: vn.idea, jurisdictions: VN, presumed: [], unmet: [], outranked: []}}",
    f"{READ}, expect: {{duties: {{copies: VN, only: anywhere, log: {{includes: ip, excludes: port}}}}}}",
    f"{READ}, expect: {{duties: {{retain: personal at_least 24 months from last_use}}}}",
    f"{READ}, expect: {{duties: {{deadlines: subject.reply within 2 working days from request}}}}",
    "route: GET /people/42, expect: {effect: permit}",
    "route: GET /healthz, expect: {effect: exempt}",
    "route: GET /nothing, expect: {effect: deny, reason: unclassified_route}",
    "route: GET /a//people, expect: {effect: deny, reason: path_ambiguous}",
    "activity: posting, expect: {effect: deny, reason: identity_missing, unmet: [identity:phone or identity:eid]}",
    "activity: posting, evidence: identity:phone, expect: {effect: permit, duties: {first_write: [], require: "
    "{includes: [identity:eid or identity:phone]}}}",
    "activity: posting, claims: {verified_by: phone}, expect: {effect: permit}",
    "activity: posting, claims: {verified_by: phone}, claims_verified: false, expect: {effect: deny}",
    "activity: posting, territory: LA verified, expect: {effect: permit, rules: []}",
    "activity: posting, territory: [], address: 192.0.2.1, expect: {effect: permit, rules: []}",
    f"{READ}, {CITIZEN}, expect: {{clocks: first_transfer.VN/60-days}}",
    f"{READ}, {CITIZEN}, date: 2026-05-01, territory: SG network, expect: {{permitted: [people-sg, people-vn]}}",
    f"{READ}, {CITIZEN}, territory: SG network, events: [{{kind: first_transfer, jurisdiction: VN, date: 2026-01-01}}],"
    "expect: {refused: {people-sg: {reason: filing_missing, rules: vn.move, unmet: 'filing:vn.dossier'}}}",
    f"{READ}, {CITIZEN}, date: 2026-03-15, expect: {{exempted: vn.move, exemptions: EX-1}}",
    f"{READ}, {CITIZEN}, date: 2026-03-15, register: empty, expect: {{exempted: [], exemptions: []}}",
    f"{READ}, {CITIZEN}, exemptions: [{{rules: vn.move, number: X}}], expect: {{exemptions: X}}",
    f"{READ}, escalations: vn.many, expect: {{rules: [vn.copy, vn.important], duties: {{only: VN}}}}",
    f"{READ}, orders: [vn.stop], expect: {{effect: deny, reason: law_forbids, rules: {{includes: vn.order}}}}",
    f"{READ}, {CITIZEN}, orders: [vn.stop], expect: {{rules: vn.order}}",
    "activity: posting, evidence: identity:phone, collected: 2026-03-01, expect: {duties: {label: old}}",
    "activity: posting, evidence: identity:phone, collected: 2026-09-01, expect: {duties: {label: []}}",
    "activity: posting, evidence: identity:phone, collected: 2026-09-01, requested: 2026-06-30, expect: "
    "{duties: {label: asked}}",
    f"{READ}, stop_orders: [people-vn], expect: {{refused: {{people-vn: stop_order}}}}",
    f"{READ}, date: 2027-01-02, expect: {{effect: hold}}",
    f"{READ}, read_from: SG, escalations: vn.many, expect: {{effect: deny, reason: only_in_country}}",
    f"{READ}, read_from: [VN], escalations: vn.many, expect: {{effect: permit}}",
    f"{READ}, {CITIZEN}, read_from: ZZ, expect: {{effect: permit, rules: {{includes: vn.move}}, "
    "clocks: first_transfer.VN/60-days}",
]


@pytest.mark.parametrize("text", HOLDS)
def test_what_is_as_expected_says_nothing(text: str) -> None:
    assert outcome(text) == []


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (f"{READ}, expect: {{effect: deny}}", "effect: expected deny, got permit"),
        ("activity: posting, expect: {effect: permit}", "effect: expected permit, got deny (identity_missing)"),
        ("activity: posting, expect: {reason: conflict}", "reason: expected conflict, got identity_missing"),
        (f"{READ}, expect: {{first: people-sg}}", "first: expected people-sg, got people-vn"),
        (f"{READ}, expect: {{permitted: []}}", "permitted: expected none, got with people-sg, people-vn"),
        (f"{READ}, expect: {{permitted: people-sg}}", "permitted: expected people-sg, got with people-vn"),
        (f"{READ}, expect: {{refused: {{people-vn: not_home}}}}", "refused.people-vn: expected not_home, got permit"),
        (
            f"{READ}, escalations: vn.many, expect: {{refused: {{people-sg: conflict}}}}",
            "refused.people-sg.reason: expected conflict, got only_in_country",
        ),
        (f"{READ}, expect: {{rules: vn.post}}", "rules: expected vn.post, got without vn.post"),
        (f"{READ}, expect: {{rules: {{excludes: vn.copy}}}}", "rules: expected none, not vn.copy, got with vn.copy"),
        (f"{READ}, expect: {{duties: {{log: ipp}}}}", "duties.log: expected ipp, got without ipp; did you mean `ip`?"),
        (f"{READ}, expect: {{presumed: 'VN:territory'}}", "presumed: expected VN:territory, got without VN:territory"),
        ("route: GET /healthz, expect: {effect: permit}", "effect: expected permit, got exempt"),
        (
            "route: GET /healthz, expect: {rules: []}",
            "rules: expected a decision, got none: the request is exempt before any rule",
        ),
    ],
)
def test_what_is_not_as_expected_says_what_came(text: str, failure: str) -> None:
    assert outcome(text)[0].startswith(failure)


def test_a_failure_cites_the_rules_that_explain_it() -> None:
    (one,) = outcomes("activity: posting, expect: {effect: permit}")
    assert [rule.citation for rule in one.failures[0].rules] == ["Law 1 art. 2"]
    (two,) = outcomes(f"{READ}, expect: {{rules: vn.post}}")
    assert {rule.id for rule in two.failures[0].rules} == {"vn.copy", "vn.post"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("activity: postin, expect: {effect: deny}", "unknown activity `postin`; did you mean `posting`"),
        (f"{READ}, expect: {{rules: {{excludes: vn.cop}}}}", "unknown rule `vn.cop`; did you mean `vn.copy`"),
        (f"{READ}, expect: {{first: people-v}}", "unknown sink `people-v`"),
        (f"{READ}, expect: {{permitted: people-v}}", "unknown sink `people-v`"),
        (f"{READ}, expect: {{refused: {{people-v: conflict}}}}", "unknown sink `people-v`"),
        (f"{READ}, expect: {{refused: {{people-sg: {{rules: vn.cop}}}}}}", "unknown rule `vn.cop`"),
        (f"{READ}, stop_orders: [people-v], expect: {{effect: deny}}", "unknown sink `people-v`"),
        (f"{READ}, filings: [{{kind: a, sinks: people-v}}], expect: {{effect: deny}}", "unknown sink `people-v`"),
        (f"{READ}, exemptions: [vn.cop], expect: {{effect: deny}}", "unknown rule `vn.cop`"),
        (f"{READ}, escalations: vn.man, expect: {{effect: deny}}", "unknown escalation `vn.man`"),
    ],
)
def test_a_name_that_the_policy_does_not_know_is_a_mistake_and_no_passing_test(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        check_names(cases(text), policy())


def test_nobody_of_whom_nothing_is_known_is_presumed_as_the_deployment_says() -> None:
    silent = HEAD.replace("territory: VN network", "territory: []")
    assert outcome("activity: posting, expect: {effect: permit, jurisdictions: []}", head=silent) == []
