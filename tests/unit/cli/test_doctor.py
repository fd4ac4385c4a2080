"""`residency doctor`: what would go wrong in production, told before it does."""

from __future__ import annotations

import json
import socketserver
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters import location_probe
from residency.adapters.clock_system import SystemClock
from residency.adapters.facts_sqlite import NotedSqlite
from residency.cli.check import check
from residency.cli.doctor import doctor
from residency.model import Event

POLICY = """
residency: 1
kind: deployment
name: sick
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
stores: {uploads: [files]}
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit, detail: {VN: ./detail}}
keys: {folder: ./keys}
"""
LAW = """
residency: 1
kind: law
jurisdiction: VN
instrument: Test law
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: low, source: "a test"}
rules:
  - id: test.transfer
    article: art. 1
    text: A dossier within 60 days, a notice within 5.
    applies: {anchor: territory, data: personal}
    duty:
      require:
        - {any: "filing:dossier", within: 60 days, after: first_transfer}
        - {any: "filing:notice", within: 5 days, after: in_use}
"""
app = typer.Typer()
app.command()(doctor)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment in good health."""
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    file = tmp_path / "sick.yaml"
    file.write_text(POLICY)
    return file


def run(policy: Path, *more: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the level of each finding by its text."""
    result = CliRunner().invoke(app, ["--policy", str(policy), "--json", *more])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    found = [json.loads(line) for line in result.output.splitlines()]
    return result.exit_code, {each["what"]: each["level"] for each in found}


def levels(found: dict[str, str], words: str) -> set[str]:
    return {level for what, level in found.items() if words in what}


def test_a_healthy_deployment_exits_0_and_says_so_in_words(policy: Path) -> None:
    code, found = run(policy)
    assert (code, "bad" in found.values()) == (0, False)
    assert levels(found, "sink files (VN) takes writes") == {"ok"}
    assert levels(found, "detail (VN)") == {"ok"}
    shown = CliRunner().invoke(app, ["--policy", str(policy)]).output
    assert "policy sick holds" in shown


def test_a_policy_that_does_not_hold_is_bad(policy: Path) -> None:
    policy.write_text(POLICY.replace("mode: enforce", "mode: perhaps"))
    code, found = run(policy)
    assert (code, set(found.values())) == (1, {"bad"})


def test_a_server_that_may_rewrite_the_peer_is_bad_unless_its_word_is_taken(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    assert run(policy)[0] == 1
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")  # trusts nobody
    assert run(policy)[0] == 0
    policy.write_text(POLICY.replace("strategy: peer", "strategy: server"))
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    assert run(policy)[0] == 0
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert run(policy)[0] == 1


def test_what_weakens_a_deployment_is_a_warning(policy: Path) -> None:
    policy.write_text(POLICY + "dev: {assume: VN}\nunclassified: permit\n")
    code, found = run(policy)
    assert code == 0
    assert levels(found, "dev.assume") == levels(found, "no activity names") == {"warn"}


@pytest.mark.parametrize("name", ["audit", "keys", "detail"])
def test_a_folder_that_cannot_be_written_is_bad(policy: Path, name: str) -> None:
    (policy.parent / name).write_text("a file where a folder must be")
    code, found = run(policy)
    assert code == 1
    assert levels(found, f"the {name}") == {"bad"}


def test_a_country_of_rows_without_a_locator_is_a_warning_as_check_has_it(policy: Path) -> None:
    abroad = 'rows: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///rows.db"}'
    text = POLICY.replace("regions: {", "regions: {sg: {country: SG}, ").replace("sinks:\n", f"sinks:\n  {abroad}\n")
    text = text.replace("stores: {", "stores: {people: [rows], ").replace("audit: {", "audit: {region: vn-han, ")
    policy.write_text(text + "records: {people: {person: {subject: id, data: [personal]}}}\n")
    code, found = run(policy)
    assert code == 0
    assert levels(found, "`locators` names none for SG") == {"warn"}
    checked = typer.Typer()
    checked.command()(check)
    result = CliRunner().invoke(checked, [str(policy)])
    assert result.exit_code == 0
    line = len(policy.read_text().splitlines())
    assert f"{policy}:{line}:" in result.output
    assert "warning: `locators` names none for SG" in result.output


def test_a_sink_that_is_away_is_bad_by_its_name(policy: Path) -> None:
    (policy.parent / "files").write_text("a file where a folder must be")
    code, found = run(policy)
    assert code == 1
    assert levels(found, "'files'") == {"bad"}


def test_a_sink_that_was_not_there_is_told_once_since_it_may_be_a_wrong_path(policy: Path) -> None:
    code, found = run(policy)
    assert code == 0
    assert found["sink files was not there and has been made, empty"] == "warn"
    assert "sink files was not there and has been made, empty" not in run(policy)[1]


def test_a_service_takes_connections_and_no_writes_and_a_cache_answers(policy: Path) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:  # it only listens
        port = server.server_address[1]
        sinks = f"""  llm: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "http://127.0.0.1:{port}/"}}
  cache: {{region: vn-han, provider: VN, keys: VN, encrypted: true, scope: cache, url: "memory:cache"}}
stores: {{llm: [llm], cache: [cache], uploads: [files]}}"""
        policy.write_text(POLICY.replace("stores: {uploads: [files]}", sinks))
        code, found = run(policy)
    assert code == 0
    assert levels(found, "sink llm (VN) takes connections (nothing was sent)") == {"ok"}
    assert levels(found, "sink cache (VN) answers") == {"ok"}


def test_a_cache_that_is_away_is_a_warning_and_not_said_to_be_well(policy: Path) -> None:
    cache = """  cache: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: cache, url: "redis://127.0.0.1:1/0"}
stores: {cache: [cache], uploads: [files]}"""
    policy.write_text(POLICY.replace("stores: {uploads: [files]}", cache))
    code, found = run(policy)
    assert code == 0
    assert levels(found, "a cache may be away, and answers misses until it is back") == {"warn"}
    assert levels(found, "sink cache (VN)") == set()


def test_what_is_wrong_with_a_sink_names_the_line_of_its_url(policy: Path) -> None:
    (policy.parent / "files").write_text("a file where a folder must be")
    shown = CliRunner().invoke(app, ["--policy", str(policy)]).output
    assert f"look at the url of sink files, {policy}:10" in shown


def test_the_file_is_named_once_with_or_without_its_option(policy: Path) -> None:
    assert CliRunner().invoke(app, [str(policy)]).exit_code == 0
    for arguments in ([], [str(policy), "--policy", str(policy)]):
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, "residency doctor residency.yaml" in result.output) == (2, True)
    missing = CliRunner().invoke(app, ["nowhere.yaml"])
    assert (missing.exit_code, "residency init nowhere.yaml" in missing.output) == (1, True)


