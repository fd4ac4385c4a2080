"""The middleware line and a policy, dropped into apps in the shape of the frameworks' own documentation.

Each app is what a newcomer copies from Starlette's, FastAPI's or Litestar's pages, driven by the
framework's own client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.lowlevel
import anyio.to_thread
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import StreamingResponse as FastStreamingResponse
from litestar import Litestar
from litestar import get as litestar_get
from litestar import post as litestar_post
from litestar import websocket as litestar_websocket
from litestar.connection import WebSocket as LitestarWebSocket
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath, JSONBody
from litestar.testing import TestClient as LitestarClient
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from residency import NoDecision, PolicyError, Residency, ResidencyMiddleware, UnknownStore, build, current

PARENT = """\
residency: 1
kind: deployment
name: shapes
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  notes-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {notes: [notes-vn]}
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
exempt: [GET /healthz]
activities:
  - {route: "GET /", subject: none, data: [content]}
  - {route: "GET /user/me", subject: none, data: [personal]}
  - {route: "GET /user/{username}", subject: path.username, data: [personal]}
  - {route: "POST /items", subject: none, data: [content], operation: process}
  - {route: "GET /items/{item_id}", subject: none, data: [content]}
  - {route: "GET /stream", subject: none, data: [content]}
  - {route: "POST /signup", subject: none, data: [account], operation: process}
  - {route: "PUT /notes/{owner}", subject: path.owner, data: [content], operation: write, store: notes}
  - {route: "GET /notes/{owner}", subject: path.owner, data: [content], operation: read, store: notes}
  - {route: "WS /ws", subject: none, data: [content], operation: process}
  - {route: "GET /static/{rest:path}", subject: none, data: [content]}
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """The path of a deployment file that names the routes of the apps below."""
    file = tmp_path / "deployment.yaml"
    file.write_text(PARENT)
    return str(file)


@pytest.fixture
def runtime(policy: str) -> Iterator[Residency]:
    """A runtime of that deployment, let go at the end."""
    built = build(policy)
    yield built
    asyncio.run(built.aclose())


def here() -> str:
    """Which request the code runs in, by its activity and its path parameters."""
    now = current()
    return f"{now.activity.name} {dict(now.params)}"


# -- Starlette ---------------------------------------------------------------------------------------------------------


