"""The conditions of an invariant, key by key: what is said, what is negated, what is left unsaid."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.model import Activity, Operation, Sink, SubjectSource
from residency.policy.parsed import Must
from residency.policy.prove_conditions import about_activity, about_person, about_sink, jurisdictions_of, of_sinks

READ = Activity("a", "GET", "/a", SubjectSource("app"), frozenset({"health"}), Operation.READ)
SINK = Sink("s", "r", "CA-QC", "US", "VN", True, scope="backup")


def must(key: str, *words: str, negated: bool = False) -> Must:
    return Must("m", ((key, negated, frozenset(words)),), "")


@pytest.mark.parametrize(
    ("key", "word", "other"),
    [
        ("sink", "s", "t"),
        ("sink.country", "CA", "US"),
        ("sink.provider", "US", "VN"),
        ("sink.keys", "VN", "US"),
        ("sink.scope", "backup", "primary"),
        ("sink.encrypted", "true", "false"),
    ],
)
def test_each_key_of_a_sink_holds_for_its_word_and_negated_for_all_others(key: str, word: str, other: str) -> None:
    assert about_sink(must(key, word, other), SINK)
    assert not about_sink(must(key, other), SINK)
    assert about_sink(must(key, other, negated=True), SINK)
    assert not about_sink(must(key, word, negated=True), SINK)
    assert of_sinks(must(key, word))


@pytest.mark.parametrize(
    ("key", "word", "other"),
    [
        ("data", "personal", "account"),
        ("operation", "read", "write"),
        ("activity", "a", "b"),
        ("purpose", "ads", "care"),
        ("basis", "consent", "contract"),
        ("action", "sell", "livestream"),
        ("ai.risk", "high", "low"),
    ],
)
def test_each_key_of_an_activity_holds_for_its_word(key: str, word: str, other: str) -> None:
    activity = replace(READ, purpose="ads", basis="consent", actions=frozenset({"sell"}), ai=(("risk", "high"),))
    assert about_activity(must(key, word), activity, activity.data)
    assert not about_activity(must(key, other), activity, activity.data)
    assert about_activity(must(key, other, negated=True), activity, activity.data)
    assert not of_sinks(must(key, word))


@pytest.mark.parametrize("key", ["purpose", "basis"])
def test_what_an_activity_leaves_unsaid_is_meant_either_way(key: str) -> None:
    assert about_activity(must(key, "x"), READ, READ.data)
    assert about_activity(must(key, "x", negated=True), READ, READ.data)


def test_the_risk_of_an_ai_system_is_meant_where_unsaid_and_not_where_there_is_none() -> None:
    assert not about_activity(must("ai.risk", "high"), READ, READ.data)
    unsaid = replace(READ, ai=(("system", "assistant"),))
    assert about_activity(must("ai.risk", "high"), unsaid, unsaid.data)


def test_a_person_is_meant_by_the_laws_that_cover() -> None:
    assert about_person(must("jurisdiction", "CA"), ("CA-QC", "VN"))
    assert not about_person(must("jurisdiction", "JP"), ("CA-QC", "VN"))
    assert not about_person(must("jurisdiction", "VN", negated=True), ("VN",))
    assert about_person(must("data", "health"), ())
    assert jurisdictions_of(must("jurisdiction", "CA"), ("VN", "CA-QC")) == ("CA-QC",)
    assert jurisdictions_of(must("jurisdiction", "VN", negated=True), ("VN",)) is None
