"""Where data rests, as a deployment says it: members, records, copies, hand-overs, several stores of one activity."""

from __future__ import annotations

import pytest

from residency.errors import PolicyError
from residency.model import Activity, AnchorFinding, Effect, Finding, Reason
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parsed import DeploymentDoc
from residency.policy.parsed_storage import CopiesDoc, HandOverDoc, LocationDoc, RecordDoc
from residency.policy.parser import parse_deployment, parse_law

TEXT = """
residency: 1
kind: deployment
name: app
mode: enforce
operator: {established_in: VN}
laws: [vn/test]
regions: {han: {country: VN}, hcm: {country: VN}, sin: {country: SG}}
sinks:
  vn:
    {region: han, provider: VN, url: "sqlite:///vn.db", encrypted: true, keys: VN,
     members: [{region: hcm, url: "sqlite:///vn2.db"}]}
  sg: {region: sin, provider: SG, url: "sqlite:///sg.db", encrypted: true, keys: SG}
  files-sg: {region: sin, provider: SG, url: "file:///files", encrypted: true, keys: SG}
  cache-sg: {region: sin, provider: SG, url: "redis://cache", encrypted: true, keys: SG, scope: cache}
  model-sg: {region: sin, provider: SG, url: "https://model.example/v1/", encrypted: true, keys: SG,
    allow_private: true}
stores: {people: [vn, sg], uploads: files-sg, cache: cache-sg, model: model-sg}
copies: {people: sg}
records:
  people:
    person: {subject: id, data: [personal], times: {created: created_at}}
    letter: {via: {person_id: person}, data: [content]}
locators: {VN: "redis://:secret@located.vn"}
hand_over: {SG: {url: "https://sg.example", how: proxy}, VN: "https://vn.example"}
location: {every: 1 min, drift: refuse}
activities:
  - {route: "POST /one", subject: none, data: [personal], store: people}
  - {route: "POST /two", subject: none, data: [personal], store: [people, uploads]}
  - {route: "POST /cached", subject: none, data: [personal], store: [people, cache]}
  - {route: "POST /ask", subject: none, data: [personal], store: people, http: model}
  - {route: "POST /call", subject: none, data: [personal], http: elsewhere}
"""
LAW = """
residency: 1
kind: law
jurisdiction: VN
instrument: Test
title: Test
in_force: {from: 1970-01-01}
checked: {date: 2026-11-21, confidence: high, source: none}
rules:
  - id: vn.home
    article: art. 1
    text: At home only.
    applies: {anchor: territory, data: personal}
    duty: {only: VN}
"""
VIETNAMESE = Finding(territory=AnchorFinding(frozenset({"VN"})))


def document() -> DeploymentDoc:
    return parse_deployment(TEXT.encode(), "f", {})


def policy() -> Policy:
    return compile_policy(document(), [parse_law(LAW.encode(), "vn/test.yaml", "vn/test")], [], "0" * 64)


def test_what_a_deployment_says_of_where_data_rests_becomes_values() -> None:
    doc = document()
    (member,) = doc.sinks["vn"].members
    assert (member.region.name, member.region.place, member.url.reveal()) == ("hcm", "VN", "sqlite:///vn2.db")
    assert doc.copies == {"people": CopiesDoc(("sg",))}
    assert doc.records["people"] == (
        RecordDoc("person", "id", None, frozenset({"personal"}), {"created": "created_at"}),
        RecordDoc("letter", None, ("person_id", "person"), frozenset({"content"})),
    )
    assert doc.hand_over == {
        "SG": HandOverDoc("https://sg.example", "proxy"),
        "VN": HandOverDoc("https://vn.example"),
    }
    assert doc.location == LocationDoc(60_000_000, "refuse")
    assert (doc.locators["VN"].reveal(), str(doc.locators["VN"])) == ("redis://:secret@located.vn", "…")
    assert [doc.sinks[name].allow_private for name in ("vn", "model-sg")] == [None, True]


def test_a_service_that_is_a_store_is_one_of_the_activitys_stores() -> None:
    named = {activity.path: (activity.stores, activity.store) for activity in document().activities}
    assert named == {
        "/one": (("people",), "people"),
        "/two": (("people", "uploads"), None),
        "/cached": (("people", "cache"), None),
        "/ask": (("people", "model"), None),
        "/call": ((), None),
    }


def test_an_activity_goes_on_only_where_each_of_its_stores_has_a_sink_that_may_take_the_data() -> None:
    made = policy()

    def decide(path: str) -> tuple[Effect, Reason | None, list[str]]:
        activity: Activity = next(a for a in made.deployment.activities if a.path == path)
        decision = made.decide(activity, VIETNAMESE, frozenset(), made.facts, 0)
        return decision.effect, decision.reason, [verdict.sink.name for verdict in decision.sinks]

    assert decide("/one") == (Effect.PERMIT, None, ["vn", "sg"])
    assert decide("/two") == (Effect.DENY, Reason.ONLY_IN_COUNTRY, ["vn", "sg", "files-sg"])
    assert decide("/cached") == (Effect.PERMIT, None, ["vn", "sg", "cache-sg"]), "it can do without a cache"
    assert decide("/ask") == (Effect.DENY, Reason.ONLY_IN_COUNTRY, ["vn", "sg", "model-sg"])


def test_a_sink_has_the_tables_of_all_its_stores_and_what_one_says_is_somebodys_is() -> None:
    both = TEXT.replace("stores: {people: [vn, sg],", "stores: {people: [vn, sg], posts: sg, home: vn,")
    both = both.replace(
        "\nlocators:", "\n  posts: {letter: {data: [content]}, post: {subject: author, data: [content]}}\nlocators:"
    )
    doc = parse_deployment(both.encode(), "d.yaml", {})

    def told(store: str, *sinks: str) -> dict[str, bool]:
        return {each.name: (each.subject or each.via) is not None for each in doc.records_at(store, sinks)}

    assert told("people", "vn") == {"person": True, "letter": True}
    assert told("people", "vn", "sg") == {"person": True, "letter": True, "post": True}
    assert told("posts", "sg") == {"person": True, "letter": True, "post": True}
    assert told("home", "vn") == {"person": True, "letter": True}
    assert told("uploads", "files-sg") == {}


def test_what_gets_something_of_people_beside_the_sinks_has_a_place_where_the_file_says_one() -> None:
    doc = parse_deployment((TEXT + 'pins: {url: "redis://p", region: sin}\n').encode(), "d.yaml", {})
    told = {name: (place, url.reveal()) for name, (place, url) in doc.keepers().items()}
    handed = {"hand_over/SG": ("SG", "https://sg.example"), "hand_over/VN": ("VN", "https://vn.example")}
    assert told == {"locators/VN": ("VN", "redis://:secret@located.vn"), "pins/url": ("SG", "redis://p"), **handed}
    assert list(document().keepers()) == ["locators/VN", *handed]
    with pytest.raises(PolicyError, match="region `sgp`"):
        parse_deployment((TEXT + 'pins: {url: "redis://p", region: sgp}\n').encode(), "d.yaml", {})


def test_one_locator_of_two_countries_is_told_without_its_url() -> None:
    both = TEXT.replace('"redis://:secret@located.vn"}', '"redis://:secret@one", SG: "rediss://other@one"}')
    with pytest.raises(PolicyError, match=r"`locators\.SG` in SG and `locators\.VN` in VN have the same URL") as caught:
        parse_deployment(both.encode(), "d.yaml", {})
    assert "secret" not in str(caught.value)
