"""Whatever an app does in whatever order: no act without a record before it, none against the law, none told twice."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from residency.adapters.journal_memory import JournalMemory
from residency.adapters.sink_memory import MemorySink
from residency.audit.entry import parse_entry
from residency.enforcement.acts import Act
from residency.enforcement.current import Current
from residency.enforcement.point import Identifying, Refusal, Request
from residency.errors import ResidencyError
from residency.policy.compiler import Policy
from residency.signals.identity import ClaimMap
from tests.world import HANOI, HOME, SG, SINGAPORE, VERIFIED, VN, Deployed, load_policy, write_deployment

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
exempt: [GET /healthz]
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "GET /people", subject: app, data: [personal], store: people}
  - {route: "POST /posts", subject: app, data: [content], operation: post, store: people}
"""


def _policy(mode: str) -> Policy:
    with tempfile.TemporaryDirectory() as name:
        replace = [("mode: enforce", f"mode: {mode}")]
        return load_policy(write_deployment(Path(name), DEPLOYMENT, (HOME, VERIFIED), replace))


POLICIES = {mode: _policy(mode) for mode in ("enforce", "observe")}
ADDRESSES = {"VN": HANOI, "SG": SINGAPORE}
SUBJECTS = st.sampled_from(["an", "binh", "tan"])
ROUTES = st.sampled_from(["POST /people", "GET /people", "POST /posts", "GET /healthz", "GET /else", "GET /a//b"])
CLAIMS = st.sampled_from([None, "VN", "SG", "??"])
SINKS = st.sampled_from(["sg", "vn"])


