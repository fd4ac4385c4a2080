"""Whatever an app does in whatever order: no act without a record before it, none against the law, none told twice."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from hashlib import sha256
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
from residency.enforcement.moving import FOLLOWED
from residency.enforcement.point import Identifying, Refusal, Request
from residency.errors import ResidencyError
from residency.model import Pin, SinkVerdict
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
        self.begun: dict[str, Pin | None] = {}
        self.confirmed: set[str] = set()
        self.misplaced: set[str] = set()
        self.world.stores.misplaced = self.misplaced
        self.pins = self.world.point.homes.pins
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
    def begin(self, data: st.DataObject, sink: str, named: bool, here: Current | None = None) -> None:
        """The app opens the store."""
        here = data.draw(st.sampled_from(self.requests)) if here is None else here
        before = len(self.world.journal.records)
        try:
            act = here.begin("people", sink, named=named)
        except ResidencyError:
            assert all(parse_entry(record).kind == "refusal" for record in self.world.journal.records[before:])
            return
        assert parse_entry(self.world.journal.records[-1]).kind == "intent"
        self.acts.append(act)
        self.begun[act.id] = here.pin

    @precondition(lambda self: self.acts)
    @rule(data=st.data(), waits=st.booleans())
    def confirm(self, data: st.DataObject, waits: bool) -> None:
        """The act is about to take effect; what can be told without waiting is no other than what is waited for."""
        self.confirmed_by(data.draw(st.sampled_from(self.acts)), waits)

    def confirmed_by(self, act: Act, waits: bool) -> None:
        """Confirm an act, and hold what comes of it to what is so now."""
        told = {entry.of for entry in self.world.entries if entry.kind == "outcome"}

        async def confirm() -> None:
            if waits or not act.confirm_now():
                await act.confirm()

        here = act.current
        before = self.pin_of(here)
        if act.id in told or not self.attempt(confirm()):
            return
        self.confirmed.add(act.id)
        self.holds_now(act, before)
        verdict = here.decision.sink(act.sink)
        assert verdict is not None
        if self.mode == "enforce":
            assert verdict.effect.word == "permit" or self.follows(act, verdict)
            assert here.decision.permitted
            assert not self.world.facts.current().stopped(0) & {act.sink}
            assert here.subject is not None
        if act.operation.value != "read":
            assert self.world.journal.durable > int(act.id.split(".")[1])

    def follows(self, act: Act, verdict: SinkVerdict) -> bool:
        """Whether an act only reads where its subject's data lies until it is home, or lay when the act began."""
        pins = (act.current.pin, self.begun[act.id])
        lies = {pin.moving or pin.home for pin in pins if pin is not None}
        return not act.changes and verdict.reason in FOLLOWED and verdict.sink.place in lies

    def pin_of(self, here: Current) -> Pin | None:
        """The newest pin of the subject, from where it lies."""
        return None if here.subject_digest is None else self.pins.peek(here.subject_digest)[0]

    def holds_now(self, act: Act, before: Pin | None) -> None:
        """What the act was confirmed on is what is decided of it this moment by the facts and the pin as they are;
        `before` is the pin before the act itself set or strengthened one."""
        here, point = act.current, self.world.point
        newest = self.pin_of(here)
        assert here.pin == newest
        finding = point.perception.finding(here.signals, before)
        facts = self.world.facts.current()
        assert here.decision == point.policy.decide(here.activity, finding, here.shown, facts, point.clock.now())
        assert self.mode == "observe" or act.sink not in self.misplaced
        verdict = here.decision.sink(act.sink)
        assert verdict is not None
        if newest is None:
            return
        begun = self.begun[act.id]
        if before is not None and before.set_by == "move" and before.moving is not None and before != begun:
            assert not act.changes
        if self.mode == "enforce":
            assert newest.home == verdict.sink.place or (begun is not None and begun.home == newest.home)

    @rule(subject=SUBJECTS, home=st.sampled_from(["VN", "SG"]), moving=st.sampled_from([None, "VN", "SG"]))
    def move(self, subject: str, home: str, moving: str | None) -> None:
        """Somebody else gives the subject a home, another one, or begins to move their data, or is done with it."""
        digest = self.world.point.perception.digest(subject)
        old = self.pins.peek(digest)[0]
        by = "first_write" if old is None else "move"
        pin = Pin(digest, home, (), sha256(digest.encode()).hexdigest()[:32], by, "p", 0)
        if old is not None:
            pin = replace(old, home=home, set_by=by, moving=moving, version=old.version + 1)
        self.loop.run_until_complete(self.pins.put(pin))

    @precondition(lambda self: self.requests and self.works)
    @rule(
        data=st.data(),
        sink=SINKS,
        what=st.sampled_from(["nothing", "order", "move", "misplace"]),
        home=st.sampled_from(["VN", "SG"]),
        moving=st.sampled_from([None, None, "VN", "SG"]),
    )
    def between(self, data: st.DataObject, sink: str, what: str, home: str, moving: str | None) -> None:
        """Something changes between an act's begin and its effect, for which nothing is left to wait."""
        here = data.draw(st.sampled_from(self.requests))
        self.misplace(set())
        self.order(None)
        begun = len(self.acts)
        self.begin(data, sink, False, here)
        if len(self.acts) == begun:
            return
        act = self.acts[-1]
        if what == "order":
            self.order(sink)
        elif what == "move" and here.subject is not None:
            self.move(here.subject.value, home, moving)
        elif what == "misplace":
            self.misplace({sink})
        if self.attempt(self.world.recorder.durable(int(act.id.split(".")[1]))):
            self.confirmed_by(act, waits=False)

    @rule(sinks=st.sampled_from([set(), {"sg"}, {"vn"}]))
    def misplace(self, sinks: set[str]) -> None:
        """Sinks are seen elsewhere than they must lie, or back in their place."""
        self.misplaced.clear()
        self.misplaced.update(sinks)

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
                entry
                for entry in self.world.entries
                if entry.kind == "refusal" and entry.reason not in ("facts_moved", "subject_moving")
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
