"""A folder in; our trail on disk, with a real decision to record over and over, out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.policy_ours import person
from residency.adapters.clock_system import SystemClock
from residency.adapters.entropy_system import SystemEntropy
from residency.adapters.journal_files import JournalFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.policy_files import load
from residency.adapters.sequencer import Sequencer
from residency.audit.journal import RECORDS_AT, scan
from residency.audit.recall import Basis
from residency.enforcement.recorder import Recorder
from residency.model import Activity, Decision
from residency.policy.compiler import Policy

__all__ = ["Trail", "open_trail"]

_ALIAS: Final = "0123456789abcdef" * 2
_SINK: Final = "people-vn"
_PUBLISH_EVERY: Final = 1.0  # seconds, as a deployment has it that says nothing else
_POLICY: Final = """\
residency: 1
kind: deployment
name: bench
mode: enforce
operator: {established_in: [VN], service_lines: [online_applications]}
laws: [vn/*]
regions: {vn-han: {country: VN}}
sinks:
  people-vn: {region: vn-han, provider: VN, url: "sqlite:///x", encrypted: true, keys: VN}
stores: {people: [people-vn]}
signals:
  client_address: {strategy: rightmost_trusted_range, trusted: [10.0.0.0/8]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "GET /v1/me", subject: header.x-user, data: [personal], operation: read}
  - {route: "GET /v1/people/{id}", subject: path.id, data: [personal], operation: read, store: people}
"""


class Trail:
    """One worker's recorder over its journal, and the sequencer of the instance."""

    def __init__(self, policy: Policy, journal: JournalFiles, sequencer: Sequencer) -> None:
        self._recorder = Recorder(journal, SystemClock(), SystemEntropy(), policy.digest)
        self._journal = journal
        self._sequencer = sequencer
        self._basis = Basis(SystemClock().now())
        plain, self._stored = (self._decide(policy, activity) for activity in policy.deployment.activities)
        self._plain = plain
        self.durable = self._recorder.durable
        """Waits until the entry of a number survives a power cut."""

    def _decide(self, policy: Policy, activity: Activity) -> Decision:
        finding = replace(person("VN"), strategy="rightmost_trusted_range")
        return policy.decide(activity, finding, frozenset(), policy.facts, self._basis.now)

    def record(self) -> int:
        """What a request without an act does before it is answered; the entry's number."""
        return self._recorder.decision(self._plain, _ALIAS, {}, self._basis)

    def act(self) -> None:
        """The two entries of an act."""
        entry = self._recorder.intent(self._stored, _SINK, "read", _ALIAS, {}, self._basis)
        self._recorder.outcome(self._stored, _SINK, "read", entry, "committed")

    def settle(self) -> None:
        """Wait until the sequencer beside it has published all that is recorded: the next one measured starts even."""
        until = time.monotonic() + 60
        while self.behind() and time.monotonic() < until:
            time.sleep(0.01)

    def behind(self) -> int:
        """Entries that are recorded and not published yet."""
        return self._journal.next_seq - (self._sequencer.published or 0)

    def tick(self) -> int:
        """Integrate and publish all that is recorded; how many entries that was."""
        return self._sequencer.tick()


@contextmanager
def open_trail(folder: Path, *, sequencer: bool) -> Iterator[Trail]:
    """A trail in `folder`; with `sequencer` that works beside it, as in a server. Else it is told when."""
    folder.mkdir(parents=True)
    file = folder / "bench.yaml"
    file.write_text(_POLICY)
    journal = JournalFiles(folder / "journal").open()
    try:
        own = Sequencer(
            folder / "journal",
            LogFiles(folder / "log"),
            LogFiles(folder),
            key=Ed25519PrivateKey.from_private_bytes(bytes(32)),
            origin="bench.example",
            interval=_PUBLISH_EVERY,
        )
        if sequencer:
            own.start()
        try:
            yield Trail(load(file, {}), journal, own)
        finally:
            own.stop()
    finally:
        journal.close()


def first_entry(folder: Path) -> bytes:
    """The first entry that a trail in `folder` recorded."""
    segment = (folder / "journal" / "0" / "00000000.seg").read_bytes()
    return scan(segment, RECORDS_AT, 0, limit=1).records[0].payload


def document_of(entry: bytes) -> dict[str, Any]:
    """The same entry as others keep it: a dictionary."""
    document: dict[str, Any] = json.loads(entry)
    return document
