"""The oracle by hand: one small example for each sentence of ADR 0014 and its letter."""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from residency.model import (
    Activity,
    Anchor,
    AnchorFinding,
    Calendar,
    Clock,
    Conflict,
    Decision,
    Duty,
    Effect,
    Event,
    Exemption,
    FactSet,
    Filing,
    FilingResult,
    Finding,
    Operation,
    Operator,
    Order,
    Presume,
    Protection,
    Reason,
    Region,
    Sink,
    StopOrder,
    SubjectSource,
    Term,
    Trust,
)
from residency.policy.parsed import (
    DeploymentDoc,
    Detector,
    Escalation,
    Grace,
    LawDoc,
    OperatorTest,
    Reading,
    RuleDoc,
    SinkDoc,
    SinkTest,
    Span,
    Transition,
    Trigger,
)
from residency.policy.parsed_signals import Secret
from residency.policy.reference import reference_decide

DAY = 86_400_000_000
NOW = 20_000 * DAY  # 2024-10-04 00:00 UTC, a Friday
VIETNAMESE = Finding(AnchorFinding(frozenset({"VN"}), trust=Trust.NETWORK))
VN = Sink("vn", "r1", "VN", "VN", "VN", True)
SG = Sink("sg", "r2", "SG", "SG", "SG", False, scope="backup")
FORBIDS = Duty(effect=Effect.DENY)
PHONE = frozenset({"identity:phone"})


def asks(*tokens: str) -> Duty:
    return Duty(require=frozenset({frozenset(tokens)}))


def rule(name: str = "r", **fields: Any) -> RuleDoc:
    plain: dict[str, Any] = {
        "article": "art. 1", "text": "t", "text_vi": "", "source": "S", "confidence": "high", "checked": "2026-11-21",
        "mode": "enforce", "span": Span(), "anchors": frozenset({Anchor.TERRITORY}), "duty": FORBIDS,
    }  # fmt: skip
    return RuleDoc(id=name, **plain | fields)


def law(*rules: RuleDoc, **fields: Any) -> LawDoc:
    plain: dict[str, Any] = {
        "name": "l", "jurisdiction": "VN", "instrument": "Act", "title": "", "title_vi": "", "span": Span(),
        "confidence": "high", "checked": "2026-11-21",
    }  # fmt: skip
    return LawDoc(rules=rules, **plain | fields)


def activity(**fields: Any) -> Activity:
    plain: dict[str, Any] = {"data": frozenset({"personal"}), "operation": Operation.READ}
    return Activity("a", "POST", "/a", SubjectSource("app"), **plain | fields)


def deployment(**fields: Any) -> DeploymentDoc:
    plain: dict[str, Any] = {
        "name": "d", "mode": "enforce", "operator": Operator(frozenset({"VN"})), "laws": ("*",), "laws_from": (),
        "registers": (), "presume": (), "regions": {"r1": Region("r1", "VN"), "r2": Region("r2", "SG")},
        "sinks": {s.name: SinkDoc(s, Secret("")) for s in (VN, SG)}, "stores": {"s": ("vn", "sg")}, "activities": (),
    }  # fmt: skip
    return DeploymentDoc(**plain | fields)


def decide(
    *laws: LawDoc | RuleDoc,
    what: Activity | None = activity(),  # noqa: B008 (frozen)
    who: Finding = VIETNAMESE,
    given: frozenset[str] = frozenset(),
    facts: FactSet = FactSet(0),  # noqa: B008 (frozen)
    where: DeploymentDoc = deployment(),  # noqa: B008 (frozen)
    now: int = NOW,
    requested: int | None = None,
    collected: int | None = None,
) -> Decision:
    rules = tuple(one for one in laws if isinstance(one, RuleDoc))
    chosen = [*(one for one in laws if isinstance(one, LawDoc)), *([law(*rules)] if rules else [])]
    return reference_decide(where, chosen, "digest", what, who, given, facts, now, requested, collected)


