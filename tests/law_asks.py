"""Names of shipped laws, an operator and activities in; a policy that is asked as a lawyer would ask it, out.

Every answer is given twice, by the compiled policy and by the oracle, and the two must be one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

from residency.adapters.policy_files import available_laws, read_file
from residency.model import (
    SILENT,
    AnchorFinding,
    Decision,
    Event,
    Exemption,
    FactSet,
    Filing,
    FilingResult,
    Finding,
    Order,
    Trust,
)
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parsed import LawDoc
from residency.policy.parser import parse_deployment, parse_law
from residency.policy.reference import reference_decide
from residency.policy.times import instant

__all__ = ["World", "cited", "clauses", "filed", "law", "lives_in", "moves", "observed", "person", "reason", "store"]

_SHIPPED = available_laws(())
TODAY = "2026-11-22"
SINKS = ("VN", "LA", "SG", "CN", "DE", "JP", "US", "IN", "ID", "BR", "NG", "CA-QC", "CA-ON", "RU", "GB", "NO")
"""Every store has one sink in each of these, called by its place."""


@cache
def law(name: str) -> LawDoc:
    """A shipped law."""
    return parse_law(read_file(_SHIPPED[name]), str(_SHIPPED[name]), name)


def person(where: str, citizen: str | None = None, lives: str | None = None) -> Finding:
    """Somebody whose data is collected at `where`, and who proves the rest."""
    at = AnchorFinding(frozenset({where}), trust=Trust.NETWORK)
    return Finding(territory=at, collection=at, citizenship=_proven(citizen), residence=_proven(lives))


def _proven(place: str | None) -> AnchorFinding:
    return SILENT if place is None else AnchorFinding(frozenset({place}), trust=Trust.VERIFIED)


def lives_in(place: str) -> Finding:
    """Somebody who is at home in `place`, is there and is its citizen."""
    return person(place, place, place)


def filed(kind: str, *sinks: str, on: str = "2020-01-01", expires: str | None = None) -> Filing:
    """A filing that stands, bounded to `sinks` where there are any."""
    end = None if expires is None else instant(expires, "+00:00")
    bounded = frozenset(sinks) or None
    return Filing(kind, "1/2026", instant(on, "+00:00"), FilingResult.FILED, expires=end, sinks=bounded)


@dataclass(frozen=True)
class World:
    """A deployment under `laws`; its operator and its one activity as they stand in a deployment file."""

    laws: tuple[str, ...]
    operator: str = "{established_in: SG}"
    activity: str = "data: [personal, account]"
    readings: dict[str, str] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)
    facts: FactSet = field(default_factory=lambda: FactSet(0))

    def filing(self, *filings: Filing) -> World:
        """The same with these filings in the register."""
        return replace(self, facts=replace(self.facts, filings=(*self.facts.filings, *filings)))

    def order(self, kind: str, day: str, lifted: str | None = None) -> World:
        """The same under an authority's order."""
        end = None if lifted is None else instant(lifted, "+00:00")
        return replace(self, facts=replace(self.facts, orders=(Order(kind, "1", instant(day, "+00:00"), end),)))

    def exempt(self, *rules: str) -> World:
        """The same with an exemption from these rules."""
        one = Exemption("EX-1", frozenset(rules), "counsel", "a ground", 0, instant("2030-01-01", "+00:00"))
        return replace(self, facts=replace(self.facts, exemptions=(one,)))

    def escalated(self, *names: str) -> World:
        """The same with these escalations up."""
        return replace(self, facts=replace(self.facts, escalated=frozenset(names)))

    def since(self, event: str, place: str, day: str) -> World:
        """The same after an event that a running term counts from."""
        return replace(self, facts=replace(self.facts, events=(Event(event, place, instant(day, "+00:00")),)))

    def policy(self) -> Policy:
        """The compiled policy."""
        readings = "".join(f"  {name}: {answer}\n" for name, answer in self.readings.items())
        modes = "".join(f"  {name}: {mode}\n" for name, mode in self.modes.items())
        regions = "".join(f"  r-{place.lower()}: {{country: {place}}}\n" for place in SINKS)
        sinks = "".join(
            f"  {p}: {{region: r-{p.lower()}, provider: {p[:2]}, keys: {p[:2]}, encrypted: true, url: 'memory:'}}\n"
            for p in SINKS
        )
        text = (
            f"residency: 1\nkind: deployment\nname: asked\nmode: enforce\noperator: {self.operator}\n"
            f"laws: [{', '.join(self.laws)}]\n"
            + (f"readings:\n{readings}" if readings else "")
            + (f"modes:\n{modes}" if modes else "")
            + f"regions:\n{regions}sinks:\n{sinks}stores:\n  people: [{', '.join(SINKS)}]\nactivities:\n"
            f'  - {{route: "POST /v1/people", subject: app, store: people, {self.activity}}}\n'
        )
        deployment = parse_deployment(text.encode(), "asked.yaml", {})
        return compile_policy(deployment, [law(name) for name in self.laws], [], "d")

    def ask(self, who: Finding, *evidence: str, day: str = TODAY, zone: str = "+00:00") -> Decision:
        """What is decided of this person at the first instant of `day` on the clocks of `zone`."""
        policy = self.policy()
        activity, now = policy.deployment.activities[0], instant(day, zone)
        found = policy.decide(activity, who, frozenset(evidence), self.facts, now)
        plain = reference_decide(
            policy.deployment, policy.laws, "d", activity, who, frozenset(evidence), self.facts, now
        )
        assert found == plain, "the compiled policy and the oracle answer differently"
        return found


def store(decision: Decision) -> set[str]:
    """The places whose sinks are permitted."""
    return {verdict.sink.name for verdict in decision.sinks if verdict.effect.word == "permit"}


def moves(decision: Decision, place: str) -> bool:
    """Whether the sink in `place` is permitted."""
    return place in store(decision)


def reason(decision: Decision, place: str | None = None) -> str | None:
    """Why the activity, or the sink in `place`, is refused."""
    judged = decision if place is None else decision.sink(place)
    assert judged is not None
    return None if judged.reason is None else judged.reason.value


def cited(decision: Decision, place: str | None = None) -> set[str]:
    """The ids of the rules that decided, of the activity or at one sink."""
    verdict = None if place is None else decision.sink(place)
    return {rule.id for rule in (decision.rules if verdict is None else verdict.rules)}


def clauses(decision: Decision, place: str) -> set[frozenset[str]]:
    """The clauses that nothing met at one sink."""
    verdict = decision.sink(place)
    return set() if verdict is None else set(verdict.unmet)


def observed(decision: Decision) -> dict[str, str]:
    """Rules that spoke and did not bind, with their modes."""
    return {rule.id: rule.mode for rule in decision.observed}
