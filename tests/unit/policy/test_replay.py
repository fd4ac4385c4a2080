"""A changed rule flips exactly the decisions it is about; what cannot be decided again is a gap, never "the same"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from residency.model import AnchorFinding, Effect, FactSet, Finding, StopOrder, Trust
from residency.policy.archive import facts_digest
from residency.policy.compiler import Policy
from residency.policy.recorded import Change, Recorded, When
from residency.policy.replay import Gap, Replayed, Replayer
from tests.world import HOME, load_policy, write_deployment

NOW, IN_2030 = 1_800_000_000_000_000, 1_900_000_000_000_000
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
exempt: [GET /healthz]
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "POST /posts", subject: app, data: [content], operation: post, store: people}
  - {route: "GET /posts", subject: app, data: [content], store: people}
  - {route: "GET /posts/{id}", subject: app, data: [content], store: people}
"""
PHONE = """
  - id: test.phone
    article: art. 2
    text: Who publishes is verified.
    applies: {anchor: territory, data: [content], operation: post}
    duty: {require: [["identity:phone"]]}
"""
DENY = HOME.replace("test.home", "test.deny").replace("only: [VN]", "effect: deny").replace("personal", "content")
ELSE = DENY.replace("test.deny", "test.else").replace("[content]", "[relationship]")
EID = PHONE.replace("identity:phone", "identity:eid")
AT = {
    place: Finding(territory=found, citizenship=found, residence=found, collection=found)
    for place in ("VN", "SG")
    for found in [AnchorFinding(frozenset({place}), trust=Trust.NETWORK)]
}
ROUTES = ["POST /people", "POST /posts", "GET /posts", "GET /posts/{id}", None]
CASES = [(route, place, phone) for route in ROUTES for place in ("VN", "SG") for phone in (False, True)]
Make = Callable[..., Policy]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A policy of these rules, with (old, new) changes of the deployment's text."""

    def made(*rules: str, change: Sequence[tuple[str, str]] = ()) -> Policy:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return load_policy(write_deployment(folder, DEPLOYMENT, rules, change))

    return made


def later(rule: str) -> str:
    """The rule, in force from 2030 on."""
    return rule.replace("article:", "in_force: {from: 2030-01-01}\n    article:")


def record(policy: Policy, route: str | None, place: str, evidence: frozenset[str], now: int = NOW) -> Recorded:
    """What an entry tells of the decision that `policy` makes."""
    activity = None if route is None else next(a for a in policy.deployment.activities if a.name == route)
    finding = replace(AT[place], presume=policy.deployment.presume)
    decision = policy.decide(activity, finding, evidence, policy.facts, now)
    return Recorded(
        of="decision" if decision.permitted else "refusal",
        activity=route,
        finding=AT[place],
        evidence=decision.evidence,
        sink=None,
        policy=policy.digest,
        facts=facts_digest(policy.facts),
        effect=decision.effect.word,
        reason=None if decision.reason is None else decision.reason.value,
        mode=decision.mode,
        rules=tuple(rule.id for rule in decision.rules),
        observed=tuple(rule.id for rule in decision.observed),
        jurisdictions=decision.jurisdictions,
        presumed=decision.presumed,
    )


def replayer(policy: Policy, candidate: Policy | None = None, at: int | None = None) -> Replayer:
    """Of a log that names this policy and its facts alone."""
    facts = {facts_digest(policy.facts): policy.facts}
    return Replayer({policy.digest: policy}.get, facts.get, candidate, at=at)


def changed(policy: Policy, candidate: Policy, at: int | None = None) -> dict[tuple[str | None, str, bool], Change]:
    """The changes of all cases, none of which is wrong or a gap."""
    judge = replayer(policy, candidate, at)
    found = {}
    for route, place, phone in CASES:
        evidence = frozenset({"identity:phone"}) if phone else frozenset[str]()
        answer = judge.replay(record(policy, route, place, evidence), When(NOW))
        assert (answer.gap, answer.wrong) == (None, ())
        if answer.change is not None:
            found[route, place, phone] = answer.change
    return found


def test_under_its_own_policy_nothing_changes(make: Make) -> None:
    policy = make(HOME, PHONE)
    assert changed(policy, policy) == {}