def speaks(*laws: LawDoc | RuleDoc, **question: Any) -> bool:
    return decide(*laws, **question).reason is Reason.LAW_FORBIDS


def named(decision: Decision, field: str) -> list[str]:
    return [ref.id for ref in getattr(decision, field)]


STORED = activity(stores=("s",))


# -- standing: time, triggers, readings, modes


@pytest.mark.parametrize(
    ("clock", "times", "held"),
    [
        ("evaluation", {"now": NOW}, True),
        ("evaluation", {"now": NOW + DAY}, False),
        ("evaluation", {"now": NOW + DAY, "requested": NOW, "collected": NOW}, False),
        ("request", {"now": NOW + DAY, "requested": NOW}, True),
        ("request", {"now": NOW + DAY}, False),
        ("collection", {"now": NOW + DAY, "collected": NOW}, True),
        ("collection", {"now": NOW, "collected": NOW - 1}, False),
        ("collection", {"now": NOW + 9 * DAY}, True),
        ("collection", {"now": NOW - 1}, False),
    ],
)
def test_the_rules_own_clock_decides_at_which_time_its_span_is_read(
    clock: str, times: dict[str, int], held: bool
) -> None:
    span = Span(NOW, NOW + DAY)
    assert speaks(rule(span=span, clock=clock), **times) is held
    assert speaks(law(rule(clock=clock), span=span), **times) is held


def test_a_trigger_waits_for_an_order_and_its_term_and_ends_when_the_order_is_lifted() -> None:
    waiting = rule(trigger=Trigger("vn.order", Term(days=2)))
    order = Order("vn.order", "1", NOW, lifted=NOW + 10 * DAY)
    facts = FactSet(0, orders=(replace(order, kind="eu.order"), order))
    assert not speaks(waiting)
    assert not speaks(waiting, facts=facts, now=NOW + 3 * DAY - 1)  # the days of the order, one and two have to be over
    assert speaks(waiting, facts=facts, now=NOW + 3 * DAY)
    assert not speaks(waiting, facts=facts, now=NOW + 10 * DAY)
    assert speaks(rule(trigger=Trigger("vn.order")), facts=facts)


def test_a_reading_is_the_deployments_else_the_laws_default() -> None:
    open_question = {"scope": Reading("?", ("broad", "narrow"), "narrow")}
    broad = law(rule(reading=(("scope", "broad"),)), readings=open_question)
    assert not speaks(broad)
    assert speaks(broad, where=deployment(readings={"scope": "broad"}))
    assert speaks(law(rule(reading=(("scope", "narrow"),)), readings=open_question))
    assert not speaks(rule(reading=(("scope", "narrow"),)))


@pytest.mark.parametrize(
    ("where", "now", "mode"),
    [
        ({}, NOW - 1, "observe"),
        ({}, NOW, "enforce"),
        ({"modes": {"r": "warn"}}, NOW, "warn"),
        ({"modes": {"r": "warn"}, "modes_from": {"r": ((NOW, "enforce"),)}}, NOW, "enforce"),
        ({"modes_from": {"r": ((NOW - 9, "off"), (NOW + 1, "enforce"))}}, NOW, "off"),
    ],
)
def test_modes_go_by_date_and_the_deployments_word_outranks_the_rules(
    where: dict[str, Any], now: int, mode: str
) -> None:
    dated = rule(mode="observe", mode_from=((NOW, "enforce"),))
    decision = decide(dated, where=deployment(**where), now=now)
    assert (decision.reason is Reason.LAW_FORBIDS) is (mode == "enforce")
    assert [ref.mode for ref in decision.observed] == ([mode] if mode in ("observe", "warn") else [])
    assert decision.jurisdictions == (() if mode == "off" else ("VN",))


