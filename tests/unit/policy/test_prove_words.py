"""How a proof is told, and the command that asks its counterexample again."""

from __future__ import annotations

import shlex

from residency.policy.prove import prove
from residency.policy.prove_words import command, proof_data, proof_report
from tests.proof_files import NOW, law, policy, rule

ALL = "anchor: [territory, citizenship, residence, collection]"
ASKS = law("VN", rule("vn.asks", f"{{{ALL}}}", "{require: [identity:phone]}"))
STAYS = law("VN", rule("vn.stay", f"{{{ALL}}}", "{only: [VN]}"))
MUST = "  - id: our.home\n    never: {jurisdiction: VN, sink.country: not VN}\n    why: So we promised."


def test_a_refutation_is_an_error_at_the_invariants_line_with_the_command() -> None:
    (proof,) = prove(policy(ASKS, must=MUST), NOW)
    found = proof_report(proof, "my dir/d.yaml")
    assert found is not None
    assert (found.level, found.problem.file) == ("error", "d.yaml")
    assert "`our.home` does not hold: activity `POST /people` is permitted at sink `sg` (SG)" in found.problem.message
    assert "So we promised." in found.problem.message
    assert proof.counter is not None
    words = shlex.split(command("my dir/d.yaml", proof.counter) or "")
    assert words[:6] == ["residency", "explain", "--policy", "my dir/d.yaml", "--activity", "POST /people"]
    assert words[words.index("--evidence") + 1] == "identity:phone"
    assert words[words.index("--at") + 1] == "2026-11-22T00:00:00Z"


def test_what_holds_is_not_told_and_for_programs_with_the_rules_that_hold_it() -> None:
    (proof,) = prove(policy(STAYS, must=MUST), NOW)
    assert proof_report(proof, "d.yaml") is None
    data = proof_data(proof, "d.yaml")
    assert (data["holds"], data["because"], data["counterexamples"]) == (True, ["vn.stay"], [])
    assert data["never"] == "jurisdiction: VN, sink.country: not VN"


def test_what_is_not_proved_and_what_holds_of_nothing_are_warnings() -> None:
    (unproved,) = prove(policy(STAYS, must=MUST), NOW, bound=1)
    found = proof_report(unproved, "d.yaml")
    assert found is not None
    assert (found.level, found.kind) == ("warning", "not_proved")
    (nothing,) = prove(policy(STAYS, must="  - never: {jurisdiction: JP, sink: sg}"), NOW)
    found = proof_report(nothing, "d.yaml")
    assert found is not None
    assert found.kind == "must_of_nothing"
