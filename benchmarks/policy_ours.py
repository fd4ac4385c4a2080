"""How many rules and activities in; policies of that size, compiled from files' text as always, out.

`filled(90)` is the policy of the peers, with fewer rules its first ones alone, with more also rules of other
jurisdictions; `wide_laws` are laws of which a fair part applies to everybody.
"""

from __future__ import annotations

from typing import Final

from benchmarks.policy_peers import CATEGORIES, JURISDICTIONS, OPERATIONS, VERDICTS
from residency.model import Activity, Anchor, AnchorFinding, Finding, Presume, Trust
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parsed import DeploymentDoc, LawDoc
from residency.policy.parser import parse_deployment, parse_law
from residency.policy.times import instant

__all__ = ["NOW", "activities_of", "deployment", "filled", "law", "person", "wide_laws"]

NOW: Final = instant("2026-11-21", "+00:00")
_NOBODY: Final = tuple((anchor, Presume.NOT_COVERED) for anchor in Anchor)
_DEPLOYMENT: Final = """\
residency: 1
kind: deployment
name: bench
mode: enforce
operator: {{established_in: VN, roles: [controller]}}
laws: ["*"]
registers: []
presume: {{territory: not_covered, citizenship: not_covered}}
regions: {{vn: {{country: VN}}, sg: {{country: SG}}}}
sinks:
  here: {{region: vn, provider: VN, keys: VN, encrypted: true, url: "sqlite:///x"}}
  there: {{region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///y"}}
stores: {{people: [here, there]}}
signals: {{client_address: {{strategy: peer}}}}
unclassified: deny
activities:
{activities}
"""
_LAW: Final = """\
residency: 1
kind: law
jurisdiction: {place}
instrument: Act of {place}
in_force: {{from: 2020-01-01}}
checked: {{date: 2026-11-21, confidence: high, source: "a benchmark"}}
rules:
{rules}
"""
_ELSEWHERE: Final = ("LA", "TH", "ID", "JP", "NG", "KE", "MX", "AR", "NO", "CH")


def person(place: str, presume: tuple[tuple[Anchor, Presume], ...] = _NOBODY) -> Finding:
    """Somebody whose address lies in `place`."""
    return Finding(AnchorFinding(frozenset({place}), trust=Trust.NETWORK), presume=presume)


def rule_text(name: str, category: str, operation: str, duty: str, sink: str = "") -> str:
    """One rule of a law file."""
    return (
        f'  - {{id: {name}, article: "art. {name}", text: "t", applies: {{anchor: territory, data: {category}, '
        f"operation: {operation}{sink}}}, duty: {{{duty}}}}}"
    )


def law_text(place: str, rules: list[str]) -> str:
    """A law file."""
    return _LAW.format(place=place, rules="\n".join(rules))


def deployment_text(activities: int) -> str:
    """A deployment with that many activities: one for each category and operation, in turn."""
    pairs = [(category, operation) for category in CATEGORIES for operation in OPERATIONS]
    lines = []
    for number in range(activities):
        category, operation = pairs[number % len(pairs)]
        route = f"POST /v1/{number}/{category}/{operation}"
        lines.append(
            f'  - {{route: "{route}", subject: none, data: {category}, operation: {operation}, store: people}}'
        )
    return _DEPLOYMENT.format(activities="\n".join(lines))


def _ruling(place: str) -> list[str]:
    return [
        rule_text(
            f"{place.lower()}.{category}.{operation}",
            category,
            operation,
            "log: [account]" if VERDICTS[place, category, operation] else "effect: deny",
        )
        for category in CATEGORIES
        for operation in OPERATIONS
    ]


def filled(rules: int) -> Policy:
    """The peers' policy, and rules of other jurisdictions to make `rules` of them; or its first `rules` alone."""
    texts: dict[str, list[str]] = {place: _ruling(place) for place in JURISDICTIONS}
    left = rules - sum(len(of) for of in texts.values())
    for place in reversed(JURISDICTIONS):
        if left < 0:
            kept = max(0, len(texts[place]) + left)
            left += len(texts[place]) - kept
            texts[place] = texts[place][:kept]
    for number in range(max(0, left)):
        place = _ELSEWHERE[number % len(_ELSEWHERE)]
        category = CATEGORIES[number % len(CATEGORIES)]
        texts.setdefault(place, []).append(
            rule_text(f"{place.lower()}.x.{number}", category, "read", f"require: [[filing:{place.lower()}.f{number}]]")
        )
    laws = [law(place, law_text(place, of)) for place, of in texts.items() if of]
    return compile_policy(deployment(18), laws, [], "bench")


def wide_laws(rules: int) -> list[tuple[str, str]]:
    """(name, text) of ten laws: each rule asks a filing of its own, every other one of sinks abroad.

    A third of a law's rules concerns any one activity.
    """
    texts: dict[str, list[str]] = {}
    for number in range(rules):
        place = ("VN", *_ELSEWHERE)[number % 10]
        at, without = number // 10 % 6, number // 60 % 3
        category = f"[{CATEGORIES[at]}, {CATEGORIES[at - 1]}, {CATEGORIES[at - 2]}]"
        operation = f"[{OPERATIONS[without]}, {OPERATIONS[without - 1]}]"
        name = f"{place.lower()}.w.{number}"
        duty = f"require: [[filing:{place.lower()}.f{number}, identity:phone]], log: [l{number % 40}]"
        sink = ", sink: {abroad: true}" if number // 10 % 2 else ""
        texts.setdefault(place, []).append(rule_text(name, category, operation, duty, sink))
    return [(place.lower(), law_text(place, of)) for place, of in texts.items()]


def law(name: str, text: str) -> LawDoc:
    """A law file's text, parsed."""
    return parse_law(text.encode(), f"{name}.yaml", name)


def deployment(activities: int) -> DeploymentDoc:
    """A deployment's text, parsed."""
    return parse_deployment(deployment_text(activities).encode(), "bench.yaml", {})


def activities_of(policy: Policy) -> dict[tuple[str, str], Activity]:
    """The first activity of each (category, operation)."""
    found: dict[tuple[str, str], Activity] = {}
    for activity in policy.deployment.activities:
        found.setdefault((next(iter(activity.data)), activity.operation.value), activity)
    return found
