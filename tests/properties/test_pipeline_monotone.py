"""Losing what speaks against a law, or gaining what speaks for it, never permits more: from headers to the decision.

`test_finding_monotone` holds it of findings and `covered`. Here it is held of what is done: of any policy's decision on
any finding, and of a whole pipeline's, whose signals come from an address, a token's claims and a pin.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.sink_memory import MemorySink
from residency.enforcement.current import Current
from residency.enforcement.point import Identifying, Request
from residency.jurisdiction.resolve import Presumption, presumption, resolve
from residency.model import Anchor, Decision, Pin, Presume, Signal, SubjectId, Trust
from residency.model.place import within
from residency.policy.compiler import compile_policy
from residency.policy.parsed import RegisterDoc, RuleDoc
from residency.signals.identity import ClaimMap
from residency.signals.peer import ClientAddress
from tests.policy_worlds import make_world, mapped, with_clauses
from tests.world import SG, VN, Deployed, load_policy, write_deployment

Said = tuple[str, str]
Remembered = tuple[tuple[Anchor, str, Trust], ...]
PLACES = ("VN", "DE", "FR", "EU", "US", "CA", "CA-QC")
places = st.sampled_from(PLACES)
signals = st.builds(Signal, st.sampled_from(Anchor), places, st.sampled_from(Trust), st.just("test"))
many = st.lists(signals, max_size=5)
remembered = st.lists(st.tuples(st.sampled_from(Anchor), places, st.sampled_from(Trust)), max_size=3).map(tuple)
presumptions = st.dictionaries(st.sampled_from(Anchor), st.sampled_from(Presume)).map(
    lambda d: presumption(tuple(d.items()))
)


def speaks_for(place: str, law: str) -> bool:
    return within(place, law) or within(law, place)


def never_more(fewer: Decision, more: Decision) -> None:
    """`more`, the decision on a finding that covers more, permits nothing that `fewer` does not."""
    assert more.effect >= fewer.effect
    assert more.duty.require >= fewer.duty.require
    assert more.duty.copies >= fewer.duty.copies
    assert more.duty.first_write >= fewer.duty.first_write
    for verdict in fewer.sinks:
        same = more.sink(verdict.sink.name)
        assert same is not None
        assert same.effect >= verdict.effect


def _of_one_place(rule: RuleDoc) -> RuleDoc:
    """Without what permits by design: overrides, and `known:`, which more signals meet whichever way they point."""

    def known(token: str) -> bool:
        return token.startswith("known:")

    rule = with_clauses(rule, lambda clause: frozenset(t for t in clause if not known(t)) if clause else clause)
    duty = replace(rule.duty, require=frozenset(clause for clause in rule.duty.require if clause))
    unless = frozenset(token for token in rule.unless if not known(token))
    return replace(rule, duty=duty, unless=unless, overrides=frozenset())


@given(
    st.integers(0, 1 << 32), st.sampled_from(["VN", "EU", "CA-QC"]), many, remembered, presumptions, signals,
)  # fmt: skip
def test_no_policy_permits_more_on_a_signal_for_its_law_or_without_one_against_it(
    seed: int, law: str, said: list[Signal], kept: Remembered, presume: Presumption, one: Signal
) -> None:
    world = make_world(seed, questions=1)
    # Of one place, for what speaks for one law speaks against another's.
    chosen = tuple(replace(each, jurisdiction=law) for each in mapped(world.laws, _of_one_place))
    policy = compile_policy(replace(world.deployment, modes={}, mode="enforce"), chosen, [RegisterDoc("r")], "digest")
    pin = Pin("00", "VN", kept, "00", "test", "00", 0) if kept else None
    (asked,) = world.questions
    for activity in policy.deployment.activities:
        without, having = (
            policy.decide(activity, resolve(each, pin, presume), asked.evidence, asked.facts, asked.now)
            for each in (said, [*said, one])
        )
        if speaks_for(one.place, law):
            never_more(without, having)
        else:
            never_more(having, without)


RULES = tuple(
    f"""
  - id: test.{name}
    article: art. {number}
    text: A rule.
    applies: {{anchor: {anchor}, data: [{data}]}}
    duty: {duty}