def test_a_transition_waits_for_those_in_use_before_and_for_its_sectors() -> None:
    late = rule(transitions=(Transition(NOW + DAY, in_use_before=NOW - DAY),))
    health = rule(transitions=(Transition(NOW + DAY, sectors=frozenset({"health"})),))
    assert not speaks(late, what=activity(since=NOW - DAY - 1))
    assert speaks(late, what=activity(since=NOW - DAY))
    assert speaks(late)  # since when is not known
    assert speaks(late, what=activity(since=0), now=NOW + DAY)
    assert speaks(health)
    assert not speaks(health, where=deployment(operator=Operator(frozenset({"VN"}), sectors=frozenset({"health"}))))
    assert not speaks(rule(transitions=(Transition(NOW), Transition(NOW + 1))))
    assert not speaks(rule(clock="collection", transitions=(Transition(NOW),)), collected=NOW - 1)
    assert speaks(rule(clock="collection", transitions=(Transition(NOW),)))


# -- the person


def test_only_signals_of_that_trust_take_a_person_out_of_a_rule_with_excluded_by() -> None:
    def abroad(trust: Trust) -> Finding:
        return Finding(AnchorFinding(frozenset({"US"}), trust=trust))

    strict = rule(excluded_by=Trust.VERIFIED)
    assert speaks(strict, who=abroad(Trust.NETWORK))
    assert decide(strict, who=abroad(Trust.NETWORK)).jurisdictions == ("VN",)
    assert not speaks(strict, who=abroad(Trust.VERIFIED))
    assert not speaks(rule(), who=abroad(Trust.NETWORK))
    unasked = Finding(presume=tuple((anchor, Presume.NOT_COVERED) for anchor in Anchor))
    assert speaks(strict, who=unasked)  # nobody was taken out by a signal
    assert decide(strict, who=unasked).presumed == ()


def test_evidence_that_a_rule_names_takes_it_away() -> None:
    minors = rule(unless=frozenset({"age:at_least_16", "subject:organisation"}))
    assert speaks(minors, given=PHONE)
    assert not speaks(minors, given=frozenset({"subject:organisation"}))
    assert decide(minors, given=frozenset({"age:at_least_16"})).evidence == {"age:at_least_16"}
    of_sinks = rule(unless=frozenset({"sink:encrypted"}), sink=SinkTest("any"))
    assert [v.effect for v in decide(of_sinks, what=STORED).sinks] == [Effect.PERMIT, Effect.DENY]


@pytest.mark.parametrize(
    ("territory", "known"),
    [
        (AnchorFinding(frozenset({"VN"}), trust=Trust.NETWORK), True),
        (AnchorFinding(frozenset({"US"}), trust=Trust.NETWORK), True),
        (AnchorFinding(frozenset(), frozenset({"VN", "US"}), Trust.NETWORK), False),
        (AnchorFinding(frozenset({"US"}), trust=Trust.HINT), False),
        (AnchorFinding(), False),
    ],
)
def test_an_anchor_is_known_where_signals_establish_or_exclude_it(territory: AnchorFinding, known: bool) -> None:
    needs = rule(duty=asks("known:territory.VN"), anchors=frozenset({Anchor.RESIDENCE}), excluded_by=Trust.VERIFIED)
    decision = decide(needs, who=Finding(territory))
    assert (decision.effect is Effect.PERMIT) is known
    assert decision.reason is (None if known else Reason.IDENTITY_MISSING)


# -- the activity and its operator


