"""`residency status`: what a deployment refused, and what a dark launch would have refused or sent elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner

from residency import ResidencyMiddleware, current, identify
from residency.audit.entry import format_entry
from residency.cli.status import status
from tests.audit_log import write_log
from tests.recorded_log import some_weeks

HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"
POLICY = """
residency: 1
kind: deployment
name: dark
mode: observe
operator: {established_in: [VN]}
laws: [vn/*]
regions: {vn-han: {country: VN}, sg: {country: SG}}
sinks:
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://sg"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://vn"}
stores: {uploads: [files-sg, files-vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
activities:
  - {route: "PUT /files/{who}", subject: app, data: [personal, account], operation: write, store: uploads}
"""
LAW = """
residency: 1
kind: law
jurisdiction: VN
instrument: Own law
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: low, source: "a test"}
rules:
  - id: own.transfer
    article: art. 1
    text: A dossier within 60 days.
    applies: {anchor: territory, data: personal, sink: {abroad: true}}
    duty: {require: [{any: "filing:dossier", within: 60 days, after: first_transfer}]}
  - id: own.never
    article: art. 2
    text: Never.
    applies: {anchor: territory, data: personal}
    duty: {effect: deny}
escalations:
  - {id: own.many, article: art. 3, data: account, subjects: 1, becomes: important}
"""
REGISTER = """
residency: 1
kind: register
name: test
exemptions:
  - {number: 7/2026, rules: [own.never], approved_by: A, ground: a test, from: 2026-01-01, expires: 2099-01-01}
"""
app = typer.Typer()
app.command()(status)


async def put(request: Request) -> PlainTextResponse:
    """Stores a value; says who it is of unless it is nobody's."""
    who = request.path_params["who"]
    if who != "nobody":
        await identify(who)
    await current().store("uploads").put("a.txt", b"value", sink=request.query_params.get("sink"))
    return PlainTextResponse("stored")


def drive(policy: Path, calls: list[tuple[str, str]]) -> list[int]:
    """The statuses of PUT calls from an address, under one life of the runtime."""
    served = ResidencyMiddleware(
        Starlette(routes=[Route("/files/{who}", put, methods=["PUT"]), Route("/else", put)]), policy=policy
    )
    codes = []
    with TestClient(served) as host:
        for address, url in calls:
            client = TestClient(served, client=(address, 50_000))
            client.portal = host.portal
            codes.append(client.put(url).status_code)
    return codes


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def asked(policy: Path) -> dict[str, Any]:
    code, output = run("--policy", str(policy), "--json")
    assert code == 0
    told: dict[str, Any] = json.loads(output)
    return told


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A deployment that observes."""
    file = tmp_path / "dark.yaml"
    file.write_text(POLICY)
    return file


def test_before_the_first_start_there_is_nothing_to_tell(policy: Path) -> None:
    assert asked(policy)["entries"] == 0
    assert f"{policy.parent / 'audit' / 'log'} has no entries: nothing was served" in run("--policy", str(policy))[1]
    assert "Would have been refused in mode enforce: nothing" in run("--policy", str(policy))[1]


def test_a_dark_launch_binds_nothing_and_tells_what_enforcing_would_do(policy: Path) -> None:
    calls = [
        (HANOI, "/files/an"),
        (HANOI, "/files/an?sink=files-sg"),
        (SINGAPORE, "/files/tan"),
        (HANOI, "/files/nobody"),
        (HANOI, "/files/a%2Fb"),
        (HANOI, "/else"),
    ]
    # The last two: the router knows no such path, or no such method there; that is its own answer and not ours.
    assert drive(policy, calls) == [200, 200, 200, 200, 404, 405]
    written = {sink: [path for path in (policy.parent / sink).rglob("*") if path.is_file()] for sink in ("sg", "vn")}
    assert written["sg"]  # where every person's data went before the middleware
    assert not written["vn"]
    told = asked(policy)
    assert told["refused"] == []
    assert {(row["activity"], row["reason"], row["count"]) for row in told["would_refuse"]} == {
        ("PUT /files/{who}", "not_home", 1),
        ("PUT /files/{who}", "subject_unknown", 1),
        ("(no activity)", "path_ambiguous", 1),
        ("(no activity)", "unclassified_route", 1),
    }
    assert [(row["sinks"], row["count"]) for row in told["would_move"]] == [("files-sg -> files-vn", 1)]
    assert "vn.d333.19.2" in told["would_move"][0]["rules"]
    assert told["open_intents"] == 0
    assert told["no_act"] == []
    shown = run("--policy", str(policy))[1]
    for words in ("Would have been refused", "Would have gone to another sink", "not_home", "enforcing refuses them"):
        assert words in shown


def test_enforcing_tells_what_was_refused(policy: Path) -> None:
    policy.write_text(POLICY.replace("mode: observe", "mode: enforce"))
    calls = [(HANOI, "/files/an?sink=files-sg"), (HANOI, "/files/nobody"), (HANOI, "/files/an"), (HANOI, "/else")]
    assert drive(policy, calls) == [451, 403, 200, 403]
    told = asked(policy)
    assert {row["reason"] for row in told["refused"]} == {"not_home", "subject_unknown", "unclassified_route"}
    assert (told["would_refuse"], told["would_move"]) == ([], [])


def test_a_log_that_does_not_verify_exits_1(policy: Path) -> None:
    drive(policy, [(HANOI, "/files/an")])
    # Every bundle: an older, narrower one may lie there still, and nobody reads that.
    for file in (policy.parent / "audit" / "log" / "tile" / "entries").rglob("*"):
        if file.is_file():
            data = bytearray(file.read_bytes())
            data[40] ^= 1
            file.write_bytes(data)
    assert run("--policy", str(policy))[0] == 1


def test_a_route_that_opens_its_own_database_is_told(policy: Path) -> None:
    async def own(request: Request) -> PlainTextResponse:
        await identify("an")
        return PlainTextResponse("written elsewhere")

    served = ResidencyMiddleware(Starlette(routes=[Route("/files/{who}", own, methods=["PUT"])]), policy=policy)
    with TestClient(served, client=(HANOI, 50_000)) as client:
        assert client.put("/files/an").status_code == 200
    assert asked(policy)["no_act"] == ["PUT /files/{who}"]
    assert "never an act on the store" in run("--policy", str(policy))[1]


def test_a_policy_that_does_not_hold_is_wrong_use_and_told_with_the_line(policy: Path) -> None:
    policy.write_text(POLICY.replace("mode: observe", "mode: perhaps"))
    code, output = run("--policy", str(policy))
    assert code == 2
    assert "dark.yaml:5:7" in output


def test_terms_escalations_and_exemptions_used_are_told(policy: Path) -> None:
    law = policy.parent / "laws" / "vn" / "own.yaml"
    law.parent.mkdir(parents=True)
    law.write_text(LAW)
    (policy.parent / "register.yaml").write_text(REGISTER)
    policy.write_text(
        POLICY.replace("laws: [vn/*]", "laws: [vn/own]\nlaws_from: [laws]\nregisters: [register.yaml]")
        .replace("mode: observe", "mode: enforce")
        .replace("[files-sg, files-vn]", "[files-sg]")
    )
    assert drive(policy, [(HANOI, "/files/an")]) == [200]
    told = asked(policy)
    (term,) = told["terms"]
    assert (term["clock"], term["runs"]) == ("clock:first_transfer.VN/60-days", True)
    assert told["escalated"] == ["own.many"]
    assert told["exemptions_used"] == {"7/2026": 2}
    shown = run("--policy", str(policy))[1]
    assert "Terms that have begun" in shown
    assert "Escalated by the number of subjects: own.many." in shown
    assert "Exemptions used: 7/2026 (2 times)." in shown


def test_entries_of_one_shape_are_counted_each(tmp_path: Path) -> None:
    log = some_weeks(tmp_path, 120, "observe")
    entries = log.entries
    some = next(entry for entry in entries if entry.kind == "decision")
    for _ in range(2):
        entries.append(replace(some, id=f"0.{len(entries)}", exemptions=("7/2026",)))
    log.write(tmp_path / "audit")
    write_log(tmp_path / "audit/log", [format_entry(entry) for entry in entries])
    policy = tmp_path / "test.yaml"
    policy.write_text(policy.read_text() + "audit: {folder: ./audit}\n")
    told = json.loads(CliRunner().invoke(app, ["--policy", str(policy), "--json"]).stdout)
    would = Counter(
        (entry.activity or "(no activity)", entry.reason, ", ".join(entry.rules))
        for entry in entries
        if entry.kind in ("decision", "intent") and entry.mode == "observe" and entry.reason is not None
        and entry.effect != "permit"
    )  # fmt: skip
    refused = Counter((entry.activity or "(no activity)", entry.reason) for entry in entries if entry.kind == "refusal")
    assert told["kinds"] == Counter(entry.kind for entry in entries)
    assert {(each["activity"], each["reason"], each["rules"]): each["count"] for each in told["would_refuse"]} == would
    assert {(each["activity"], each["reason"]): each["count"] for each in told["refused"]} == refused
    assert max(would.values()) > 1
    assert told["exemptions_used"] == {"7/2026": 2}
    ended = {entry.of for entry in entries}
    assert told["open_intents"] == sum(entry.kind == "intent" and entry.id not in ended for entry in entries) > 1