def test_a_rule_taken_away_flips_exactly_the_decisions_that_it_refused(make: Make) -> None:
    flipped = changed(make(HOME, PHONE), make(HOME))
    # Who had shown a phone was permitted before: of them only the duty is another.
    assert {case: each.what for case, each in flipped.items()} == {
        ("POST /posts", "VN", False): ("effect", "reason", "sinks", "missing", "duty", "rules"),
        ("POST /posts", "VN", True): ("duty", "rules"),
    }
    flip = flipped["POST /posts", "VN", False]
    assert (flip.before, flip.after) == (("deny", "identity_missing"), ("permit", None))
    assert (flip.activity, flip.lost, flip.gained) == ("POST /posts", ("test.phone",), ())


def test_a_rule_added_flips_exactly_the_decisions_that_it_is_about(make: Make) -> None:
    flipped = changed(make(HOME, PHONE), make(HOME, PHONE, DENY))
    assert {case for case, each in flipped.items() if "effect" in each.what} == {
        ("POST /posts", "VN", True), ("GET /posts", "VN", False), ("GET /posts", "VN", True),
        ("GET /posts/{id}", "VN", False), ("GET /posts/{id}", "VN", True),
    }  # fmt: skip
    assert flipped["POST /posts", "VN", False].what == ("reason", "duty", "rules")
    assert all(each.gained == ("test.deny",) for each in flipped.values())


def test_a_sink_that_data_may_no_longer_go_to_is_a_change(make: Make) -> None:
    policy = make(HOME)
    flipped = changed(policy, make(HOME.replace("[personal]", "[content]")))
    assert flipped["POST /people", "VN", False].sinks_before == ("vn",)
    assert flipped["POST /people", "VN", False].sinks_after == ("sg", "vn")
    assert {case[0] for case in flipped} == {"POST /people", "POST /posts", "GET /posts", "GET /posts/{id}"}
    assert {case[1] for case in flipped} == {"VN"}


def test_what_an_act_on_a_sink_may_do_is_compared_at_that_sink(make: Make) -> None:
    policy, candidate = make(ELSE), make(ELSE, HOME)
    recorded = replace(record(policy, "POST /people", "VN", frozenset()), of="intent", sink="sg")
    change = replayer(policy, candidate).replay(recorded, When(NOW)).change
    assert change is not None
    assert (change.before, change.after) == (("permit", None), ("deny", "only_in_country"))
    assert (change.sink, change.gained) == ("sg", ("test.home",))


def test_a_sink_that_the_candidate_does_not_have_refuses_its_acts(make: Make) -> None:
    policy, candidate = make(ELSE), make(ELSE, change=[("[sg, vn]", "[vn]")])
    recorded = replace(record(policy, "POST /people", "VN", frozenset()), of="intent", sink="sg")
    change = replayer(policy, candidate).replay(recorded, When(NOW)).change
    assert change is not None
    assert change.after == ("deny", "no_sink")


def test_a_name_alone_is_no_change_of_what_happens(make: Make) -> None:
    flipped = changed(make(HOME, PHONE), make(HOME, PHONE.replace("test.phone", "test.telephone")))
    assert {case[0] for case in flipped} == {"POST /posts"}
    assert all(each.only_cited and each.lost == ("test.phone",) for each in flipped.values())


def test_another_mode_is_a_change_of_every_decision(make: Make) -> None:
    flipped = changed(make(HOME), make(HOME, change=[("mode: enforce", "mode: observe")]))
    assert set(flipped) == set(CASES)
    assert all(each.what == ("mode",) for each in flipped.values())


def test_a_rule_of_another_day_changes_nothing_until_that_day_is_asked_about(make: Make) -> None:
    policy, candidate = make(HOME), make(HOME, later(DENY))
    assert changed(policy, candidate) == {}
    flipped = changed(policy, candidate, at=IN_2030)
    assert set(flipped) == {case for case in CASES if case[0] not in (None, "POST /people") and case[1] == "VN"}


