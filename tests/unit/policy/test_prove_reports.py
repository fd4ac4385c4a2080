"""The register: what ends soon, what has ended, what nobody asks for, which orders stand."""

from __future__ import annotations

import pytest

from residency.policy.parser import parse_register
from residency.policy.prove_reports import register_reports
from tests.proof_files import NOW, law, policy, rule

HEAD = 'residency: 1\nkind: register\nname: r\ntime_zone: "+00:00"\n'
FILING = 'filings:\n  - {kind: vn.dossier, number: "7", date: 2026-01-01, result: filed%s}\n'
PLACE = FILING.replace("vn.dossier", "location")
WAIVER = (
    'exemptions:\n  - {number: "X", rules: [vn.a], approved_by: CISO, ground: art. 9, from: 2026-01-01, expires: %s}\n'
)


def told(register: str) -> list[tuple[str, str]]:
    of = policy(law("VN", rule("vn.a", "{anchor: [territory]}", '{require: ["filing:vn.dossier"]}')))
    document = parse_register((HEAD + register).encode(), "r.yaml")
    return [(found.level, str(found.problem)) for found in register_reports(of, [document], NOW)]


@pytest.mark.parametrize(
    ("register", "level", "message"),
    [
        (FILING % ", expires: 2026-12-22", "warning", "filing 7 (vn.dossier) ends 2026-12-22T00:00:00Z, in 30 days"),
        (FILING % ", expires: 2026-11-01", "warning", "filing 7 (vn.dossier) ended 2026-11-01T00:00:00Z, 21 days ago"),
        (
            FILING % ", next_update: 2026-12-22",
            "warning",
            "its next update is due 2026-12-22T00:00:00Z",
        ),
        (WAIVER % "2026-12-22", "warning", "exemption X ends 2026-12-23T00:00:00Z, in 31 days"),
        (
            'stop_orders:\n  - {number: "S", sink: sg, since: 2026-10-01}\n',
            "note",
            "stop order S on sink `sg` since 2026-10-01",
        ),
        (PLACE % ", sinks: [s], expires: 2026-12-22", "warning", "filing 7 (location) ends 2026-12-22T00:00:00Z"),
        (PLACE % ", sinks: [s]", "warning", "filing 7 (location): it attests nothing without `sinks` and `expires`"),
        (PLACE % ", expires: 2026-12-22", "warning", "it attests nothing without `sinks` and `expires`"),
        ((FILING % "").replace("vn.dossier", "xx.other"), "note", "filing 7 (xx.other): no rule in use asks for it"),
    ],
)
def test_what_is_to_be_told_of_a_register_is_told_at_its_line(register: str, level: str, message: str) -> None:
    ((found, text),) = told(register)
    assert found == level
    assert text.startswith("r.yaml:6:")
    assert message in text


@pytest.mark.parametrize(
    "register",
    [
        FILING % "",
        FILING % ", expires: 2027-06-01",
        WAIVER % "2028-01-01",
        PLACE % ", sinks: [s], expires: 2027-06-01",
    ],
)
def test_what_lasts_is_not_told(register: str) -> None:
    assert told(register) == []