class Acts(RuleBasedStateMachine):
    """One deployment in one mode; requests, subjects, acts, stop orders and a failing journal in any order."""

    mode = "enforce"

    def __init__(self) -> None:
        super().__init__()
        self.world = Deployed(
            POLICIES[self.mode],
            [MemorySink("sg", SG), MemorySink("vn", VN)],
            identifying=Identifying(None, ClaimMap()),
            journal=JournalMemory(headroom=100_000, capacity=400_000),
        )
        self.loop = asyncio.new_event_loop()
        self.requests: list[Current] = []
        self.acts: list[Act] = []
        self.confirmed: set[str] = set()
        self.works = True
        self.answered = 0

    def teardown(self) -> None:
        """Let the loop go."""
        self.loop.close()

    def attempt(self, work: Any) -> bool:
        """Whether the coroutine went through; an error of ours is an answer, any other fails the run."""
        try:
            self.loop.run_until_complete(work)
        except ResidencyError:
            return False
        return True

    @rule(route=ROUTES, country=st.sampled_from(["VN", "SG"]))
    def request(self, route: str, country: str) -> None:
        """A request comes in."""
        method, path = route.split()
        before = len(self.world.journal.records)
        try:
            answer = self.world.point.admit(Request(method, path, path.encode(), (), (ADDRESSES[country], 5)))
        except ResidencyError:
            assert len(self.world.journal.records) == before
            return
        if isinstance(answer, Current):
            self.requests.append(answer)
        else:
            assert len(self.world.journal.records) == before + 1
            assert isinstance(answer, Refusal) or route in ("GET /healthz", "GET /else", "GET /a//b")

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), subject=SUBJECTS, verified=st.booleans(), citizenship=CLAIMS)
    def identify(self, data: st.DataObject, subject: str, verified: bool, citizenship: str | None) -> None:
        """The app says who it is."""
        here = data.draw(st.sampled_from(self.requests))
        claims = {"citizenship": citizenship, "verified_by": "phone" if verified else None}
        before = here.evidence, here.subject
        self.attempt(here.identify(subject, claims, verified=verified))
        if before[1] is not None and before[1].value != subject and not verified:
            assert here.evidence == frozenset() or here.subject == before[1]

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), sink=SINKS, named=st.booleans())
    def begin(self, data: st.DataObject, sink: str, named: bool) -> None:
        """The app opens the store."""
        here = data.draw(st.sampled_from(self.requests))
        before = len(self.world.journal.records)
        try:
            act = here.begin("people", sink, named=named)
        except ResidencyError:
            assert all(parse_entry(record).kind == "refusal" for record in self.world.journal.records[before:])
            return
        assert parse_entry(self.world.journal.records[-1]).kind == "intent"
        self.acts.append(act)

    @precondition(lambda self: self.acts)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        """The act is about to take effect."""
        act = data.draw(st.sampled_from(self.acts))
        told = {entry.of for entry in self.world.entries if entry.kind == "outcome"}
        if act.id in told or not self.attempt(act.confirm()):
            return
        self.confirmed.add(act.id)
        here = act.current
        verdict = here.decision.sink(act.sink)
        assert verdict is not None
        if self.mode == "enforce":
            assert verdict.effect.word == "permit"
            assert here.decision.permitted
            assert not self.world.facts.current().stopped(0) & {act.sink}
            assert here.subject is not None
        if act.operation.value != "read":
            assert self.world.journal.durable > int(act.id.split(".")[1])

    @precondition(lambda self: self.acts)
    @rule(data=st.data(), how=st.sampled_from(["committed", "rolled_back", "failed", "unknown"]))
    def outcome(self, data: st.DataObject, how: str) -> None:
        """The act has ended."""
        act = data.draw(st.sampled_from(self.acts))
        try:
            act.outcome(how if act.id in self.confirmed else "rolled_back")
        except ResidencyError:
            assert not self.works or self.world.journal._room < 2_000

    @rule(sink=st.sampled_from(["sg", "vn", None]))
    def order(self, sink: str | None) -> None:
        """An authority's order comes in, or is lifted."""
        self.world.stop(*([sink] if sink is not None else []))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """A request ends."""
        here = data.draw(st.sampled_from(self.requests))
        self.requests.remove(here)
        before = len(self.world.journal.records)
        try:
            self.world.point.close(here)
        except ResidencyError:
            return
        assert here.trail.records > 0 or len(self.world.journal.records) == before + 1

    @precondition(lambda self: self.works and len(self.acts) > 3)
    @rule()
    def fail(self) -> None:
        """The journal's disk fails, for good."""
        self.world.journal.fail()
        self.works = False

    @invariant()
    def every_outcome_belongs_to_one_intent_before_it(self) -> None:
        """And what is counted as open is what has none."""
        open_intents: set[str] = set()
        for entry in self.world.entries:
            if entry.kind == "intent":
                open_intents.add(entry.id)
            elif entry.kind == "outcome":
                assert entry.of in open_intents
                open_intents.discard(str(entry.of))
        assert self.world.recorder.open_intents == len(open_intents)

    @invariant()
    def counters_never_fall_below_zero(self) -> None:
        """Nor does the gauge."""
        assert min(self.world.metrics.cells) >= 0
        assert self.world.recorder.open_intents >= 0

    @invariant()
    def nothing_binds_in_observe(self) -> None:
        """The only refusals are those that hold in both modes."""
        if self.mode == "observe":
            assert [
                entry for entry in self.world.entries if entry.kind == "refusal" and entry.reason != "facts_moved"
            ] == []

    @invariant()
    def one_alias_never_stands_for_two_people(self) -> None:
        """Each request's alias is its subject's."""
        seen: dict[str, str] = {}
        for here in self.requests:
            if here.subject is not None and here.alias is not None:
                assert seen.setdefault(here.alias, here.subject.value) == here.subject.value


class ObservedActs(Acts):
    """The same in a dark launch."""

    mode = "observe"


_RUNS = settings(max_examples=settings().max_examples // 2, stateful_step_count=30)  # half: each is thirty steps
TestActs = Acts.TestCase
TestActs.settings = _RUNS
TestObservedActs = ObservedActs.TestCase
TestObservedActs.settings = _RUNS