def test_an_activity_is_found_again_by_its_route_whatever_it_is_called(make: Make) -> None:
    policy = make(HOME, PHONE)
    renamed = [
        ("GET /posts/{id}", "GET /posts/{post}"),
        ('{route: "POST /people"', '{route: "POST /people", name: join'),
    ]
    assert changed(policy, make(HOME, PHONE, change=renamed)) == {}
    wider = make(HOME, PHONE, change=[("/posts/{id}", "/posts/{rest:path}")])
    answer = replayer(policy, wider).replay(record(policy, "GET /posts/{id}", "VN", frozenset()), When(NOW))
    assert (answer.gap, answer.change) == (None, None)


def test_a_route_that_the_candidate_exempts_or_does_not_name_is_a_change(make: Make) -> None:
    policy = make(HOME)
    line = '  - {route: "GET /posts", subject: app, data: [content], store: people}\n'
    exempt = make(HOME, change=[(line, ""), ("GET /healthz", '"GET /posts"')])
    dropped = make(HOME, change=[(line, "")])
    recorded = record(policy, "GET /posts", "VN", frozenset())
    for candidate, after in ((exempt, ("exempt", None)), (dropped, ("deny", "unclassified_route"))):
        change = replayer(policy, candidate).replay(recorded, When(NOW)).change
        assert change is not None
        assert (change.before, change.after) == (("permit", None), after)


def test_a_route_that_nobody_named_cannot_be_replayed_where_routes_were_changed(make: Make) -> None:
    policy = make(HOME)
    candidate = make(HOME, change=[("exempt: [GET /healthz]", "exempt: [GET /health]")])
    recorded = record(policy, None, "VN", frozenset())
    assert replayer(policy, candidate).replay(recorded, When(NOW)).gap is Gap.ROUTE_NOT_RECORDED
    assert replayer(policy, policy).replay(recorded, When(NOW)).gap is None


def test_evidence_that_nobody_recorded_is_a_gap_exactly_where_it_could_matter(make: Make) -> None:
    policy, candidate = make(HOME, PHONE), make(HOME, EID)
    judge = replayer(policy, candidate)
    verified = frozenset({"identity:phone"})
    found = {case[:2]: judge.replay(record(policy, case[0], case[1], verified), When(NOW)) for case in CASES}
    answer = found.pop(("POST /posts", "VN"))
    assert (answer.gap, answer.unrecorded) == (Gap.EVIDENCE_NOT_RECORDED, ("identity:eid",))
    assert {each.gap for each in found.values()} == {None}
    # The regional detail tells all the evidence there was.
    known = replace(record(policy, "POST /posts", "VN", verified), all_evidence=verified | {"identity:eid"})
    change = judge.replay(known, When(NOW)).change
    assert change is not None
    assert change.what == ("duty",)


@pytest.mark.parametrize(
    ("answers", "gap"),
    [(None, Gap.POLICY_MISSING), ("it is torn", Gap.POLICY_UNREADABLE)],
)
def test_a_policy_that_is_not_there_is_a_gap(make: Make, answers: str | None, gap: Gap) -> None:
    policy = make(HOME)
    judge = Replayer({policy.digest: answers}.get, lambda digest: FactSet(0), policy)
    assert judge.replay(record(policy, "POST /people", "VN", frozenset()), When(NOW)) == Replayed(gap)


def test_facts_that_are_not_there_are_a_gap(make: Make) -> None:
    policy = make(HOME)
    judge = Replayer({policy.digest: policy}.get, {facts_digest(policy.facts): None}.get, policy)
    recorded = record(policy, "POST /people", "VN", frozenset())
    assert judge.replay(recorded, When(NOW)).gap is Gap.FACTS_UNKNOWN
    assert judge.replay(replace(recorded, facts=None), When(NOW)).gap is Gap.FACTS_UNKNOWN


def test_orders_of_the_day_hold_for_the_candidate_too_unless_it_brings_another_register(make: Make) -> None:
    policy = make(HOME)
    stopped = replace(policy.facts, epoch=3, stop_orders=(StopOrder("7", "vn", 0),))
    recorded = record(policy, "POST /people", "SG", frozenset())
    recorded = replace(recorded, facts=facts_digest(stopped), of="intent", sink="vn")
    recorded = replace(recorded, effect="deny", reason="stop_order", of="refusal")
    judge = Replayer({policy.digest: policy}.get, {facts_digest(stopped): stopped}.get, policy)
    answer = judge.replay(recorded, When(NOW))
    assert (answer.gap, answer.wrong, answer.change) == (None, (), None)


