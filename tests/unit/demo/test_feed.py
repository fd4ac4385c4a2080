"""The feed: entries of a growing log, each beside the request that left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.audit.checkpoint import note_signer
from residency.audit.entry import Entry, format_entry
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.demo.client import Answer
from residency.demo.feed import Feed
from residency.demo.traffic import Person

ANNA = Person("p1", "Anna", "anna@example.org", "5.6.7.8", "DE", None, True)
ALIAS = "ab" * 16


class Log:
    """A log that grows as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = Tree()
        self.signer, _ = note_signer("test", Ed25519PrivateKey.generate())
        self.count = 0

    def entry(self, kind: str, **fields: Any) -> Entry:
        self.count += 1
        return Entry(id=f"0.{self.count - 1}", kind=kind, at=1, effect="permit", policy="ab" * 32, **fields)

    def grow(self, *entries: Entry) -> None:
        self.tree, steps = plan_commit(self.tree, [format_entry(e) for e in entries], {}, self.signer, "test")
        for step in steps:
            if step.kind in (StepKind.TILE, StepKind.CHECKPOINT):
                path = self.folder / step.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(step.data)


def answer(outcome: str, **claim: Any) -> Answer:
    said = {"activity": "POST /v1/people", "alias": ALIAS, "reason": None, "outcome": outcome, **claim}
    return Answer(said, ANNA, 201, {"receipt": {"sink": "people-sg"}})


def test_a_write_shows_only_once_its_outcome_is_published(tmp_path: Path) -> None:
    log, feed = Log(tmp_path), Feed(tmp_path)
    assert list(feed.poll()) == []
    sent = answer("acknowledged")
    feed.expect(sent)
    intent = log.entry("intent", activity="POST /v1/people", subject=ALIAS, sink="people-sg", operation="write")
    log.grow(intent)
    assert list(feed.poll()) == []
    assert feed.waiting == 1
    log.grow(log.entry("outcome", of=intent.id, act="committed", activity="POST /v1/people", sink="people-sg"))
    (row,) = feed.poll()
    assert (row.answer, row.indexes, row.entry) == (sent, (0, 1), intent)
    assert feed.waiting == 0


def test_a_refusal_is_found_by_its_reason(tmp_path: Path) -> None:
    log, feed = Log(tmp_path), Feed(tmp_path)
    feed.expect(answer("refused", reason="not_home"))
    log.grow(log.entry("refusal", activity="POST /v1/people", reason="hold"))
    assert list(feed.poll()) == []
    log.grow(log.entry("refusal", activity="POST /v1/people", reason="not_home"))
    assert [row.indexes for row in feed.poll()] == [(1,)]


def test_a_log_is_read_across_bundles_and_every_entry_once(tmp_path: Path) -> None:
    log, feed = Log(tmp_path), Feed(tmp_path)
    for size in (200, 100, 300):
        log.grow(*(log.entry("decision") for _ in range(size)))
        assert list(feed.poll()) == []
        assert feed.size == log.count