"""
    for number, (name, anchor, data, duty) in enumerate(
        [
            ("home", "territory", "personal", "{only: [VN]}"),
            ("deny", "citizenship", "personal", "{effect: deny}"),
            ("verified", "residence", "personal", '{require: [["identity:phone"]]}'),
            ("age", "collection", "personal", '{require: [["age:at_least_18"]]}'),
            ("home-2", "residence", "content", "{only: [VN]}"),
            ("first", "citizenship", "content", '{copies: [VN], require: [["consent:x", "identity:phone"]]}'),
        ]
    )
)
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
signals: {identity: {jwt: {jwks: jwks.json}}}
activities:
  - {route: "POST /a", subject: jwt.sub, data: [personal], store: people}
  - {route: "POST /b", subject: jwt.sub, data: [content], store: people}
"""
NAMES = ClaimMap(phone="phone", sim="sim", guardian="guardian")
EVIDENCE: dict[str, object] = {"identity_verified_by": "phone", "age": 30, "consents": ["x"]}
SPOKEN = {
    "nationality": {"VN": "VN", "DE": "DE", "US": "us"},
    "country": {"VN": "vn", "DE": "DE", "US": "US"},
    "phone": {"VN": "+84 91 234 56 78", "DE": "+49 30 123456", "US": "US"},
    "sim": {"VN": "452-04", "DE": "262", "US": "US"},
}


class Claims:
    """A token is its claims, and holds."""

    def verify(self, token: bytes) -> dict[str, object]:
        """What it says."""
        said: dict[str, object] = json.loads(token)
        return said


class Seen:
    """The network says what the test says."""

    def __init__(self) -> None:
        self.said: tuple[Signal, ...] = ()

    def signals_of(self, client: ClientAddress) -> tuple[Signal, ...]:
        """As `NetworkSource` says."""
        return self.said


class Pipeline(Deployed):
    """One enforcement point, asked about one person of whom each question says something else."""

    def __init__(self, folder: Path, presume: str) -> None:
        self.seen = Seen()
        file = write_deployment(folder, DEPLOYMENT, RULES, [("presume: {territory: not_covered}", presume)])
        super().__init__(
            load_policy(file),
            [MemorySink("sg", SG), MemorySink("vn", VN)],
            identifying=Identifying(Claims(), NAMES),
            network=self.seen,
        )

    def ask(self, path: str, said: Sequence[Said], kept: Remembered) -> tuple[Decision, bool]:
        """(what is decided, whether the request is let in)."""
        claims: dict[str, object] = {**EVIDENCE, "sub": "an"}
        self.seen.said = ()
        for where, place in said:
            if where in ("network", "hint"):
                self.seen.said += tuple(
                    Signal(anchor, place, Trust[where.upper()], "address")
                    for anchor in (Anchor.TERRITORY, Anchor.COLLECTION)
                )
            else:
                claims[where] = [*cast("list[str]", claims.get(where, [])), SPOKEN[where][place]]
        headers = ((b"authorization", b"Bearer " + json.dumps(claims).encode()),)
        request = Request("POST", path, path.encode(), headers, ("9.9.9.9", 50_000))
        digest = self.point.digest(SubjectId("an"))
        if kept:
            asyncio.run(self.pins.put(Pin(digest, "VN", kept, "a1" * 16, "test", "", 0)))
        match = self.policy.activities.match("POST", path, path.encode())
        seen = self.point.perception.perceive(match, request)
        assert seen.finding is not None
        decided = self.policy.decide(
            match.activity, seen.finding, seen.evidence, self.facts.current(), self.clock.now()
        )
        answer = self.point.admit(request)
        if kept:
            asyncio.run(self.pins.forget(digest, 1))
        if isinstance(answer, Current):
            assert answer.decision.finding == decided.finding
        return decided, isinstance(answer, Current)


@pytest.fixture(scope="module", params=["presume: {territory: not_covered}", "presume: {citizenship: not_covered}"])
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A pipeline with these presumptions."""
    return Pipeline(tmp_path_factory.mktemp("pipeline"), request.param)


sayings = st.tuples(st.sampled_from(["network", "hint", *SPOKEN]), st.sampled_from(["VN", "DE", "US"]))
homes = st.lists(
    st.tuples(st.sampled_from(Anchor), st.sampled_from(["VN", "DE"]), st.sampled_from(Trust)), max_size=2
).map(tuple)


@given(st.sampled_from(["/a", "/b"]), st.lists(sayings, max_size=5), homes, sayings)
def test_no_request_is_let_in_for_what_speaks_for_the_law_nor_for_losing_what_speaks_against_it(
    pipeline: Pipeline, path: str, said: list[Said], kept: Remembered, one: Said
) -> None:
    without, let_in = pipeline.ask(path, said, kept)
    having, still_let_in = pipeline.ask(path, [*said, one], kept)
    if one[1] == "VN":
        never_more(without, having)
        assert let_in >= still_let_in
    else:
        never_more(having, without)
        assert still_let_in >= let_in