@pytest.mark.parametrize(
    ("test", "said", "matches"),
    [
        ({"purposes": frozenset({"ads"})}, {"purpose": "ads"}, True),
        ({"purposes": frozenset({"ads"})}, {"purpose": "care"}, False),
        ({"purposes": frozenset({"ads"})}, {}, True),
        ({"bases": frozenset({"consent"})}, {"basis": "contract"}, False),
        ({"bases": frozenset({"consent"})}, {}, True),
        ({"actions": frozenset({"sell"})}, {"actions": frozenset({"sell", "post"})}, True),
        ({"actions": frozenset({"sell"})}, {}, False),
        ({"operations": frozenset({Operation.POST})}, {}, False),
        ({"data": frozenset({"personal"})}, {"data": frozenset({"health"})}, True),
        ({"data": frozenset({"health"})}, {}, False),
        ({"ai": ()}, {}, False),
        ({"ai": ()}, {"ai": (("system", "x"),)}, True),
        ({"ai": (("risk", frozenset({"high"})),)}, {"ai": (("system", "x"),)}, True),
        ({"ai": (("risk", frozenset({"high"})),)}, {"ai": (("risk", "low"),)}, False),
        ({"ai": (("human_review", frozenset({"false"})),)}, {"ai": (("system", "x"),)}, True),
        ({"ai": (("human_review", frozenset({"true"})),)}, {"ai": (("system", "x"),)}, False),
        ({"ai": (("human_review", frozenset({"false"})),)}, {"ai": (("human_review", "true"),)}, False),
    ],
)
def test_what_an_activity_leaves_out_matches_and_sets_are_complete(
    test: dict[str, Any], said: dict[str, Any], matches: bool
) -> None:
    assert speaks(rule(**test), what=activity(**said)) is matches


@pytest.mark.parametrize(
    ("test", "matches"),
    [
        (OperatorTest(size=frozenset({"micro"})), True),  # not said
        (OperatorTest(sector=frozenset({"health"})), False),
        (OperatorTest(critical=False), True),
        (OperatorTest(critical=True), False),
        (OperatorTest(public_body=True), False),
        (OperatorTest(established_in=frozenset({"EU"})), False),
        (OperatorTest(not_established_in=frozenset({"EU"})), True),
        (OperatorTest(not_established_in=frozenset({"VN"})), False),
        (OperatorTest(role=frozenset({"controller"})), False),
        (OperatorTest(service_line=frozenset({"messaging"})), False),
    ],
)
def test_a_rule_asks_the_operator_all_that_it_writes(test: OperatorTest, matches: bool) -> None:
    assert speaks(rule(operator=test)) is matches
    assert speaks(rule(operator=replace(test, critical=True))) is False


def test_a_size_that_is_stated_must_match() -> None:
    large = deployment(operator=Operator(frozenset({"VN"}), size="large"))
    assert not speaks(rule(operator=OperatorTest(size=frozenset({"micro"}))), where=large)


def test_an_escalation_makes_a_category_for_all_laws_of_the_jurisdiction_while_its_own_is_in_force() -> None:
    up = Escalation("vn.e", "art. 1", frozenset({"personal"}), 10, "core", 9, "ever", "high")
    escalates = law(name="k", escalations=(up,), span=Span(None, NOW + DAY))
    core = law(rule(data=frozenset({"important"})))
    facts = FactSet(0, escalated=frozenset({"vn.e"}))
    assert not speaks(escalates, core)
    assert speaks(escalates, core, facts=facts)
    assert not speaks(escalates, core, facts=facts, now=NOW + DAY)
    assert not speaks(escalates, replace(core, jurisdiction="US"), facts=facts, who=Finding())
    assert not speaks(escalates, core, facts=facts, what=activity(data=frozenset({"log"})))


def test_a_detector_finds_a_category_for_its_own_law_by_a_field_or_a_kind_of_media() -> None:
    papers = Detector("identity_document", ("*cccd*",), frozenset({"id_image"}), "cccd", 80)
    forbids = rule(data=frozenset({"sensitive"}))
    assert speaks(law(forbids, detectors=(papers,)), what=activity(fields=frozenset({"So_CCCD"})))
    assert speaks(law(forbids, detectors=(papers,)), what=activity(media=frozenset({"id_image"})))
    assert not speaks(law(forbids, detectors=(papers,)), what=activity(fields=frozenset({"name"})))
    assert not speaks(law(name="k", detectors=(papers,)), law(forbids), what=activity(media=frozenset({"id_image"})))
    # Its own law's escalation sees it too.
    up = Escalation("vn.e", "art. 1", frozenset({"sensitive"}), 10, "core", 9, "ever", "high")
    whole = law(rule(data=frozenset({"core"})), detectors=(papers,), escalations=(up,))
    assert speaks(whole, what=activity(media=frozenset({"id_image"})), facts=FactSet(0, escalated=frozenset({"vn.e"})))


