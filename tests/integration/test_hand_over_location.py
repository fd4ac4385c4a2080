"""A home that does not lie where the file says gets nothing of a request that is handed over, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from residency.adapters.forward import Forward
from residency.errors import SinkUnavailable
from tests.authority import Authority
from tests.integration.test_hand_over import SECRET, Abroad, Home, served
from tests.integration.test_location_keepers import listening
from tests.servers import eventually
from tests.world import HANOI

ABROAD = "the instance of VN has an address in another country than it says"
DRIFTED = "the instance of VN is not used now: it is not shown to lie there"
END = b"nobody else came after this one"
Make = Callable[..., Abroad]
Ask = Callable[[Abroad], tuple[int, str]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def abroad(how: str = "proxy", home: str | None = None, **named: Any) -> Abroad:
            return Abroad(tmp_path / "abroad", stack, how, home, **named)

        yield abroad


def http(abroad: Abroad) -> tuple[int, str]:
    """What somebody of home is answered."""
    answer = abroad.ask("POST", f"/people?{SECRET}", content=SECRET)
    return answer.status_code, answer.text


def websocket(abroad: Abroad) -> tuple[int, str]:
    """As `http`, where it is a WebSocket and home is not to have it."""
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{abroad.address}/chat?{SECRET}", additional_headers={"x-forwarded-for": HANOI}, proxy=None)
    answer = refused.value.response
    return answer.status_code, (answer.body or b"").decode()


def all_heard(port: int, heard: list[bytes]) -> list[bytes]:
    """What came to somebody who answers nothing, of all the connections that are there by now."""
    with socket.create_connection(("127.0.0.1", port)) as last:
        last.sendall(END)
        eventually(lambda: END in heard, what="the last connection")
    return heard[: heard.index(END)]


@pytest.mark.parametrize("ask", [http, websocket])
def test_nothing_of_a_request_is_sent_to_an_address_elsewhere(make: Make, ask: Ask) -> None:
    with listening() as (port, heard):
        abroad = make(home=f"127.0.0.1:{port}", judging=lambda place: "127.0.0.1".__eq__)
        status, text = ask(abroad)
        assert (status, ABROAD in text, "127.0.0" in text) == (503, True, False)
        assert set(all_heard(port, heard)) == {b""}


@pytest.mark.anyio
async def test_a_handshake_does_not_begin_with_an_address_elsewhere() -> None:
    def judge(address: str) -> None:
        assert address == "127.0.0.1"
        raise SinkUnavailable(ABROAD)

    messages = [{"type": "http.request"}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        raise AssertionError("nothing is answered")

    with listening() as (port, heard):
        url = f"https://127.0.0.1:{port}/people"
        with pytest.raises(SinkUnavailable, match=ABROAD):
            await Forward().http({"method": "GET"}, receive, send, url, [], judge)
        assert await anyio.to_thread.run_sync(all_heard, port, heard) == [b""]


def test_a_home_at_an_address_that_may_be_gets_requests_and_websockets(make: Make) -> None:
    abroad = make(judging=lambda place: {"VN": "127.0.0.1"}[place].__eq__)
    assert http(abroad)[0] == 201
    with connect(f"ws://{abroad.address}/chat", additional_headers={"x-forwarded-for": HANOI}, proxy=None) as chat:
        chat.send("hello")
        assert chat.recv() == "hello"


@pytest.mark.parametrize(
    ("elsewhere", "known", "told"),
    [(False, True, ""), (True, True, ABROAD), (False, False, "the instance that serves this person gave no answer")],
)
def test_over_tls_home_gets_what_it_gets_if_it_is_itself_and_where_it_must_be(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool, known: bool, told: str
) -> None:
    one, other = (Authority(tmp_path, name) for name in ("one", "other"))
    certificate, key = one.sign("home", "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str((one if known else other).file))
    home = Home()
    with served(home, "127.0.0.2", ssl_certfile=str(certificate), ssl_keyfile=str(key)) as address:
        judging = lambda place: lambda host: elsewhere and host == "127.0.0.2"  # noqa: E731
        abroad = make(home=address, judging=judging, scheme="https")
        if told:
            for ask in (http, websocket):
                status, text = ask(abroad)
                assert (status, told in text, "127.0.0" in text) == (503, True, False)
            assert home.seen == []
        else:
            assert http(abroad)[0] == 201
            url, headers = f"ws://{abroad.address}/chat", {"x-forwarded-for": HANOI}
            with connect(url, additional_headers=headers, proxy=None) as chat:
                chat.send("hello")
                assert chat.recv() == "hello"
            assert [asked["path"] for asked in home.seen] == ["/people", "/chat"]


@pytest.mark.parametrize(("how", "handed"), [("proxy", 201), ("redirect", 307)])
def test_nobody_is_handed_over_to_a_home_that_drifted_until_it_is_well_again(make: Make, how: str, handed: int) -> None:
    abroad = make(how, more="location: {drift: refuse}\n")
    misplaced = abroad.runtime._location.misplaced
    assert http(abroad)[0] == handed
    before = len(abroad.home.seen)
    misplaced.bar(lambda: {"hand_over/VN"})
    for ask in (http, websocket):
        status, text = ask(abroad)
        assert (status, DRIFTED in text, "127.0.0" in text) == (503, True, False)
    assert len(abroad.home.seen) == before
    misplaced.bar(lambda: {"hand_over/DE"})
    assert http(abroad)[0] == handed
