"""The same question as `Policy.decide`, answered slowly and plainly: parsed documents in, a Decision out.

The oracle of the differential tests: one loop over every rule of every law for each question, no tables, no memo, no
code shared with the compiler. Where the two disagree, read this one first, against ADR 0014 and its letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from residency.model import (
    Activity,
    Clock,
    Decision,
    Effect,
    Exemption,
    FactSet,
    Finding,
    Operation,
    Reason,
    RuleRef,
    Sink,
    SinkVerdict,
)
from residency.model.place import within
from residency.policy.parsed import DeploymentDoc, LawDoc
from residency.policy.parsed_reading import READER, reader_sink, readers_of
from residency.policy.reference_evidence import given_at, given_to_activity, kinds, leaning, mentioned, running
from residency.policy.reference_rules import Question, Ruling, about, anchor_covers, mode, own_purpose, speaks, stands
from residency.policy.reference_verdict import joined, judge, sorted_clauses

__all__ = ["reference_decide"]


def reference_decide(
    deployment: DeploymentDoc,
    laws: Sequence[LawDoc],
    digest: str,
    activity: Activity | None,
    finding: Finding,
    evidence: frozenset[str],
    facts: FactSet,
    now: int,
    requested: int | None = None,
    collected: int | None = None,
) -> Decision:
    """Decide one question. `laws` are those the deployment chose, overlays applied, in order of their names.

    `now`, when the request came in (None = now) and when the data was collected (None = unknown) in microseconds.
    """
    asked = Question(deployment, laws, activity, finding, evidence, facts, now, requested, collected)
    standing = [(law, rule) for law in laws for rule in law.rules if stands(law, rule, asked)]
    jurisdictions, presumed = _covering(standing, asked)
    clocks = running(asked)
    given = given_to_activity(asked, clocks)
    speaking = [r for r in standing if speaks(*r, asked)]
    waivers = [e for e in facts.exemptions if e.holds(now) and _of_activity(e, activity)]
    unbounded = [e for e in waivers if e.sinks is None]
    everywhere = {name for e in unbounded for name in e.rules}

    # The activity itself: rules about sinks have no say, and exemptions bounded to sinks do not lift.
    whole = [r for r in speaking if r[1].sink is None and not own_purpose(r[1].unless, activity) & given]
    general = _Left(whole, unbounded, asked)
    duty = joined(general.rules, activity)
    clauses = frozenset(c for c in duty.require if "sink" not in kinds(c))
    effect, reason, unmet, because = judge(duty, clauses, given, None, False, _taken_in(general.rules, activity))
    rules = general.rules if reason is None else because(general.rules, activity)
    cited = tuple(_ref(r, asked) for r in rules)

    # Its sinks, each by itself.
    applying, lifted, overridden = _names(whole), set[str](), set(general.overridden)
    ranked, read = [], []
    places = _read_at(activity, jurisdictions, evidence)
    readers = [] if deployment.readers == "record" else [reader_sink(place) for place in places]
    for sink in [*_sinks(deployment, activity), *readers]:
        given_here = given_at(sink, given, asked)
        own = [r for r in speaking if r[1].sink is not None and about(*r, sink)]
        own = [r for r in own if not own_purpose(r[1].unless, activity) & given_here]
        bounded = [e for e in waivers if e.sinks is not None and sink.name in e.sinks]
        here = _Left(whole, [*unbounded, *bounded], asked)
        also = _Left(own, [*unbounded, *bounded], asked, here.removed)
        verdict, at_home = _verdict(sink, here.rules, also.rules, asked, given_here, clocks, jurisdictions)
        left = (_names(whole) | _names(own)) - everywhere
        verdict = replace(verdict, exemptions=_numbers(bounded, left))
        if sink in readers:
            read.append(verdict)
        else:
            ranked.append(((verdict.effect is not Effect.PERMIT, not at_home), verdict))
        applying |= _names(own)
        lifted |= {name for e in bounded for name in e.rules & left}
        overridden |= here.overridden | also.overridden
    ranked.sort(key=lambda pair: pair[0])
    verdicts = tuple(verdict for _, verdict in ranked)
    lifted |= applying & everywhere

    if activity is None:
        permitted = deployment.unclassified == "permit"
        effect = Effect.PERMIT if permitted else Effect.DENY
        reason = None if permitted else Reason.UNCLASSIFIED_ROUTE
    elif effect is not Effect.DENY and (closed := _closed(deployment, activity, verdicts)):
        cited = tuple(dict.fromkeys(ref for verdict in closed for ref in verdict.rules))
        unmet = sorted_clauses(clause for verdict in closed for clause in verdict.unmet)
        if len({v.reason for v in closed}) == 1:
            effect, reason = closed[0].effect, closed[0].reason
        else:
            effect, reason = Effect.DENY, Reason.NO_SINK
    elif effect is not Effect.DENY and read:
        # Whom nothing else refuses is refused what may not be read where it would be.
        barred = [verdict for verdict in read if verdict.effect is not Effect.PERMIT]
        if barred:
            worst = [verdict for verdict in barred if verdict.effect is Effect.DENY] or barred
            effect, reason = worst[0].effect, worst[0].reason
            unmet = sorted_clauses(clause for verdict in barred for clause in verdict.unmet)
        said = {ref.id for verdict in barred or read for ref in verdict.rules}
        said |= set() if barred else {ref.id for ref in cited}
        about_all = [r for r in speaking if r[1].id in said]
        about_all.sort(key=lambda ruling: ruling[1].sink is not None)
        cited = tuple(_ref(r, asked) for r in about_all)
    in_order = [r for r in speaking if r[1].id in applying]
    return Decision(
        activity=activity,
        effect=effect,
        mode=deployment.mode,
        reason=reason,
        duty=duty,
        sinks=verdicts,
        rules=cited,
        observed=tuple(
            _ref(r, asked) for r in in_order if mode(r[1], asked) != "enforce" and r[1].id not in everywhere
        ),
        jurisdictions=jurisdictions,
        presumed=presumed,
        finding=finding,
        evidence=(given & mentioned(asked)) - set(clocks) | {READER + place for place in places},
        policy=digest,
        epoch=facts.epoch,
        unmet=unmet,
        outranked=tuple(_ref(r, asked) for r in in_order if r[1].id in overridden),
        exempted=tuple(_ref(r, asked) for r in in_order if r[1].id in lifted),
        exemptions=tuple(
            sorted({*_numbers(unbounded, applying), *(n for verdict in read for n in verdict.exemptions)})
        ),
        clocks=tuple(sorted({*leaning(clauses, given, clocks), *(c for verdict in read for c in verdict.clocks)})),
    )


class _Left:
    """What is left of the rules that bind: first exemptions lift, then what they leave overrides, all at once.

    `removed` are the names that these rules override, and those that were removed `before`.
    """

    def __init__(
        self,
        rulings: Sequence[Ruling],
        waivers: Sequence[Exemption],
        asked: Question,
        before: frozenset[str] = frozenset(),
    ) -> None:
        lifted = {name for e in waivers for name in e.rules}
        left = [r for r in rulings if mode(r[1], asked) == "enforce" and r[1].id not in lifted]
        self.removed = before | {name for _, rule in left for name in rule.overrides}
        self.overridden = _names(left) & self.removed
        self.rules = [r for r in left if r[1].id not in self.removed]


def _covering(standing: Sequence[Ruling], asked: Question) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(places whose laws cover the person, anchors of them that a presumption decided)."""
    places, presumed = set[str](), set[str]()
    for law, rule in standing:
        for anchor in rule.anchors:
            if anchor_covers(law, rule, anchor, asked):
                places.add(law.jurisdiction)
            if asked.finding.covered_how(law.jurisdiction, anchor) == (True, True):
                presumed.add(f"{law.jurisdiction}:{anchor.value}")
    return tuple(sorted(places)), tuple(sorted(presumed))