# -- clauses


@pytest.mark.parametrize(
    ("clause", "reason"),
    [
        ({"filing:x", "basis:contract", "ai:portal_id", "contract:y", "portal:z"}, Reason.FILING_MISSING),
        ({"consent:ads", "consent:guardian"}, Reason.CONSENT_MISSING),
        ({"consent:ads", "identity:eid"}, Reason.IDENTITY_MISSING),
        ({"consent:ads", "filing:x"}, Reason.CONSENT_MISSING),
        ({"consent:ads", "basis:contract"}, Reason.CONSENT_MISSING),
        ({"consent:ads", "basis:contract", "age:at_least_16"}, Reason.IDENTITY_MISSING),
        ({"known:citizenship.VN"}, Reason.IDENTITY_MISSING),
        ({"consent:ads", "clock:found.VN/2-days"}, Reason.CONSENT_MISSING),
        ({"clock:found.VN/2-days"}, Reason.FILING_MISSING),
        (set(), Reason.LAW_FORBIDS),
    ],
)
def test_what_is_missing_has_its_own_reason(clause: set[str], reason: Reason) -> None:
    decision = decide(rule(duty=asks(*clause)), rule("other", duty=asks("identity:phone")), given=PHONE)
    assert decision.reason is reason
    assert named(decision, "rules") == ["r"]


@pytest.mark.parametrize(
    ("clause", "reason"),
    [
        ({"sink:encrypted"}, Reason.SINK_UNFIT),
        ({"sink:encrypted", "clock:found.VN/2-days"}, Reason.SINK_UNFIT),
        ({"sink:encrypted", "filing:x"}, Reason.FILING_MISSING),
        ({"sink:encrypted", "identity:eid"}, Reason.IDENTITY_MISSING),
    ],
)
def test_a_clause_about_sinks_is_judged_at_each_sink_and_not_of_the_activity(clause: set[str], reason: Reason) -> None:
    decision = decide(rule(duty=asks(*clause)), what=STORED)
    assert decision.effect is Effect.PERMIT
    assert [(v.sink.name, v.reason) for v in decision.sinks] == [("vn", None), ("sg", reason)]
    assert decide(rule(duty=asks(*clause))).effect is Effect.PERMIT  # with no store there is nothing to be encrypted


def test_filings_give_contracts_and_portals_and_those_of_sinks_only_there() -> None:
    filed = tuple(Filing(kind, "1", NOW, FilingResult.FILED) for kind in ("contract.scc", "portal.ai"))
    both = rule(duty=Duty(require=frozenset({frozenset({"contract:scc"}), frozenset({"portal:ai"})})))
    assert decide(both, facts=FactSet(0, filings=filed)).effect is Effect.PERMIT
    bounded = FactSet(0, filings=tuple(replace(f, sinks=frozenset({"sg"})) for f in filed))
    assert decide(both, facts=bounded).reason is Reason.FILING_MISSING
    abroad = replace(both, sink=SinkTest("abroad"))
    decision = decide(abroad, facts=bounded, what=STORED)
    assert [v.effect for v in decision.sinks] == [Effect.PERMIT, Effect.PERMIT]
    assert decision.evidence == frozenset()


