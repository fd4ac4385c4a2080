"""A process that is killed while a service works on what it was sent: the log knows what left, and where to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from residency.audit.entry import Entry, parse_entry
from residency.audit.journal import RECORDS_AT, scan
from tests.servers import eventually
from tests.services import VN_HOST, raw
from tests.world import write_deployment

DEPLOYMENT = """
sinks:
  llm-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "URL"}
stores: {llm: [llm-vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "POST /chat", subject: none, data: [personal], operation: process, http: llm}
"""
PROGRAM = """
import anyio, sys
from residency import build, current
from residency.enforcement.context import enter
from residency.enforcement.request import Request

async def main():
    runtime = build(sys.argv[1])
    await runtime.start()
    enter(runtime.point.admit(Request("POST", "/chat", b"/chat", (), ("113.160.0.1", 50_000))))
    async with current().http("llm") as client:
        await client.post("/chat", content=b"chim")
        await client.post("/chat", content=b"canary", timeout=60)

anyio.run(main)
"""
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def entries(folder: Path) -> list[Entry]:
    """What the journal holds."""
    records = [
        record
        for segment in sorted((folder / "audit" / "journal").glob("*/*.seg"))
        for record in scan(segment.read_bytes(), RECORDS_AT, None).records
    ]
    return [parse_entry(bytes(record.payload)) for record in records]


def test_a_call_that_a_kill_cut_off_is_an_open_intent(tmp_path: Path) -> None:
    with raw(VN_HOST, ANSWER, then="hang") as service:
        file = write_deployment(tmp_path, DEPLOYMENT, replace=[("URL", service.url)])
        with subprocess.Popen([sys.executable, "-c", PROGRAM, str(file)]) as process:
            try:
                # The second call goes over the same connection, which answers no more.
                eventually(lambda: b"canary" in service.heard, within=60, what="the second call")
            finally:
                process.kill()
    found = entries(tmp_path)
    intents = [entry for entry in found if entry.kind == "intent"]
    outcomes = {entry.of: entry.act for entry in found if entry.kind == "outcome"}
    assert [(entry.sink, outcomes.get(entry.id)) for entry in intents] == [("llm-vn", "committed"), ("llm-vn", None)]
