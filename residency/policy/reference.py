"""The same question as `Policy.decide`, answered slowly and plainly: parsed documents in, a Decision out.

The oracle of the differential tests: one loop over every rule of every law for each question, no tables, no memo, no
code shared with the compiler. Where the two disagree, read this one first, against ADR 0007.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from residency.model import (
    NEUTRAL,
    Activity,
    Decision,
    Duty,
    Effect,
    FactSet,
    Finding,
    Operation,
    Reason,
    RuleRef,
    Sink,
    SinkVerdict,
    join,
)
from residency.model.data import category_within
from residency.model.place import within
from residency.policy.parsed import DeploymentDoc, LawDoc, RuleDoc

__all__ = ["reference_decide"]

Ruling = tuple[LawDoc, RuleDoc]


def reference_decide(
    deployment: DeploymentDoc,
    laws: Sequence[LawDoc],
    digest: str,
    activity: Activity | None,
    finding: Finding,
    evidence: frozenset[str],
    facts: FactSet,
    now: int,
) -> Decision:
    """Decide one question. `laws` are those the deployment chose, in order of their names; `now` in microseconds."""
    in_force = [(law, rule) for law in laws if law.span.holds(now) for rule in law.rules if rule.span.holds(now)]
    covering = sorted({law.jurisdiction for law, rule in in_force if _covers(law, rule, finding)})
    presumed = sorted(
        f"{law.jurisdiction}:{anchor.value}"
        for law, rule in in_force
        for anchor in rule.anchors
        if finding.covered_how(law.jurisdiction, anchor) == (True, True)
    )
    mentioned = {t for law in laws for rule in law.rules for clause in rule.duty.require for t in clause}
    given = frozenset(t for t in evidence | facts.tokens(now) if t in mentioned)
    applying = [] if activity is None else [r for r in in_force if _applies(r, activity, finding, deployment)]
    modes = deployment.modes
    binding = [r for r in applying if modes.get(r[1].id, r[1].mode) == "enforce"]
    general = [r for r in binding if r[1].sink is None]
    removed = {name for _, rule in general for name in rule.overrides}
    general = [r for r in general if r[1].id not in removed]
    sinks = _sinks(deployment, activity)

    duty = _join(general)
    effect, reason, because, unmet = _verdict(general, duty, given, None)
    rules = [r for r in general if because(r[1].duty)] if reason is not None else general

    verdicts = []
    for sink in sinks:
        about = [r for r in binding if r[1].sink is not None and _about(r, sink)]
        gone = removed | {name for _, rule in about for name in rule.overrides}
        about = [r for r in about if r[1].id not in gone]
        verdicts.append(_sink(sink, general, about, activity, given, facts.stopped(now), covering, modes))
    verdicts.sort(key=lambda pair: pair[1])
    ordered = tuple(verdict for verdict, _ in verdicts)

    cited = tuple(_ref(r, modes) for r in rules)
    if activity is None:
        permitted = deployment.unclassified == "permit"
        effect = Effect.PERMIT if permitted else Effect.DENY
        reason = None if permitted else Reason.UNCLASSIFIED_ROUTE
    elif effect is not Effect.DENY and ordered and all(v.effect is not Effect.PERMIT for v in ordered):
        cited = ()
        for verdict in ordered:
            cited += tuple(ref for ref in verdict.rules if ref not in cited)
        unmet = _sorted(clause for verdict in ordered for clause in verdict.unmet)
        if len({v.reason for v in ordered}) == 1:
            effect, reason = ordered[0].effect, ordered[0].reason
        else:
            effect, reason = Effect.DENY, Reason.NO_SINK
    return Decision(
        activity=activity,
        effect=effect,
        mode=deployment.mode,
        reason=reason,
        duty=duty,
        sinks=ordered,
        rules=cited,
        observed=tuple(
            _ref(r, modes)
            for r in applying
            if r not in binding and (r[1].sink is None or any(_about(r, sink) for sink in sinks))
        ),
        jurisdictions=tuple(covering),
        presumed=tuple(dict.fromkeys(presumed)),
        finding=finding,
        evidence=given,
        policy=digest,
        epoch=facts.epoch,
        unmet=unmet,
    )


def _covers(law: LawDoc, rule: RuleDoc, finding: Finding) -> bool:
    return any(finding.covered(law.jurisdiction, anchor) for anchor in rule.anchors)


def _applies(ruling: Ruling, activity: Activity, finding: Finding, deployment: DeploymentDoc) -> bool:
    law, rule = ruling
    if not _covers(law, rule, finding):
        return False
    if rule.data is not None and not any(category_within(c, d) for c in activity.data for d in rule.data):
        return False
    if rule.operations is not None and activity.operation not in rule.operations:
        return False
    asked, operator = rule.operator, deployment.operator
    homes = operator.established_in
    if asked.established_in is not None and not any(within(h, p) for h in homes for p in asked.established_in):
        return False
    if asked.not_established_in is not None and any(within(h, p) for h in homes for p in asked.not_established_in):
        return False
    if asked.role is not None and not asked.role & operator.roles:
        return False
    if asked.service_line is not None and not asked.service_line & operator.service_lines:
        return False
    return asked.public_body is None or asked.public_body == operator.public_body


def _about(ruling: Ruling, sink: Sink) -> bool:
    law, rule = ruling
    if rule.sink is None:
        return True
    if rule.sink.kind == "abroad":
        return not within(sink.place, law.jurisdiction)
    if rule.sink.kind == "provider_abroad":
        return not within(sink.provider, law.jurisdiction)
    return within(sink.place, rule.sink.place)


def _sinks(deployment: DeploymentDoc, activity: Activity | None) -> list[Sink]:
    if activity is None or activity.store is None:
        return []
    return [deployment.sinks[name].sink for name in deployment.stores.get(activity.store, ())]


def _join(rulings: Iterable[Ruling]) -> Duty:
    duty = NEUTRAL
    for _, rule in rulings:
        duty = join(duty, rule.duty)
    return duty


def _sorted(clauses: Iterable[frozenset[str]]) -> tuple[frozenset[str], ...]:
    return tuple(sorted(set(clauses), key=sorted))


class _Because:
    """Which duties led to a refusal."""

    def __init__(self, slot: str, clauses: frozenset[frozenset[str]] = frozenset()) -> None:
        self.slot, self.clauses = slot, clauses

    def __call__(self, duty: Duty) -> bool:
        match self.slot:
            case "forbidden":
                return duty.effect is Effect.DENY or frozenset() in duty.require
            case "places":
                return duty.only is not None or bool(duty.copies | duty.first_write)
            case "only":
                return duty.only is not None
            case "home":
                return bool(duty.copies | duty.first_write)
            case "clauses":
                return bool(duty.require & self.clauses)
            case "hold":
                return duty.effect is Effect.HOLD
            case _:
                return False


def _verdict(
    rulings: Sequence[Ruling], duty: Duty, given: frozenset[str], at: tuple[Sink, Activity, bool] | None
) -> tuple[Effect, Reason | None, _Because, tuple[frozenset[str], ...]]:
    unmet = _sorted(clause for clause in duty.require if not clause & given)
    deny = Effect.DENY
    if duty.effect is Effect.DENY or frozenset() in unmet:
        return deny, Reason.LAW_FORBIDS, _Because("forbidden"), unmet
    if duty.conflicts:
        return deny, Reason.CONFLICT, _Because("places"), unmet
    if at is not None:
        sink, activity, stopped = at
        if stopped:
            return deny, Reason.STOP_ORDER, _Because("nothing"), unmet
        if duty.only is not None and not any(within(sink.place, place) for place in duty.only):
            return deny, Reason.ONLY_IN_COUNTRY, _Because("only"), unmet
        stores = activity.operation is Operation.WRITE or activity.operation is Operation.POST
        if stores and any(not within(sink.place, place) for place in (*duty.copies, *duty.first_write)):
            return deny, Reason.NOT_HOME, _Because("home"), unmet
    filings = frozenset(clause for clause in unmet if all(t.startswith("filing:") for t in clause))
    if filings:
        return deny, Reason.FILING_MISSING, _Because("clauses", filings), unmet
    if unmet:
        return deny, Reason.IDENTITY_MISSING, _Because("clauses", frozenset(unmet)), unmet
    if duty.effect is Effect.HOLD:
        return Effect.HOLD, Reason.HOLD, _Because("hold"), unmet
    return Effect.PERMIT, None, _Because("nothing"), ()


def _sink(
    sink: Sink,
    general: list[Ruling],
    about: list[Ruling],
    activity: Activity | None,
    given: frozenset[str],
    stopped: frozenset[str],
    covering: list[str],
    modes: Mapping[str, str],
) -> tuple[SinkVerdict, tuple[bool, bool]]:
    """The verdict on one sink, and its rank: permitted first, then at home first."""
    if activity is None:
        raise TypeError("an unclassified route has no sinks")
    duty = join(_join(general), _join(about))
    halted = sink.name in stopped or ("*" in stopped and any(not within(sink.place, j) for j in covering))
    effect, reason, because, unmet = _verdict([*general, *about], duty, given, (sink, activity, halted))
    rules = [r for r in [*general, *about] if because(r[1].duty)] or about
    homes = [*duty.copies, *duty.first_write, *(duty.only or ())]
    rank = (effect is not Effect.PERMIT, not any(within(sink.place, home) for home in homes))
    return SinkVerdict(sink, effect, reason, tuple(_ref(r, modes) for r in rules), unmet), rank


def _ref(ruling: Ruling, modes: Mapping[str, str]) -> RuleRef:
    law, rule = ruling
    return RuleRef(
        id=rule.id,
        jurisdiction=law.jurisdiction,
        instrument=law.instrument,
        article=rule.article,
        source=rule.source,
        confidence=rule.confidence,
        mode=modes.get(rule.id, rule.mode),
        text=rule.text,
        text_vi=rule.text_vi,
    )