def test_what_came_up_beside_the_register_of_the_time_holds_beside_the_candidates(make: Make, tmp_path: Path) -> None:
    policy = make(HOME)
    (tmp_path / "register.yaml").write_text(
        "residency: 1\nkind: register\nname: r\nfilings:\n"
        "  - {kind: vn.dossier, number: A-1, date: 2026-01-01, result: passed}\n"
    )
    candidate = make(HOME, change=[("laws: [vn/test]", "laws: [vn/test]\nregisters: [../register.yaml]")])
    stopped = replace(policy.facts, epoch=3, stop_orders=(StopOrder("7", "vn", 0),))
    recorded = replace(record(policy, "GET /posts", "SG", frozenset()), facts=facts_digest(stopped))
    recorded = replace(recorded, of="refusal", sink="vn", effect="deny", reason="stop_order", rules=())
    answer = Replayer({policy.digest: policy}.get, {facts_digest(stopped): stopped}.get, candidate).replay(
        recorded, When(NOW)
    )
    assert (answer.gap, answer.wrong, answer.change) == (None, (), None)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"effect": "permit", "reason": None}, "effect"), ({"reason": "hold"}, "reason"), ({"rules": ()}, "rules"),
        ({"jurisdictions": ()}, "jurisdictions"), ({"presumed": ("VN:territory",)}, "presumed"),
        ({"observed": ("x.y",)}, "observed"), ({"mode": "observe"}, "mode"), ({"activity": "GET /else"}, "activity"),
        ({"evidence": frozenset({"identity:phone"})}, "effect"), ({"sink": "nowhere"}, "sink"),
        ({"finding": AT["SG"]}, "jurisdictions"), ({"outranked": ("x.y",)}, "outranked"),
        ({"exempted": ("x.y",)}, "exempted"), ({"exemptions": ("X-7",)}, "exemptions"),
        ({"running": ("clock:first_transfer.VN/60-days",)}, "running"),
    ],
)  # fmt: skip
def test_a_record_that_its_own_policy_does_not_give_is_wrong(make: Make, change: dict[str, object], field: str) -> None:
    policy = make(HOME, PHONE)
    recorded = record(policy, "POST /posts", "VN", frozenset())
    judge = replayer(policy, make(HOME))
    assert judge.replay(recorded, When(NOW)).wrong == ()
    answer = judge.replay(replace(recorded, **change), When(NOW))  # type: ignore[arg-type]
    assert field in answer.wrong
    assert answer.change is None


def test_an_act_that_an_enforcing_policy_refuses_is_wrong_however_it_is_told(make: Make) -> None:
    policy = make(HOME)
    recorded = record(policy, "POST /people", "VN", frozenset())
    for effect, reason in (("deny", None), ("permit", None), ("deny", "subject_unknown")):
        act = replace(recorded, of="intent", sink="sg", effect=effect, reason=reason)
        assert replayer(policy).replay(act, When(NOW)).wrong


def test_a_refusal_at_the_act_by_what_the_log_does_not_hold_is_no_wrong_record(make: Make) -> None:
    policy = make(HOME)
    recorded = record(policy, "POST /people", "VN", frozenset())
    for reason in ("subject_unknown", "not_home", "facts_moved"):
        refusal = replace(recorded, of="refusal", effect=Effect.DENY.word, reason=reason, rules=())
        assert replayer(policy).replay(refusal, When(NOW)).wrong == ()
        assert replayer(policy).replay(replace(refusal, of="decision"), When(NOW)).wrong


def test_the_instant_decides_and_not_the_order_in_which_entries_are_asked_about(make: Make) -> None:
    policy = make(HOME, later(PHONE))
    before, after = NOW, IN_2030
    permitted = record(policy, "POST /posts", "VN", frozenset(), before)
    refused = record(policy, "POST /posts", "VN", frozenset(), after)
    judge = replayer(policy)
    for now, right, not_right in (
        (before, permitted, refused),
        (after, refused, permitted),
        (before, permitted, refused),
    ):
        assert judge.replay(right, When(now)).wrong == ()
        assert judge.replay(not_right, When(now)).wrong
