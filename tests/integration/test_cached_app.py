"""An app that caches, keeps sessions and queues jobs, on one server in each country; then both servers are searched."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from residency import ResidencyMiddleware, current
from tests.servers import Server, Servers
from tests.world import HANOI, SINGAPORE, write_deployment

pytestmark = [pytest.mark.needs("redis"), pytest.mark.needs("valkey")]

DEPLOYMENT = """
sinks:
  cache-sg: {region: sg, provider: SG, keys: SG, encrypted: true, scope: cache, url: "SG_URL/0?socket_timeout=5"}
  cache-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: cache, url: "VN_URL/0?socket_timeout=5"}
  jobs-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "SG_URL/1?socket_timeout=5"}
  jobs-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "VN_URL/1?socket_timeout=5"}
stores: {cache: [cache-sg, cache-vn], abroad: [cache-sg], jobs: [jobs-sg, jobs-vn]}
signals:
  client_address: {strategy: rightmost_trusted_range, trusted: [10.0.0.0/8]}
  identity: {session: {subject: sub, trust: verified}}
activities:
  - {route: "POST /do", subject: user, data: [personal], store: [cache, abroad, jobs]}
"""


async def do(request: Request) -> JSONResponse:
    """All that may be kept, of who asks."""
    canary = request.query_params["canary"]
    value = canary.encode()
    cache, abroad, jobs = (current().store(name) for name in ("cache", "abroad", "jobs"))
    before = await cache.get("k:" + canary)
    kept = [await cache.set("k:" + canary, value), await abroad.set("k:" + canary, value)]
    await cache.add("b64", base64.b64encode(value))
    await cache.incr("n:" + canary)
    async with jobs.session(request.cookies.get("sid")) as session:
        session["said"] = [*session.get("said", ()), canary]
    await jobs.push("mail", value)
    answer = JSONResponse({"before": None if before is None else before.decode(), "kept": kept, "session": session})
    answer.set_cookie("sid", session.id)
    return answer


class Who:
    """Puts who asks where a session middleware would."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["session"] = {"sub": dict(scope["headers"])[b"x-who"].decode()}
        await self.app(scope, receive, send)


def everything(server: Server) -> bytes:
    """All that the server would write to its disk."""
    server.client.save()
    return b"".join(path.read_bytes() for path in server.folder.glob("*.rdb"))


def test_nothing_of_somebody_at_home_is_at_the_server_abroad(tmp_path: Path, redis_servers: Servers) -> None:
    vn, sg = (redis_servers.single(flavour, "--rdbcompression", "no") for flavour in ("redis", "valkey"))
    text = DEPLOYMENT.replace("VN_URL", vn.url).replace("SG_URL", sg.url)
    file = write_deployment(tmp_path, 'pins: {url: "memory:"}' + text)
    app = Who(ResidencyMiddleware(Starlette(routes=[Route("/do", do, methods=["POST"])]), policy=file))
    sessions: dict[str, str] = {}
    canaries = {"an": "canary-tiếng-an", "tan": "canary-of-tan"}
    with TestClient(app, client=("10.0.0.1", 50_000)) as client:
        for number in range(3):
            for who, address in (("an", HANOI), ("tan", SINGAPORE)):
                client.cookies.clear()
                headers = {"x-who": who, "x-forwarded-for": address, "cookie": sessions.get(who, "")}
                answer = client.post("/do", params={"canary": canaries[who]}, headers=headers)
                assert answer.status_code == 200, answer.text
                assert answer.json() == {
                    # The first request made its subject a home, and what was kept without one is not handed out.
                    "before": canaries[who] if number == 2 else None,
                    "kept": [True, who == "tan"],
                    "session": {"said": [canaries[who]] * (number + 1)},
                }
                assert answer.headers["cache-control"] == "private"
                sessions[who] = answer.headers["set-cookie"].partition(";")[0]
    at_vn, at_sg = everything(vn), everything(sg)
    for form in (str.encode, lambda text: base64.b64encode(text.encode())):
        assert form(canaries["an"]) in at_vn
        assert form(canaries["an"]) not in at_sg
        assert form(canaries["tan"]) in at_sg  # the search finds what is there
        assert form(canaries["tan"]) not in at_vn
    assert b":VN:" not in at_sg