def starlette_app(policy: str, seen: list[str]) -> Starlette:
    async def homepage(request: Request) -> JSONResponse:
        return JSONResponse({"hello": "world"})

    def user_me(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"Hello, {here()}")  # a plain def: Starlette runs it in its thread pool

    async def user(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"Hello, {request.path_params['username']}! {here()}")

    async def items(request: Request) -> JSONResponse:
        return JSONResponse(await request.json())

    async def stream(request: Request) -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            for number in range(3):
                await anyio.lowlevel.checkpoint()
                yield f"{number} {current().activity.path} "

        return StreamingResponse(numbers(), media_type="text/plain")

    async def signup(request: Request) -> JSONResponse:
        async def send_welcome_email(to_address: str) -> None:
            seen.append(f"{to_address} {here()}")

        return JSONResponse({"status": "ok"}, background=BackgroundTask(send_welcome_email, to_address="someone"))

    async def healthz(request: Request) -> PlainTextResponse:
        with pytest.raises(NoDecision):
            current()
        return PlainTextResponse("ok")

    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"{text} {current().activity.name}")

    async def unnamed(request: Request) -> PlainTextResponse:
        return PlainTextResponse("no activity names this route")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        seen.append("Ready to go")
        yield
        seen.append("Done")

    return Starlette(
        routes=[
            Route("/", homepage),
            Route("/user/me", user_me),
            Route("/user/{username}", user),
            Route("/items", items, methods=["POST"]),
            Route("/stream", stream),
            Route("/signup", signup, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/unnamed", unnamed),
            WebSocketRoute("/ws", ws),
            Mount("/static", routes=[Route("/{rest:path}", homepage)]),
        ],
        middleware=[Middleware(ResidencyMiddleware, policy=policy)],
        lifespan=lifespan,
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_starlette_app_keeps_working(policy: str, backend: Any) -> None:
    seen: list[str] = []
    with TestClient(starlette_app(policy, seen), backend=backend) as client:
        assert client.get("/").json() == {"hello": "world"}
        assert client.get("/user/me").text == "Hello, GET /user/me {}"
        assert client.get("/user/lan").text == "Hello, lan! GET /user/{username} {'username': 'lan'}"
        assert client.post("/items", json={"name": "Áo dài"}).json() == {"name": "Áo dài"}
        assert client.get("/stream").text == "0 /stream 1 /stream 2 /stream "
        assert client.post("/signup").json() == {"status": "ok"}
        assert client.get("/static/css/site.css").status_code == 200
        assert client.get("/healthz").text == "ok"
        with client.websocket_connect("/ws") as session:
            session.send_text("one")
            session.send_text("two")
            assert [session.receive_text(), session.receive_text()] == ["one WS /ws", "two WS /ws"]
    assert seen == ["Ready to go", "someone POST /signup {}", "Done"]


def test_a_route_that_no_activity_names_is_refused_before_the_app_sees_it(policy: str) -> None:
    with TestClient(starlette_app(policy, [])) as client:
        answer = client.get("/unnamed")
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert "unclassified_route" in answer.text
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/other"):
            pass


def test_a_bad_policy_fails_the_start_and_never_serves(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.yaml")
    seen: list[str] = []
    app = starlette_app(missing, seen)
    assert TestClient(app).get("/").status_code == 503

    sent: list[Any] = []

    async def startup() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def collect(message: Any) -> None:
        sent.append(message)

    # Servers take the message for the answer, and an error raised after it (as Starlette's own router does) for noise.
    with suppress(PolicyError):
        asyncio.run(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, startup, collect))
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "missing.yaml" in sent[0]["message"]
    assert seen == []


# -- FastAPI -----------------------------------------------------------------------------------------------------------


class Item(BaseModel):
    """As in FastAPI's "Request Body" page."""

    name: str
    price: float
    is_offer: bool | None = None


def fastapi_app(policy: str, seen: list[str]) -> FastAPI:
    app = FastAPI()
    app.add_middleware(ResidencyMiddleware, policy=policy)

    async def common(q: str | None = None) -> str:
        return f"{q} {current().activity.name}"

    @app.get("/")
    def read_root() -> dict[str, str]:
        return {"Hello": here()}

    @app.get("/items/{item_id}")
    async def read_item(item_id: int, said: str = Depends(common)) -> dict[str, Any]:
        return {"item_id": item_id, "said": said}

    @app.post("/items")
    async def create_item(item: Item) -> Item:
        return item

    @app.post("/signup")
    def signup(background_tasks: BackgroundTasks) -> dict[str, str]:
        background_tasks.add_task(lambda: seen.append(here()))
        return {"message": "Notification sent in the background"}

    @app.get("/stream")
    async def stream() -> FastStreamingResponse:
        def fake_video() -> Iterator[bytes]:
            for _ in range(3):
                yield current().activity.path.encode()

        return FastStreamingResponse(fake_video())

    @app.put("/notes/{owner}")
    async def write(owner: str, item: Item) -> dict[str, str]:
        notes = current().store("notes")
        await notes.put(f"{owner}/1", item.name.encode())
        return {"sink": notes.sink_name}

    @app.get("/notes/{owner}")
    async def read(owner: str) -> dict[str, str]:
        value: bytes = await current().store("notes").get(f"{owner}/1") or b""
        with pytest.raises(UnknownStore):
            current().store("people")
        return {"note": value.decode()}

    @app.websocket("/ws")
    async def websocket_endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        data = await websocket.receive_text()
        await websocket.send_text(f"Message text was: {data} {current().activity.name}")

    return app


def test_a_fastapi_app_keeps_working(policy: str) -> None:
    seen: list[str] = []
    with TestClient(fastapi_app(policy, seen)) as client:
        assert client.get("/").json() == {"Hello": "GET / {}"}
        assert client.get("/items/5?q=x").json() == {"item_id": 5, "said": "x GET /items/{item_id}"}
        assert client.get("/items/five").status_code == 422
        assert client.post("/items", json={"name": "Foo", "price": 45.2}).json()["name"] == "Foo"
        assert client.post("/items", json={"name": "Foo"}).status_code == 422
        assert client.post("/signup").status_code == 200
        assert client.get("/stream").text == "/stream/stream/stream"
        assert client.put("/notes/lan", json={"name": "xin chào", "price": 1}).json() == {"sink": "notes-vn"}
        assert client.get("/notes/lan").json() == {"note": "xin chào"}
        with client.websocket_connect("/ws") as session:
            session.send_text("hi")
            assert session.receive_text() == "Message text was: hi WS /ws"
    assert seen == ["POST /signup {}"]


def test_an_app_without_lifespan_events_opens_on_its_first_request(runtime: Residency) -> None:
    app = ResidencyMiddleware(fastapi_app_bare(), policy=runtime)
    assert not runtime.is_open
    assert TestClient(app).get("/").json() == {"Hello": "GET / {}"}
    assert runtime.is_open


def fastapi_app_bare() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def read_root() -> dict[str, str]:
        return {"Hello": here()}

    return app


# -- Litestar ----------------------------------------------------------------------------------------------------------


@dataclass
class User:
    """As on Litestar's front page."""

    name: str


@contextmanager
def litestar_client(policy: str | Residency) -> Iterator[LitestarClient[Litestar]]:
    @litestar_get("/")
    async def index() -> str:
        return f"Hello, world! {here()}"

    @litestar_get("/items/{item_id:int}", sync_to_thread=True)
    def get_item(item_id: FromPath[int]) -> dict[str, Any]:
        return {"item_id": item_id, "here": here()}

    @litestar_post("/items")
    async def create(data: JSONBody[User]) -> User:
        return data

    @litestar_websocket("/ws")
    async def ws(socket: LitestarWebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(f"{await socket.receive_text()} {current().activity.name}")
        await socket.close()

    @litestar_get("/unnamed")
    async def unnamed() -> str:
        return "no activity names this route"

    app = Litestar(
        [index, get_item, create, unnamed, ws],
        # Litestar types its messages one by one; any ASGI middleware fits all the same.
        middleware=[DefineMiddleware(ResidencyMiddleware, policy=policy)],  # type: ignore[arg-type]
        openapi_config=None,
    )
    with LitestarClient(app=app) as client:
        yield client


def test_a_litestar_app_keeps_working(runtime: Residency) -> None:
    with litestar_client(runtime) as client:
        assert client.get("/").text == "Hello, world! GET / {}"
        assert client.get("/items/5").json() == {"item_id": 5, "here": "GET /items/{item_id} {'item_id': '5'}"}
        assert client.post("/items", json={"name": "Lan"}).json() == {"name": "Lan"}
        assert client.get("/unnamed").status_code == 403
        assert client.get("/nowhere").status_code == 404  # Litestar's own: it calls middleware for its routes only
        with client.websocket_connect("/ws") as session:
            session.send_text("hi")
            assert session.receive_text() == "hi WS /ws"


# -- whose current() ---------------------------------------------------------------------------------------------------


def http_scope(path: str) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("203.0.113.9", 1),
        "server": ("testserver", 80),
    }


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def recording(seen: list[str], inside: Callable[[], Any]) -> Callable[[Scope, Receive, Send], Any]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.lowlevel.checkpoint()
        value = await inside()
        await anyio.lowlevel.checkpoint()
        seen.append(f"{scope['path']} {value} {current().params['username']}")

    return app


async def send(message: Any) -> None:
    raise AssertionError(f"nothing should be refused here: {message}")


async def own() -> str:
    return current().params["username"]


async def in_thread_pool() -> str:
    return await anyio.to_thread.run_sync(lambda: current().params["username"])


async def in_created_task() -> str:
    return await asyncio.create_task(own())


@pytest.mark.parametrize("inside", [own, in_thread_pool, in_created_task])
def test_two_requests_built_in_one_task_keep_their_own_current(runtime: Residency, inside: Any) -> None:
    seen: list[str] = []
    app = ResidencyMiddleware(recording(seen, inside), policy=runtime)

    async def main() -> None:
        # Both awaitables are made before either runs, in one task: a middleware that set its context variable in a
        # plain function would show both the second request's.
        first = app(http_scope("/user/lan"), receive, send)
        second = app(http_scope("/user/minh"), receive, send)
        await first
        await second
        with pytest.raises(NoDecision):
            current()

    asyncio.run(main())
    assert seen == ["/user/lan lan lan", "/user/minh minh minh"]


@pytest.mark.parametrize("inside", [own, in_thread_pool, in_created_task])
def test_requests_that_interleave_keep_their_own_current(runtime: Residency, inside: Any) -> None:
    seen: list[str] = []
    app = ResidencyMiddleware(recording(seen, inside), policy=runtime)

    async def main() -> None:
        await asyncio.gather(*(app(http_scope(f"/user/u{n}"), receive, send) for n in range(50)))

    asyncio.run(main())
    assert sorted(seen) == sorted(f"/user/u{n} u{n} u{n}" for n in range(50))


def test_a_task_that_outlives_its_request_keeps_that_requests_current(runtime: Residency) -> None:
    late: list[asyncio.Task[str]] = []
    gate = asyncio.Event()

    async def later() -> str:
        await gate.wait()
        return current().params["username"]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        late.append(asyncio.create_task(later()))

    async def main() -> list[str]:
        wrapped = ResidencyMiddleware(app, policy=runtime)
        for name in ("lan", "minh"):
            await wrapped(http_scope(f"/user/{name}"), receive, send)
        gate.set()
        return await asyncio.gather(*late)

    assert asyncio.run(main()) == ["lan", "minh"]


def test_asking_outside_a_request_is_an_error_and_never_a_default() -> None:
    with pytest.raises(NoDecision, match="no request has been decided"):
        current()
