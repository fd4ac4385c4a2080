"""`residency audit register`: flows, dossiers and what is amiss, for people, programs and spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from residency.cli.audit import audit_app
from residency.model import Event, FactSet
from tests.recorded_log import IN_SINGAPORE, RecordedLog
from tests.world import load_policy, write_deployment

START = 1_788_000_000_000_000  # 2026-08-29
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "${SG_URL}"}
stores: {people: [sg]}
registers: [register.yaml]
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "POST /llm", subject: app, data: [personal], store: people, http: model}
"""
DOSSIER = """
  - id: test.dossier
    article: art. 20
    text: A dossier within 60 days.
    applies: {anchor: territory, data: [personal], sink: {abroad: true}}
    duty: {require: [{any: "filing:vn.transfer_dossier", within: 60 days, after: first_transfer}]}
"""
NEVER = DOSSIER.replace(
    '{require: [{any: "filing:vn.transfer_dossier", within: 60 days, after: first_transfer}]}', "{effect: deny}"
)
REGISTER = "residency: 1\nkind: register\nname: r\nfilings: {filings}\n"
FILED = "[{kind: vn.transfer_dossier, number: '7', date: 2026-09-10, result: filed, sinks: [%s]}]"
runner = CliRunner()


class Served:
    """A deployment and the log of what it did."""

    def __init__(self, folder: Path) -> None:
        self.register = folder / "register.yaml"
        self.register.write_text(REGISTER.format(filings="[]"))
        self.file = write_deployment(folder, DEPLOYMENT, (DOSSIER,))
        self.file.write_text(self.file.read_text().replace("${SG_URL}", "memory:"))
        policy = load_policy(self.file)
        noted = FactSet(0, events=(Event("first_transfer", "VN", START + 1_000_000),))
        log = RecordedLog(policy, START, noted)
        log.ask("POST /people", subject="aa" * 8)
        log.ask("POST /people", subject="bb" * 8)
        log.ask("POST /people", finding=(IN_SINGAPORE,))
        self.log = log.write(folder / "audit")

    def ask(self, *arguments: str) -> tuple[int, Any]:
        result = runner.invoke(audit_app, ["register", str(self.log), "--json", *arguments])
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def test_flows_and_the_running_clock_are_told_from_the_archive_alone(served: Served) -> None:
    served.file.unlink()
    code, told = served.ask("--at", "2026-09-08")
    assert (code, told["holds"], told["problems"], told["acts"]) == (0, True, [], 3)
    assert told["who"] == {"deployment": "test", "established_in": ["VN"], "roles": []}
    assert told["not_observed"] == ["POST /llm"]
    (flow,) = told["flows"]
    assert (flow["sink"], flow["place"], flow["count"], flow["subjects"]) == ("sg", "SG", 2, 2)
    assert flow["first"] == "2026-08-29T10:40:01Z"
    (due,) = told["dossiers"]
    assert (due["state"], due["days_since"], due["days_left"], due["last_day"]) == (
        "clock_running", 10, 50, "2026-10-28"
    )  # fmt: skip


def test_a_dossier_that_is_overdue_exits_1_and_is_told(served: Served) -> None:
    code, told = served.ask("--at", "2026-10-29")
    assert (code, told["problems"]) == (1, ["vn.transfer_dossier (VN): overdue"])
    result = runner.invoke(audit_app, ["register", str(served.log), "--at", "2026-10-29"])
    assert result.exit_code == 1
    assert "Amiss: vn.transfer_dossier (VN): overdue" in result.output
    assert "ends with 2026-10-28, 1 day over it" in result.output


def test_filings_of_todays_deployment_count_and_what_they_leave_out_is_amiss(served: Served) -> None:
    served.register.write_text(REGISTER.format(filings=FILED % "sg"))
    code, told = served.ask("--at", "2026-10-29", "--policy", str(served.file))
    assert (code, told["dossiers"][0]["state"], told["dossiers"][0]["filings"][0]["number"]) == (0, "filed", "7")
    served.file.write_text(
        served.file.read_text()
        .replace("stores:", "  us: {region: sg, provider: US, keys: US, encrypted: true, url: 'memory:'}\nstores:")
        .replace("people: [sg]", "people: [sg, us]")
    )
    served.register.write_text(REGISTER.format(filings=FILED % "us"))
    code, told = served.ask("--at", "2026-10-29", "--policy", str(served.file))
    assert (code, told["dossiers"][0]["not_mentioned"]) == (1, [["POST /people", "sg"]])


def test_acts_that_only_observing_let_pass_are_amiss(tmp_path: Path) -> None:
    file = write_deployment(tmp_path, DEPLOYMENT.replace("registers: [register.yaml]\n", ""), (NEVER,))
    file.write_text(file.read_text().replace("${SG_URL}", "memory:").replace("mode: enforce", "mode: observe"))
    log = RecordedLog(load_policy(file), START)
    log.ask("POST /people", sink="sg")
    log.write(tmp_path / "audit")
    result = runner.invoke(audit_app, ["register", str(tmp_path / "audit" / "log"), "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["holds"]) == (1, False)
    (ground,) = told["flows"][0]["grounds"]
    why = f"enforcing would refuse them: {ground['refused']}"
    assert told["problems"] == [f"1 acts of POST /people to sg went on, though {why}"]
    assert ground["refused"]


def test_csv_has_a_line_for_each_flow_under_a_head(served: Served) -> None:
    result = runner.invoke(audit_app, ["register", str(served.log), "--at", "2026-09-08", "--csv"])
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["who"], row["recipient_country"], row["categories"], row["count"]) == ("test", "SG", "personal", "2")
    assert row["ground"] == "2 x rule test.dossier; clock:first_transfer.VN/60-days 2026-10-29T00:00:00Z"


def test_people_read_the_flow_the_ground_with_its_article_and_the_days_left(served: Served) -> None:
    result = runner.invoke(audit_app, ["register", str(served.log), "--at", "2026-09-08"])
    assert result.exit_code == 0
    assert "2 acts, 2 people" in result.output
    assert "test.dossier: Test law art. 20" in result.output
    assert "the term of 60 days ends with 2026-10-28, 50 days left" in result.output
    assert "as of 2026-09-08 (UTC)" in result.output
    assert "1 flow abroad, in 3 acts on sinks" in result.output
    assert "; its days are those at UTC" in result.output, "a day of the law's clocks beside one of UTC"


def test_without_an_archive_or_a_policy_nothing_is_said_to_be_in_order(served: Served, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, told = served.ask("--archive", str(tmp_path / "empty"))
    assert (code, told["flows"], told["acts_without_a_place"]) == (1, [], 3)
    assert "3 acts went nobody can say where" in told["problems"][1]


def test_a_log_that_does_not_hold_makes_no_register(served: Served) -> None:
    bundle = served.log / "tile" / "entries" / "000.p" / "7"
    bundle.write_bytes(bundle.read_bytes().replace(b"committed", b"cowmitted", 1))
    code, told = served.ask()
    assert (code, told["holds"]) == (1, False)
    assert "entry" in told["problem"]


@pytest.mark.parametrize("arguments", [["--json", "--csv"], ["--at", "yesterday"], ["--archive", "/nowhere"]])
def test_wrong_use_exits_2(served: Served, arguments: list[str]) -> None:
    assert runner.invoke(audit_app, ["register", str(served.log), *arguments]).exit_code == 2


def test_help_has_an_example() -> None:
    assert "Example: residency audit register" in runner.invoke(audit_app, ["register", "--help"]).output
