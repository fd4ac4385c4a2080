"""In: the name of a variant. Out: the same tiny ASGI app bare, or under one middleware; also what uvicorn serves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from residency import ResidencyMiddleware

__all__ = ["POLICY", "VARIANTS", "make", "served", "write_policy"]

# The whole pipeline on a plain read: forwarded address, country, two Vietnamese laws, decision, entry, metrics.
POLICY: Final = """\
residency: 1
kind: deployment
name: bench
mode: enforce
operator: {established_in: [VN], service_lines: [online_applications]}
laws: [vn/*]
signals:
  client_address: {strategy: rightmost_trusted_range, trusted: [127.0.0.0/8]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "GET /v1/articles/{id}", subject: none, data: [personal], operation: read}
"""

VARIANTS: Final = ("bare", "no-op ASGI", "no-op BaseHTTPMiddleware", "residency")

_BODY: Final = b'{"hello": "world"}'
_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


class _NoOp:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class _NoOpBase(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def write_policy(folder: Path) -> Path:
    """The deployment file of the benchmark, written into `folder`."""
    file = folder / "deployment.yaml"
    file.write_text(POLICY)
    return file


def make(variant: str, policy: Path) -> ASGIApp:
    """The app of one variant. Raises: ValueError for a name that is not in VARIANTS."""
    match variant:
        case "bare":
            return _app
        case "no-op ASGI":
            return _NoOp(_app)
        case "no-op BaseHTTPMiddleware":
            return _NoOpBase(_app)
        case "residency":
            return ResidencyMiddleware(_app, policy=policy)
        case _:
            raise ValueError(f"no variant is called {variant!r}")


def served() -> ASGIApp:
    """The factory for uvicorn: RESIDENCY_BENCH_VARIANT and RESIDENCY_BENCH_POLICY say what to serve."""
    return make(os.environ["RESIDENCY_BENCH_VARIANT"], Path(os.environ["RESIDENCY_BENCH_POLICY"]))
