"""Policies and facts are found by digest, and what is not as it was kept is said to be so."""

from __future__ import annotations

from pathlib import Path

from residency.adapters.policy_files import load
from residency.cli.archive_folder import Archive
from residency.policy.archive import archived, facts_digest
from residency.policy.compiler import Policy

ROOT = Path(__file__).resolve().parents[3]
POLICY = load(ROOT / "policies" / "deployments" / "social-api.yaml", {})
KEPT = dict(archived(POLICY, POLICY.facts))


def nothing(path: str) -> bytes | None:
    """An empty folder."""
    return None


def test_what_was_kept_is_found_by_its_digest_and_its_rules_are_cited() -> None:
    archive = Archive(KEPT.get)
    policy = archive.policy(POLICY.digest)
    assert isinstance(policy, Policy)
    assert archive.facts(facts_digest(POLICY.facts)) == POLICY.facts
    assert "vn.d333.16.2" in archive.rules()
    assert archive.unreadable == {}


def test_what_is_not_there_is_none_and_the_candidate_answers_for_its_own_digest() -> None:
    assert Archive(nothing).policy(POLICY.digest) is None
    assert Archive(nothing).facts("00") is None
    assert Archive(nothing, POLICY).policy(POLICY.digest) is POLICY


def test_what_was_changed_is_not_taken_for_what_was_kept() -> None:
    archive = Archive({path: data.replace(b"VN", b"LA") for path, data in KEPT.items()}.get)
    assert isinstance(archive.policy(POLICY.digest), str)
    changed = Archive({path: data + b" " for path, data in KEPT.items()}.get)
    assert changed.facts(facts_digest(POLICY.facts)) is None
    assert list(changed.unreadable) == [facts_digest(POLICY.facts)]
    assert list(archive.unreadable) == [POLICY.digest]
