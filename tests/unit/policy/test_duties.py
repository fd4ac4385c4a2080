"""Duties joined by bits: what `model.join` makes of the same rules, whichever they are."""

from __future__ import annotations

import random

import pytest

from residency.model import NEUTRAL, Duty, Effect, Reason, join
from residency.policy.coverage import Coverage
from residency.policy.duties import LACKS, Duties
from residency.policy.tokens import Tokens
from tests.policy_worlds import make_world


@pytest.mark.parametrize("seed", range(25))
def test_any_set_of_rules_joins_to_what_their_duties_join_to_one_by_one(seed: int) -> None:
    rules = [rule for law in make_world(seed, 1).laws for rule in law.rules]
    duties = Duties(rules, Tokens(rules, Coverage(("VN",))))
    chance = random.Random(seed)
    for _ in range(40):
        bits = chance.getrandbits(len(rules))
        expected = NEUTRAL
        for number, rule in enumerate(rules):
            if bits >> number & 1:
                expected = join(expected, rule.duty)
        duty, joined = duties.duty(bits), duties.joined(bits)
        assert duty == expected
        assert joined.places.conflicts == duty.conflicts == expected.conflicts
        assert joined.places.only == expected.only
        assert joined.places.homes == expected.copies | expected.first_write
        assert [one.clause for one in joined.asked] == sorted(expected.require, key=sorted)


def _lack(*clause: str) -> Reason:
    rule = next(rule for law in make_world(0, 1).laws for rule in law.rules)
    given = Duty(require=frozenset({frozenset(clause)}))
    changed = [type(rule)(**{name: getattr(rule, name) for name in rule.__slots__} | {"duty": given})]
    return LACKS[Duties(changed, Tokens(changed, Coverage(()))).joined(1).asked[0].lack]


@pytest.mark.parametrize(
    ("clause", "reason"),
    [
        (("filing:a.b", "contract:x", "portal:y", "basis:z", "ai:w"), Reason.FILING_MISSING),
        (("sink:encrypted", "filing:a.b"), Reason.FILING_MISSING),
        (("clock:e.VN/60-days",), Reason.FILING_MISSING),
        (("sink:encrypted", "clock:e.VN/60-days"), Reason.SINK_UNFIT),
        (("consent:a", "clock:e.VN/60-days"), Reason.CONSENT_MISSING),
        (("consent:a", "basis:z", "filing:a.b"), Reason.CONSENT_MISSING),
        (("consent:a", "identity:phone"), Reason.IDENTITY_MISSING),
        (("filing:a.b", "identity:phone"), Reason.IDENTITY_MISSING),
        (("known:citizenship.VN",), Reason.IDENTITY_MISSING),
    ],
)
def test_a_clause_is_called_by_who_can_meet_it(clause: tuple[str, ...], reason: Reason) -> None:
    assert _lack(*clause) is reason


def test_nobody_asks_nothing() -> None:
    duties = Duties([], Tokens([], Coverage(())))
    assert duties.duty(0) == NEUTRAL
    assert duties.effect(0) is Effect.PERMIT
