"""`decide`: the compiled policy agrees with the oracle, never raises, and another law never permits more."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from residency.model import (
    Activity,
    Anchor,
    AnchorFinding,
    Decision,
    Duty,
    Effect,
    FactSet,
    Filing,
    FilingResult,
    Finding,
    Operation,
    Operator,
    Presume,
    Region,
    Sink,
    StopOrder,
    SubjectSource,
    Trust,
)
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parsed import (
    DeploymentDoc,
    LawDoc,
    OperatorTest,
    RegisterDoc,
    RuleDoc,
    SinkDoc,
    SinkTest,
    Span,
)
from residency.policy.parsed_signals import Secret
from residency.policy.reference import reference_decide

T = TypeVar("T")
PLACES = ["VN", "DE", "EU", "SG", "US", "CA", "CA-QC"]
DATA = ["personal", "sensitive", "health", "account", "content", "core"]
TOKENS = ["identity:phone", "identity:eid", "filing:vn.dossier", "filing:eu.scc", "consent:x"]
places = st.frozensets(st.sampled_from(PLACES), max_size=2)
some_places = st.frozensets(st.sampled_from(PLACES), min_size=1, max_size=2)
instants = st.integers(-2, 12)
spans = st.one_of(st.just(Span()), st.builds(Span, st.none() | instants, st.none() | instants))
few_operations = st.frozensets(st.sampled_from(Operation), min_size=1, max_size=3)
duties = st.builds(
    Duty,
    copies=st.sampled_from([frozenset(), frozenset(), frozenset({"VN"}), frozenset({"EU"}), frozenset({"DE", "VN"})]),
    first_write=st.sampled_from([frozenset(), frozenset(), frozenset(), frozenset({"VN"}), frozenset({"SG"})]),
    only=st.sampled_from([None, None, None, frozenset({"VN"}), frozenset({"EU"}), frozenset({"EU", "VN", "CA"})]),
    require=st.frozensets(st.frozensets(st.sampled_from(TOKENS), min_size=1, max_size=2), max_size=2)
    | st.just(frozenset({frozenset[str]()})),
    log=st.frozensets(st.sampled_from(["ip"]), max_size=1),
    effect=st.sampled_from([Effect.PERMIT] * 6 + [Effect.HOLD, Effect.DENY]),
)
operator_tests = st.just(OperatorTest()) | st.builds(
    OperatorTest,
    established_in=st.none() | some_places,
    not_established_in=st.none() | some_places,
    role=st.none() | st.just(frozenset({"controller"})),
    service_line=st.none() | st.just(frozenset({"messaging"})),
    public_body=st.none() | st.booleans(),
)
sink_tests = st.sampled_from(
    [None, None, None, SinkTest("abroad"), SinkTest("provider_abroad"), SinkTest("in", "VN"), SinkTest("in", "EU")]
)
sinks = [
    Sink("vn", "r1", "VN", "VN", "VN", True),
    Sink("vn-foreign", "r1", "VN", "US", "VN", True),
    Sink("de", "r2", "DE", "DE", "DE", True),
    Sink("sg", "r3", "SG", "SG", "SG", False),
    Sink("qc", "r4", "CA-QC", "CA", "CA", True),
]


@st.composite
def rule(draw: st.DrawFn, name: str, overridable: list[tuple[str, bool]]) -> RuleDoc:
    sink = draw(sink_tests)
    # A rule may override earlier ones only, so that no two override each other; a rule about sinks only its like.
    allowed = [n for n, about_sink in overridable if sink is None or about_sink]
    overrides = draw(st.frozensets(st.sampled_from(allowed), max_size=1)) if allowed else frozenset[str]()
    overridable.append((name, sink is not None))
    return RuleDoc(
        id=name, article="art. 1", text="t", text_vi="", source="S", confidence="high", checked="2026-11-21",
        mode=draw(st.sampled_from(["enforce"] * 4 + ["warn", "observe"])),
        span=draw(spans),
        anchors=draw(st.frozensets(st.sampled_from(Anchor), min_size=1, max_size=3)),
        duty=draw(duties),
        data=draw(st.none() | st.frozensets(st.sampled_from(DATA), min_size=1, max_size=2)),
        operations=draw(st.none() | few_operations),
        operator=draw(operator_tests),
        sink=sink,
        overrides=overrides,
    )  # fmt: skip


@st.composite
def law(draw: st.DrawFn, name: str, overridable: list[tuple[str, bool]]) -> LawDoc:
    count = draw(st.integers(1, 3))
    return LawDoc(
        name=name, jurisdiction=draw(st.sampled_from(["VN", "EU", "CA-QC", "US"])), instrument=f"Act {name}",
        title="", title_vi="", span=draw(spans), confidence="high", checked="2026-11-21",
        rules=tuple(draw(rule(f"{name}.r{i}", overridable)) for i in range(count)),
    )  # fmt: skip


@st.composite
def laws(draw: st.DrawFn) -> tuple[LawDoc, ...]:
    overridable: list[tuple[str, bool]] = []
    return tuple(draw(law(f"l{i}", overridable)) for i in range(draw(st.integers(1, 3))))


@st.composite
def deployment(draw: st.DrawFn) -> DeploymentDoc:
    def activity(number: int) -> Activity:
        return Activity(
            f"a{number}", "POST", f"/a{number}", SubjectSource("app"),
            draw(st.frozensets(st.sampled_from(DATA), min_size=1, max_size=2)),
            draw(st.sampled_from(Operation)),
            store=draw(st.sampled_from([None, "s1", "s1", "s2"])),
        )  # fmt: skip

    return DeploymentDoc(
        name="d",
        mode=draw(st.sampled_from(["enforce", "observe"])),
        operator=Operator(
            draw(some_places),
            draw(st.sampled_from([frozenset(), frozenset({"controller"})])),
            draw(st.sampled_from([frozenset(), frozenset({"messaging"})])),
            draw(st.booleans()),
        ),
        laws=("*",),
        laws_from=(),
        registers=(),
        presume=((Anchor.TERRITORY, Presume.COVERED),),
        regions={s.region: Region(s.region, s.place) for s in sinks},
        sinks={s.name: SinkDoc(s, Secret("")) for s in sinks},
        stores={
            "s1": tuple(draw(st.permutations([s.name for s in sinks]))[: draw(st.integers(1, 5))]),
            "s2": ("sg",),
        },
        activities=tuple(activity(n) for n in range(2)),
        unclassified=draw(st.sampled_from(["deny", "permit"])),
        modes=draw(st.sampled_from([{}, {}, {"l0.r0": "observe"}, {"l0.r0": "enforce"}])),
    )


Question = tuple[int, Finding, frozenset[str], FactSet, int]


def questions(seed: int, amount: int) -> list[Question]:
    """Many questions from one drawn number: documents deserve shrinking, questions are cheap and many."""
    chance = random.Random(seed)

    def subset(values: Sequence[T], most: int) -> frozenset[T]:
        return frozenset(chance.sample(list(values), chance.randint(0, most)))

    def anchor() -> AnchorFinding:
        return AnchorFinding(
            subset(PLACES, 1), subset(PLACES, 2), chance.choice([Trust.HINT, Trust.NETWORK, Trust.VERIFIED])
        )

    def facts() -> FactSet:
        return FactSet(
            chance.randint(0, 3),
            tuple(
                Filing(kind, "1", chance.randint(-2, 12), chance.choice(list(FilingResult)), end())
                for kind in subset(["vn.dossier", "eu.scc"], 2)
            ),
            tuple(StopOrder("1", sink, chance.randint(-2, 12), end()) for sink in subset(["*", "sg", "vn"], 1)),
        )

    def end() -> int | None:
        return chance.choice([None, chance.randint(-2, 12)])

    held = [facts() for _ in range(3)]
    return [
        (
            chance.randint(-1, 1),
            Finding(anchor(), anchor(), anchor(), anchor()),
            subset([*TOKENS, "age:at_least_18"], 3),
            chance.choice(held),
            chance.randint(-2, 12),
        )
        for _ in range(amount)
    ]


seeds = st.integers(0, 2**32)


def ask(policy: Policy, question: Question) -> Decision:
    number, finding, evidence, held, now = question
    activity = None if number < 0 else policy.deployment.activities[number]
    return policy.decide(activity, finding, evidence, held, now)


def compiled(doc: DeploymentDoc, chosen: tuple[LawDoc, ...]) -> Policy:
    return compile_policy(doc, chosen, [RegisterDoc("r")], "digest")


@settings(max_examples=settings().max_examples * 3 // 2)
@given(deployment(), laws(), seeds)
def test_the_compiled_policy_agrees_with_the_reference_evaluator(
    doc: DeploymentDoc, chosen: tuple[LawDoc, ...], seed: int
) -> None:
    policy = compiled(doc, chosen)
    asked = questions(seed, 20)
    # Again and backwards over one policy: the memo answers where slice and facts allow.
    for question in [*asked, *asked[::-1]]:
        number, finding, evidence, held, now = question
        activity = None if number < 0 else doc.activities[number]
        assert ask(policy, question) == reference_decide(
            doc, policy.laws, "digest", activity, finding, evidence, held, now
        )


@given(deployment(), laws(), seeds)
def test_another_law_without_overrides_never_permits_more(
    doc: DeploymentDoc, chosen: tuple[LawDoc, ...], seed: int
) -> None:
    last = chosen[-1]
    plain = replace(last, rules=tuple(replace(r, overrides=frozenset()) for r in last.rules))
    fewer = compiled(replace(doc, modes={}), chosen[:-1]) if len(chosen) > 1 else None
    more = compiled(replace(doc, modes={}), (*chosen[:-1], plain))
    none = compiled(replace(doc, modes={}, laws=()), ())
    for question in questions(seed, 20):
        after = ask(more, question)
        for before in [ask(none, question)] + ([] if fewer is None else [ask(fewer, question)]):
            assert after.effect >= before.effect
            for verdict in before.sinks:
                now = after.sink(verdict.sink.name)
                assert now is not None
                assert now.effect >= verdict.effect


@given(deployment(), laws(), seeds)
def test_an_override_removes_only_what_it_names(doc: DeploymentDoc, chosen: tuple[LawDoc, ...], seed: int) -> None:
    doc = replace(doc, modes={})
    policy = compiled(doc, chosen)
    named = frozenset[str]().union(*(r.overrides for one in chosen for r in one.rules))
    # With what could be overridden taken out altogether, what remains must still be asked.
    rest = tuple(
        replace(one, rules=tuple(replace(r, overrides=frozenset()) for r in one.rules if r.id not in named))
        for one in chosen
    )
    without = compiled(doc, rest)
    for question in questions(seed, 20):
        full, least = ask(policy, question), ask(without, question)
        assert full.duty.require >= least.duty.require
        assert full.duty.copies >= least.duty.copies
        assert full.duty.effect >= least.duty.effect
        assert full.effect >= least.effect


@given(deployment(), laws(), seeds, st.integers(-(10**30), 10**30), st.text(max_size=8))
def test_decide_answers_whatever_it_is_asked(
    doc: DeploymentDoc,
    chosen: tuple[LawDoc, ...],
    seed: int,
    now: int,
    store: str,
) -> None:
    policy = compiled(doc, chosen)
    _, finding, evidence, held, _ = questions(seed, 1)[0]
    foreign = Activity("x", "GET", "/x", SubjectSource("none"), frozenset({"personal"}), Operation.READ, store=store)
    for activity in (None, foreign, replace(doc.activities[0])):
        decision = policy.decide(activity, finding, evidence | {store}, held, now)
        assert decision.activity == activity
        assert (decision.reason is None) == (decision.effect is Effect.PERMIT)