def _verdict(
    sink: Sink,
    general: Sequence[Ruling],
    own: Sequence[Ruling],
    asked: Question,
    given: frozenset[str],
    clocks: dict[str, Clock],
    jurisdictions: Sequence[str],
) -> tuple[SinkVerdict, bool]:
    """The verdict on one sink, and whether it lies where a duty wants the data."""
    activity = asked.activity
    if activity is None:
        raise TypeError("an unclassified route has no sinks")
    duty = joined([*general, *own], activity)
    stopped = {o.sink for o in asked.facts.stop_orders if o.binds(asked.now)}
    abroad = any(not within(sink.place, place) for place in jurisdictions)
    halted = sink.name in stopped or ("*" in stopped and abroad)
    having = [store for store in activity.stores if sink.name in asked.deployment.stores.get(store, ())]
    untreated = _untreated([*general, *own], activity, sink, asked.deployment.http.get(activity.name) in having)
    effect, reason, unmet, because = judge(duty, duty.require, given, (sink, activity), halted, untreated)
    rules = (because([*general, *own], activity) if reason is not None else []) or own
    homes = duty.copies | duty.first_write | (duty.only or frozenset())
    at_home = any(within(sink.place, home) for home in homes)
    lean = leaning(duty.require, given, clocks)
    cited = tuple(_ref(r, asked) for r in rules)
    return SinkVerdict(sink, effect, reason, cited, unmet, lean, duty=duty, store=next(iter(having), "")), at_home