def test_the_consent_to_the_activitys_own_purpose() -> None:
    own = rule(duty=asks("consent:{purpose}"))
    ads = activity(purpose="ads")
    missing = decide(own, what=ads, given=frozenset({"consent:care"}))
    assert (missing.reason, missing.unmet) == (Reason.CONSENT_MISSING, (frozenset({"consent:ads"}),))
    met = decide(own, what=ads, given=frozenset({"consent:ads"}))
    assert (met.effect, met.evidence) == (Effect.PERMIT, frozenset({"consent:ads"}))
    assert met.duty == asks("consent:ads")
    assert decide(own, given=frozenset({"consent:ads", "consent:{purpose}"})).reason is Reason.CONSENT_MISSING


@pytest.mark.parametrize("token", ["basis:contract", "ai:portal_id", "known:citizenship.VN", "sink:x", "clock:a.VN/b"])
def test_what_decide_derives_itself_is_not_believed_when_handed_in(token: str) -> None:
    decision = decide(rule(duty=asks(token)), given=frozenset({token}), what=STORED)
    assert decision.effect is not Effect.PERMIT
    assert token not in decision.evidence


def test_a_running_term_meets_its_clause_until_it_has_run_out_and_is_named() -> None:
    token = "clock:first_transfer.VN/2-days"
    filed = replace(asks("filing:x", token))
    timed = law(
        rule(duty=filed, graces=(Grace(token, "first_transfer", Term(days=2)),)),
        calendar=Calendar(420),
    )
    facts = FactSet(0, events=(Event("first_transfer", "VN", NOW), Event("first_transfer", "US", 0)))
    end = NOW + 3 * DAY - 7 * 3_600_000_000  # midnight in Vietnam after day two
    before = decide(timed, facts=facts, now=NOW - 1)
    assert decide(timed).clocks == before.clocks
    assert (before.effect, before.clocks) == (Effect.PERMIT, (Clock(token, "first_transfer", "VN", None),))
    runs = decide(timed, facts=facts, now=end - 1)
    assert (runs.effect, runs.clocks) == (Effect.PERMIT, (Clock(token, "first_transfer", "VN", end),))
    assert decide(timed, facts=facts, now=end).reason is Reason.FILING_MISSING
    assert decide(timed, where=deployment(strict_clocks=True)).reason is Reason.FILING_MISSING
    filings = (Filing("x", "1", NOW, FilingResult.FILED),)
    assert decide(timed, facts=replace(facts, filings=filings)).clocks == ()
    # Of the calendars that count one term, the earliest end stands: in Vietnam the day is over before it is in UTC.
    utc = law(rule("k", duty=filed, graces=timed.rules[0].graces, span=Span(NOW + 99 * DAY)), name="k")
    assert decide(utc, timed, facts=facts).clocks[0].deadline == end


def test_working_days_and_holidays_of_the_law_count_for_its_terms() -> None:
    token = "clock:found.VN/2-working-days"
    calendar = Calendar(0, holidays=frozenset({date(2024, 10, 7)}))  # the Monday after this Friday
    timed = law(rule(duty=asks(token), graces=(Grace(token, "found", Term(days=2, working=True)),)), calendar=calendar)
    decision = decide(timed, facts=FactSet(0, events=(Event("found", "VN", NOW),)))
    assert decision.clocks[0].deadline == NOW + 6 * DAY  # Wednesday is over


# -- exemptions and overrides


def lifts(*rules: str, **fields: Any) -> FactSet:
    plain: dict[str, Any] = {"approved_by": "CISO", "ground": "art. 9", "start": NOW, "end": NOW + DAY}
    return FactSet(0, exemptions=(Exemption("X-1", frozenset(rules), **plain | fields),))


