"""Tokens as bits: what is mentioned, what is believed, and under which names it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.model import Anchor, AnchorFinding, Duty, FactSet, Filing, FilingResult, Finding, Trust
from residency.policy.coverage import Coverage
from residency.policy.tokens import Tokens
from tests.policy_worlds import make_world

COVERAGE = Coverage(("VN",))
RULE = next(rule for law in make_world(0, 1).laws for rule in law.rules)


def tokens_of(*clause: str, unless: frozenset[str] = frozenset()) -> Tokens:
    return Tokens([replace(RULE, duty=Duty(require=frozenset({frozenset(clause)})), unless=unless)], COVERAGE)


def test_only_what_a_rule_mentions_has_a_bit() -> None:
    tokens = tokens_of("identity:phone", unless=frozenset({"age:at_least_16"}))
    given = tokens.said(["identity:phone", "age:at_least_16", "identity:eid", ""], None)
    assert tokens.told(given, None) == {"identity:phone", "age:at_least_16"}


@pytest.mark.parametrize("derived", ["known:citizenship.VN", "basis:a", "ai:b", "sink:encrypted", "clock:e.VN/1-day"])
def test_what_follows_from_other_things_is_not_taken_from_anybodys_word(derived: str) -> None:
    assert tokens_of(derived).said([derived], None) == 0
    assert tokens_of(derived).bits([derived]) != 0


def test_the_consent_to_the_purpose_is_met_by_that_consent_alone_and_told_by_its_name() -> None:
    tokens = tokens_of("consent:{purpose}")
    assert tokens.said(["consent:{purpose}", "consent:ads"], "consent:news") == 0
    assert tokens.said(["consent:{purpose}", "consent:ads", ""], None) == 0
    given = tokens.said(["consent:news"], "consent:news")
    assert tokens.told(given, "consent:news") == {"consent:news"}
    assert tokens.read(frozenset({"consent:{purpose}"}), "consent:news") == (frozenset({"consent:news"}), given)


def test_contracts_and_portals_are_filings_of_that_kind() -> None:
    tokens = tokens_of("contract:scc", "portal:p", "filing:contract.scc")
    filings = tuple(Filing(kind, "1", 0, FilingResult.FILED) for kind in ("contract.scc", "portal.p", "portal"))
    given = tokens.filed(FactSet(0, filings), 1)
    assert tokens.told(given, None) == {"contract:scc", "portal:p", "filing:contract.scc"}


def test_a_filing_bounded_to_a_sink_is_given_there_alone() -> None:
    tokens = tokens_of("filing:a.b")
    facts = FactSet(0, (Filing("a.b", "1", 0, FilingResult.FILED, sinks=frozenset({"here"})),))
    assert tokens.filed(facts, 1) == tokens.filed(facts, 1, "there") == 0
    assert tokens.filed(facts, 1, "here") == tokens.bits(["filing:a.b"])


def test_an_anchor_is_known_where_it_is_established_or_excluded() -> None:
    tokens = tokens_of("known:citizenship.VN")
    for places, known in (({"VN"}, True), ({"US"}, True), ((), False)):
        found = AnchorFinding(frozenset(places), trust=Trust.VERIFIED)
        covered = COVERAGE.of(Finding(citizenship=found))
        assert bool(tokens.found(covered.known)) == known
    assert tokens.known == COVERAGE.bit("VN", Anchor.CITIZENSHIP)
