"""`decide`: the compiled policy agrees with the oracle on every field, never raises, and keeps its promises.

Worlds are made from seeds (`tests/policy_worlds.py`); a failure tells its seed and the smallest world that shows it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.model import (
    NEUTRAL,
    Activity,
    Anchor,
    AnchorFinding,
    Conflict,
    Decision,
    Duty,
    Effect,
    Exemption,
    FactSet,
    Finding,
    Operation,
    Presume,
    Reason,
    SinkVerdict,
    State,
    SubjectSource,
    Trust,
    join,
)
from residency.model.place import within
from residency.policy.compiler import Policy
from residency.policy.parsed import LawDoc, RuleDoc, SinkDoc, Span
from residency.policy.parsed_reading import READER, reader_sink
from residency.policy.parsed_signals import Secret
from tests.policy_features import OUTCOMES, WORDS, apart
from tests.policy_oracle import answer, compiled, expected, run
from tests.policy_worlds import Asked, World, laws_only, make_world, mapped, plain

ROOT = Path(__file__).resolve().parents[2]
# A package that is installed under the name `tests` would hide ours from a fresh interpreter.
_WORKER = """
import sys, types
ours = types.ModuleType("tests")
ours.__path__ = [sys.argv[1]]
sys.modules["tests"] = ours
from tests.policy_oracle import run
print(run(range(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
"""


def worlds(first: int, amount: int, questions: int = 20) -> Iterator[World]:
    for seed in range(first, first + amount):
        yield make_world(seed, questions)


# -- compiler and oracle


def test_the_compiled_policy_agrees_with_the_oracle_on_every_field() -> None:
    assert run(range(300)) == 6_000


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_the_compiled_policy_agrees_with_the_oracle_a_million_times() -> None:
    """RESIDENCY_CASES says how many; every core takes its share of the seeds."""
    seeds = int(os.environ.get("RESIDENCY_CASES", "1000000")) // 20
    cores = os.cpu_count() or 1
    command = [sys.executable, "-c", _WORKER, str(ROOT / "tests")]
    workers = [
        subprocess.Popen(
            [*command, str(1_000 + core), str(1_000 + seeds), str(cores)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for core in range(cores)
    ]
    told = [worker.communicate() for worker in workers]
    assert [error for (_, error), worker in zip(told, workers, strict=True) if worker.returncode] == []
    assert sum(int(count) for count, _ in told) == seeds * 20


def test_the_generator_reaches_every_word_of_the_language_and_every_outcome() -> None:
    """A word counts where taking it away changes a decision; an outcome where a decision comes to it."""
    missing = dict.fromkeys(WORDS, 3) | dict.fromkeys(OUTCOMES, 1)
    for seed in range(400):
        world = make_world(seed)
        changed: dict[str, World] = {}
        for asked in world.questions:
            decision = expected(world, asked)
            for name in tuple(missing):
                if _reached(name, world, asked, decision, changed):
                    missing[name] -= 1
                    if not missing[name]:
                        del missing[name]
        if not missing:
            break
    assert missing == {}


def _reached(name: str, world: World, asked: Asked, decision: Decision, changed: dict[str, World]) -> bool:
    if name in OUTCOMES:
        return OUTCOMES[name](decision)
    other, question = WORDS[name](world, asked)
    if name not in changed:
        same = other.laws == world.laws and other.deployment == world.deployment
        changed[name] = world if same else other
    if changed[name] is world and question == asked:
        return False
    return apart(decision, expected(changed[name], question))


def test_what_is_handed_in_of_what_decide_derives_changes_nothing() -> None:
    lies = {"basis:contract", "ai:portal_id", "sink:encrypted", "sink:keys.VN", "clock:found.VN/2-days"}
    lies |= {f"known:{anchor.value}.{place}" for anchor in Anchor for place in ("VN", "EU", "US", "CA-QC")}
    for world in worlds(0, 40):
        policy = compiled(world)
        for asked in world.questions:
            lying = replace(asked, evidence=asked.evidence | lies | {"consent:{purpose}"})
            assert answer(policy, lying) == answer(policy, asked)


# -- more law, more duty


def never_more(before: Decision, after: Decision) -> None:
    """`after` permits nothing that `before` does not, and asks all that it asks."""
    assert after.effect >= before.effect
    for verdict in before.sinks:
        now = after.sink(verdict.sink.name)
        assert now is not None
        assert now.effect >= verdict.effect


def contains(whole: Duty, part: Duty) -> None:
    assert join(whole, part) == whole


def test_another_law_without_overrides_never_permits_more_whatever_the_others_override() -> None:
    for world in worlds(0, 100):
        last = plain(world.laws[-1:])[0]
        fewer = compiled(laws_only(world, world.laws[:-1]))
        # An escalation makes rules of other laws speak, and these may override.
        more = compiled(laws_only(world, (*world.laws[:-1], replace(last, escalations=()))))
        for asked in world.questions:
            never_more(answer(fewer, asked), answer(more, asked))


def test_law_upon_law_without_overrides_never_permits_more_and_drops_no_duty() -> None:
    for world in worlds(1_000, 100):
        laws = plain(world.laws)
        line = [compiled(laws_only(world, laws[:number])) for number in range(len(laws) + 1)]
        for asked in world.questions:
            decisions = [answer(policy, asked) for policy in line]
            for before, after in pairwise(decisions):
                never_more(before, after)
                contains(after.duty, before.duty)


def test_the_duty_of_three_and_more_laws_is_exactly_what_each_asks_alone() -> None:
    seen = 0
    for world in worlds(0, 80):
        laws = tuple(replace(law, escalations=()) for law in plain(world.laws))
        whole = compiled(laws_only(world, laws))
        alone = [compiled(laws_only(world, (law,))) for law in laws]
        for asked in world.questions:
            parts = [answer(policy, asked).duty for policy in alone]
            assert answer(whole, asked).duty == reduce(join, parts, NEUTRAL)
            seen += sum(part != NEUTRAL for part in parts) >= 3
    assert seen >= 20


def rule(name: str, duty: Duty) -> RuleDoc:
    return RuleDoc(
        name, "art. 1", "t", "", "S", "high", "2026-11-21", "enforce", Span(), frozenset({Anchor.TERRITORY}), duty
    )


def test_copies_here_first_write_there_and_only_elsewhere_all_stand_and_are_a_conflict() -> None:
    duties = {
        "VN": Duty(copies=frozenset({"VN"})),
        "RU": Duty(first_write=frozenset({"RU"})),
        "CN": Duty(only=frozenset({"CN"})),
    }
    laws = tuple(
        LawDoc(name, name, f"Act {name}", "", "", Span(), "high", "2026-11-21", (rule(f"{name.lower()}.1", duty),))
        for name, duty in duties.items()
    )
    world = make_world(0, 0)
    activity = replace(world.deployment.activities[0], stores=("s1",))
    deployment = replace(world.deployment, activities=(activity,))
    world = laws_only(replace(world, deployment=deployment), laws)
    asked = Asked(0, Finding(), frozenset(), FactSet(0), 0, None, None)  # nobody spoke: covered by all three
    for decision in (answer(compiled(world), asked), expected(world, asked)):
        assert decision.duty == Duty(frozenset({"VN"}), frozenset({"RU"}), frozenset({"CN"}))
        assert decision.duty.conflicts == {Conflict.COPY_OUTSIDE_ONLY, Conflict.FIRST_WRITE_OUTSIDE_ONLY}
        assert (decision.effect, decision.reason) == (Effect.DENY, Reason.CONFLICT)
        assert {ref.id for ref in decision.rules} == {"vn.1", "ru.1", "cn.1"}
        assert {verdict.reason for verdict in decision.sinks} == {Reason.CONFLICT}


# -- overrides and exemptions remove what they name


def bare(decision: Decision) -> Decision:
    """A decision without what is told of rules that do not bind, and of the laws as such."""
    nothing: dict[str, tuple[()]] = dict.fromkeys(("outranked", "exempted", "exemptions", "observed", "presumed"), ())
    return replace(
        decision,
        sinks=tuple(replace(verdict, exemptions=()) for verdict in decision.sinks),
        jurisdictions=(),
        evidence=frozenset(),
        **nothing,  # type: ignore[arg-type]
    )


def dropped(world: World, names: frozenset[str]) -> World:
    """The world with rules of these names observed only, so that all else stays: whom laws cover, what is mentioned."""
    modes = dict(world.deployment.modes) | dict.fromkeys(names, "observe")
    dated = {name: later for name, later in world.deployment.modes_from.items() if name not in names}
    return replace(world, deployment=replace(world.deployment, modes=modes, modes_from=dated))


def one_override(world: World) -> tuple[World, RuleDoc] | None:
    """The world with its first override alone, and the rule that has it."""
    for law in world.laws:
        for found in law.rules:
            if found.overrides:
                bare_laws = plain(world.laws)
                return replace(world, laws=mapped(bare_laws, partial(_again, found))), found
    return None


def _again(kept: RuleDoc, other: RuleDoc) -> RuleDoc:
    return kept if other.id == kept.id else other


def test_an_override_removes_exactly_the_ids_that_it_names_and_tells_them() -> None:
    removed = 0
    for world in worlds(0, 160):
        found = one_override(world)
        if found is None:
            continue
        single, overriding = found
        policy, without = compiled(single), compiled(laws_only(single, plain(single.laws)))
        less = compiled(dropped(laws_only(single, plain(single.laws)), overriding.overrides))
        for asked in world.questions:
            lifting = replace(asked, facts=replace(asked.facts, exemptions=()))
            with_it, rest, least = answer(policy, lifting), answer(without, lifting), answer(less, lifting)
            told = {ref.id for ref in with_it.outranked}
            assert told <= overriding.overrides
            if not told:
                assert with_it == rest
            elif overriding.sink is None:
                assert bare(with_it) == bare(least)
                removed += 1
            else:
                removed += 1
                for verdict in with_it.sinks:
                    name = verdict.sink.name
                    assert verdict in (rest.sink(name), least.sink(name))
    assert removed >= 30


def waived(world: World, asked: Asked, exemption: Exemption) -> tuple[Decision, Decision, Decision]:
    """(with the exemption, without it, without it and the rules that it names)."""
    policy, less = compiled(world), compiled(dropped(world, exemption.rules))
    without = replace(asked, facts=replace(asked.facts, exemptions=()))
    with_it = replace(asked, facts=replace(asked.facts, exemptions=(exemption,)))
    return answer(policy, with_it), answer(policy, without), answer(less, without)


def test_an_exemption_removes_exactly_the_ids_that_it_names_in_its_scope_and_dates_and_is_cited() -> None:
    used = bounded = 0
    for world in worlds(0, 120, 10):
        for asked in world.questions:
            for exemption in asked.facts.exemptions[:1]:
                with_it, without, less = waived(world, asked, exemption)
                name = None if with_it.activity is None else with_it.activity.name
                in_scope = exemption.activities is None or name in exemption.activities
                if not exemption.holds(asked.now) or not in_scope:
                    assert with_it == without
                    continue
                assert {ref.id for ref in with_it.exempted} <= exemption.rules
                cited = with_it.exemptions + tuple(n for v in with_it.sinks for n in v.exemptions)
                # Cited exactly where it was used, and used exactly where it is cited.
                assert bool(with_it.exempted) == bool(cited)
                assert set(cited) <= {exemption.number}
                if exemption.sinks is None:
                    used += bool(cited)
                    assert bare(with_it) == bare(less)
                else:
                    bounded += bool(cited)
                    assert with_it.exemptions == () or exemption.sinks & asked.evidence  # it reaches who reads there
                    assert with_it.duty == without.duty
                    for verdict in with_it.sinks:
                        there = verdict.sink.name in exemption.sinks
                        other = (less if there else without).sink(verdict.sink.name)
                        assert replace(verdict, exemptions=()) == other
                        assert there or verdict.exemptions == ()
    assert used >= 50
    assert bounded >= 20


# -- evidence


def of_people(world: World) -> World:
    """The world without overrides and without `known:`, which more signals meet whichever way they point."""

    def change(found: RuleDoc) -> RuleDoc:
        unless = frozenset(token for token in found.unless if not token.startswith("known:"))
        found = replace(found, overrides=frozenset(), unless=unless)
        clauses = {frozenset(t for t in c if not t.startswith("known:")) for c in found.duty.require if c}
        forbids = found.duty.require & {frozenset()}
        return replace(found, duty=replace(found.duty, require=forbids | (clauses - {frozenset()})))

    return laws_only(world, mapped(world.laws, change))


def _set(finding: Finding, anchor: Anchor, found: AnchorFinding) -> Finding:
    match anchor:
        case Anchor.TERRITORY:
            return replace(finding, territory=found)
        case Anchor.CITIZENSHIP:
            return replace(finding, citizenship=found)
        case Anchor.RESIDENCE:
            return replace(finding, residence=found)
        case Anchor.COLLECTION:
            return replace(finding, collection=found)


def test_losing_signals_that_exclude_never_permits_more() -> None:
    lost = 0
    for seed in range(120):
        world = of_people(make_world(seed))
        places = {law.jurisdiction for law in world.laws}
        policy = compiled(world)
        for asked in world.questions:
            for anchor in Anchor:
                if all(asked.finding.state(place, anchor) is State.EXCLUDED for place in places):
                    lost += 1
                    less = replace(asked, finding=_set(asked.finding, anchor, AnchorFinding()))
                    never_more(answer(policy, asked), answer(policy, less))
    assert lost >= 100


@pytest.mark.parametrize("presume", [Presume.COVERED, Presume.NOT_COVERED, Presume.AS_RESIDENCE, Presume.AS_TERRITORY])
@pytest.mark.parametrize("least", [None, *Trust])
def test_losing_a_signal_of_whatever_trust_never_takes_a_person_out(least: Trust | None, presume: Presume) -> None:
    """All of it: what the anchor's own signal says and what signals say of the anchors it would be presumed as."""
    law = LawDoc(
        "VN", "VN", "Act", "", "", Span(), "high", "2026-11-21",
        (replace(rule("vn.1", Duty(effect=Effect.DENY)), anchors=frozenset({Anchor.CITIZENSHIP}), excluded_by=least),),
    )  # fmt: skip
    world = laws_only(make_world(0, 0), (law,))
    policy = compiled(world)
    silent = AnchorFinding()
    abroad = [AnchorFinding(frozenset({"US"}), trust=trust) for trust in Trust]
    presumed = dict(Finding().presume) | {Anchor.CITIZENSHIP: presume}
    for own in abroad:
        for residence in (silent, AnchorFinding(frozenset({"VN"}), trust=Trust.DECLARED), *abroad):
            for territory in (silent, *abroad):
                finding = Finding(territory, own, residence, presume=tuple(presumed.items()))
                asked = Asked(0, finding, frozenset(), FactSet(0), 0, None, None)
                less = replace(asked, finding=replace(finding, citizenship=silent))
                never_more(answer(policy, asked), answer(policy, less))
                assert answer(policy, asked) == expected(world, asked)
                assert answer(policy, less) == expected(world, less)


def test_gaining_a_signal_that_points_to_a_law_never_permits_more() -> None:
    for seed in range(120):
        world = of_people(make_world(seed))
        place = world.laws[0].jurisdiction
        world = laws_only(world, tuple(replace(law, jurisdiction=place) for law in world.laws))
        policy = compiled(world)
        for number, asked in enumerate(world.questions):
            anchor = tuple(Anchor)[number % 4]
            own = asked.finding.anchor(anchor)
            for gained in (
                replace(own, established=own.established | {place}, trust=own.trust or Trust.NETWORK),
                replace(own, contested=own.contested | {place}, trust=own.trust or Trust.NETWORK),
            ):
                if asked.finding.conflicts_presumed and not gained.established:
                    continue  # the deployment has said that a conflict is as if nobody had spoken
                more = replace(asked, finding=_set(asked.finding, anchor, gained))
                never_more(answer(policy, asked), answer(policy, more))


def test_losing_evidence_never_permits_more() -> None:
    for seed in range(120):
        world = laws_only(make_world(seed), plain(make_world(seed).laws))
        policy = compiled(world)
        for asked in world.questions:
            for token in sorted(asked.evidence):
                less = replace(asked, evidence=asked.evidence - {token})
                gave = (answer(policy, asked), answer(policy, less))
                never_more(*(reversed(gave) if token.startswith(READER) else gave))
            never_more(answer(policy, asked), answer(policy, replace(asked, facts=replace(asked.facts, filings=()))))


def test_reading_abroad_is_refused_where_a_sink_of_scope_reader_there_would_be_and_recorded_alone_changes_nothing() -> (
    None
):
    refused = 0
    for world in worlds(0, 250, 10):
        policy = compiled(world)
        noting = compiled(replace(world, deployment=replace(world.deployment, readers="record")))
        asking = compiled(replace(world, deployment=replace(world.deployment, readers="decide")))
        sink = reader_sink("SG")
        document = replace(
            world.deployment,
            sinks={**world.deployment.sinks, sink.name: SinkDoc(sink, Secret(""))},
            stores={**world.deployment.stores, "read": (sink.name,)},
            # Whatever it does to the data, where it is read it writes nothing.
            activities=tuple(replace(a, stores=(*a.stores, "read")) for a in world.deployment.activities),
        )
        storing = compiled(replace(world, deployment=document))
        for asked in world.questions:
            told = frozenset(token for token in asked.evidence if token.startswith(READER))
            plain_one = replace(asked, evidence=asked.evidence - told)
            read = replace(asked, evidence=plain_one.evidence | {sink.name})
            before, now = answer(policy, plain_one), answer(asking, read)
            assert replace(answer(noting, read), evidence=before.evidence) == before
            if now.activity is None or now.activity.operation is Operation.ERASE:
                assert now == before
                continue
            if all(within("SG", law) for law in before.jurisdictions):
                assert now == before
                continue
            assert sink.name in now.evidence
            assert now.sinks == before.sinks
            verdict = answer(storing, plain_one).sink(sink.name)
            assert verdict is not None
            if before.effect is not Effect.PERMIT or verdict.reason is Reason.NOT_HOME:
                assert now.effect >= before.effect
                continue
            assert (now.effect, now.reason) == (verdict.effect, verdict.reason)
            assert {ref.id for ref in verdict.rules} <= {ref.id for ref in now.rules}
            assert {*before.clocks, *verdict.clocks} >= set(now.clocks) >= set(verdict.clocks)
            refused += now.effect is not Effect.PERMIT
    assert refused >= 30


# -- total


@given(
    st.integers(0, 2**32),
    st.integers(-(10**30), 10**30),
    st.none() | st.integers(-(10**30), 10**30),
    st.text(max_size=8),
)
def test_decide_answers_whatever_it_is_asked(seed: int, now: int, other: int | None, word: str) -> None:
    world = make_world(seed, 1)
    policy: Policy = compiled(world)
    (asked,) = world.questions
    foreign = Activity("x", "GET", "/x", SubjectSource("none"), frozenset({"personal"}), Operation.READ, stores=(word,))
    for activity in (None, foreign, replace(world.deployment.activities[0], purpose=word)):
        decision = policy.decide(activity, asked.finding, asked.evidence | {word}, asked.facts, now, other, other)
        assert decision.activity == activity
        assert (decision.reason is None) == (decision.effect is Effect.PERMIT)
        verdicts: tuple[SinkVerdict, ...] = decision.sinks
        assert all((verdict.reason is None) == (verdict.effect is Effect.PERMIT) for verdict in verdicts)