def test_the_app_is_looked_at_and_one_that_cannot_be_imported_is_bad(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(policy.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("api_of_doctor.py").write_text("import smtplib\napp = smtplib.SMTP\n")
    code, found = run(policy, "--app", "api_of_doctor:app")
    assert code == 0
    assert levels(found, "not covered: smtplib") == {"warn"}
    code, found = run(policy, "--app", "api_of_nobody:app")
    assert code == 1
    assert levels(found, "there is no module 'api_of_nobody'") == {"bad"}
    assert levels(found, "policy sick holds") == {"ok"}


def test_address_data_that_cannot_be_opened_is_bad_and_names_file_and_line(policy: Path) -> None:
    (policy.parent / "own.txt").write_text("203.0.113.0/24 relay\n203.0.114.0/24 rellay\n")
    policy.write_text(POLICY.replace("signals: {", "signals: {networks: {lists: [own.txt]}, "))
    code, found = run(policy)
    assert (code, levels(found, "own.txt:2: ")) == (1, {"bad"})
    assert levels(found, "keys folder") == {"ok"}


def test_address_data_on_disk_that_is_not_taken_is_a_warning(policy: Path) -> None:
    listed = policy.parent / "own.txt"
    listed.write_text("203.0.113.0/24 relay\n")
    policy.write_text(POLICY.replace("signals: {", "signals: {networks: {lists: [own.txt]}, "))
    run(policy)
    listed.write_text("203.0.113.0/24 rellay\n")
    code, found = run(policy)
    assert (code, levels(found, "is not taken (torn)")) == (0, {"warn"})


def test_address_data_beyond_its_age_says_what_follows(policy: Path) -> None:
    policy.write_text(POLICY.replace("signals: {", "signals: {geoip: {max_age: 1 s, stale: refuse}, "))
    assert levels(run(policy)[1], "beyond geoip.max_age: it is refused") == {"warn"}


def test_identity_keys_are_read(policy: Path) -> None:
    policy.write_text(POLICY.replace("signals: {", "signals: {identity: {jwt: {jwks: keys.json, audience: a}}, "))
    keys = policy.parent / "keys.json"
    key = {"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    keys.write_text(json.dumps({"keys": [key]}))
    assert levels(run(policy)[1], "identity keys can be read") == {"ok"}
    policy.write_text(policy.read_text().replace("keys.json", '"http://127.0.0.1:9/keys.json"'))  # nobody is there
    code, found = run(policy)
    assert (code, levels(found, "identity keys: ")) == (1, {"bad"})


def test_words_in_brackets_are_shown_and_no_line_is_folded(policy: Path) -> None:
    word = "[red]" + "x" * 80
    policy.write_text(f"{POLICY}\n'{word}': 1\n")
    shown = CliRunner().invoke(app, ["--policy", str(policy)]).output.splitlines()
    assert word in shown[0]
    assert shown[1].startswith("     mend: ")


@pytest.mark.needs("redis")
def test_a_shared_store_of_pins_is_asked(policy: Path, redis_servers: Any) -> None:
    server = redis_servers.single()
    policy.write_text(POLICY + f'pins: {{url: "{server.url}"}}\n')
    assert levels(run(policy)[1], "pins' store answers") == {"ok"}
    assert levels(run(policy)[1], "nobody looks where the pins lie") == {"warn"}
    policy.write_text(policy.read_text().replace(", detail: {VN: ./detail}", ""))
    assert levels(run(policy)[1], "lost") == {"warn"}
    assert levels(run(policy)[1], "append-only file: a restart loses") == {"warn"}
    server.client.config_set("appendonly", "yes")
    policy.write_text(policy.read_text().replace(f'{server.url}"', f'{server.url}", region: vn-han'))
    assert not levels(run(policy)[1], "append-only")
    assert not levels(run(policy)[1], "where the pins lie")
    server.kill()
    code, found = run(policy)
    assert code == 1
    assert "bad" in found.values()
    assert str(server.port) not in str(found)


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_the_tables_of_a_real_database_are_held_against_records(policy: Path, postgres: Any, driver: str) -> None:
    database = postgres.vn.database()
    postgres.vn.query("CREATE TABLE person (id text PRIMARY KEY); CREATE TABLE letter (id text PRIMARY KEY)", database)
    url = postgres.vn.url(driver, database)
    sink = f"""  rows: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "{url}"}}
stores: {{people: [rows], uploads: [files]}}
records: {{people: {{person: {{subject: id, data: [personal]}}, gone: {{subject: id, data: [personal]}}}}}}"""
    policy.write_text(POLICY.replace("stores: {uploads: [files]}", sink))
    code, found = run(policy)
    assert code == 0
    assert levels(found, "store people: no `records` name 1 table (letter)") == {"warn"}
    assert levels(found, "sink rows lacks 1 table that `records` name: gone") == {"warn"}


def test_terms_that_have_begun_are_told_and_those_that_run_out_soon_are_a_warning(policy: Path, tmp_path: Path) -> None:
    law = tmp_path / "laws" / "vn" / "test.yaml"
    law.parent.mkdir(parents=True)
    law.write_text(LAW)
    policy.write_text(
        POLICY.replace("laws: none", "laws: [vn/test]\nlaws_from: [laws]\npins: {url: 'sqlite:///./pins.db'}")
    )
    assert levels(run(policy)[1], "clock:") == set()
    assert not (tmp_path / "pins-facts.db").exists(), "asking makes no file"
    now = SystemClock().now()
    noted = NotedSqlite(tmp_path / "pins-facts.db")
    noted.note(Event("first_transfer", "VN", now))
    noted.note(Event("in_use", "VN", now))
    _, found = run(policy)
    assert levels(found, "clock:first_transfer.VN/60-days runs out at ") == {"ok"}
    assert levels(found, "clock:in_use.VN/5-days runs out at ") == {"warn"}
    (tmp_path / "pins-facts.db").write_bytes(b"damaged")
    assert levels(run(policy)[1], "what is noted of the operator") == {"bad"}


def test_where_each_sink_lies_is_told_and_what_lies_on_this_machine_alone_is_not(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(address: str, port: int) -> None:
        return None

    monkeypatch.setattr(location_probe, "_connect", connect)
    names = {"home": "113.160.0.1", "abroad": "165.21.0.1", "private": "10.0.0.7"}
    sink = (
        '  {}: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "https://{}/#authorization=secret"}}\n'
    )
    text = POLICY.replace("stores: {", "".join(sink.format(*each) for each in names.items()) + "stores: {")
    policy.write_text(
        text + 'locators: {VN: "sqlite:///l.db"}\nrecords: {uploads: {"*": {subject: id, data: [content]}}}\n'
    )
    code, found = run(policy)
    assert code == 1
    assert {what: level for what, level in found.items() if " in VN: " in what} == {
        "sink home lies in VN: it has an address in VN": "ok",
        "sink abroad does not lie in VN: it has an address in SG": "bad",
        "sink private is not shown to lie in VN: it has a private address": "warn",
    }
    assert "secret" not in str(found)
