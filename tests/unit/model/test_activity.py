"""Activities and sinks: what each proves by itself."""

from __future__ import annotations

from dataclasses import replace

from residency.model import Activity, Operation, Sink, SubjectSource

CHAT = Activity("chat", "POST", "/chat", SubjectSource("jwt", "sub"), frozenset({"content"}), Operation.PROCESS)
SINK = Sink("qc", "r1", "CA-QC", "US", "VN", encrypted=True)


def test_an_activity_proves_its_basis_and_what_is_on_record_of_its_ai_system() -> None:
    assert CHAT.tokens == frozenset()
    said = replace(CHAT, basis="consent", ai=(("human_review", "false"), ("portal_id", "AI-1"), ("risk", "high")))
    assert said.tokens == {"basis:consent", "ai:portal_id", "ai:portal_id.AI-1", "ai:risk", "ai:risk.high"}


def test_what_is_stated_not_to_be_there_proves_nothing() -> None:
    for word in ("false", "no", "none"):
        assert replace(CHAT, ai=(("conformity", word),)).tokens == frozenset()


def test_a_sink_proves_where_it_lies_whose_it_is_and_how_it_is_kept() -> None:
    assert SINK.tokens == {
        "sink:place.CA-QC", "sink:place.CA", "sink:provider.US", "sink:keys.VN", "sink:scope.primary",
        "sink:encrypted", "sink:in_transit",
    }  # fmt: skip
    bare = replace(SINK, encrypted=False, in_transit=False, scope="backup", certified=frozenset({"level3"}))
    assert bare.tokens - SINK.tokens == {"sink:scope.backup", "sink:certified.level3"}
    assert not bare.tokens & {"sink:encrypted", "sink:in_transit"}


def test_a_subject_source_prints_as_it_is_written() -> None:
    assert (str(CHAT.subject), str(SubjectSource("app"))) == ("jwt.sub", "app")