def _untreated(rulings: Sequence[Ruling], activity: Activity, sink: Sink, called: bool) -> list[str]:
    """The rules by which data may go to a sink, rest there or be read at a place, only with fields treated: nothing
    treats them. `called` = it is the service that the activity calls."""
    own = [] if sink.scope == "reader" else [(law, rule) for law, rule in rulings if rule.sink is not None]
    found = _taken_in(own, activity)
    if activity.operation is Operation.ERASE:
        return found
    goes = activity.operation is not Operation.READ or sink.scope in ("cache", "reader") or called
    stays = activity.operation in (Operation.WRITE, Operation.POST) or sink.scope == "cache"
    for law, rule in rulings:
        for each in rule.duty.protect:
            out = each.direction == "out" and goes and not within(sink.place, law.jurisdiction)
            kept = each.transform == "encrypt" and sink.encrypted
            if out or (each.direction == "rest" and stays and sink.scope != "reader" and not kept):
                found.append(rule.id)
    return found


def _taken_in(rulings: Sequence[Ruling], activity: Activity | None) -> list[str]:
    """The rules that want a field treated where it comes in, where an activity may take it in: nothing treats it."""
    if activity is None or activity.operation in (Operation.READ, Operation.ERASE):
        return []
    listed = {*activity.fields, *activity.media}
    return [
        rule.id
        for _, rule in rulings
        if any(each.direction == "in" and (not listed or each.field in listed) for each in rule.duty.protect)
    ]


def _of_activity(exemption: Exemption, activity: Activity | None) -> bool:
    return exemption.activities is None or (activity is not None and activity.name in exemption.activities)


def _sinks(deployment: DeploymentDoc, activity: Activity | None) -> list[Sink]:
    found: list[Sink] = []
    for store in () if activity is None else activity.stores:
        for name in deployment.stores.get(store, ()):
            if deployment.sinks[name].sink not in found:
                found.append(deployment.sinks[name].sink)
    return found


def _read_at(activity: Activity | None, jurisdictions: Sequence[str], evidence: frozenset[str]) -> list[str]:
    """The places outside some law that covers the person where the data goes by being read."""
    if activity is None or activity.operation is Operation.ERASE:
        return []
    return [place for place in readers_of(evidence) if not all(within(place, law) for law in jurisdictions)]


def _closed(deployment: DeploymentDoc, activity: Activity, verdicts: Sequence[SinkVerdict]) -> list[SinkVerdict]:
    """The verdicts on the sinks of those of its stores that no sink may take the data in, caches left out."""
    names: set[str] = set()
    for store in activity.stores:
        mine = [verdict for verdict in verdicts if verdict.sink.name in deployment.stores.get(store, ())]
        cache = all(verdict.sink.scope == "cache" for verdict in mine)
        if not cache and not any(verdict.effect is Effect.PERMIT for verdict in mine):
            names |= {verdict.sink.name for verdict in mine}
    return [verdict for verdict in verdicts if verdict.sink.name in names]


def _names(rulings: Sequence[Ruling]) -> set[str]:
    return {rule.id for _, rule in rulings}


def _numbers(exemptions: Sequence[Exemption], names: set[str]) -> tuple[str, ...]:
    """The numbers of the exemptions that name one of these rules."""
    return tuple(sorted({e.number for e in exemptions if e.rules & names}))


def _ref(ruling: Ruling, asked: Question) -> RuleRef:
    law, rule = ruling
    return RuleRef(
        id=rule.id,
        jurisdiction=law.jurisdiction,
        instrument=law.instrument,
        article=rule.article,
        source=rule.source,
        confidence=rule.confidence,
        mode=mode(rule, asked),
        text=rule.text,
        text_vi=rule.text_vi,
        link=rule.link,
        fine=rule.fine,
    )
