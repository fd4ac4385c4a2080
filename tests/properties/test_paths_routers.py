"""Raw paths through the routers of six frameworks: what is served is what we took it for, and all of it is served."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from residency import ResidencyMiddleware, build
from residency.policy.paths import ambiguous
from tests import routed

WORDS = (
    "users me orders all admin report num a 1 slash files chat static page x staticx statics Users ME ALL %6de m%65 "
    "api 7.5 %20 %C3%A9 é a;b=1 a:b ~ .. . %2e%2E a%2Fb a%5Cb %00 x%0A %0a %7F %25 %2520 ... .x a%3Fb"
).split()
segment = st.one_of(st.sampled_from(WORDS), st.text("ame17%.;/é\\\n ", max_size=3))
raw_paths = st.builds(
    lambda head, parts, tail: (
        (head + "/".join(parts) + tail).replace("\n", "%0A").replace(" ", "%20").replace("é", "%C3%A9")
    ),
    st.sampled_from(["/", "/", "/", "/api/", "//", "/x/api/", "/apiusers/"]),
    st.lists(segment, max_size=4),
    st.sampled_from(["", "", "", "/", "//", "%0A", "/."]),
)
methods = st.sampled_from(
    [
        "GET",
        "GET",
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "get",
        "post",
        "Put",
        "OPTIONS",
        "PATCH",
        "WS",
        "websocket",
        "asgi",
        "GET_WS",
    ]
)
roots = st.sampled_from(["", "", "", "/api", "/x", "/static"])
_SAID = re.compile(r"<(\w+)\|(\w*)>")


@dataclass
class Loop:
    """Every framework's app bare, wrapped, and wrapped from the inside, in one event loop."""

    runner: asyncio.Runner
    bare: dict[str, Any]
    wrapped: dict[str, Any]

    def ask(self, app: Any, scope: dict[str, Any]) -> tuple[int, str]:
        """(status, text); what an app cannot take, as some cannot take blanks in a WebSocket's path, is nobody's."""
        try:
            return self.runner.run(routed.asked(app, {**scope, "state": {}}))
        except Exception as error:  # noqa: BLE001 - any framework's own
            return 500, type(error).__name__


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder: Path = tmp_path_factory.mktemp("routed")
    (folder / "routed.yaml").write_text(routed.policy_text())
    runtime = build(folder / "routed.yaml")
    with asyncio.Runner() as runner:
        runner.run(runtime.start())
        bare = {name: make(lambda app: app) for name, make in routed.MAKERS.items()}
        runner.run(bare["blacksheep"].start())
        wrapped = {name: ResidencyMiddleware(app, policy=runtime) for name, app in bare.items()}
        for name in ("starlette", "fastapi"):
            inner = routed.MAKERS[name](lambda app: app)
            inner.add_middleware(ResidencyMiddleware, policy=runtime)
            wrapped[f"{name} inside"] = inner
        wrapped["litestar inside"] = routed.litestar(lambda app: app, ResidencyMiddleware, policy=runtime)
        yield Loop(runner, bare, wrapped)
        runner.run(runtime.aclose())


def scope_of(kind: str, method: str, raw: str, root: str, prefixed: bool) -> dict[str, Any]:
    """What a server makes of it; uvicorn puts the root before the path, others leave it as it came."""
    prefix = root if prefixed else ""
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": prefix + unquote(raw),
        "raw_path": prefix.encode() + raw.encode(),
        "query_string": b"",
        "root_path": root,
        "headers": [(b"host", b"x")],
        "client": ("1.2.3.4", 5),
        "server": ("x", 80),
    }
    if kind == "http":
        scope["method"] = method
    else:
        scope["subprotocols"] = []
    return scope


@given(raw_paths, methods, roots, st.booleans(), st.sampled_from(["http", "http", "http", "websocket"]))
@example("/users%0A", "GET", "", False, "http")
@example("/users/me", "GET", "", False, "http")
@example("/orders/all", "GET", "", False, "http")
@example("/num/x/a", "GET", "", False, "http")
@example("/admin/report", "GET", "", False, "http")
@example("/x/api/users/me", "GET", "/api", False, "http")
@example("/users/me/", "GET", "", False, "http")
@example("/Users/ME", "GET", "", False, "http")
@example("/users/%6de", "GET", "", False, "http")
@example("/static/users/me", "GET", "", False, "http")
@example("/staticx", "GET", "", False, "http")
@example("/chat", "GET", "", False, "websocket")
@example("/chat", "websocket", "", False, "http")
@example("/chat", "GET_WS", "", False, "http")
@example("/users", "post", "", False, "http")
@example("/api/users/me", "GET", "/api", True, "http")
@example("/staticx", "GET", "/api", True, "http")
@example("/report", "GET", "/static", True, "http")
@example("/%73tatic/x", "GET", "", False, "websocket")
@example("/apiusers/", "POST", "/api", False, "http")
def test_what_is_served_is_what_we_took_it_for_and_what_was_served_before_still_is(
    loop: Loop, raw: str, method: str, root: str, prefixed: bool, kind: str
) -> None:
    scope = scope_of(kind, method, raw, root, prefixed)
    ordinary = not ambiguous(scope["path"], scope["raw_path"])
    for name, app in loop.wrapped.items():
        framework = name.removesuffix(" inside")
        if framework == "django" and kind == "websocket":
            continue  # Django serves none
        status, text = loop.ask(app, scope)
        reached = _SAID.search(text)
        assert reached is None or reached.group(1) == reached.group(2), (name, scope, text)
        if not ordinary or (kind == "http" and method in ("websocket", "asgi", "GET_WS", "WS")):
            continue
        bare_status, bare_text = loop.ask(loop.bare[framework], scope)
        bare = _SAID.search(bare_text)
        if 300 <= bare_status < 400:  # it is sent on as before, where that leads to a handler
            twin = raw[:-1] if raw.endswith("/") else f"{raw}/"
            bare_twin = loop.ask(loop.bare[framework], scope_of(kind, method, twin or "/", root, prefixed))[1]
            assert _SAID.search(bare_twin) is None or status == bare_status, (name, scope, bare_text, text)
        elif bare is not None:
            assert status == bare_status, (name, scope, bare_text, text)
            assert reached is not None, (name, scope, bare_text, text)
            assert reached.group(1) == bare.group(1), (name, scope, bare_text, text)
