"""A deployment and laws in a few lines of YAML in; the compiled policy whose invariants are proved, out."""

from __future__ import annotations

from residency.policy.compiler import Policy, compile_policy
from residency.policy.parser import parse_deployment, parse_law, parse_register
from residency.policy.times import instant

__all__ = ["NOW", "day", "law", "policy", "rule"]

_DEPLOYMENT = """\
residency: 1
kind: deployment
name: proofs
mode: enforce
operator: {established_in: VN, roles: [controller]}
laws: ["*"]
regions: {han: {country: VN}, sin: {country: SG}, fra: {country: DE}}
sinks:
  vn: {region: han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
  sg: {region: sin, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
  de: {region: fra, provider: US, keys: DE, encrypted: false, url: "sqlite:///./de.db"}
stores: {all: [vn, sg, de], abroad: [sg], home: [vn], plain: [de]}
"""
_ACTIVITIES = """\
activities:
  - {route: "POST /people", subject: app, data: [health], operation: write, store: all}
"""
_LAW = """\
residency: 1
kind: law
jurisdiction: %s
instrument: Act of %s
in_force: {from: %s}
checked: {date: 2026-11-21, confidence: high, source: test}
"""


def day(text: str) -> int:
    """The first microsecond of a day, UTC."""
    return instant(text, "+00:00")


NOW = day("2026-11-22")


def rule(name: str, applies: str, duty: str, *more: str) -> str:
    """A rule as YAML; `more` are further lines of it, as `mode: warn`."""
    lines = (f"applies: {applies}", f"duty: {duty}", *more)
    return f"  - id: {name}\n    article: art. 1\n    text: test\n" + "".join(f"    {line}\n" for line in lines)


def law(place: str, *rules: str, since: str = "2020-01-01", more: str = "") -> tuple[str, str]:
    """A law of a place; `more` are further lines of its file."""
    return place.lower(), _LAW % (place, place, since) + more + "rules:\n" + "".join(rules)


def policy(
    *laws: tuple[str, str], must: str = "", activities: str = _ACTIVITIES, more: str = "", register: str = ""
) -> Policy:
    """The policy of these laws. `must` are lines such as `- never: {jurisdiction: VN, sink: sg}`."""
    text = _DEPLOYMENT + more + (f"must:\n{must}\n" if must else "") + activities
    if not laws:
        text = text.replace('laws: ["*"]', "laws: none")
    deployment = parse_deployment(text.encode(), "d.yaml", {})
    parsed = [parse_law(body.encode(), f"{name}.yaml", name) for name, body in laws]
    head = 'residency: 1\nkind: register\nname: r\ntime_zone: "+00:00"\n'
    registers = [parse_register((head + register).encode(), "r.yaml")] if register else []
    return compile_policy(deployment, parsed, registers, "digest")
