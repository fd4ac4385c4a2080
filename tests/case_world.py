"""A small policy and the text of cases in; their outcomes, as `residency test` judges them, out."""

from __future__ import annotations

from functools import cache

from residency.model import Anchor, Decision, Signal, Trust
from residency.policy.casefile import CaseFile
from residency.policy.caserun import Outcome, check_names, run_case
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parser import parse_deployment, parse_law, parse_register, parse_tests

__all__ = ["cases", "outcome", "outcomes", "policy"]

LAW = """
residency: 1
kind: law
jurisdiction: VN
instrument: Law 1
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: high, source: S}
escalations:
  - {id: vn.many, article: a, data: personal, subjects: 1000, becomes: important}
rules:
  - {id: vn.copy, article: art. 1, text: A copy., applies: {anchor: territory, data: personal},
     duty: {copies: VN, retain: [{at_least: 24 months, from: last_use}], log: [ip, account],
            deadlines: [{task: subject.reply, within: 2 working days, from: request}]}}
  - {id: vn.post, article: art. 2, text: Verified., applies: {anchor: territory, operation: post},
     duty: {require: [[identity:phone, identity:eid]]}}
  - {id: vn.move, article: art. 3, text: A dossier.,
     applies: {anchor: citizenship, data: personal, sink: {abroad: true}},
     duty: {require: [{any: "filing:vn.dossier", within: 60 days, after: first_transfer}]}}
  - {id: vn.idea, article: art. 4, text: Perhaps., mode: observe, applies: {anchor: territory}, duty: {effect: deny}}
  - {id: vn.important, article: art. 5, text: Stays., applies: {anchor: territory, data: important}, duty: {only: VN}}
  - {id: vn.order, article: art. 6, text: Ordered., trigger: {order: vn.stop}, applies: {anchor: territory},
     duty: {effect: deny}}
  - {id: vn.agencies, article: art. 7, text: Agencies., applies: {anchor: territory, operator: {public_body: true}},
     duty: {only: VN}}
  - {id: vn.japan, article: art. 9, text: Not there., applies: {anchor: territory, sink: {in: JP}},
     duty: {effect: deny}}
  - {id: vn.old, article: art. 10, text: Of old data., in_force: {from: 2026-01-01, to: 2026-06-30}, clock: collection,
     applies: {anchor: territory, operation: post}, duty: {label: [old]}}
  - {id: vn.asked, article: art. 11, text: Asked then., in_force: {from: 2026-01-01, to: 2026-06-30}, clock: request,
     applies: {anchor: territory, operation: post}, duty: {label: [asked]}}
  - {id: vn.later, article: art. 8, text: Later., in_force: {from: 2027-01-01}, applies: {anchor: territory},
     duty: {effect: hold}}
"""
DEPLOYMENT = """
residency: 1
kind: deployment
name: cases
mode: enforce
operator: {established_in: SG}
laws: [one]
presume: {territory: not_covered, citizenship: not_covered}
regions: {han: {country: VN}, sg: {country: SG}}
sinks:
  people-vn: {region: han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [people-sg, people-vn]}
exempt: [GET /healthz]
activities:
  - {route: "GET /people/{id}", subject: app, data: personal, store: people}
  - {route: "POST /posts", name: posting, subject: app, data: content, operation: post, store: people}
"""
REGISTER = """
residency: 1
kind: register
name: r
exemptions:
  - {number: EX-1, rules: [vn.move], approved_by: A, ground: G, from: 2026-03-01, expires: 2026-03-31}
"""
HEAD = "residency: 1\nkind: test\ndeployment: d.yaml\ngiven: {date: 2026-11-22, territory: VN network}\n"


@cache
def policy() -> Policy:
    """The policy that the cases ask."""
    law = parse_law(LAW.encode(), "one.yaml", "one")
    register = parse_register(REGISTER.encode(), "r.yaml")
    return compile_policy(parse_deployment(DEPLOYMENT.encode(), "d.yaml", {}), [law], [register], "d")


def cases(*texts: str, head: str = HEAD) -> CaseFile:
    """Cases, each the inside of a mapping; a name is made up."""
    text = "".join(f"  - {{name: case {n}, {each}}}\n" for n, each in enumerate(texts))
    return parse_tests(f"{head}tests:\n{text}".encode(), "t.yaml")


def outcomes(*texts: str, head: str = HEAD) -> list[Outcome]:
    """What the cases come to. `192.0.2.1` is an address in Laos."""
    file = cases(*texts, head=head)
    check_names(file, policy())
    return [run_case(case, policy(), _network, _goes) for case in file.cases]


def outcome(text: str, head: str = HEAD) -> list[str]:
    """The failures of one case in words."""
    return [str(failure) for failure in outcomes(text, head=head)[0].failures]


def _network(address: str) -> tuple[Signal, ...]:
    return (Signal(Anchor.TERRITORY, "LA", Trust.NETWORK, "address"),) if address == "192.0.2.1" else ()


def _goes(decision: Decision) -> str | None:
    return decision.sinks[0].sink.name if decision.permitted and decision.sinks else None