def test_an_exemption_lifts_the_rules_it_names_in_its_time_and_activities_and_is_cited() -> None:
    decision = decide(rule(), rule("other", duty=Duty(label=frozenset({"ai"}))), facts=lifts("r"))
    assert (decision.effect, named(decision, "exempted"), decision.exemptions) == (Effect.PERMIT, ["r"], ("X-1",))
    assert named(decision, "rules") == ["other"]
    for facts in (lifts("other2"), lifts("r", activities=frozenset({"b"})), lifts("r", sinks=frozenset({"vn"}))):
        assert decide(rule(), facts=facts) == decide(rule())
    assert decide(rule(), facts=lifts("r"), now=NOW + DAY).exemptions == ()
    trial = decide(rule(mode="warn"), facts=lifts("r"))
    assert (named(trial, "observed"), named(trial, "exempted"), trial.exemptions) == ([], ["r"], ("X-1",))


def test_an_exemption_bounded_to_sinks_lifts_there_alone() -> None:
    only = rule(duty=Duty(only=frozenset({"DE"})))
    decision = decide(only, what=STORED, facts=lifts("r", sinks=frozenset({"sg"})))
    assert decision.effect is Effect.PERMIT
    assert [(v.sink.name, v.reason, v.exemptions) for v in decision.sinks] == [
        ("sg", None, ("X-1",)),
        ("vn", Reason.ONLY_IN_COUNTRY, ()),
    ]
    assert (named(decision, "exempted"), decision.exemptions) == (["r"], ())
    of_sinks = decide(replace(only, sink=SinkTest("abroad")), what=STORED, facts=lifts("r"))
    assert [v.exemptions for v in of_sinks.sinks] == [(), ()]
    assert of_sinks.exemptions == ("X-1",)
    assert decide(replace(only, sink=SinkTest("abroad")), facts=lifts("r")).exemptions == ()  # no store, no sink


def test_an_overridden_rule_is_named_and_an_exempted_one_overrides_nothing() -> None:
    stronger = rule("s", duty=Duty(), overrides=frozenset({"r"}))
    decision = decide(rule(), stronger)
    assert (decision.effect, named(decision, "outranked"), named(decision, "rules")) == (Effect.PERMIT, ["r"], ["s"])
    lifted = decide(rule(), stronger, facts=lifts("s"))
    assert (lifted.reason, lifted.outranked, named(lifted, "exempted")) == (Reason.LAW_FORBIDS, (), ["s"])
    assert decide(rule(), replace(stronger, mode="warn")).reason is Reason.LAW_FORBIDS
    # What is overridden itself still overrides: once, and all at once.
    strongest = rule("t", duty=Duty(), overrides=frozenset({"s"}))
    assert named(decide(rule(), stronger, strongest), "outranked") == ["r", "s"]


def test_at_a_sink_where_the_overriding_rule_is_exempted_the_other_one_stands_again() -> None:
    only = rule(duty=Duty(only=frozenset({"VN"})))
    stronger = rule("s", duty=Duty(), overrides=frozenset({"r"}))
    decision = decide(only, stronger, what=STORED, facts=lifts("s", sinks=frozenset({"sg"})))
    assert [(v.sink.name, v.reason) for v in decision.sinks] == [("vn", None), ("sg", Reason.ONLY_IN_COUNTRY)]
    assert (named(decision, "outranked"), named(decision, "exempted")) == (["r"], ["s"])


def test_rules_about_sinks_override_only_their_like_where_they_speak() -> None:
    transfer = rule(duty=asks("filing:x"), sink=SinkTest("abroad"))
    instead = rule("s", duty=asks("filing:y"), sink=SinkTest("keys_abroad"), overrides=frozenset({"r"}))
    filed = FactSet(0, filings=(Filing("y", "1", 0, FilingResult.PASSED),))
    decision = decide(transfer, instead, what=STORED, facts=filed)
    assert [v.effect for v in decision.sinks] == [Effect.PERMIT, Effect.PERMIT]
    assert named(decision, "outranked") == ["r"]
    assert decide(transfer, instead, facts=filed).outranked == ()  # without a store there is no sink to speak of


# -- sinks, conflicts, what is cited


