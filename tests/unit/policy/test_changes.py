"""What of a deployment a reload applies, and what it refuses to half-apply."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from residency.model import Event, Exemption, FactSet, Filing, FilingResult, Order, StopOrder
from residency.policy.changes import RELOADABLE, carried_over, needs_restart, register_changes
from residency.policy.parsed import DeploymentDoc
from residency.policy.parser import parse_deployment

TEXT = """\
residency: 1
kind: deployment
name: app
mode: observe
operator: {established_in: [VN]}
laws: [vn/*]
regions: {vn-han: {country: VN}, sg: {country: SG}}
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "${URL}"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [vn, sg]}
audit: {folder: ./audit}
pins: {url: "memory:"}
metrics: /metrics
activities:
  - {route: "GET /a", subject: none, data: [content], store: people}
"""


def parsed(text: str = TEXT, url: str = "sqlite:///secret.db") -> DeploymentDoc:
    return parse_deployment(text.encode(), "app.yaml", {"URL": url})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mode: observe", "mode: enforce"),
        ("[vn/*]", "[vn/*, eu/*]"),
        ("established_in: [VN]", "established_in: [SG]"),
        ("[vn, sg]", "[vn]"),
        ("GET /a", "GET /b"),
        ("metrics:", "unclassified: permit\nmetrics:"),
        ("metrics:", "exempt: [GET /healthz]\nmetrics:"),
        ("metrics:", "presume: {territory: not_covered}\nmetrics:"),
        ("laws:", "# words for who reads it\nlaws:"),
    ],
)
def test_what_each_request_reads_anew_a_reload_applies(old: str, new: str) -> None:
    assert needs_restart(parsed(), parsed(TEXT.replace(old, new))) == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ("name: app", "name: other", 3, "name"),
        ("country: SG", "country: MY", 7, "regions"),
        ("provider: VN", "provider: US", 9, "sinks"),
        ("./audit", "./elsewhere", 12, "audit"),
        ('{url: "memory:"}', '{url: "sqlite:///p.db"}', 13, "pins"),
        ("/metrics", "/m", 14, "metrics"),
        ("metrics:", "keys: {folder: ./k}\nmetrics:", 14, "keys"),
        (
            "metrics:",
            "signals: {client_address: {strategy: server}}\nmetrics:",
            14, "signals",
        ),
    ],
)  # fmt: skip
def test_what_is_built_once_is_named_at_its_line_and_the_reload_refused(
    old: str, new: str, line: int, key: str
) -> None:
    assert old in TEXT
    told = [str(problem) for problem in needs_restart(parsed(), parsed(TEXT.replace(old, new)))]
    wanted = f": {key}: cannot change while requests are served, so nothing of the file was applied: restart to apply"
    assert [each for each in told if each.startswith(f"app.yaml:{line}:") and each.endswith(wanted)], told


def test_another_value_of_a_variable_is_a_change_that_shows_no_value() -> None:
    (problem,) = needs_restart(parsed(), parsed(url="sqlite:///other.db"))
    assert problem.message.startswith("sinks: cannot change")
    assert "db" not in str(problem)


def test_all_differences_come_at_once_in_the_order_of_the_file() -> None:
    text = (
        TEXT.replace("/metrics", "/m")
        .replace('memory:"}\nmetrics', 'sqlite:///p.db"}\nmetrics')
        .replace("GET /a", "GET /b")
    )
    assert [p.line for p in needs_restart(parsed(), parsed(text))] == [13, 14]


def test_a_field_that_nobody_thought_of_needs_a_restart() -> None:
    assert {field.name for field in fields(DeploymentDoc)} >= RELOADABLE
    built_once = {field.name for field in fields(DeploymentDoc) if field.compare} - RELOADABLE
    assert built_once == {
        "audit", "copies", "framework", "hand_over", "keys_folder", "location", "locators", "metrics", "name",
        "pins", "records", "regions", "signals", "sinks",
    }  # fmt: skip


FIRST, SECOND, LATER = (StopOrder(number, "sg", 0) for number in "123")


def test_facts_that_say_the_same_keep_their_epoch_and_others_get_the_next() -> None:
    old = FactSet(0, stop_orders=(FIRST,))
    now = FactSet(4, stop_orders=(FIRST,))
    assert carried_over(old, now, old) is now
    assert carried_over(old, now, FactSet(0)) == FactSet(5)
    assert carried_over(old, now, FactSet(0, stop_orders=(FIRST, SECOND))) == FactSet(5, stop_orders=(FIRST, SECOND))


def test_what_came_while_requests_were_served_stays_and_what_a_register_took_back_goes() -> None:
    old = FactSet(0, stop_orders=(FIRST,))
    now = FactSet(2, stop_orders=(FIRST, LATER), escalated=frozenset({"vn.core"}))
    moved = carried_over(old, now, FactSet(0, stop_orders=(SECOND,)))
    assert moved == FactSet(3, stop_orders=(SECOND, LATER), escalated=frozenset({"vn.core"}))
    assert carried_over(FactSet(0, stop_orders=(SECOND,)), moved, FactSet(0, stop_orders=(SECOND, LATER))) == moved


def test_changes_of_registers_are_told_by_kinds_and_numbers_and_nothing_else() -> None:
    passed = Filing("vn.dossier", "12/2026", 5, FilingResult.PASSED, sha256="ab" * 32)
    secret = Exemption("E-1", frozenset({"vn.a"}), "Minister An", "a ground", 0, 9)
    old = FactSet(
        3, (passed, Filing("vn.dossier", "3/2026", 1, FilingResult.FILED)), (StopOrder("7", "sg", 0),), (), (secret,)
    )
    new = FactSet(
        4,
        (replace(passed, result=FilingResult.FAILED),),
        (StopOrder("7", "sg", 0), StopOrder("8", "*", 0)),
        (Order("vn.localise", "9", 0),),
        (secret,),
        (Event("first_transfer", "VN", 1),),
    )
    assert register_changes(old, new) == (
        "register: came events first_transfer.VN, orders vn.localise 9, stop_orders 8; "
        "changed filings vn.dossier 12/2026; went filings vn.dossier 3/2026",
    )
    assert register_changes(new, replace(new, epoch=9)) == ()
    assert register_changes(FactSet(0), old)[0].count("An") == 0


def test_many_changes_of_registers_are_told_in_several_notes() -> None:
    many = tuple(StopOrder(str(n), "sg", 0) for n in range(250))
    notes = register_changes(FactSet(0), FactSet(1, stop_orders=many))
    assert len(notes) == 3
    assert sum(note.count("stop_orders") for note in notes) == 250


def test_two_records_of_one_number_are_a_change_where_either_differs() -> None:
    twice = (StopOrder("7", "sg", 0), StopOrder("7", "vn", 0))
    assert register_changes(FactSet(0, stop_orders=twice), FactSet(1, stop_orders=twice[:1])) == (
        "register: changed stop_orders 7",
    )
