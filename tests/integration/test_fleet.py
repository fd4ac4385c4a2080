"""Instances of one deployment, each with its log; a register of them; a witness; what an auditor is told of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from residency.bootstrap import build
from residency.cli.audit import audit_app

DEPLOYMENT = """
residency: 1
kind: deployment
name: test
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://objects"}
stores: {uploads: [objects]}
audit: {folder: ./audit, origin: "${ORIGIN}", predecessor: "${BEFORE}", second_signature: ml-dsa-44}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "GET /plain", subject: none, data: [content]}
"""


class Fleet:
    """Instances below one folder, and the office that keeps their register."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.register, self.keys = folder / "fleet.note", folder / "fleet-keys"
        self.run("fleet", "new", self.register, "--name", "fleet.example", "--keys", self.keys)

    def run(self, *arguments: object) -> dict[str, Any]:
        result = CliRunner().invoke(audit_app, list(map(str, arguments)))
        told: dict[str, Any] = {"exit": result.exit_code, "said": result.output}
        return {**told, **json.loads(result.stdout)} if "--json" in arguments else told

    def live(self, origin: str, before: str) -> Path:
        """Let an instance live for a moment; its log."""
        home = self.folder / origin
        home.mkdir(exist_ok=True)
        (home / "test.yaml").write_text(DEPLOYMENT)

        async def life() -> None:
            runtime = build(home / "test.yaml", env={"ORIGIN": origin, "BEFORE": before}, reload=False)
            await runtime.start()
            await runtime.aclose()

        asyncio.run(life())
        return home / "audit/log"

    def change(self, *arguments: object) -> None:
        assert self.run("fleet", *arguments, "--keys", self.keys)["exit"] == 0

    def verify(self, *logs: Path) -> dict[str, Any]:
        given = ("--fleet", self.register, "--fleet-key", self.keys / "fleet.vkey", "--json")
        return self.run("verify", *logs, *given)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def found(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding["what"], finding["origin"]) for finding in answer["fleet_findings"]]


def test_a_fleet_is_whole_until_a_log_is_missing_grows_after_its_end_or_names_another_predecessor(fleet: Fleet) -> None:
    first = fleet.live("a.example", "none")
    fleet.change("add", fleet.register, first / "log.vkey")
    fleet.change("close", fleet.register, first / "checkpoint")
    second = fleet.live("b.example", "a.example")
    fleet.change("add", fleet.register, second / "log.vkey", "--after", "a.example")
    whole = fleet.verify(first, second)
    assert (whole["exit"], whole["holds"], whole["fleet_findings"]) == (0, True, [])

    alone = fleet.verify(second)
    assert (alone["exit"], found(alone)) == (1, [("missing", "a.example")])

    kept = shutil.copytree(first, fleet.folder / "kept")
    fleet.live("a.example", "none")
    grown = fleet.verify(first, second)
    assert (grown["exit"], found(grown)) == (1, [("grown", "a.example")])
    assert fleet.verify(kept, second)["exit"] == 0

    third = fleet.live("c.example", "a.example")
    unlisted = fleet.verify(kept, second, third)
    assert (unlisted["exit"], found(unlisted)) == (1, [("unlisted", "c.example")])
    fleet.change("add", fleet.register, third / "log.vkey", "--after", "b.example")
    other = fleet.verify(kept, second, third)
    assert (other["exit"], found(other)) == (1, [("predecessor", "c.example")])


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives it
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_witness_elsewhere_cosigns_a_log_as_it_grows_and_an_auditor_asks_for_it(fleet: Fleet) -> None:
    log = fleet.live("a.example", "none")
    key = shutil.copyfile(log / "log.vkey", fleet.folder / "given.vkey")
    second = shutil.copyfile(log / "log.ml-dsa-44.vkey", fleet.folder / "second.vkey")
    witness, out = fleet.folder / "witness", fleet.folder / "cosigned"
    assert fleet.run("witness-key", witness, "--name", "w.example")["exit"] == 0
    memory = ("--keys", witness, "--state", fleet.folder / "seen", "--out", out)
    for lives in range(2):
        with served(log) as url:
            told = fleet.run("witness", url, "--log-key", key, *memory, "--json")
        assert (told["exit"], told["size"]) == (0, lives + 2)
        fleet.live("a.example", "none")
    asked = ("--key", key, "--second-key", second, "--witness", witness / "witness.vkey", "--json")
    answer = fleet.run("verify", log, *asked, "--cosigned", out)
    assert (answer["exit"], answer["size"], answer["witnessed"]["size"]) == (0, 4, 3)
    assert answer["second_signature"] is True
    told = fleet.run("verify", log, *asked[:-1], "--cosigned", out)["said"]
    assert "1 cosigned the first 3 entries" in told  # one witness, though by two keys
    assert "ML-DSA-44, holds" in told
    assert fleet.run("verify", log, *asked)["exit"] == 1  # the newest checkpoint was cosigned by nobody
