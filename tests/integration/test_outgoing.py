"""An app that calls models, under the middleware; real services in "Vietnam" (127.0.0.2) and "Singapore" (127.0.0.3).

What a Vietnamese person wrote carries a canary. Every byte that either service was sent is kept, and searched.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from residency import Residency, ResidencyMiddleware, build, current, http
from tests.services import SG_HOST, VN_HOST, Asked, Service, serving
from tests.world import HANOI, SINGAPORE, write_deployment

pytestmark = pytest.mark.anyio
CANARY = "chim-hoàng-yến-4711"

DEPLOYMENT = """
sinks:
  llm-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "SG_URL"}
  llm-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "VN_URL"}
stores: {llm: [llm-sg, llm-vn]}
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "POST /chat/{who}", subject: path.who, data: [personal], operation: process, http: llm}
  - {route: "POST /stream/{who}", subject: path.who, data: [personal], operation: process, http: llm}
  - {route: "POST /sync/{who}", subject: path.who, data: [personal], operation: process, http: llm}
  - {route: "POST /sdk/{who}", subject: path.who, data: [personal], operation: process, http: llm}
  - {route: "POST /sg/{who}", subject: path.who, data: [personal], operation: process, http: llm}
"""


class Sdk:
    """As SDKs of model providers are: a key, a base URL, an httpx client that it is given, retries of its own."""

    def __init__(self, key: str, base_url: str, http_client: httpx.AsyncClient) -> None:
        self._key = key
        self._base = base_url.rstrip("/")
        self._client = http_client

    async def complete(self, prompt: str) -> str:
        """The model's answer; what httpx calls an error is tried again."""
        for attempt in range(3):
            request = self._client.build_request(
                "POST",
                f"{self._base}/chat",
                headers={"authorization": f"Bearer {self._key}"},
                json={"prompt": prompt},
            )
            try:
                answer = await self._client.send(request)
            except httpx.TransportError:
                if attempt == 2:
                    raise
            else:
                return str(answer.json()["at"])
        raise AssertionError


