"""An instance abroad hands a request that it may not serve to the one at home, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect as following
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from residency import ResidencyMiddleware, about, current
from residency.audit.journal import RECORDS_AT, scan
from residency.bootstrap import build
from residency.wiring.storage import Judging
from tests.ports import free_port
from tests.world import HANOI, SINGAPORE, write_deployment

LAW = """
  - id: test.home
    article: art. 1
    text: At home only.
    applies: {anchor: territory, data: personal}
    duty: {only: VN}
  - id: test.never
    article: art. 2
    text: Never.
    applies: {anchor: territory, data: health}
    duty: {effect: deny}
"""
DEPLOYMENT = """
sinks: {sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}}
stores: {people: [sg]}
audit: {folder: ./audit}
keys: {folder: ./keys}
signals: {client_address: {strategy: rightmost_trusted_range, trusted: [127.0.0.0/8]}}
hand_over: {VN: HOME}
activities:
  - {route: "GET /people", subject: none, data: [personal], store: people}
  - {route: "POST /people", subject: none, data: [personal], store: people}
  - {route: "PUT /people/{id}", subject: none, data: [personal], store: people}
  - {route: "POST /late", subject: app, data: [personal], store: people}
  - {route: "POST /health", subject: none, data: [health], store: people}
  - {route: "WS /chat", subject: none, data: [personal], operation: write, store: people}
