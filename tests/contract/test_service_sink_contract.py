"""What `ServiceSink` promises, over the reference and over real servers, on asyncio and trio."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from residency.adapters.resolver_table import TableResolver
from residency.adapters.service_client import open_client
from residency.adapters.sink_http import HttpSink
from residency.adapters.sink_service_memory import ServiceMemory
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.services import Headers, ServiceAnswer, ServiceRequest, ServiceSink
from tests.services import VN_HOST, Asked, Service, serving

pytestmark = pytest.mark.anyio
REGION = Region("vn-han", "VN")
PIECES = [b"data: %d\n\n" % number for number in range(50)]


@dataclass
class Harness:
    """A sink of services that echoes as JSON, streams below `stream`, and redirects below `elsewhere`; its base."""

    sink: ServiceSink
    base: str
    left: list[str] = field(default_factory=list)

    async def ask(
        self, target: str, method: str = "GET", headers: Headers = (), body: bytes = b"", **more: Any
    ) -> ServiceAnswer:
        """One request, with its length."""

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 65_536):
                yield body[start : start + 65_536]

        length = (b"content-length", str(len(body)).encode())
        request = ServiceRequest(method, target, (*headers, length), pieces(), **more)
        return await self.sink.send(request, lambda: self.left.append(target))


async def whole(answer: ServiceAnswer) -> bytes:
    """The answer's body, let go."""
    body = b"".join([piece async for piece in answer.body])
    await answer.aclose()
    return body


async def _reference(request: ServiceRequest, body: bytes) -> tuple[int, Headers, AsyncIterator[bytes]]:
    async def pieces(*said: bytes) -> AsyncIterator[bytes]:
        for piece in said:
            yield piece

    if request.target == "elsewhere":
        return 307, ((b"location", b"there?x=1"),), pieces()
    if request.target == "stream":
        return 200, ((b"content-type", b"text/event-stream"),), pieces(*PIECES)
    headers = {name.decode(): value.decode() for name, value in request.headers}
    said = json.dumps({"method": request.method, "target": request.target, "body": body.decode(), "headers": headers})
    return 200, ((b"content-type", b"application/json"),), pieces(said.encode())


