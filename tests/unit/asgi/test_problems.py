"""Problem details: status, language and rules; no reason without a title of its own family."""

from __future__ import annotations

import json

import pytest

from residency.asgi.problems import problem, wants_vietnamese
from residency.model import STATUS, Reason, RuleRef

RULE = RuleRef("vn.x.1", "VN", "Decree 1/2026", "art. 2", "S", "high", "enforce", "Stay.", "Ở lại.")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_a_document_in_both_languages_with_its_own_status(reason: Reason) -> None:
    titles = set()
    for vietnamese in (False, True):
        status, headers, body = problem(reason, vietnamese=vietnamese)
        document = json.loads(body)
        assert (status, document["status"], document["reason"]) == (STATUS[reason], STATUS[reason], reason.value)
        assert dict(headers)[b"content-language"] == (b"vi" if vietnamese else b"en")
        assert int(dict(headers)[b"content-length"]) == len(body)
        assert (b"retry-after" in dict(headers)) is (status == 503)
        titles.add(document["title"])
    assert len(titles) == 2


def test_rules_are_cited_with_article_and_text_in_the_readers_language() -> None:
    document = json.loads(problem(Reason.LAW_FORBIDS, (RULE,), vietnamese=True)[2])
    assert document["detail"] == "Nghị định 1/2026 Điều 2: Ở lại."
    assert document["rules"] == [
        {"id": "vn.x.1", "jurisdiction": "VN", "instrument": "Decree 1/2026", "article": "art. 2"}
    ]
    assert json.loads(problem(Reason.LAW_FORBIDS, (RULE,), detail="not shown")[2])["detail"].endswith("Stay.")


@pytest.mark.parametrize(
    ("value", "vietnamese"),
    [
        (b"vi", True),
        (b"vi-VN,vi;q=0.9,en;q=0.8", True),
        (b"en,vi;q=0.9", False),
        (b"en;q=0.5, vi;q=0.6", True),
        (b"*", False),
        (b"vi;q=0", False),
        (b"fr, vi;q=0.1", True),
        (b"vi;q=nonsense", False),
        (b"\xff\xfe\x00,,;;=", False),
        (b"", False),
    ],
)
def test_the_language_is_the_one_that_the_client_ranks_higher(value: bytes, vietnamese: bool) -> None:
    assert wants_vietnamese([(b"accept-language", value)]) is vietnamese


def test_without_a_preference_the_language_is_english() -> None:
    assert wants_vietnamese([]) is False
