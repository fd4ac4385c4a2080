"""For tests: an audit folder as a deployment leaves it (log, archived policies and facts), without running one.

In: a policy, what happened and when. Out: entries that the real recorder wrote on real decisions, and the folder.
"""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

from residency.adapters.clock_manual import ManualClock
from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.adapters.journal_memory import JournalMemory
from residency.audit.entry import Entry, parse_entry
from residency.audit.recall import Basis
from residency.enforcement.recorder import Recorder
from residency.jurisdiction.found import parse_finding
from residency.model import Activity, Effect, FactSet, Reason
from residency.policy.archive import archived
from residency.policy.compiler import Policy
from tests.audit_log import write_log
from tests.world import load_policy, write_deployment

IN_VIETNAM = "territory:VN:established:network"
IN_SINGAPORE = "territory:SG:established:network"
DAY = 86_400_000_000


START = 1_788_000_000_000_000
SOME_DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn], home: [vn], abroad: [sg]}
exempt: [GET /healthz]
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "POST /posts", subject: app, data: [content], operation: post, store: home}
  - {route: "GET /friends", subject: app, data: [relationship], store: home}
  - {route: "POST /carts", subject: app, data: [transaction], store: abroad}
  - {route: "GET /news", subject: none, data: [state]}
"""
SOME_RULES = (
    """
  - id: test.home
    article: art. 1
    text: Personal data is kept in Vietnam.
    applies: {anchor: territory, data: [personal]}
    duty: {copies: [VN], retain: [{at_least: 24 months, from: creation}]}
""",
    """
  - id: test.verified
    article: art. 2
    text: Who publishes is verified.
    applies: {anchor: territory, data: [content], operation: post}
    duty: {require: [["identity:phone"]]}
""",
    """
  - id: test.never
    article: art. 3
    text: Nobody looks at friends, some day.
    mode: observe
    applies: {anchor: territory, data: [relationship]}
    duty: {effect: deny}
""",
)


class RecordedLog:
    """One worker slot, a clock that is set by hand, and whatever policies come into force one after the other."""

    def __init__(self, policy: Policy, at: int, facts: FactSet | None = None, slot: int = 0) -> None:
        self.clock = ManualClock(at)
        self.journal = JournalMemory(slot)
        self._first = Recorder(self.journal, self.clock, UnsafeSeededEntropy(), policy.digest)
        self._archive: dict[str, bytes] = {}
        self.epoch = 0
        self.adopt(policy, facts)

    def adopt(self, policy: Policy, facts: FactSet | None = None) -> None:
        """From now on `policy` decides, on these facts (None = its register's)."""
        self.epoch += 1
        self.policy = policy
        self.facts = dataclasses.replace(policy.facts if facts is None else facts, epoch=self.epoch)
        self.recorder = self._first.under(policy.digest, policy.version)
        self._archive.update(archived(policy, self.facts))
        self.recorder.facts(self.facts)

    def activity(self, route: str) -> Activity:
        """The activity of that name."""
        return next(a for a in self.policy.deployment.activities if a.name == route)

    def ask(
        self,
        route: str,
        *,
        finding: tuple[str, ...] = (IN_VIETNAM,),
        evidence: frozenset[str] = frozenset(),
        subject: str | None = "ab" * 8,
        how: str | None = "committed",
        sink: str | None = None,
        wait: int = 1_000_000,
    ) -> Entry:
        """A request for an act on the first sink that may be used, or on `sink`: it is done and ends so (None = its end
        is never recorded), or is refused. The clock goes on by `wait` first. The entry of the intent or refusal."""
        self.clock.set_wall(self.clock.now() + wait)
        now, activity, deployment = self.clock.now(), self.activity(route), self.policy.deployment
        found = dataclasses.replace(
            parse_finding(finding),
            presume=deployment.presume,
            conflicts_presumed=deployment.conflicts_presumed,
            strategy=deployment.signals.client_address.strategy,
        )
        decision = self.policy.decide(activity, found, evidence, self.facts, now)
        basis = Basis(now)
        verdict = decision.sink(sink) if sink is not None else next(iter(decision.sinks), None)
        number = len(self.journal.records)
        if activity.store is None or (verdict is None and decision.permitted):
            self.recorder.decision(decision, subject, {}, basis)
        elif not decision.permitted or verdict is None:
            self.recorder.refusal(decision, decision.reason or Reason.HOLD, subject, {}, basis)
        elif verdict.effect is not Effect.PERMIT and decision.mode != "observe":
            self.recorder.refusal(decision, verdict.reason or Reason.HOLD, subject, {}, basis, verdict.sink.name)
        else:
            intent = self.recorder.intent(
                decision, verdict.sink.name, activity.operation.value, subject, {}, basis, verdict.reason
            )
            if how is not None:
                self.recorder.outcome(decision, verdict.sink.name, activity.operation.value, intent, how)
        return parse_entry(self.journal.records[number])

    @property
    def entries(self) -> list[Entry]:
        """Every entry so far."""
        return [parse_entry(record) for record in self.journal.records]

    def write(self, audit: Path) -> Path:
        """The audit folder with log and archive; the log's own folder."""
        for path, data in self._archive.items():
            (audit / path).parent.mkdir(parents=True, exist_ok=True)
            (audit / path).write_bytes(data)
        return write_log(audit / "log", list(self.journal.records))


def some_weeks(folder: Path, count: int = 300, mode: str = "enforce") -> RecordedLog:
    """Some weeks of a deployment, of everything something."""
    changes = [
        ("mode: enforce", f"mode: {mode}"),
        ("presume: {territory: not_covered}", "presume: {territory: covered}"),
    ]
    log = RecordedLog(load_policy(write_deployment(folder, SOME_DEPLOYMENT, SOME_RULES, changes)), START)
    some = random.Random(5)
    for _ in range(count):
        log.ask(
            some.choice(["POST /people", "POST /people", "POST /posts", "POST /carts", "GET /friends", "GET /news"]),
            finding=some.choice([(IN_VIETNAM,), (IN_SINGAPORE,), ()]),
            evidence=some.choice([frozenset(), frozenset({"identity:phone"})]),
            subject=some.choice([None, "aa" * 8, "bb" * 16, f"{some.getrandbits(64):016x}"]),
            how=some.choice(["committed", "committed", "failed", "unknown", None]),
            wait=some.randrange(1, DAY // 6),
        )
        if some.random() < 0.1:
            log.recorder.exempt("GET /healthz", mode)
        if some.random() < 0.1:
            log.recorder.refused_request(None, mode, Reason.PATH_AMBIGUOUS)
    return log
