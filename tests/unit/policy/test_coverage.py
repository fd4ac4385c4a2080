"""Bits of coverage: for every place, anchor and trust the same as the finding itself answers."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from residency.model import Anchor, AnchorFinding, Finding, Presume, Trust
from residency.model.finding import State
from residency.policy.coverage import Coverage

PLACES = ("VN", "EU", "DE", "CA", "CA-QC", "US")
TRUSTS = (Trust.NETWORK, Trust.DECLARED, Trust.VERIFIED)
COVERAGE = Coverage(PLACES, TRUSTS)


def _findings(seed: int, amount: int) -> list[Finding]:
    chance = random.Random(seed)

    def anchor() -> AnchorFinding:
        return AnchorFinding(
            frozenset(chance.sample(PLACES, chance.choice([0, 0, 1, 1, 2]))),
            frozenset(chance.sample(PLACES, chance.choice([0, 0, 1, 2]))),
            chance.choice(list(Trust)),
        )

    return [
        Finding(
            anchor(),
            anchor(),
            anchor(),
            anchor(),
            presume=tuple((a, chance.choice(list(Presume))) for a in Anchor),
            conflicts_presumed=chance.random() < 0.3,
        )
        for _ in range(amount)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_every_bit_says_what_the_finding_says(seed: int) -> None:
    for finding in [Finding(), *_findings(seed, 60)]:
        found = COVERAGE.of(finding)
        for place in PLACES:
            for anchor in Anchor:
                bit = COVERAGE.bit(place, anchor)
                covered, presumed = finding.covered_how(place, anchor)
                state = finding.state(place, anchor)
                assert bool(found.bits & bit) == covered
                assert bool(found.presumed & bit) == (covered and presumed)
                assert bool(found.known & bit) == (state in (State.ESTABLISHED, State.EXCLUDED))
                trust = finding.anchor(anchor).trust
                for least in TRUSTS:
                    stays = state is not State.EXCLUDED or trust is None or trust < least
                    assert bool(found.bits & COVERAGE.bit(place, anchor, least)) == stays


def test_bits_are_named_by_place_and_anchor() -> None:
    pairs = {("VN", Anchor.TERRITORY), ("CA-QC", Anchor.COLLECTION)}
    bits = sum(COVERAGE.bit(place, anchor) for place, anchor in pairs)
    assert set(COVERAGE.named(bits)) == pairs


def test_what_is_remembered_answers_as_it_did_at_first() -> None:
    finding = Finding(AnchorFinding(frozenset({"DE"}), trust=Trust.NETWORK))
    assert COVERAGE.of(finding) == COVERAGE.of(replace(finding)) == Coverage(PLACES, TRUSTS).of(finding)


def test_an_anchor_without_a_presumption_counts_as_covered() -> None:
    assert COVERAGE.of(Finding(presume=())).bits & COVERAGE.bit("VN", Anchor.CITIZENSHIP)


def test_no_place_has_no_bits() -> None:
    assert Coverage(()).of(Finding()).bits == 0