def _real(service: Service) -> None:
    async def stream(asked: Asked, send: Any) -> None:
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for piece in PIECES:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def echo(asked: Asked, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in asked.headers}
        target = asked.target.removeprefix("/v1/")
        said = {"method": asked.method, "target": target, "body": asked.body.decode(), "headers": headers}
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    service.handlers["/v1/stream"] = stream
    for path in ("/v1/echo", "/v1/", "/v1/a b/c", "/v1/big"):
        service.handlers[path] = echo
    service.answers["/v1/elsewhere"] = (307, [("location", "there?x=1")], b"")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One real server for all tests here."""
    with serving(VN_HOST) as made:
        yield made


@pytest.fixture(params=["memory", "http"])
async def harness(request: pytest.FixtureRequest, service: Service) -> AsyncIterator[Harness]:
    """A started sink, closed after the test."""
    service.forget()
    sink: ServiceSink
    if request.param == "memory":
        sink = ServiceMemory("llm-vn", REGION, _reference, open_client, ((b"X-Key", b"of-the-sink"),))
        made = Harness(sink, "memory://llm-vn/")
    else:
        _real(service)
        sink = HttpSink(
            "llm-vn", REGION, f"{service.url}#x-key=of-the-sink", resolver=TableResolver({}), client=open_client
        )
        made = Harness(sink, service.url)
    await sink.start()
    yield made
    await sink.aclose()


async def test_a_sink_is_a_service_and_nothing_else(harness: Harness) -> None:
    assert isinstance(harness.sink, ServiceSink)
    assert (harness.sink.name, harness.sink.region) == ("llm-vn", REGION)
    await harness.sink.ping()


async def test_method_target_headers_and_body_arrive_as_they_are(harness: Harness) -> None:
    answer = await harness.ask("echo?x=1&y=%2e%2e%2F", "PUT", ((b"x-mine", b"1"),), "xin chào".encode())
    said = json.loads(await whole(answer))
    assert answer.status == 200
    assert (said["method"], said["target"], said["body"]) == ("PUT", "echo?x=1&y=%2e%2e%2F", "xin chào")
    assert said["headers"]["x-mine"] == "1"


async def test_an_empty_target_is_the_base_itself(harness: Harness) -> None:
    assert json.loads(await whole(await harness.ask("")))["target"] == ""
    assert json.loads(await whole(await harness.ask("?x=1")))["target"] == "?x=1"


async def test_a_body_of_megabytes_arrives_whole(harness: Harness) -> None:
    body = b"0123456789abcdef" * 200_000
    said = json.loads(await whole(await harness.ask("big", "POST", body=body)))
    assert said["body"].encode() == body


async def test_what_is_sent_is_told_before_it_leaves_and_once(harness: Harness) -> None:
    await whole(await harness.ask("echo"))
    assert harness.left == ["echo"]


async def test_the_sinks_own_credentials_replace_the_apps(harness: Harness) -> None:
    assert harness.sink.credentials == {b"x-key"}
    said = json.loads(await whole(await harness.ask("echo", headers=((b"X-Key", b"of-the-app"), (b"Host", b"llm")))))
    assert said["headers"]["x-key"] == "of-the-sink"
    assert said["headers"]["host"] != "llm"


# httpcore leaves generators of its own to the collector where a stream is left early, of which trio warns.
@pytest.mark.filterwarnings("ignore:.*async_generator:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_a_stream_comes_piece_by_piece_and_may_be_left_early(harness: Harness) -> None:
    assert await whole(await harness.ask("stream")) == b"".join(PIECES)
    answer = await harness.ask("stream")
    assert (await anext(answer.body)).startswith(b"data: 0")
    await answer.aclose()
    await answer.aclose()
    assert (await whole(await harness.ask("stream"))).endswith(b"49\n\n")


async def test_a_redirect_is_told_and_not_followed(harness: Harness) -> None:
    answer = await harness.ask("elsewhere", "POST")
    await answer.aclose()
    assert answer.location is not None
    assert (answer.status, harness.sink.target_of(answer.location)) == (307, "there?x=1")


async def test_only_urls_below_the_base_have_a_target(harness: Harness) -> None:
    base, target_of = harness.base, harness.sink.target_of
    assert target_of(base + "a/b?c=d") == "a/b?c=d"
    assert target_of(base) == ""
    scheme, _, rest = base.partition("://")
    elsewhere = ["https://evil.example/v1/a", f"{scheme}://evil@{rest}a", f"ftp://{rest}a", "a", "", "//x/", base[:-4]]
    assert [target_of(url) for url in elsewhere] == [None] * len(elsewhere)


@pytest.mark.parametrize(
    "target", ["../x", "a/../../x", "%2e%2e/x", "a/%2E./x", "..%2fx", "..%5cx", "a/..;/x", "ä", "a b"]
)
async def test_a_target_outside_the_base_is_refused_before_anything_leaves(harness: Harness, target: str) -> None:
    with pytest.raises(UsageError):
        await harness.ask(target)
    assert harness.left == []
    below = harness.sink.target_of(harness.base + target)
    assert below is None or ".." not in below  # what a parser folds or encodes may lie below, never above


async def test_a_closed_sink_starts_again(harness: Harness) -> None:
    await harness.sink.aclose()
    await harness.sink.aclose()
    await harness.sink.start()
    assert (await harness.ask("echo")).status == 200


async def test_many_at_once_get_their_own_answers(harness: Harness) -> None:
    found: dict[int, str] = {}

    async def one(number: int) -> None:
        answer = await harness.ask(f"echo?n={number}", "POST", body=str(number).encode())
        found[number] = json.loads(await whole(answer))["body"]

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(one, number)
    assert found == {number: str(number) for number in range(50)}


async def test_a_sink_that_is_away_says_so_with_nothing_sent(service: Service) -> None:
    memory = ServiceMemory("llm-vn", REGION, _reference, open_client)
    await memory.aclose()
    # A port that was bound and let go: nobody listens there.
    with serving(VN_HOST) as gone:
        url = gone.url
    http = HttpSink("llm-vn", REGION, url, resolver=TableResolver({}), client=open_client)
    for sink in (memory, http):
        harness = Harness(sink, "")
        with pytest.raises(SinkUnavailable, match="'llm-vn'"):
            await harness.ask("echo")
        assert harness.left == []
        with pytest.raises(SinkUnavailable, match="'llm-vn'"):
            await sink.ping()
