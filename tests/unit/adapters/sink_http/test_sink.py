"""A sink of HTTP over real servers: dead, slow and half-answering ones, members, TLS by name, bounds, event loops."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from residency.adapters.resolver_table import TableResolver
from residency.adapters.service_client import open_client
from residency.adapters.sink_http import HttpSink
from residency.errors import SinkUnavailable, UsageError
from residency.storage.failover import BOUNDS
from residency.storage.services import Headers, ServiceAnswer, ServiceRequest
from tests.open_sockets import until
from tests.servers import eventually
from tests.services import SG_HOST, VN_HOST, Asked, Service, certificate, raw, serving
from tests.world import VN

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    """One event loop; the contract suite has the other."""
    return "asyncio"


def sink_at(*urls: str, resolver: TableResolver | None = None, **options: Any) -> HttpSink:
    """A sink of a URL and further members."""
    return HttpSink(
        "llm",
        VN,
        urls[0],
        members=urls[1:],
        resolver=resolver or TableResolver({}),
        client=open_client,
        **options,
    )


class Time:
    """A clock that stands, in microseconds."""

    at = 0

    def __call__(self) -> int:
        return self.at


class Asking:
    """Sends requests, and keeps whether the last one left."""

    def __init__(self, sink: HttpSink) -> None:
        self.sink = sink
        self.left = 0

    def _leaving(self) -> None:
        self.left += 1

    async def __call__(
        self, target: str = "chat", headers: Headers = (), body: bytes = b"xin", **more: Any
    ) -> ServiceAnswer:
        """One POST."""
        self.left = 0

        async def pieces() -> AsyncIterator[bytes]:
            yield body

        length = (b"content-length", str(len(body)).encode())
        request = ServiceRequest("POST", target, (*headers, length), pieces(), **more)
        return await self.sink.send(request, self._leaving)


async def whole(answer: ServiceAnswer) -> bytes:
    """The answer's body, let go."""
    try:
        return b"".join([piece async for piece in answer.body])
    finally:
        await answer.aclose()


async def test_starting_connects_to_nothing_and_a_ping_opens_a_connection_and_sends_nothing(service: Service) -> None:
    sink = sink_at(service.url)
    await sink.start()
    assert service.opened == 0
    await sink.ping()
    await until(lambda: service.opened, "its connection")
    await anyio.sleep(0.05)
    assert (service.opened, bytes(service.wire)) == (1, b"")


async def test_a_connection_is_used_again(service: Service) -> None:
    asking = Asking(sink_at(service.url))
    for _ in range(5):
        await whole(await asking())
    assert (service.connections, len(service.asked)) == (1, 5)
    await asking.sink.aclose()


async def test_each_event_loop_has_connections_of_its_own(service: Service) -> None:
    asking = Asking(sink_at(service.url))

    async def once() -> None:
        await whole(await asking())
        await asking.sink.aclose()

    await once()
    await asyncio.to_thread(asyncio.run, once())
    await once()
    assert service.connections == 3


async def test_what_is_sent_says_who_we_are_by_the_url_alone_and_the_fragment_stays_here(service: Service) -> None:
    asking = Asking(sink_at(service.url.replace("http://", "http://an:secret@") + "#x-org=9"))
    await whole(await asking(headers=((b"Authorization", b"of the app"), (b"HOST", b"evil"))))
    asked = service.asked[0]
    assert asked.header("authorization") == "Basic YW46c2VjcmV0"
    assert (asked.header("x-org"), asked.header("host")) == ("9", f"{VN_HOST}:{service.port}")
    assert b"#" not in service.wire
    assert b"of the app" not in service.wire
    await asking.sink.aclose()


