"""Parsed documents in; a Policy whose `decide` is total, out.

Time is cut into slices: between two neighbouring boundaries (laws, rules, filings, orders, exemptions, terms) nothing
changes, so a slice keeps its answers. When `now` leaves the slice or the facts move, another slice takes its place in
one assignment; no lock is taken, and a request that still holds the old slice decides by what it started with.

A question that came before, of the very same objects, is three look-ups: by the finding's identity, the evidence, the
activity's name. Findings that are equal share what is known of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from residency.errors import PolicyError
from residency.model import Activity, Decision, FactSet, Finding, RuleRef
from residency.policy.activities import ActivityTable
from residency.policy.compiled import Compiled
from residency.policy.memo import MEMO, Era, Table
from residency.policy.overlays import merged
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc
from residency.policy.validator import select_laws, validate

__all__ = ["MEMO", "Policy", "compile_policy"]


def compile_policy(
    deployment: DeploymentDoc,
    laws: Sequence[LawDoc],
    registers: Sequence[RegisterDoc],
    digest: str,
    *,
    base: str = ".",
    sources: tuple[tuple[str, bytes], ...] = (),
    version: int = 0,
) -> Policy:
    """Compile one deployment. Of `laws` those are taken that `deployment.laws` names; `digest` names the files,
    `version` is that of the bundle they came in.

    Raises:
        PolicyError: with every problem that shows only where documents meet.
    """
    chosen, problems = merged(select_laws(deployment, laws))
    problems = (*problems, *validate(deployment, chosen, registers))
    if problems:
        raise PolicyError(problems)
    facts = FactSet(
        epoch=0,
        filings=tuple(f for register in registers for f in register.filings),
        stop_orders=tuple(o for register in registers for o in register.stop_orders),
        orders=tuple(o for register in registers for o in register.orders),
        exemptions=tuple(e for register in registers for e in register.exemptions),
        events=tuple(e for register in registers for e in register.events),
    )
    return Policy(deployment, chosen, facts, digest, base, sources, version)


class Policy:
    """A compiled policy. Immutable but for what it remembers.

    `digest` names the files it came from, `version` the bundle (0 = not counted), `sources` holds them as (name,
    bytes), `base` is the folder that relative paths of the deployment start from. `laws` are those in use, overlays
    worked in.
    `reads_requests` = some rule is read at the time of the request; `collection_edges` are the instants (microseconds)
    at which the time of collection makes a difference, empty where no rule is read at it.
    """

    __slots__ = (
        "_compiled", "_era", "_index", "_now", "activities", "base", "collection_edges", "deployment", "digest",
        "facts", "laws", "reads_requests", "sources", "version",
    )  # fmt: skip

    def __init__(
        self,
        deployment: DeploymentDoc,
        laws: tuple[LawDoc, ...],
        facts: FactSet,
        digest: str,
        base: str,
        sources: tuple[tuple[str, bytes], ...],
        version: int = 0,
    ) -> None:
        self.deployment = deployment
        self.laws = laws
        self.facts = facts
        self.digest = digest
        self.base = base
        self.sources = sources
        self.version = version
        self.reads_requests = any(rule.clock == "request" for law in laws for rule in law.rules)
        self.collection_edges = tuple(sorted(set(_collection_edges(laws))))
        self.activities = ActivityTable(
            deployment.activities, deployment.exempt, framework=deployment.framework or "asgi"
        )
        self._compiled = Compiled(deployment, laws, digest, version)
        # Activities are found by identity: the table hands out these very objects. 0 is the unclassified route.
        self._index = {id(activity): number for number, activity in enumerate(deployment.activities, start=1)}
        self._era = Era(self._compiled, self._index, facts)
        self._now = self._era.at(0, 0, None)

    def rule(self, rule_id: str) -> RuleRef | None:
        """How a rule of this policy is cited at the time last asked about, None where there is no such rule."""
        number = self._compiled.book.numbers.get(rule_id)
        return None if number is None else self._now.slice.reference(number)

    def boundaries(self, facts: FactSet | None = None) -> tuple[int, ...]:
        """The instants (microseconds) at which a decision may change, in order."""
        return self._compiled.boundaries(self.facts if facts is None else facts)

    def decide(
        self,
        activity: Activity | None,
        finding: Finding,
        evidence: frozenset[str],
        facts: FactSet,
        now: int,
        requested: int | None = None,
        collected: int | None = None,
    ) -> Decision:
        """What may happen to this person's data in this activity at `now` (microseconds). Total: it never raises.

        `requested` (None = now) and `collected` (None = not known) are for rules that are read at those times.
        """
        table = self._now
        if table.start <= now < table.end and facts is table.facts and requested is None and collected is None:
            # The table's own first look, written out: a call more would cost a third of it.
            try:
                decision = table.known[id(finding)].by_evidence[evidence][None if activity is None else activity.name]
            except KeyError:
                pass
            else:
                if decision.activity is activity:
                    return decision
        return self.table(facts, now, requested, collected).look(activity, finding, evidence)

    def collected_since(self, collected: int | None) -> int | None:
        """The last edge of collection at or before `collected` (microseconds), which decides as `collected` does and is
        of the law and of nobody's data; one microsecond before the first edge where it lies before all."""
        edges = self.collection_edges
        if collected is None:
            return None
        at = bisect_right(edges, collected)
        return edges[at - 1] if at else edges[0] - 1 if edges else 0

    def table(self, facts: FactSet, now: int, requested: int | None = None, collected: int | None = None) -> Table:
        """The decisions at one instant, for who has many questions about it."""
        era = self._era
        if facts is not era.facts and facts != era.facts:
            era = self._era = Era(self._compiled, self._index, facts)
        table = era.at(now, now if requested is None else requested, collected)
        if requested is None and collected is None:
            self._now = table
        return table


def _collection_edges(laws: Sequence[LawDoc]) -> Iterator[int]:
    for law in laws:
        for rule in law.rules:
            if rule.clock == "collection":
                ends = (law.span.start, law.span.end, rule.span.start, rule.span.end)
                yield from (at for at in (*ends, *(t.until for t in rule.transitions)) if at is not None)
