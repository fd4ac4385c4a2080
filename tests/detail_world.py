"""For tests: a deployment on disk that keeps details of persons in Vietnam. Persons in; acts, pins and details out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import anyio
from starlette.authentication import SimpleUser

from residency.adapters.detail_files import open_sealed
from residency.audit.detail_head import parse_record
from residency.audit.entry import Entry, parse_entry
from residency.audit.tiles import TILE_WIDTH, bundle_path, parse_bundle
from residency.bootstrap import Residency, build
from residency.enforcement.current import Current
from residency.enforcement.request import Refusal, Request
from tests.world import HANOI, HOME, write_deployment

T = TypeVar("T")
LOGS = """
  - id: test.logs
    article: art. 20(3)
    text: Logs are kept for at least twelve months.
    applies: {anchor: territory}
    duty:
      log: [account, ip]
      retain: [{at_least: 12 months, data: log, from: creation}]
"""
_DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
signals: {identity: {user: verified}}
audit: {folder: ./audit, detail: {VN: ./detail-vn}}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {route: "POST /people", subject: user, data: [personal], store: people}
  - {route: "GET /plain", subject: user, data: [content]}
"""


def deploy(folder: Path, *rules: str, replace: Sequence[tuple[str, str]] = ()) -> Path:
    """The deployment file; `rules` None = data stays at home, logs are kept a year."""
    return write_deployment(folder, _DEPLOYMENT, rules or (HOME, LOGS), replace)


def live(policy: Path, *people: str, path: str = "/people") -> list[Current | Refusal]:
    """One life of the service in which each of `people` writes (or, elsewhere, asks) once; what each was told."""

    async def work(runtime: Residency) -> list[Current | Refusal]:
        return [await once(runtime, who, path) for who in people]

    return run(policy, work)


def run(policy: Path, work: Callable[[Residency], Awaitable[T]]) -> T:
    """What `work` answers about an open runtime."""

    async def life() -> T:
        runtime = build(policy, env={}, reload=False)
        await runtime.start()
        try:
            return await work(runtime)
        finally:
            await runtime.aclose()

    return anyio.run(life)


async def once(runtime: Residency, who: str, path: str = "/people") -> Current | Refusal:
    """One request of `who`, from Hanoi."""
    point, method = runtime.point, "POST" if path == "/people" else "GET"
    here = point.admit(Request(method, path, path.encode(), (), (HANOI, 50_000), SimpleUser(who)))
    if isinstance(here, Current) and not here.decided:
        here = await point.settle(here)
    assert isinstance(here, Current | Refusal)
    if isinstance(here, Current):
        if here.activity.store is not None:
            act = here.begin("people", here.decision.sinks[0].sink.name)
            await act.confirm()
            act.outcome("committed")
            await act.settled()
        point.close(here)
    return here


def logged(policy: Path) -> list[Entry]:
    """Every entry of the log, which is short."""
    log = policy.parent / "audit" / "log"
    size = int((log / "checkpoint").read_text().splitlines()[1])
    assert size < TILE_WIDTH
    return [parse_entry(data) for data in parse_bundle((log / bundle_path(0, size)).read_bytes(), size, "bundle")]


def open_detail(country: str, record: bytes, key: bytes) -> tuple[str, bytes]:
    """(entry id, detail) of one record of a country's detail journal."""
    parsed = parse_record(record)
    assert parsed is not None, "a record that only takes room"
    head, sealed = parsed
    return head.entry, open_sealed(country, head, sealed, key)