async def test_the_environments_proxy_and_credentials_are_not_asked(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text(f"machine {VN_HOST} login an password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with raw(SG_HOST, HEAD + b"0123456789") as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://{SG_HOST}:{proxy.port}")
        asking = Asking(sink_at(service.url))
        await whole(await asking())
        await asking.sink.aclose()
        assert proxy.connections == 0
    assert service.asked[0].header("authorization") is None


@pytest.mark.parametrize(
    "said",
    [(), (b"HTTP/1.1 200 OK\r\nContent-",), (b"nonsense\r\n\r\n",), (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000,)],
    ids=["nothing", "half a head", "no HTTP", "a head without end"],
)
@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_server_that_gives_no_head_is_an_error_after_the_request_left(
    said: tuple[bytes, ...], then: str
) -> None:
    with raw(VN_HOST, *said, then=then) as service:
        asking = Asking(sink_at(service.url))
        with pytest.raises(SinkUnavailable, match=r"^sink 'llm' cannot be reached, or broke off") as caught:
            await asking()
        assert asking.left == 1
        assert VN_HOST not in str(caught.value)
        assert caught.value.__cause__ is None
        await asking.sink.aclose()


async def test_a_body_that_breaks_off_is_an_error_and_not_a_short_body() -> None:
    with raw(VN_HOST, HEAD + b"01234") as service:
        asking = Asking(sink_at(service.url))
        answer = await asking()
        assert answer.status == 200
        with pytest.raises(SinkUnavailable, match="'llm'"):
            await whole(answer)
        await asking.sink.aclose()


async def test_a_server_that_is_silent_is_waited_for_as_long_as_the_app_says_and_the_bounds_allow() -> None:
    with raw(VN_HOST, then="hang") as service:
        for sink, timeouts in (
            (sink_at(service.url), {"read": 0.05}),
            (sink_at(service.url, bounds={"read": 0.05}), {"read": None}),
            (sink_at(service.url, bounds={"read": 0.05}), {"read": 3600.0}),
        ):
            asking = Asking(sink)
            with pytest.raises(SinkUnavailable, match="'llm' did not answer in time"):
                await asking(timeouts=timeouts)
            assert asking.left == 1
            await sink.aclose()


async def test_where_no_connection_is_free_in_time_nothing_is_sent_and_the_sink_is_named(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.adapters.sink_http.sink._CONNECTIONS", 1)
    sink = sink_at(service.url)
    ask, other = Asking(sink), Asking(sink)
    held = await ask()
    with pytest.raises(SinkUnavailable, match="'llm' did not answer in time") as caught:
        await other(timeouts={"pool": 0.2})
    assert (other.left, VN_HOST in str(caught.value)) == (0, False)
    await whole(held)
    await whole(await other())
    await sink.aclose()


async def test_a_cancelled_request_lets_its_connection_go_and_the_next_one_is_served(service: Service) -> None:
    with raw(VN_HOST, then="hang") as silent:
        asking = Asking(sink_at(silent.url))
        async with anyio.create_task_group() as group:
            group.start_soon(asking)
            await until(lambda: silent.heard, "the request")
            group.cancel_scope.cancel()
        assert asking.left == 1
        await asking.sink.aclose()
    again = Asking(sink_at(service.url))
    assert (await again()).status == 200
    await again.sink.aclose()


async def test_nobody_gets_the_answer_of_another_though_calls_are_cancelled_at_any_moment(service: Service) -> None:
    async def slow(asked: Asked, send: Any) -> None:
        half = len(asked.body) // 2
        head = [(b"content-length", str(len(asked.body)).encode())]
        await asyncio.sleep(len(asked.body) % 5 / 1_000)
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": asked.body[:half], "more_body": True})
        await asyncio.sleep(len(asked.body) % 7 / 1_000)
        await send({"type": "http.response.body", "body": asked.body[half:]})

    service.handlers["/v1/chat"] = slow
    asking = Asking(sink_at(service.url))
    answered = 0

    async def one(number: int) -> None:
        nonlocal answered
        body = b"%d " % number * (number % 50 + 1)
        with anyio.move_on_after(number % 13 / 1_000 + 0.001 if number % 3 else 30):
            answer = await asking(body=body)
            assert await whole(answer) == body
            answered += 1

    async with anyio.create_task_group() as group:
        for number in range(150):
            group.start_soon(one, number)
    assert answered >= 50
    await asking.sink.aclose()


async def test_a_server_that_changes_the_protocol_is_refused() -> None:
    with raw(VN_HOST, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n") as service:
        asking = Asking(sink_at(service.url))
        with pytest.raises(SinkUnavailable, match="changes the protocol"):
            await asking(headers=((b"connection", b"upgrade"), (b"upgrade", b"x")))
        await asking.sink.aclose()


@pytest.mark.parametrize(
    "headers", [((b"x-a", b"1\r\nx-b: 2"),), ((b"x a", b"1"),), ((b"x-a", b"1\x00"),)], ids=["lines", "name", "null"]
)
async def test_headers_that_would_be_read_as_others_are_not_sent(service: Service, headers: Headers) -> None:
    asking = Asking(sink_at(service.url))
    with pytest.raises(UsageError, match="'llm'"):
        await asking(headers=headers)
    await asking.sink.aclose()
    assert bytes(service.wire) == b""


async def test_more_body_than_its_length_says_is_refused(service: Service) -> None:
    asking = Asking(sink_at(service.url))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"GET /admin HTTP/1.1\r\n\r\n"

    with pytest.raises(UsageError):
        await asking.sink.send(ServiceRequest("POST", "x", ((b"content-length", b"0"),), pieces()), lambda: None)
    await asking.sink.aclose()
    await asyncio.to_thread(eventually, lambda: service.asked)  # its head went out
    assert b"admin" not in service.wire


async def test_the_next_member_is_tried_where_nothing_left_and_the_dead_one_rests(service: Service) -> None:
    with raw(VN_HOST) as dead:
        url = dead.url
    asking = Asking(sink_at(url, service.url))
    assert (await asking()).status == 200
    assert asking.left == 1
    await whole(await asking())
    assert len(service.asked) == 2
    await asking.sink.ping()
    assert asking.sink.target_of(url + "x") == asking.sink.target_of(service.url + "x") == "x"
    await asking.sink.aclose()


async def test_a_member_that_fails_three_times_in_a_row_is_left_alone_while_another_serves(service: Service) -> None:
    resolver, now = TableResolver({"dead.test": [()]}), Time()
    asking = Asking(sink_at("http://dead.test/v1/", service.url, resolver=resolver, now=now))
    for _ in range(5):
        await whole(await asking())
    assert len(resolver.asked) == 3
    now.at += BOUNDS.rest
    for _ in range(2):  # one call tries whether it is there again
        await whole(await asking())
    assert len(resolver.asked) == 4
    await asking.sink.aclose()


async def test_one_that_has_no_other_is_left_alone_too_until_it_answers_again(service: Service) -> None:
    now = Time()
    resolver = TableResolver({"llm.test": [(), (), (), (VN_HOST,)]})
    url = service.url.replace(VN_HOST, "llm.test")
    asking = Asking(sink_at(url, resolver=resolver, now=now, allow_private=True))
    for asked in (1, 2, 3, 3):
        with pytest.raises(SinkUnavailable, match="too often in a row" if len(resolver.asked) == 3 else "resolved"):
            await asking()
        assert (len(resolver.asked), asking.left) == (asked, 0)
    now.at += BOUNDS.rest
    for _ in range(2):
        await whole(await asking())
    assert len(service.asked) == 2
    await asking.sink.aclose()


async def test_a_ping_looks_for_itself_and_what_it_finds_there_is_called_again(service: Service) -> None:
    resolver = TableResolver({"llm.test": [(), (), (), (VN_HOST,)]})
    url = service.url.replace(VN_HOST, "llm.test")
    asking = Asking(sink_at(url, resolver=resolver, now=Time(), allow_private=True))
    for _ in range(4):
        with pytest.raises(SinkUnavailable):
            await asking()
    await asking.sink.ping()
    await whole(await asking())
    await asking.sink.aclose()


async def test_a_request_that_left_is_never_sent_to_another_member(service: Service) -> None:
    with raw(VN_HOST, then="reset") as broken:
        asking = Asking(sink_at(broken.url, service.url))
        with pytest.raises(SinkUnavailable):
            await asking()
        assert asking.left == 1
        await asking.sink.aclose()
    assert service.asked == []


async def test_each_member_is_sent_its_own_credentials_alone(service: Service) -> None:
    with raw(VN_HOST) as dead:
        url = dead.url
    asking = Asking(sink_at(url + "#x-dead=secret", service.url + "#x-live=key"))
    assert asking.sink.credentials == {b"x-dead", b"x-live"}
    await whole(await asking())
    assert service.asked[0].header("x-live") == "key"
    assert b"secret" not in service.wire
    await asking.sink.aclose()


async def test_tls_is_verified_by_the_name_whatever_address_it_has(tmp_path: Path) -> None:
    options = certificate(tmp_path, "llm.test")
    trusting = ssl.create_default_context(cafile=options["ssl_certfile"])
    resolver = TableResolver({name: [(VN_HOST,)] for name in ("llm.test", "other.test")})
    with serving(VN_HOST, **options) as service:
        made: dict[str, Any] = {"resolver": resolver, "allow_private": True}
        url = f"https://llm.test:{service.port}/v1/"
        right = Asking(sink_at(url, tls=trusting, **made))
        assert (await right()).status == 200
        await right.sink.aclose()
        for sink in (
            sink_at(url.replace("llm", "other"), tls=trusting, **made),  # not the name of the certificate
            sink_at(url, **made),  # not an authority that we trust
            sink_at(url.replace("llm.test", VN_HOST), tls=trusting),  # not an address of the certificate
        ):
            asking = Asking(sink)
            with pytest.raises(SinkUnavailable, match="'llm'"):
                await asking()
            assert asking.left == 0
            await sink.aclose()
        assert len(service.asked) == 1


async def test_no_log_of_ours_or_the_librarys_holds_a_body_a_header_or_a_query(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asking = Asking(sink_at(service.url + "#x-key=CANARY"))
    await whole(await asking("chat?who=CANARY", ((b"x-who", b"CANARY"),), b"CANARY"))
    await asking.sink.aclose()
    assert service.wire.count(b"CANARY") == 4
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")]
    assert ours
    assert not [said for said in ours if "CANARY" in said]
