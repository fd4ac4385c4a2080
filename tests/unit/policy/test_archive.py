"""What a decision was made by comes back from its archive, and nothing else passes for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.policy_files import load
from residency.errors import PolicyError, VerificationError
from residency.model import Event, Exemption, FactSet, Filing, FilingResult, Order, StopOrder
from residency.policy.archive import (
    archived,
    digest_of,
    facts_digest,
    facts_path,
    format_archive,
    format_facts,
    parse_archive,
    parse_facts,
    policy_path,
)
from residency.policy.compiler import Policy
from tests.world import write_deployment

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "policies" / "deployments" / "social-api.yaml"

times = st.integers(-(2**52), 2**52)
words = st.text("abc.7", min_size=1, max_size=5)
results = st.sampled_from(FilingResult)
some = st.none() | st.frozensets(words, max_size=2)


def many(each: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(each, max_size=2).map(tuple)


facts = st.builds(
    FactSet,
    epoch=st.integers(0, 9),
    filings=many(
        st.builds(
            Filing, words, words, times, results, st.none() | times,
            changes=many(st.tuples(times, results)), sinks=some, next_update=st.none() | times,
        )
    ),
    stop_orders=many(st.builds(StopOrder, words, words, times, st.none() | times)),
    orders=many(st.builds(Order, words, words, times, st.none() | times)),
    exemptions=many(
        st.builds(
            Exemption, words, st.frozensets(words, max_size=3), words, words, times, times, activities=some, sinks=some
        )
    ),
    events=many(st.builds(Event, words, words, times)),
    escalated=st.frozensets(words, max_size=3),
)  # fmt: skip


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(FILE, {})


def test_a_policy_comes_back_from_its_archive(policy: Policy) -> None:
    data = format_archive(policy.sources)
    back = parse_archive(data, policy.digest, {})
    assert (back.digest, back.deployment, back.laws, back.facts) == (
        policy.digest, policy.deployment, policy.laws, policy.facts
    )  # fmt: skip
    assert format_archive(back.sources) == data


def test_the_digest_is_the_one_that_entries_name(policy: Policy) -> None:
    assert digest_of(policy.sources) == policy.digest


def test_files_that_the_digest_does_not_name_are_refused(policy: Policy) -> None:
    document = json.loads(format_archive(policy.sources))
    document["sources"][0][1] += "# a word more\n"
    with pytest.raises(VerificationError):
        parse_archive(json.dumps(document).encode(), policy.digest, {})


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"v":1}', b'{"v":1,"sources":[["a"]]}', b'{"v":2,"sources":[]}'])
def test_what_is_no_archive_is_refused(policy: Policy, data: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_archive(data, policy.digest, {})


def test_a_variable_that_only_connects_needs_no_value_and_one_that_decides_needs_its_own(tmp_path: Path) -> None:
    text = """
sinks:
  vn: {region: vn-han, provider: "${PROVIDER}", keys: VN, encrypted: true, url: "${URL}"}
  home: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "s3://${HOME}?region=x"}
  away: {region: sg, provider: SG, keys: SG, encrypted: true, url: "s3://${AWAY}?region=x"}
stores: {people: [vn]}
pins: {url: "${PINS}"}
audit: {region: "${REGION}", mirror: {url: "${MIRROR}"}}
hand_over: {VN: "${OVER}"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
    env = {"URL": "file:///secret", "PINS": "sqlite:///pins.db", "PROVIDER": "VN"}
    env |= {"HOME": "home", "AWAY": "away", "OVER": "https://vn.example"}
    env |= {"REGION": "sg", "MIRROR": "s3://logs/one"}
    policy = load(write_deployment(tmp_path, text), env)
    data = format_archive(policy.sources)
    assert b"secret" not in data
    with pytest.raises(PolicyError, match="PROVIDER is not set"):
        parse_archive(data, policy.digest, {})
    back = parse_archive(data, policy.digest, {"PROVIDER": "VN"})
    assert [doc.sink for doc in back.deployment.sinks.values()] == [d.sink for d in policy.deployment.sinks.values()]


def test_what_must_be_kept_is_the_policy_and_its_facts_under_their_digests(policy: Policy) -> None:
    kept = dict(archived(policy, policy.facts))
    assert set(kept) == {policy_path(policy.digest), facts_path(facts_digest(policy.facts))}
    assert parse_archive(kept[policy_path(policy.digest)], policy.digest, {}).facts == policy.facts


@given(facts)
def test_facts_come_back_from_their_bytes_under_any_epoch(given_facts: FactSet) -> None:
    data = format_facts(given_facts)
    assert parse_facts(data, facts_digest(given_facts), given_facts.epoch) == given_facts
    assert facts_digest(replace(given_facts, epoch=99)) == facts_digest(given_facts)


@given(facts, facts)
def test_different_facts_have_different_digests(one: FactSet, other: FactSet) -> None:
    same = replace(one, epoch=0) == replace(other, epoch=0)
    assert (facts_digest(one) == facts_digest(other)) is same


def test_facts_that_the_digest_does_not_name_are_refused() -> None:
    data = format_facts(FactSet(0, stop_orders=(StopOrder("7", "*", 0),)))
    with pytest.raises(VerificationError):
        parse_facts(data, facts_digest(FactSet(0)))
