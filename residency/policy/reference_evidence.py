"""A question in; the tokens that are given to the activity and at a sink, and the terms that run, out.

The second third of the oracle: everything that may meet a clause is a token (ADR 0014), and this says which there are.
"""

from __future__ import annotations

from residency.model import Anchor, Clause, Clock, Sink, State, deadline
from residency.policy.reference_rules import Question, own_purpose

__all__ = ["given_at", "given_to_activity", "kinds", "leaning", "mentioned", "running"]

_DERIVED = ("known:", "basis:", "ai:", "sink:", "clock:")


def given_to_activity(asked: Question, clocks: dict[str, Clock]) -> frozenset[str]:
    """All tokens that stand for the activity and the person; `clocks` are the terms that run."""
    handed_in = {token for token in asked.evidence if not token.startswith(_DERIVED)}
    own = frozenset[str]() if asked.activity is None else asked.activity.tokens
    filings = _with_contracts(asked.facts.tokens(asked.now))
    # Literally `consent:{purpose}` is no consent to anything.
    return frozenset((handed_in | filings | own | _known(asked) | set(clocks)) - {"consent:{purpose}"})


def given_at(sink: Sink, given: frozenset[str], asked: Question) -> frozenset[str]:
    """All tokens that stand at a sink; `given` are those of the activity."""
    return given | sink.tokens | _with_contracts(asked.facts.sink_tokens(sink.name, asked.now))


def mentioned(asked: Question) -> frozenset[str]:
    """Every token that some rule of the laws asks for or is lifted by, read for the activity."""
    rules = [rule for law in asked.laws for rule in law.rules]
    tokens = {token for rule in rules for clause in (*rule.duty.require, rule.unless) for token in clause}
    return own_purpose(frozenset(tokens), asked.activity)


def running(asked: Question) -> dict[str, Clock]:
    """The terms that run now, or have not started, by their token."""
    found: dict[str, Clock] = {}
    for law in asked.laws:
        for grace in (grace for rule in law.rules for grace in rule.graces):
            event = asked.facts.event(grace.event, law.jurisdiction)
            if event is not None and asked.now < event:
                event = None
            end = None if event is None else deadline(event, grace.term, law.calendar)
            other = found.get(grace.token)
            if other is None or (end is not None and other.deadline is not None and end < other.deadline):
                found[grace.token] = Clock(grace.token, grace.event, law.jurisdiction, end)
    if asked.deployment.strict_clocks:
        return {}
    return {token: clock for token, clock in found.items() if clock.deadline is None or asked.now < clock.deadline}


def leaning(clauses: frozenset[Clause], given: frozenset[str], clocks: dict[str, Clock]) -> tuple[Clock, ...]:
    """The terms that alone meet a clause."""
    found = set[str]()
    for clause in clauses:
        met_by = clause & given
        if met_by <= set(clocks):
            found |= met_by
    return tuple(clocks[token] for token in sorted(found))


def kinds(clause: Clause) -> frozenset[str]:
    """The kinds of a clause's tokens: `filing`, `sink` …"""
    return frozenset(token.split(":", 1)[0] for token in clause)


def _with_contracts(filings: frozenset[str]) -> frozenset[str]:
    """`filing:contract.x` stands for `contract:x` too, and so for portals."""
    found = set(filings)
    for kind in ("contract", "portal"):
        start = f"filing:{kind}."
        found |= {f"{kind}:{token.removeprefix(start)}" for token in filings if token.startswith(start)}
    return frozenset(found)


def _known(asked: Question) -> set[str]:
    places = {law.jurisdiction for law in asked.laws}
    return {
        f"known:{anchor.value}.{place}"
        for place in places
        for anchor in Anchor
        if asked.finding.state(place, anchor) in (State.ESTABLISHED, State.EXCLUDED)
    }
