"""Facts and the times that count in; what holds of a policy between two boundaries, and its decisions, out.

Nothing that a slice answers changes while it lasts: rules in force, modes, filings, orders, exemptions, running terms.
So its answers are remembered without regard to time. Of a question three things count (the coverage that the finding
comes to, the activity, the tokens given), packed into one integer; the rest of a decision is copied from the question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from residency.model import (
    NEUTRAL,
    Activity,
    Clause,
    Clock,
    Decision,
    Duty,
    Effect,
    FactSet,
    Finding,
    Operation,
    Operator,
    Reason,
    RuleRef,
    Sink,
    SinkVerdict,
)
from residency.model.place import within
from residency.policy.bits import all_bits
from residency.policy.compiled import Compiled, Covering, Row, trigger_spans
from residency.policy.parsed import Transition
from residency.policy.parsed_reading import readers_of, reading
from residency.policy.verdict import Outcome, Place, combined, judge, missing, rank
from residency.policy.windows import Times

__all__ = ["Slice"]

_BOUND: Final = 65_536
_first: Final = itemgetter(0)


@dataclass(frozen=True, slots=True)
class _Ruling:
    """A decision, all but what it copies from its question."""

    effect: Effect
    reason: Reason | None
    duty: Duty
    sinks: tuple[SinkVerdict, ...]
    rules: tuple[RuleRef, ...]
    observed: tuple[RuleRef, ...]
    evidence: frozenset[str]
    unmet: tuple[frozenset[str], ...]
    outranked: tuple[RuleRef, ...]
    exempted: tuple[RuleRef, ...]
    exemptions: tuple[str, ...]
    clocks: tuple[Clock, ...]


class Slice:
    """Everything that holds between two boundaries under one set of facts."""

    __slots__ = (
        "_asked", "_at_sinks", "_clocks", "_compiled", "_coverings", "_enforced", "_exemptions", "_filed",
        "_plain", "_present", "_rows", "_rulings", "_running", "_stopped", "_times", "_window",
        "facts",
    )  # fmt: skip

    def __init__(self, compiled: Compiled, facts: FactSet, times: Times) -> None:
        book, tokens, now = compiled.book, compiled.tokens, times.now
        self.facts: Final = facts
        self._compiled = compiled
        self._times = times
        self._window = compiled.window(times)
        self._enforced = self._window.enforced
        self._present = self._window.present & self._triggered()
        self._asked = book.asked(self._present)
        self._plain = book.coverage.plain(self._asked)
        self._filed = tokens.filed(facts, now)
        self._at_sinks: dict[str, int] = {}
        self._stopped = facts.stopped(now)
        self._exemptions = tuple(
            (e.number, bits, e.activities, e.sinks)
            for e in sorted(facts.exemptions, key=lambda e: e.number)
            if e.holds(now) and (bits := book.named(e.rules))
        )
        self._clocks = dict(self._standing())
        self._running = sum(self._clocks)
        self._rows: dict[int, int] = {}
        # Of other facts the same is asked as a rule, and then findings come to the same.
        self._coverings = compiled.coverings(self._asked, self._plain)
        self._rulings: dict[object, _Ruling] = {}

    def reference(self, number: int) -> RuleRef:
        """How the rule of that number is cited now."""
        return self._window.refs[number]

    def covering(self, finding: Finding) -> Covering:
        """What a finding comes to here."""
        book = self._compiled.book
        found = book.coverage.of(finding)
        key = found.bits & self._asked, found.presumed & self._plain, found.known & self._compiled.tokens.known
        covering = self._coverings.get(key)
        if covering is None:
            bits, presumed, known = key
            if len(self._coverings) >= _BOUND:
                self._coverings.clear()
            # Numbers are never given twice, not even when two threads meet here: what is known by them stays right.
            covering = self._coverings[key] = Covering(
                next(self._compiled.numbers),
                book.person(bits),
                self._compiled.tokens.found(known),
                tuple(place for place, tests in book.coverage.by_place if bits & tests),
                tuple(sorted(f"{place}:{anchor.value}" for place, anchor in book.coverage.named(presumed))),
            )
        return covering

    def decide(self, row: Row, covering: Covering, finding: Finding, evidence: frozenset[str]) -> Decision:
        """The decision on an activity. Rows of number 0 are not of the deployment's own, and not remembered."""
        compiled = self._compiled
        tokens = compiled.tokens
        given = tokens.said(evidence, row.purpose) | covering.tokens | row.tokens | self._filed
        read = _read_at(row.activity, covering, evidence)
        if read:
            row = compiled.read_at(row, read)
        if row.number:
            key: object = (
                covering.number * (len(compiled.deployment.activities) + 1) + row.number
            ) << tokens.width | given
            if row.readers:
                key = (key, read)
            ruling = self._rulings.get(key)
            if ruling is None:
                if len(self._rulings) >= _BOUND:
                    self._rulings = {}
                ruling = self._rulings[key] = self._rule(row, covering, given)
        else:
            ruling = self._rule(row, covering, given)
        return Decision(
            row.activity,
            ruling.effect,
            compiled.deployment.mode,
            ruling.reason,
            ruling.duty,
            ruling.sinks,
            ruling.rules,
            ruling.observed,
            covering.jurisdictions,
            covering.presumed,
            finding,
            ruling.evidence if not read else reading(ruling.evidence, read),
            compiled.digest,
            self.facts.epoch,
            ruling.unmet,
            ruling.outranked,
            ruling.exempted,
            ruling.exemptions,
            ruling.clocks,
            compiled.version,
        )

    def unclassified(self, covering: Covering, finding: Finding, evidence: frozenset[str]) -> Decision:
        """The decision on a route that no activity names."""
        compiled = self._compiled
        permitted = compiled.deployment.unclassified == "permit"
        given = compiled.tokens.said(evidence, None) | covering.tokens | self._filed
        return Decision(
            activity=None,
            effect=Effect.PERMIT if permitted else Effect.DENY,
            mode=compiled.deployment.mode,
            reason=None if permitted else Reason.UNCLASSIFIED_ROUTE,
            duty=NEUTRAL,
            sinks=(),
            rules=(),
            observed=(),
            jurisdictions=covering.jurisdictions,
            presumed=covering.presumed,
            finding=finding,
            evidence=compiled.tokens.told(given, None),
            policy=compiled.digest,
            epoch=self.facts.epoch,
            policy_version=compiled.version,
        )

    # -- one ruling --------------------------------------------------------------------------------------------------

    def _rule(self, row: Row, covering: Covering, given: int) -> _Ruling:
        compiled, name = self._compiled, row.activity.name
        book, duties = compiled.book, row.duties
        applying = self._speaking(row) & covering.rules & ~compiled.lifted(given)
        general, rest = applying & book.general, applying & ~book.general
        exempting = [(n, bits, sinks) for n, bits, names, sinks in self._exemptions if names is None or name in names]
        everywhere = all_bits([bits for _, bits, sinks in exempting if sinks is None])
        binding = general & self._enforced & ~everywhere
        removed = book.removed(binding)
        standing = binding & ~removed
        outcome = judge(duties, standing, standing, given, self._running, treating=row.coming)
        seen, outranked, exempted = general, binding & removed, 0
        places: list[tuple[int, Sink, Outcome, tuple[str, ...], int, str]] = []
        for number, (sink, about, shown, store, treating) in enumerate((*row.sinks, *row.readers)):
            shown |= given | self._filed_at(sink.name)
            here = rest & about & ~compiled.lifted(shown)
            seen |= here
            # What an exemption lifts for this sink alone still binds the activity, and the other sinks.
            could = (general | here) & ~everywhere
            lifting = [(n, bits) for n, bits, sinks in exempting if sinks is not None and sink.name in sinks]
            lifted = could & all_bits([bits for _, bits in lifting])
            exempted |= lifted
            mine, more = binding & ~lifted, here & could & self._enforced & ~lifted
            gone = removed if mine == binding else book.removed(mine)
            outranked |= mine & gone
            mine &= ~gone
            gone |= book.removed(more)
            outranked |= more & gone
            more &= ~gone
            # Nothing rests where it is read, so what is written is not written there.
            writes = row.writes and number < len(row.sinks)
            place = Place(sink, writes, self._is_stopped(sink, covering.jurisdictions), treating)
            verdict = judge(duties, mine | more, more, shown, self._running, place)
            numbers = _numbers([n for n, bits in lifting if bits & could])
            places.append((rank(sink, verdict), sink, verdict, numbers, mine | more, store))
        read = [(verdict, numbers) for _, _, verdict, numbers, _, _ in places[len(row.sinks) :]]
        del places[len(row.sinks) :]
        places.sort(key=_first)  # it is stable: equal ranks keep the store's order
        cite = self._window.cite
        sinks = tuple(
            [
                SinkVerdict(
                    sink,
                    v.effect,
                    v.reason,
                    cite(v.rules),
                    v.unmet,
                    self._lean(v.leaning),
                    numbers,
                    duties.duty(bits),
                    store,
                )
                for _, sink, v, numbers, bits, store in places
            ]
        )
        rules, effect, reason, unmet = cite(outcome.rules), outcome.effect, outcome.reason, outcome.unmet
        if refused := missing(outcome, [place[1:3] for place in places], row.needs):
            effect, reason = combined(refused)
            told = 0
            rules = ()
            for verdict in refused:
                rules += cite(verdict.rules & ~told)
                told |= verdict.rules
            unmet = tuple(sorted({clause for verdict in refused for clause in verdict.unmet}, key=sorted))
        elif effect is not Effect.DENY and read:
            rules, effect, reason, unmet = self._read(outcome, [verdict for verdict, _ in read])
        return _Ruling(
            effect,
            reason,
            duties.duty(standing),
            sinks,
            rules,
            cite(seen & ~self._enforced & ~everywhere, mixed=True),
            compiled.tokens.told(given, row.purpose),
            unmet,
            cite(outranked, mixed=True),
            cite(exempted | seen & everywhere, mixed=True),
            _numbers(
                sorted(
                    [n for n, bits, sinks in exempting if sinks is None and bits & seen]
                    + [number for _, numbers in read for number in numbers]
                )
            ),
            self._lean(outcome.leaning | all_bits([verdict.leaning for verdict, _ in read])),
        )

    def _read(
        self, outcome: Outcome, read: list[Outcome]
    ) -> tuple[tuple[RuleRef, ...], Effect, Reason | None, tuple[Clause, ...]]:
        """(rules, effect, reason, unmet) of an activity that nothing but reading abroad may stand against."""
        barred = [verdict for verdict in read if verdict.effect is not Effect.PERMIT]
        if not barred:
            cited = outcome.rules | all_bits([verdict.rules for verdict in read])
            return self._window.cite(cited), outcome.effect, outcome.reason, outcome.unmet
        first = next((verdict for verdict in barred if verdict.effect is Effect.DENY), barred[0])
        unmet = {clause for verdict in barred for clause in verdict.unmet}
        rules = self._window.cite(all_bits([verdict.rules for verdict in barred]))
        return rules, first.effect, first.reason, tuple(sorted(unmet, key=sorted))

    def _speaking(self, row: Row) -> int:
        """The rules that concern an activity here."""
        rules = self._rows.get(row.number) if row.number else None
        if rules is None:
            book, operator = self._compiled.book, self._compiled.deployment.operator
            rules = self._present & row.rules & (row.data | book.escalated(row.activity, self.facts, self._times.now))
            for (transitions, clock), bits in book.transitions.items():
                waiting = [t.until for t in transitions if _spares(t, row.activity, operator)]
                if waiting and self._times.by(clock) < max(waiting):
                    rules &= ~bits
            if row.number:
                self._rows[row.number] = rules
        return rules

    def _filed_at(self, sink: str) -> int:
        """The tokens of the filings that are bounded to sinks, this one among them."""
        filed = self._at_sinks.get(sink)
        if filed is None:
            filed = self._at_sinks[sink] = self._compiled.tokens.filed(self.facts, self._times.now, sink)
        return filed

    def _is_stopped(self, sink: Sink, jurisdictions: tuple[str, ...]) -> bool:
        if "*" in self._stopped and any(not within(sink.place, place) for place in jurisdictions):
            return True
        return sink.name in self._stopped

    def _lean(self, clocks: int) -> tuple[Clock, ...]:
        return tuple(clock for bit, clock in self._clocks.items() if bit & clocks) if clocks else ()

    # -- what holds now ----------------------------------------------------------------------------------------------

    def _triggered(self) -> int:
        waiting = found = 0
        now = self._times.now
        for (trigger, calendar), bits in self._compiled.book.triggers.items():
            waiting |= bits
            spans = trigger_spans(trigger.order, trigger.after, calendar, self.facts)
            if any(began <= now and (lifted is None or now < lifted) for began, lifted in spans):
                found |= bits
        return found | ~waiting

    def _standing(self) -> Iterator[tuple[int, Clock]]:
        """The terms that have not run out, by the bits of their tokens."""
        now = self._times.now
        for running in self._compiled.running:
            began, ends = running.ends(self.facts)
            if began is None or now < began:
                yield running.bit, Clock(running.token, running.event, running.place, None)
            elif ends is not None and now < ends:
                yield running.bit, Clock(running.token, running.event, running.place, ends)


def _read_at(activity: Activity, covering: Covering, evidence: frozenset[str]) -> tuple[str, ...]:
    """The places that the data goes to by being read, as far as they lie outside a law that covers the person."""
    if activity.operation is Operation.ERASE:
        return ()
    read = readers_of(evidence)
    return tuple([at for at in read if any(not within(at, law) for law in covering.jurisdictions)]) if read else ()


def _spares(transition: Transition, activity: Activity, operator: Operator) -> bool:
    """Whether the time that a rule leaves is left to this activity and operator."""
    since = activity.since
    if transition.in_use_before is not None and (since is None or since >= transition.in_use_before):
        return False
    return transition.sectors is None or not transition.sectors.isdisjoint(operator.sectors)


def _numbers(numbers: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(numbers)) if numbers else ()
