"""What `audit:` says is what the runtime is told, in its units."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from residency.errors import PolicyError
from residency.model.calendar import Term
from residency.policy.parsed_audit import AuditDoc, DetailDoc
from residency.policy.parser import parse_deployment

GOOD = Path(__file__).resolve().parents[2] / "vectors" / "policy_errors" / "good_deployment.yaml"


def audit(said: str) -> AuditDoc:
    text = GOOD.read_text().replace("vn-han: {country: VN}", "vn-han: {country: VN}, sg: {country: SG}")
    return parse_deployment(f"{text}\naudit: {{{said}}}\n".encode(), "f", {}).audit


def test_a_word_under_detail_is_the_folder() -> None:
    assert audit("detail: {VN: ./detail}").detail == {"VN": DetailDoc("./detail")}


def test_detail_of_another_country_is_sealed_to_its_key() -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    doc = audit(f'region: sg, detail: {{VN: {{folder: ./spool, seal_to: "{key}"}}, SG: ./detail-sg}}')
    assert doc.detail == {"VN": DetailDoc("./spool", bytes(range(32))), "SG": DetailDoc("./detail-sg")}
    assert doc.region == "sg"


def test_intervals_are_microseconds_and_the_lock_is_a_term() -> None:
    doc = audit('publish_every: 500 ms, max_loss: 2 s, mirror: {url: "s3://b/p", every: 5 min, locked: 24 months}')
    assert (doc.publish_every, doc.max_loss) == (500_000, 2_000_000)
    assert doc.mirror is not None
    assert (doc.mirror.every, doc.mirror.locked) == (300_000_000, Term(months=24))
    assert "s3" not in repr(doc)


def test_what_is_not_said_is_at_its_default() -> None:
    assert audit("predecessor: none") == AuditDoc(origin="app", predecessor="none")


@pytest.mark.parametrize(("said", "due"), [("1 ms", 1_000), ("999 ms", 999_000), ("1000 ms", 1_000_000)])
def test_the_log_is_published_within_a_second_or_sooner(said: str, due: int) -> None:
    assert audit(f"publish_every: {said}").publish_every == due


@pytest.mark.parametrize("said", ["1001 ms", "2 s", "1 min"])
def test_a_log_that_is_published_later_than_within_a_second_is_refused_at_its_line(said: str) -> None:
    with pytest.raises(PolicyError, match=r"f:14:24: audit\.publish_every: expected an interval of at most 1 s"):
        audit(f"publish_every: {said}")
