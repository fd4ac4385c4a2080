"""`residency check`: every problem as file:line:column, exit codes, JSON, schemas."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters.policy_files import load
from residency.cli.check import check
from residency.cli.explain import explain
from residency.policy.bundle import format_bundle

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors" / "policy_errors"
app = typer.Typer()
app.command()(check)


def run(*args: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return result.exit_code, result.output


def test_every_shipped_policy_file_holds() -> None:
    beside = ("law_rows.yaml", "not_enforceable.yaml")  # of what the laws say beyond their rules: no policy files
    files = sorted(file for file in (ROOT / "policies").rglob("*.yaml") if file.name not in beside)
    code, output = run(*files)
    assert code == 0
    assert output.count(": holds: ") == len(files)


def test_a_broken_file_is_told_line_by_line_and_the_others_are_still_checked() -> None:
    broken, good = VECTORS / "several_at_once.yaml", VECTORS / "good_law.yaml"
    code, output = run(broken, good)
    assert code == 1
    assert f"{broken}:4:7: mode: expected enforce, observe, got `on`" in output
    assert f"{good}: holds: " in output


def test_json_gives_one_object_a_file() -> None:
    code, output = run("--json", VECTORS / "no_law.yaml", VECTORS / "good_register.yaml")
    first, second = map(json.loads, output.splitlines())
    assert code == 1
    assert (first["holds"], first["problems"][0]["line"]) == (False, 1)
    assert second["holds"]


def test_no_file_is_wrong_use_and_a_missing_file_does_not_hold() -> None:
    assert run()[0] == 2
    assert run(VECTORS / "no_such_file.yaml")[0] == 1


def test_schemas_are_written(tmp_path: Path) -> None:
    assert run("--write-schema", tmp_path / "schema")[0] == 0
    assert sorted(p.name for p in (tmp_path / "schema").iterdir()) == [
        "deployment.json",
        "law.json",
        "register.json",
        "test.json",
    ]


DEPLOYMENT = """\
residency: 1
kind: deployment
name: places
mode: enforce
operator: {established_in: VN}
laws: [vn/*]
pins: {url: "%s"}
signals:
  identity:
    jwt:
      jwks: "%s"
activities:
  - {route: "GET /people", subject: jwt.sub, data: [personal]}
"""


@pytest.mark.parametrize(
    "jwks",
    ["http://example.com/jwks", "http://10.0.0.1/jwks", "ftp://id.example/jwks", "https://an:hush@id.example/jwks"],
)
def test_keys_that_anybody_on_the_way_could_choose_do_not_hold(tmp_path: Path, jwks: str) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(DEPLOYMENT % ("sqlite:///pins.db", jwks))
    code, output = run(file)
    assert code == 1
    assert output.startswith(f"{file}:11:13: ")
    assert "hush" not in output


@pytest.mark.parametrize(
    "jwks",
    [
        "https://id.example/jwks",
        "http://127.0.0.1:8000/jwks",
        "http://[::1]/jwks",
        "http://localhost/jwks",
        "keys/jwks.json",
    ],
)
def test_keys_behind_tls_on_this_machine_or_in_a_file_hold(tmp_path: Path, jwks: str) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(DEPLOYMENT % ("sqlite:///pins.db", jwks))
    assert run(file)[0] == 0


def test_places_that_cannot_be_are_told_all_at_once(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(DEPLOYMENT % ("mysql://db", "http://example.com/jwks"))
    code, output = run(file)
    assert code == 1
    assert [line.split(":")[1] for line in output.splitlines()] == ["7", "11"]


def test_a_sink_that_nothing_here_can_open_does_not_hold_and_its_url_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    sinks = (
        "regions: {vn: {country: VN}}\nsinks:\n  rows: {region: vn, provider: VN, keys: VN, encrypted: true, url: %s}\n"
    )
    text = DEPLOYMENT % ("sqlite:///pins.db", "keys/jwks.json")
    file.write_text(text.replace("activities:", sinks % "mysql://me:hush@db/app" + "activities:"))
    code, output = run(file)
    assert code == 1
    assert output.startswith(f"{file}:14:")
    assert "driver is not known here" in output
    assert "hush" not in output


def test_what_holds_and_is_likely_not_meant_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(
        "residency: 1\nkind: deployment\nname: doubtful\nmode: enforce\noperator: {established_in: VN}\n"
        'laws: [vn/*]\npins: {url: "memory:"}\n'
        'activities:\n  - {route: "GET /people", subject: none, data: [health]}\n'
    )
    code, output = run(file)
    assert code == 0
    assert "note: `pins: memory:`" in output
    assert "note: activity `GET /people`: `subject: none` with personal data" in output


PROVED = """\
residency: 1
kind: deployment
name: proved
mode: enforce
operator: {established_in: VN, roles: [controller], service_lines: [social_network]}
laws: [vn/*]
registers: [r.yaml]
pins: {url: "sqlite:///pins.db"}
clocks: strict
must:
  - id: our.home
    never: {jurisdiction: VN, data: health, operation: write, sink.country: %s}
regions: {han: {country: VN}, sin: {country: SG}}
sinks:
  vn: {region: han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
  sg: {region: sin, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
stores: {people: [vn, sg]}
activities:
  - {route: "POST /people", subject: app, data: [health, account], basis: contract, operation: write, store: people}
"""
REGISTER = """\
residency: 1
kind: register
name: r
filings:
  - {kind: vn.transfer_dossier, number: "7", date: 2026-01-01, result: filed, expires: 2026-12-31, sinks: [vn]}
"""


def proved(folder: Path, country: str) -> Path:
    (folder / "r.yaml").write_text(REGISTER)
    file = folder / "d.yaml"
    file.write_text(PROVED % country)
    return file


def test_an_invariant_is_proved_and_the_register_is_read_beside_it(tmp_path: Path) -> None:
    code, output = run("--at", "2026-11-22", proved(tmp_path, "not VN"))
    assert code == 0
    assert "1 of 1 invariants proved" in output
    assert f"{tmp_path / 'r.yaml'}:5:" in output
    assert "warning: filing 7 (vn.transfer_dossier) ends" in output


def test_an_invariant_that_does_not_hold_is_asked_again_by_the_command_that_is_printed(tmp_path: Path) -> None:
    file = proved(tmp_path, "VN")
    code, output = run("--at", "2026-11-22", file)
    assert code == 1
    assert f"{file}:11:5: error: must `our.home` does not hold: activity `POST /people` is permitted" in output
    line = next(line for line in output.splitlines() if "residency explain" in line)
    asked = typer.Typer()
    asked.command()(explain)
    told = CliRunner().invoke(asked, [*shlex.split(line)[2:], "--json"])
    assert told.exit_code == 0
    assert [s["effect"] for s in json.loads(told.output)["sinks"] if s["sink"] == "vn"] == ["permit"]


def test_a_bundle_is_checked_as_the_deployment_in_it(tmp_path: Path) -> None:
    file = proved(tmp_path, "not VN")
    bundle = tmp_path / "d.bundle"
    bundle.write_bytes(format_bundle("proved", load(file, {}).sources, version=3, signers=[]))
    code, output = run("--at", "2026-11-22", bundle)
    assert code == 0
    assert f"{bundle}: holds: bundle proved, version 3: deployment proved" in output
    bundle.write_bytes(bundle.read_bytes()[:-20])
    assert run(bundle)[0] == 1


def test_json_tells_findings_and_proofs(tmp_path: Path) -> None:
    code, output = run("--json", "--at", "2026-11-22", proved(tmp_path, "VN"))
    result = json.loads(output)
    assert (code, result["holds"]) == (1, False)
    (proof,) = result["proofs"]
    assert proof["counterexamples"][0]["command"].startswith("residency explain --policy ")
    assert {"error", "warning", "note"} >= {found["level"] for found in result["findings"]}


ORDERED = """\
residency: 1
kind: law
jurisdiction: VN
instrument: Decree 1
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: high, source: S}
rules:
  - id: vn.one
    article: art. 1
    text: T
    applies: {anchor: territory}
    duty:
      log: [device]
"""


def test_a_duty_that_nothing_carries_out_is_warned_of_at_its_rule_and_strict_refuses_it(tmp_path: Path) -> None:
    law, file = tmp_path / "laws" / "vn" / "one.yaml", tmp_path / "d.yaml"
    law.parent.mkdir(parents=True)
    law.write_text(ORDERED)
    text = DEPLOYMENT.replace("laws: [vn/*]", "laws: [vn/one]\nlaws_from: [laws]")
    file.write_text(text % ("sqlite:///pins.db", "keys/jwks.json"))
    code, output = run(file, "--at", "2026-11-22")
    told = f"{law}:13:12: %s: rule `vn.one`: `log: device` is not carried out here: "
    assert code == 0
    assert told % "warning" in output
    assert ": holds: " in output
    code, output = run("--strict", file, "--at", "2026-11-22")
    assert code == 1
    assert told % "error" in output
    assert ": holds: " not in output
    code, output = run("--strict", "--json", file, "--at", "2026-11-22")
    assert code == 1
    assert not json.loads(output)["holds"]


def test_strict_refuses_no_note(tmp_path: Path) -> None:
    law, file = tmp_path / "laws" / "vn" / "one.yaml", tmp_path / "d.yaml"
    law.parent.mkdir(parents=True)
    law.write_text(ORDERED.replace("log: [device]", "deadlines: [{task: a.b, within: 2 days, from: commencement}]"))
    text = DEPLOYMENT.replace("laws: [vn/*]", "laws: [vn/one]\nlaws_from: [laws]")
    file.write_text(text % ("sqlite:///pins.db", "keys/jwks.json"))
    code, output = run("--strict", file, "--at", "2026-11-22")
    assert code == 0
    assert "note: rule `vn.one`: `deadlines: a.b` is not carried out here" in output
