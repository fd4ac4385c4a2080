"""A server that rewrites the peer is found before it serves, and told how to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from residency.asgi.server_settings import ServerSettings, check_server, rewriting, running

FORWARDING = (
    "single_header",
    "rightmost_trusted_count",
    "rightmost_trusted_range",
    "unsafe_leftmost_non_private",
)
LOCAL = ServerSettings("uvicorn", True, ("127.0.0.1", "::1"))
WIDE = ServerSettings("uvicorn", True, ("10.0.0.0/8", "127.0.0.1"))


def settings(**options: Any) -> tuple[ServerSettings, ...]:
    """What an app sees of a uvicorn that starts it with these options."""
    seen: list[tuple[ServerSettings, ...]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        seen.append(running())
        server.should_exit = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    config = uvicorn.Config(app, port=0, lifespan="on", log_level="error", **options)
    server = uvicorn.Server(config)
    asyncio.run(server.serve())
    return seen[0]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, LOCAL),
        ({"proxy_headers": False}, ServerSettings("uvicorn", False, ("127.0.0.1", "::1"))),
        ({"forwarded_allow_ips": "127.0.0.1, 10.0.0.0/8"}, WIDE),
        ({"forwarded_allow_ips": ["127.0.0.1", "10.0.0.0/8"]}, WIDE),
        ({"forwarded_allow_ips": "*"}, ServerSettings("uvicorn", True, ("*",))),
        ({"forwarded_allow_ips": ""}, ServerSettings("uvicorn", True)),
    ],
)
def test_the_server_below_is_seen_with_its_settings(options: dict[str, Any], expected: ServerSettings) -> None:
    assert settings(**options) == (expected,)


def test_a_server_elsewhere_in_the_process_is_not_ours() -> None:
    uvicorn.Config("x:y", forwarded_allow_ips="*")
    assert running() == ()
    assert check_server("rightmost_trusted_range") is None


def test_daphne_takes_the_leftmost_address_where_it_is_told_to_read_the_header() -> None:
    class Server:
        __module__ = "daphne.server"

        def __init__(self, header: str | None) -> None:
            self.proxy_forwarded_address_header = header

        def run(self) -> str | None:
            return check_server("peer") or check_server("server")

    assert Server(None).run() is None
    assert "daphne rewrites it" in str(Server("X-Forwarded-For").run())


@pytest.mark.parametrize("strategy", ["peer", *FORWARDING])
def test_addresses_that_the_environment_lets_a_server_believe_are_refused(strategy: str) -> None:
    for value in ("*", "10.0.0.1", "127.0.0.1"):
        assert "unset FORWARDED_ALLOW_IPS" in str(rewriting(strategy, {"FORWARDED_ALLOW_IPS": value}, ()))
    assert rewriting(strategy, {"FORWARDED_ALLOW_IPS": ""}, ()) is None
    assert rewriting(strategy, {"FORWARDED_ALLOW_IPS": " , "}, ()) is None
    assert rewriting(strategy, {}, ()) is None


@pytest.mark.parametrize("strategy", FORWARDING)
def test_forwarding_strategies_bear_no_server_that_rewrites(strategy: str) -> None:
    assert "--no-proxy-headers" in str(rewriting(strategy, {}, [LOCAL]))
    assert "--no-proxy-headers" in str(rewriting(strategy, {}, [ServerSettings("uvicorn", False), WIDE]))
    assert rewriting(strategy, {}, [ServerSettings("uvicorn", False, ("*",))]) is None
    assert rewriting(strategy, {}, [ServerSettings("uvicorn", True)]) is None


@pytest.mark.parametrize("beyond", ["10.0.0.0/8", "*", "proxy.internal", "0.0.0.0/0", "127.0.0.0/7"])
def test_peer_bears_a_server_that_believes_loopback_and_no_other(beyond: str) -> None:
    assert rewriting("peer", {}, [LOCAL]) is None
    assert rewriting("peer", {}, [ServerSettings("uvicorn", True, ("127.0.0.0/8", "localhost"))]) is None
    assert "its trusted proxies" in str(rewriting("peer", {}, [ServerSettings("uvicorn", True, ("::1", beyond))]))


@pytest.mark.parametrize("everybody", ["*", "0.0.0.0/0", "::/0", "10.0.0.1, *"])
def test_server_is_refused_where_everybody_is_believed(everybody: str) -> None:
    assert "everybody" in str(rewriting("server", {"FORWARDED_ALLOW_IPS": everybody}, ()))
    allowed = tuple(everybody.split(", "))
    assert "everybody" in str(rewriting("server", {}, [ServerSettings("uvicorn", True, allowed)]))
    assert rewriting("server", {}, [ServerSettings("uvicorn", False, allowed)]) is None
    assert rewriting("server", {"FORWARDED_ALLOW_IPS": "10.0.0.1"}, [WIDE]) is None