@pytest.mark.parametrize(
    ("test", "about"),
    [
        (SinkTest("abroad"), ["sg"]),
        (SinkTest("abroad", scopes=frozenset({"primary"})), []),
        (SinkTest("keys_abroad", also=frozenset({"provider_abroad"})), ["sg"]),
        (SinkTest("any", places=frozenset({"SG"})), ["sg"]),
        (SinkTest("any", outside=frozenset({"SG"})), ["vn"]),
        (SinkTest("any", encrypted=False), ["sg"]),
        (SinkTest("any", encrypted=True, scopes=frozenset({"primary", "log"})), ["vn"]),
    ],
)
def test_a_rule_is_about_the_sinks_of_which_all_holds(test: SinkTest, about: list[str]) -> None:
    decision = decide(rule(sink=test), what=STORED)
    assert sorted(v.sink.name for v in decision.sinks if v.effect is Effect.DENY) == about
    assert named(decide(rule(sink=test, mode="observe"), what=STORED), "observed") == (["r"] if about else [])


def test_two_treatments_that_do_not_go_together_are_a_conflict_and_both_are_cited() -> None:
    def treated(name: str, how: str) -> RuleDoc:
        return rule(name, duty=Duty(protect=frozenset({Protection("phone", "in", how, "protected")})))

    home = rule("home", duty=Duty(copies=frozenset({"VN"})))
    decision = decide(treated("a", "mask"), treated("b", "encrypt"), home)
    assert decision.reason is Reason.CONFLICT
    assert decision.duty.conflicts == {Conflict.TREATMENT}
    assert named(decision, "rules") == ["a", "b"]
    assert decide(treated("a", "mask"), treated("b", "drop")).effect is Effect.PERMIT


def test_a_rule_is_cited_with_its_link_its_fine_and_its_mode_of_the_day() -> None:
    cited = decide(rule(link="https://example.org", fine="60 million", mode_from=((NOW, "enforce"),), mode="off"))
    (ref,) = cited.rules
    assert (ref.link, ref.fine, ref.mode) == ("https://example.org", "60 million", "enforce")


def test_a_stop_order_on_everything_abroad_binds_abroad_of_whoever_covers() -> None:
    halted = FactSet(0, stop_orders=(StopOrder("1", "*", NOW),))
    decision = decide(rule(duty=Duty(log=frozenset({"ip"}))), what=STORED, facts=halted)
    assert [v.reason for v in decision.sinks] == [None, Reason.STOP_ORDER]


def test_where_every_sink_is_refused_the_activity_is_and_its_own_clocks_stay() -> None:
    token = "clock:found.VN/2-days"
    timed = rule("timed", duty=asks("filing:x", token), graces=(Grace(token, "found", Term(days=2)),))
    decision = decide(timed, rule(sink=SinkTest("any", encrypted=False)), rule("vn", sink=SinkTest("any")), what=STORED)
    assert (decision.reason, named(decision, "rules")) == (Reason.LAW_FORBIDS, ["vn", "r"])
    assert [clock.token for clock in decision.clocks] == [token]


def test_a_route_that_no_activity_names_is_decided_by_the_deployment_alone() -> None:
    decision = decide(rule(), what=None)
    assert (decision.reason, decision.rules, decision.jurisdictions) == (Reason.UNCLASSIFIED_ROUTE, (), ("VN",))
    assert decide(rule(), what=None, where=deployment(unclassified="permit")).effect is Effect.PERMIT


def test_the_oracle_imports_only_the_words_and_the_parsed_documents() -> None:
    folder = Path(__file__).resolve().parents[3] / "residency" / "policy"
    for path in folder.glob("reference*.py"):
        if path.stem.startswith("references"):
            continue  # names in files, another matter
        tree = ast.parse(path.read_text())
        imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        ours = {name for name in imported if name.startswith("residency")}
        allowed = ("residency.model", "residency.policy.parsed", "residency.policy.reference_")
        assert [name for name in ours if not name.startswith(allowed)] == []