"""
SECRET = "an-and-nothing-of-it-stays"


class Home:
    """The instance at home: says what it got, streams, chats, sets cookies; and what it was asked."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.gone = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        asked: dict[str, Any] = {"path": scope["raw_path"].decode(), "headers": headers, "body": 0}
        asked["query"] = scope["query_string"].decode()
        self.seen.append(asked)
        if scope["type"] == "websocket":
            await self._chat(scope, receive, send)
            return
        asked["method"] = scope["method"]
        if "cut" in asked["query"]:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ConnectionResetError
        more, first = True, b""
        while more:
            message = await receive()
            first = first or message.get("body", b"")[:64]
            asked["body"] += len(message.get("body", b""))
            more = message.get("more_body", False)
        asked["first"] = first.decode(errors="replace")
        start = [
            (b"x-home", b"yes"),
            (b"set-cookie", b"session=one-person"),
            (b"connection", b"x-hop"),
            (b"x-hop", b"1"),
        ]
        if "stream" in asked["query"]:
            await send({"type": "http.response.start", "status": 206, "headers": start})
            try:
                for number in range(400 if "endless" in asked["query"] else 3):
                    await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
                    message = None
                    with anyio.move_on_after(0.05):
                        message = await receive()
                    if message is not None and message["type"] == "http.disconnect":
                        self.gone.set()
                        return
            finally:
                if "endless" in asked["query"]:
                    self.gone.set()
            await send({"type": "http.response.body", "body": b""})
            return
        body = json.dumps(asked).encode()
        await send({"type": "http.response.start", "status": 201, "headers": start})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _chat(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if "elsewhere" in scope["query_string"].decode():
            location = [(b"location", f"ws://{dict(scope['headers'])[b'host'].decode()}/chat?at-large".encode())]
            await send({"type": "websocket.http.response.start", "status": 307, "headers": location})
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        if "no" in scope["query_string"].decode():
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.gone.set()
                return
            if message.get("text") == "bye":
                await send({"type": "websocket.close", "code": 4001, "reason": "as you say"})
                return
            key = "text" if message.get("text") is not None else "bytes"
            await send({"type": "websocket.send", key: message[key]})


@contextmanager
def served(app: Any, host: str, port: int = 0, **options: Any) -> Iterator[str]:
    """The address at which uvicorn serves an app, in a thread; `options` are its own."""
    config = uvicorn.Config(
        app, host=host, port=port, log_level="error", proxy_headers=False, timeout_graceful_shutdown=2, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"{host}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class Abroad:
    """The instance abroad, and the one at home behind it."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        how: str,
        home: str | None,
        port: int = 0,
        *,
        more: str = "",
        instead: Sequence[tuple[str, str]] = (),
        judging: Judging | None = None,
        scheme: str = "http",
    ) -> None:
        """`more` is put into the deployment file, `instead` are what stands for what; `judging` judges where
        connections lead, None = as the file says."""
        self.home = Home()
        self.at_home = stack.enter_context(served(self.home, "127.0.0.2")) if home is None else home
        self.folder = folder
        told = f'{{url: "{scheme}://{self.at_home}/", how: {how}}}'
        folder.mkdir(exist_ok=True)
        self.file = write_deployment(folder, DEPLOYMENT.replace("HOME", told) + more, [LAW], instead)
        self.runtime = build(self.file)
        if judging is not None:
            self.runtime.judging = judging
        self.app = ResidencyMiddleware(self._app, policy=self.runtime)
        self.address = stack.enter_context(served(self.app, "127.0.0.1", port))
        self.client = stack.enter_context(httpx.Client(base_url=f"http://{self.address}", timeout=60))

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/late":
            if scope["query_string"] == b"read":
                await receive()
            await current().identify("an", {}, verified=False)
        if scope["query_string"] == b"of-an":
            async with about("an") as here:
                await here.store("people").get("users/an")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"served abroad"})

    def ask(self, method: str, path: str, address: str = HANOI, **options: Any) -> httpx.Response:
        """One request of somebody at `address`."""
        headers = {"x-forwarded-for": address, **options.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **options)

    def entries(self) -> list[dict[str, Any]]:
        """The entries of the instance abroad."""
        return [
            json.loads(bytes(record.payload))
            for segment in sorted(self.folder.rglob("*.seg"))
            for record in scan(segment.read_bytes(), RECORDS_AT, None).records
        ]


Make = Callable[..., Abroad]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def abroad(how: str = "proxy", home: str | None = None, name: str = "abroad", port: int = 0) -> Abroad:
            return Abroad(tmp_path / name, stack, how, home, port)

        yield abroad


def test_a_person_of_home_is_redirected_with_method_and_body(make: Make) -> None:
    abroad = make("redirect")
    answer = abroad.ask("POST", "/people?a=1&b=%20", content=SECRET)
    assert (answer.status_code, answer.content) == (307, b"")
    assert answer.headers["location"] == f"http://{abroad.at_home}/people?a=1&b=%20"
    assert answer.headers["cache-control"] == "no-store"
    assert abroad.ask("POST", "/people", SINGAPORE).text == "served abroad"
    followed = abroad.ask("POST", "/people", content=SECRET, follow_redirects=True)
    assert (followed.json()["first"], followed.json()["method"]) == (SECRET, "POST")


def test_one_who_is_known_late_is_redirected_too(make: Make) -> None:
    abroad = make("redirect")
    assert abroad.ask("POST", "/late").status_code == 307


def test_one_who_is_known_late_is_proxied_where_the_app_has_read_nothing_yet(make: Make) -> None:
    abroad = make()
    answer = abroad.ask("POST", "/late", content=SECRET)
    assert (answer.status_code, answer.json()["first"]) == (201, SECRET)
    answer = abroad.ask("POST", "/late?read", content=SECRET)
    assert (answer.status_code, answer.json()["reason"]) == (451, "only_in_country")
    assert len(abroad.home.seen) == 1


def test_who_is_refused_somebody_else_s_data_is_not_handed_over_after_what_the_app_has_done(tmp_path: Path) -> None:
    with ExitStack() as stack:
        by_default = [("presume: {territory: not_covered}\n", "")]
        abroad = Abroad(tmp_path / "abroad", stack, "proxy", None, instead=by_default)
        answer = abroad.ask("GET", "/people?of-an", SINGAPORE)
        assert (answer.status_code, answer.json()["reason"]) == (451, "only_in_country")
        assert abroad.home.seen == []


def test_a_redirect_never_names_another_host(make: Make) -> None:
    abroad = make("redirect")
    for path in ("//evil.example/people", "/people/..%2f@evil.example"):
        location = abroad.ask("PUT", path).headers.get("location", "")
        assert location == "" or location.startswith(f"http://{abroad.at_home}/")


def test_what_the_law_forbids_at_home_too_is_refused_here(make: Make) -> None:
    abroad = make()
    answer = abroad.ask("POST", "/health")
    assert (answer.status_code, answer.json()["reason"]) == (451, "law_forbids")
    assert abroad.home.seen == []


def test_a_request_is_proxied_whole_and_its_entry_says_so(make: Make) -> None:
    abroad = make()
    answer = abroad.ask(
        "PUT",
        "/people/%C3%A9x?q=a%2Fb",
        content=SECRET,
        headers={
            "x-own": "1",
            "te": "trailers",
            "connection": "x-drop, te",
            "x-drop": "1",
        },
    )
    assert answer.status_code == 201
    asked = answer.json()
    headers = dict(asked["headers"])
    assert (asked["method"], asked["path"], asked["query"], asked["first"]) == (
        "PUT",
        "/people/%C3%A9x",
        "q=a%2Fb",
        SECRET,
    )
    assert headers["x-forwarded-for"] == HANOI
    assert headers["x-forwarded-host"] == abroad.address
    assert headers["x-forwarded-proto"] == "http"
    assert headers["via"] == "1.1 residency-test"
    assert headers["host"] == abroad.at_home
    assert headers["x-own"] == "1"
    assert not {"te", "x-drop"} & set(headers)
    assert answer.headers["x-home"] == "yes"
    assert "x-hop" not in answer.headers
    (refusal,) = [entry for entry in abroad.entries() if entry["kind"] == "refusal"]
    assert (refusal["reason"], refusal["note"]) == ("only_in_country", "handed_over:VN")
    assert all(SECRET.encode() not in file.read_bytes() for file in abroad.folder.rglob("*") if file.is_file())


def test_bodies_are_streamed_both_ways_and_without_a_body_none_is_sent(make: Make) -> None:
    abroad = make()
    pieces = (b"x" * 65_536 for _ in range(320))
    assert abroad.ask("POST", "/people", content=pieces).json()["body"] == 320 * 65_536
    asked = abroad.ask("GET", "/people").json()
    assert not {"content-length", "transfer-encoding"} & {name for name, _ in asked["headers"]}
    with abroad.client.stream("GET", "/people?stream", headers={"x-forwarded-for": HANOI}) as answer:
        assert answer.status_code == 206
        assert [event for event in answer.iter_lines() if event] == ["data: 0", "data: 1", "data: 2"]
    assert abroad.client.request("HEAD", "/people", headers={"x-forwarded-for": HANOI}).headers["x-home"] == "yes"


def test_no_cookie_of_one_person_goes_out_with_the_next(make: Make) -> None:
    abroad = make()
    abroad.ask("GET", "/people")
    abroad.client.cookies.clear()
    assert "cookie" not in dict(abroad.ask("GET", "/people").json()["headers"])


def test_a_client_that_goes_away_ends_the_request_at_home(make: Make) -> None:
    abroad = make()
    with abroad.client.stream("GET", "/people?stream&endless", headers={"x-forwarded-for": HANOI}) as answer:
        next(answer.iter_raw())
    assert abroad.home.gone.wait(60)


def test_an_answer_that_breaks_off_breaks_off_here_too(make: Make) -> None:
    abroad = make()
    with pytest.raises(httpx.HTTPError):
        abroad.ask("GET", "/people?cut")


def test_where_home_is_away_the_request_is_refused(make: Make) -> None:
    abroad = make(home="127.0.0.2:9")
    answer = abroad.ask("POST", "/people", content=SECRET)
    assert (answer.status_code, answer.json()["reason"]) == (503, "sink_unavailable")
    assert answer.headers["retry-after"]
    assert "127.0.0.2" not in answer.text


def test_a_home_that_says_nothing_is_waited_for_so_long_and_no_longer(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("residency.adapters.forward._TIMEOUT", httpx.Timeout(0.5))
    with socket.create_server(("127.0.0.2", 0)) as silent:  # the kernel takes connections; nobody reads
        abroad = make(home=f"127.0.0.2:{silent.getsockname()[1]}")
        answer = abroad.ask("POST", "/people", content=SECRET, timeout=60)
    assert (answer.status_code, answer.json()["reason"]) == (503, "sink_unavailable")
    assert answer.headers["retry-after"]
    assert SECRET not in caplog.text
    assert "127.0.0.2" not in answer.text + caplog.text


def test_a_request_is_handed_over_once(make: Make) -> None:
    abroad = make()
    answer = abroad.ask("POST", "/people", headers={"via": "1.1 proxy, 1.1 residency-other"})
    assert (answer.status_code, answer.json()["reason"]) == (451, "only_in_country")
    assert abroad.home.seen == []


@pytest.mark.parametrize("cookies", [True, False])
def test_two_instances_that_send_a_person_to_each_other_end_it_where_the_client_keeps_cookies(
    make: Make, cookies: bool
) -> None:
    port = free_port()
    one = make("redirect", f"127.0.0.1:{port}", "one")
    make("redirect", one.address, "other", port)  # each takes the other for the one in Vietnam
    ask = one.client.build_request("POST", "/people", content=SECRET, headers={"x-forwarded-for": HANOI})
    if not cookies:
        one.client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        with pytest.raises(httpx.TooManyRedirects):
            one.client.send(ask, follow_redirects=True)
        return
    answer = one.client.send(ask, follow_redirects=True)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.headers["retry-after"] == "5"
    assert "send this request to each other" in answer.json()["detail"]
    assert len(answer.history) <= 8
    assert one.ask("POST", "/people", SINGAPORE).text == "served abroad"
    assert one.ask("POST", "/people?another", HANOI).status_code == 307, "only that request is counted"


def test_a_client_that_asks_again_and_again_is_redirected_again_and_again(make: Make) -> None:
    abroad = make("redirect")
    without = httpx.Client(base_url=f"http://{abroad.address}", timeout=60)
    without.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    with without:
        for _ in range(12):
            assert without.post("/people", headers={"x-forwarded-for": HANOI}).status_code == 307


def test_a_websocket_goes_through_with_its_protocol_its_messages_and_its_end(make: Make) -> None:
    abroad = make()
    url, headers = f"ws://{abroad.address}/chat", {"x-forwarded-for": HANOI}
    with connect(url, additional_headers=headers, subprotocols=["talk"], proxy=None) as chat:  # type: ignore[list-item]
        assert chat.subprotocol == "talk"
        for message in ("xin chào", b"\0\xff", "x" * 200_000):
            chat.send(message)
            assert chat.recv() == message
        chat.send("bye")
        with pytest.raises(ConnectionClosed) as closed:
            chat.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you say")
    with connect(url, additional_headers=headers, proxy=None) as chat:
        chat.send("hello")
        chat.recv()
    assert abroad.home.gone.wait(60), "the client's end reaches home"


def test_a_websocket_that_home_does_not_take_is_refused(make: Make) -> None:
    abroad = make()
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{abroad.address}/chat?no", additional_headers={"x-forwarded-for": HANOI}, proxy=None)
    assert refused.value.response.status_code == 403, "as home has it"


def test_a_websocket_that_home_redirects_is_not_followed(make: Make) -> None:
    abroad = make()
    with pytest.raises(InvalidStatus):
        connect(f"ws://{abroad.address}/chat?elsewhere", additional_headers={"x-forwarded-for": HANOI}, proxy=None)
    assert [asked["query"] for asked in abroad.home.seen] == ["elsewhere"]


def test_a_websocket_is_redirected(make: Make) -> None:
    abroad = make("redirect")

    async def chats() -> None:  # the blocking client follows redirects since websockets 17 only
        url, headers = f"ws://{abroad.address}/chat", {"x-forwarded-for": HANOI}
        async with following(url, additional_headers=headers, proxy=None) as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"

    anyio.run(chats)
    assert [asked["path"] for asked in abroad.home.seen] == ["/chat"]
