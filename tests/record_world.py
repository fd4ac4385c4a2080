"""In: nothing. Out: records in memory that behave as the port says, a law with floors and ceilings, and its terms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from residency.errors import RecordConflict, SinkUnavailable
from residency.model import AnchorFinding, FactSet, Finding, Sink, Trust
from residency.policy.compiler import Policy
from residency.storage.records import Record
from residency.storage.retention import Copy, Person, Terms
from tests.world import load_policy, write_deployment

DAY = 86_400_000_000
NOW = 20_800 * DAY  # in December 2026
KEPT = """
  - id: test.floor
    article: art. 20
    text: Accounts are kept for ten days after they end.
    applies: {anchor: territory, data: [account]}
    duty: {retain: [{at_least: 10 days, from: account_end}]}
"""
LIMITED = """
  - id: test.ceiling
    article: art. 14
    text: Personal data goes within 5 days of the request.
    applies: {anchor: territory, data: [personal, account]}
    duty: {retain: [{at_most: 5 days, from: erasure_request}, {at_most: 30 days, from: creation, scope: backup}]}
"""
DEPLOYMENT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  old: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: backup, url: "memory:"}
stores: {people: [vn, sg, old]}
records:
  people:
    person: {subject: id, data: [personal], times: {creation: created}}
    account: {subject: owner, data: [account], times: {account_end: closed}}
activities:
  - {route: "POST /people", subject: app, data: [personal, account], store: people}
"""


def policy_in(folder: Path, rules: Sequence[str] = (KEPT, LIMITED), text: str = DEPLOYMENT) -> Policy:
    """The policy of a deployment with these rules."""
    return load_policy(write_deployment(folder, text, rules))


def terms_of(policy: Policy, now: int = NOW, facts: FactSet | None = None) -> Terms:
    """The terms of records under a policy at `now` (microseconds)."""
    return Terms(policy, policy.facts if facts is None else facts, now)


def covered(events: Mapping[str, int] | None = None, digest: str = "aa" * 32, place: str = "VN") -> Person:
    """A subject whom the law of `place` covers."""
    seen = AnchorFinding(frozenset({place}), frozenset(), Trust.VERIFIED)
    return Person(digest, "ab" * 16, Finding(territory=seen), events or {})


def row(
    key: str, subject: str | None, name: str = "person", times: Mapping[str, int] | None = None, value: bytes = b"{}"
) -> Record:
    """A record of the deployment above."""
    data = {"person": "personal", "account": "account"}[name]
    return Record(name, key, subject, frozenset({data}), value, times or {})


class MemoryRecords:
    """The `Records` of one sink. `before_delete` are called in turn before each deletion: a writer in between."""

    def __init__(self, sink: str, records: Sequence[Record] = ()) -> None:
        self.sink = sink
        self.held = {(record.name, record.key): record for record in records}
        self.before_delete: list[object] = []
        self.fails: Exception | None = None  # what every call raises
        self.refused: set[str] = set()  # names, or keys, that others refer to, so that none with them can be deleted
        self.deletes = 0

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        if self.fails is not None:
            raise self.fails
        return tuple(sorted({r.subject for r in self.held.values() if r.subject is not None and r.subject > after}))[
            :limit
        ]

    async def count(self) -> Mapping[str, int]:
        names = [name for name, _ in self.held]
        return {name: names.count(name) for name in names}

    async def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        for record in list(self.held.values()):
            if record.subject in subjects:
                yield record

    async def write(self, records: Sequence[Record]) -> int:
        for record in records:
            there = self.held.get((record.name, record.key))
            if there is not None and there.value != record.value:
                raise RecordConflict(f"sink {self.sink!r} has another record of {record.name!r}")
        new = {(r.name, r.key): r for r in records if (r.name, r.key) not in self.held}
        self.held |= new
        return len(new)

    async def delete(self, records: Sequence[Record]) -> int:
        if self.before_delete:
            self.before_delete.pop(0)(self)  # type: ignore[operator]  # a callable of this
        if self.fails is not None:
            raise self.fails
        if self.refused & {word for record in records for word in (record.name, record.key)}:
            raise SinkUnavailable(f"sink {self.sink!r} cannot be written")
        self.deletes += 1
        gone = 0
        for record in records:
            there = self.held.get((record.name, record.key))
            if there is not None and there.value == record.value:
                del self.held[record.name, record.key]
                gone += 1
        return gone

    def change(self, name: str, key: str) -> None:
        """Somebody writes this record anew."""
        there = self.held[name, key]
        self.held[name, key] = replace(there, value=(there.value or b"") + b" ")


def copy_of(policy: Policy, sink: str, records: Sequence[Record] = ()) -> tuple[Copy, MemoryRecords]:
    """A copy of store `people` in `sink`, and what is in it."""
    held = MemoryRecords(sink, records)
    return Copy("people", sink_of(policy, sink), held), held


def sink_of(policy: Policy, name: str) -> Sink:
    """The sink as decisions see it."""
    return policy.deployment.sinks[name].sink


class Acts:
    """Acts that were begun and how each ended, as `enforcement.upkeep` would record them."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    async def begin(self, copy: Copy, why: str, rules: tuple[str, ...]) -> Acts:
        self.told.append(("intent", copy.sink.name, why, *rules))
        return self

    async def ended(self, act: str, told: str) -> str:
        self.told.append((act, told))
        return f"0.{len(self.told)}"

    async def broke(self, error: BaseException) -> None:
        self.told.append(("unknown", type(error).__name__))


__all__ = [
    "DAY", "DEPLOYMENT", "KEPT", "LIMITED", "NOW", "Acts", "MemoryRecords", "copy_of", "covered", "policy_in",
    "row", "sink_of", "terms_of",
]  # fmt: skip
