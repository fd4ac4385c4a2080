"""Lifespan: the runtime lives around the app's own; a set-up that does not hold never begins to serve."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from residency import PolicyError, Residency, ResidencyMiddleware, UsageError, build
from residency.errors import JournalFailed

pytestmark = pytest.mark.anyio
Serve = Callable[..., Any]


async def drive(app: Any) -> tuple[list[str], BaseException | None, list[bool]]:
    """One lifespan as a server drives it: the messages sent, what was raised, whether it was ready at each end."""
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []
    was_open: list[bool] = []

    async def receive() -> Message:
        return next(incoming)

    async def send(message: Message) -> None:
        sent.append(message["type"] + (": " + message["message"] if "message" in message else ""))
        if message["type"] in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            was_open.append(app.runtime is not None and app.runtime.is_ready)

    try:
        await app({"type": "lifespan"}, receive, send)
    except Exception as error:  # noqa: BLE001 - what comes out is what the tests look at
        return sent, error, was_open
    return sent, None, was_open


async def polite(scope: Scope, receive: Receive, send: Send) -> None:
    """An app with a lifespan."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that only knows http, and returns at once."""


async def silent_after_reading(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that reads the first message and returns."""
    await receive()


@pytest.mark.parametrize("app", [polite, silent, silent_after_reading])
async def test_the_runtime_is_ready_before_the_server_serves_and_let_go_after(serve: Serve, app: Any) -> None:
    served = serve(app)
    for _ in range(2):
        sent, raised, was_open = await drive(served.app)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        # Closed before the server hears that the shutdown is complete: it ends then, whatever still runs.
        assert (raised, was_open) == (None, [True, False])
        assert not served.runtime.is_open


async def test_an_app_that_raises_tells_the_server_so_and_the_runtime_is_let_go(serve: Serve) -> None:
    async def django(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("can only handle http")

    served = serve(django)
    sent, raised, _ = await drive(served.app)
    assert (sent, type(raised), served.runtime.is_open) == ([], ValueError, False)


async def test_an_apps_own_failure_to_start_goes_through(serve: Serve) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "mine"})

    served = serve(failing)
    assert (await drive(served.app))[0] == ["lifespan.startup.failed: mine"]
    assert not served.runtime.is_open


async def test_a_bad_policy_fails_the_start_with_the_line_to_mend(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("residency: 1\nkind: deployment\n")
    sent, raised, _ = await drive(ResidencyMiddleware(polite, policy=file))
    assert isinstance(raised, PolicyError)
    assert sent[0].startswith("lifespan.startup.failed: residency: ")
    assert "bad.yaml:" in sent[0]


async def test_a_start_that_fails_for_no_reason_of_ours_tells_only_its_kind() -> None:
    sent, raised, _ = await drive(ResidencyMiddleware(polite, policy=object()))  # type: ignore[arg-type]
    assert sent == ["lifespan.startup.failed: residency: the set-up failed with TypeError"]
    assert isinstance(raised, UsageError)


async def test_a_start_that_fails_leaves_nothing_open(serve: Serve) -> None:
    served = serve(polite)
    (served.folder / "audit").write_text("a file where a folder must be")
    sent, raised, _ = await drive(served.app)
    assert (isinstance(raised, JournalFailed), served.runtime.is_open) == (True, False)
    assert sent[0].startswith("lifespan.startup.failed: residency: ")


async def test_a_sink_that_is_away_fails_the_start_by_its_name_and_never_its_url(tmp_path: Path, serve: Serve) -> None:
    secret = f"sqlite+aiosqlite:///{tmp_path}/no/s3cret"
    served = serve(
        polite,
        replace=[
            ('keys: SG, encrypted: true, url: "memory:"', f'keys: SG, encrypted: true, url: "{secret}"'),
            ('keys: VN, encrypted: true, url: "memory:"', 'keys: VN, encrypted: true, url: "sqlite:///./vn.db"'),
        ],
    )
    (tmp_path / "no").write_text("a file where a folder must be")
    sent, _, _ = await drive(served.app)
    assert sent[0].startswith("lifespan.startup.failed: residency: sink 'sg'")
    assert "s3cret" not in sent[0]
    assert not served.runtime.is_open
    answer = await served.call()
    assert (answer.status, json.loads(answer.body)["reason"]) == (503, "sink_unavailable")
    assert b"s3cret" not in answer.body


async def test_two_middlewares_may_share_a_runtime_that_was_built_before(serve: Serve) -> None:
    runtime = build(serve(polite).file, env={})
    assert isinstance(runtime, Residency)
    outer = ResidencyMiddleware(polite, policy=runtime)
    assert (await drive(outer))[0][0] == "lifespan.startup.complete"
