"""A store's name in, httpx clients and transports out: outgoing calls that go where the decision lets them.

    from residency import http
    llm = http.AsyncClient("llm")                             # once, at import

    await llm.post("/chat", json=…)                           # inside a request

    openai.AsyncOpenAI(                                       # an SDK that takes an httpx client
        base_url="http://llm/", http_client=httpx.AsyncClient(transport=http.Transport("llm")))

Which of the store's sinks, and whether at all, is asked of `current()` at each request. Clients keep no cookies, for
these would be one person's and then the next one's, and follow redirects below the sinks of the store alone.
"""

from __future__ import annotations

from typing import Any, Final

import httpx

from residency.adapters.service_client import BlockingServiceTransport, ServiceTransport, base_url
from residency.enforcement.context import current
from residency.errors import UsageError
from residency.storage.services import ServiceHandle

__all__ = ["AsyncClient", "BlockingTransport", "Client", "Transport"]

_AROUND: Final = frozenset({"app", "cert", "limits", "mounts", "proxies", "proxy", "transport", "verify"})


class Transport(ServiceTransport):
    """An httpx transport for `http://STORE/`, to give to an `httpx.AsyncClient` of your own or of an SDK."""

    def __init__(self, store: str) -> None:
        super().__init__(store, lambda: _handle(store))


class BlockingTransport(BlockingServiceTransport):
    """As `Transport`, for an `httpx.Client` in a sync endpoint, which runs in a thread pool."""

    def __init__(self, store: str) -> None:
        super().__init__(store, lambda: _handle(store))


def AsyncClient(store: str, **kw: Any) -> httpx.AsyncClient:  # noqa: N802 - stands in for the class of that name
    """An `httpx.AsyncClient` of a store, its base URL `http://STORE/`. `kw` go to httpx.

    Its requests raise NoDecision outside a request, Refused where the decision forbids the call, SinkUnavailable where
    the service is away, UsageError for a URL outside the base.

    Raises: UsageError for what would go around the store: a transport, a proxy, mounts.
    """
    return httpx.AsyncClient(transport=Transport(store), **_options(store, kw))


def Client(store: str, **kw: Any) -> httpx.Client:  # noqa: N802 - stands in for the class of that name
    """An `httpx.Client` for sync endpoints, which run in a thread pool. All else as `AsyncClient`."""
    return httpx.Client(transport=BlockingTransport(store), **_options(store, kw))


def _options(store: str, kw: dict[str, Any]) -> dict[str, Any]:
    if around := sorted(_AROUND & kw.keys()):
        raise UsageError(f"a client of store {store!r} takes no {around[0]!r}: its sinks say how they are reached")
    return {"base_url": base_url(store), "trust_env": False, **kw}


def _handle(store: str) -> ServiceHandle:
    handle = current().store(store)
    if not isinstance(handle, ServiceHandle):
        raise UsageError(f"store {store!r} is no store of services")
    return handle