def app() -> FastAPI:
    """Four ways to call a model, as apps do."""
    made = FastAPI()
    llm = http.AsyncClient("llm")
    blocking = http.Client("llm")
    sdk = Sdk("key-of-the-app", "http://llm/", httpx.AsyncClient(transport=http.Transport("llm")))

    @made.post("/chat/{who}")
    async def chat(who: str, request: Request) -> Any:
        async with current().http("llm") as client:
            return (await client.post("/chat", content=await request.body())).json()

    @made.post("/stream/{who}")
    async def stream(who: str, request: Request) -> StreamingResponse:
        answer = await llm.send(llm.build_request("POST", "/stream", content=await request.body()), stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in answer.aiter_bytes():
                    yield piece
            finally:
                await answer.aclose()

        return StreamingResponse(pieces(), media_type="text/event-stream")

    @made.post("/sync/{who}")
    def sync(who: str, body: dict[str, str]) -> Any:
        return blocking.post("/chat", json=body).json()

    @made.post("/sdk/{who}")
    async def by_sdk(who: str, body: dict[str, str]) -> Any:
        return {"at": await sdk.complete(body["prompt"])}

    @made.post("/sg/{who}")
    async def abroad(who: str, request: Request) -> Any:
        return (await llm.post(f"http://{SG_HOST}/chat", content=await request.body())).json()

    return made


@pytest.fixture(scope="module")
def _services() -> Iterator[tuple[Service, Service]]:
    with serving(VN_HOST) as vn, serving(SG_HOST) as sg:
        yield vn, sg


@pytest.fixture
def vn(_services: tuple[Service, Service]) -> Service:
    """The service in Vietnam, which has heard nothing yet."""
    _services[0].forget()
    _services[0].handlers["/v1/stream"] = events
    return _services[0]


@pytest.fixture
def sg(_services: tuple[Service, Service]) -> Service:
    """The service in Singapore, which has heard nothing yet."""
    _services[1].forget()
    _services[1].handlers["/v1/stream"] = events
    return _services[1]


async def events(asked: Asked, send: Any) -> None:
    """Three events."""
    head = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await asyncio.sleep(0.002)
    await send({"type": "http.response.body", "body": b""})


class Front:
    """The app under the middleware, asked as from an address."""

    def __init__(self, runtime: Residency) -> None:
        self.runtime = runtime
        self._app = ResidencyMiddleware(app(), policy=runtime)

    async def post(self, path: str, text: str, address: str = HANOI) -> httpx.Response:
        """One request."""
        transport = httpx.ASGITransport(self._app, client=(address, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://front") as client:
            return await client.post(path, json={"prompt": text})


@pytest.fixture
async def front(tmp_path: Path, vn: Service, sg: Service) -> AsyncIterator[Front]:
    """The app, started and stopped."""
    async with started(tmp_path, vn.url, sg.url) as made:
        yield made


@asynccontextmanager
async def started(folder: Path, vn_url: str, sg_url: str) -> AsyncIterator[Front]:
    """The app over two services."""
    file = write_deployment(folder, DEPLOYMENT, replace=[("VN_URL", vn_url), ("SG_URL", sg_url)])
    runtime = build(str(file))
    await runtime.start()
    yield Front(runtime)
    await runtime.aclose()


def spelled(canary: str) -> list[bytes]:
    """A canary as it may lie in what was sent."""
    utf8 = canary.encode()
    return [utf8, quote(canary).encode(), base64.b64encode(utf8)[:-4], json.dumps(canary)[1:-1].encode()]


def holds(service: Service, canary: str) -> bool:
    """Whether a service was sent a canary, however it is spelled."""
    return any(each in service.wire for each in spelled(canary))


@pytest.mark.parametrize("way", ["chat", "stream", "sync", "sdk"])
async def test_what_a_vietnamese_person_writes_reaches_the_model_in_vietnam_alone(
    front: Front, vn: Service, sg: Service, way: str
) -> None:
    answer = await front.post(f"/{way}/an", CANARY)
    assert answer.status_code == 200
    assert holds(vn, CANARY)
    assert sg.connections == 0
    assert (await front.post(f"/{way}/tan", "merlion", SINGAPORE)).status_code == 200
    assert holds(sg, "merlion")
    assert not holds(vn, "merlion")


async def test_a_url_that_names_the_model_abroad_is_not_reached(front: Front, sg: Service) -> None:
    with pytest.raises(Exception, match="reaches http://llm/"):
        await front.post("/sg/an", CANARY)
    assert sg.connections == 0


@pytest.mark.parametrize("way", ["chat", "stream", "sync", "sdk"])
@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_abroad_is_refused_and_the_request_does_not_leave(
    front: Front, vn: Service, sg: Service, way: str, status: int
) -> None:
    to = "stream" if way == "stream" else "chat"
    vn.answers[f"/v1/{to}"] = (status, [("location", f"{sg.url}{to}?prompt={quote(CANARY)}")], b"")
    vn.handlers.clear()
    answer = await front.post(f"/{way}/an", CANARY)
    assert (answer.status_code, answer.json()["reason"]) == (451, "only_in_country")
    assert sg.connections == 0


@pytest.mark.parametrize("to", ["http://127.0.0.1:1/", "https://evil.example/", "//127.0.0.3/v1/", "/v2/chat", "../x"])
async def test_a_redirect_out_of_the_store_is_a_503_that_names_the_sink_alone(
    front: Front, vn: Service, sg: Service, to: str
) -> None:
    vn.answers["/v1/chat"] = (307, [("location", to)], b"")
    answer = await front.post("/chat/an", CANARY)
    assert answer.status_code == 503
    assert "evil" not in answer.text
    assert CANARY not in answer.text
    assert sg.connections == 0


async def test_a_dead_model_at_home_is_a_503_and_none_abroad_takes_its_place(
    tmp_path: Path, vn: Service, sg: Service
) -> None:
    with serving(VN_HOST) as gone:
        url = gone.url
    async with started(tmp_path, url, sg.url) as front:
        for way in ("chat", "stream", "sync", "sdk"):
            answer = await front.post(f"/{way}/an", CANARY)
            assert (answer.status_code, answer.json()["reason"]) == (503, "sink_unavailable")
            assert str(gone.port) not in answer.text
    assert sg.connections == 0


async def test_under_load_with_cancelled_slow_and_failing_calls_no_canary_goes_abroad(
    front: Front, vn: Service, sg: Service
) -> None:
    tried = {"vn": 0, "sg": 0}

    async def odd(asked: Asked, send: Any) -> None:
        number = int(json.loads(asked.body)["prompt"].rpartition("-")[2])
        if number % 5 == 0:
            await asyncio.sleep(0.05)
        status = 503 if number % 7 == 0 else 200
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": b'{"at": "here"}'})

    for service in (vn, sg):
        service.handlers["/v1/chat"] = odd

    async def one(number: int) -> None:
        home = number % 2 == 0
        word = f"{CANARY}-{number}" if home else f"merlion-{number}"
        way = ("chat", "stream", "sync", "sdk")[number % 4]
        with anyio.move_on_after(0.03 if number % 11 == 0 else 30):
            await front.post(f"/{way}/u{number}", word, HANOI if home else SINGAPORE)
        tried["vn" if home else "sg"] += 1

    async with anyio.create_task_group() as group:
        for number in range(120):
            group.start_soon(one, number)
    assert tried == {"vn": 60, "sg": 60}
    assert holds(vn, CANARY)
    assert holds(sg, "merlion")
    assert not holds(sg, CANARY)
    assert not holds(vn, "merlion")


async def test_the_searcher_finds_a_canary_however_it_is_spelled(vn: Service) -> None:
    for spelling in spelled(CANARY):
        vn.wire[:] = b"x" * 10 + spelling + b"y"
        assert holds(vn, CANARY)
    vn.wire[:] = b"nothing of the kind"
    assert not holds(vn, CANARY)
