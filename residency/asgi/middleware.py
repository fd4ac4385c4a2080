"""The edge: an ASGI app in, the same app under residency control out. Plain ASGI, no BaseHTTPMiddleware.

http and websocket are decided, lifespan starts and stops the runtime, any other scope type is refused. A set-up that
does not hold never raises into a server that would then serve anyway: lifespan is answered with `startup.failed`, and
every request with 503 and the line to mend.
"""

from __future__ import annotations

import logging
from pathlib import Path
from time import perf_counter_ns

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from residency.asgi.problems import problem, wants_vietnamese
from residency.bootstrap import Residency, build
from residency.enforcement.acts import Current
from residency.enforcement.context import enter, leave
from residency.enforcement.point import Refusal, Request
from residency.errors import (
    AddressDataUnavailable,
    JournalFailed,
    JournalFull,
    KeysUnavailable,
    PinsUnavailable,
    Refused,
    ResidencyError,
    SinkUnavailable,
    SubjectUnknown,
    Unavailable,
)
from residency.model import Reason, RuleRef

__all__ = ["ResidencyMiddleware"]

_log = logging.getLogger("residency")

_REASONS: dict[type[Unavailable], Reason] = {
    JournalFull: Reason.JOURNAL_FULL,
    JournalFailed: Reason.JOURNAL_FAILED,
    SinkUnavailable: Reason.SINK_UNAVAILABLE,
    PinsUnavailable: Reason.PINS_UNAVAILABLE,
    KeysUnavailable: Reason.KEYS_UNAVAILABLE,
    AddressDataUnavailable: Reason.ADDRESS_DATA_UNAVAILABLE,
}


def _reason(error: BaseException) -> Reason:
    return _REASONS.get(type(error), Reason.INTERNAL) if isinstance(error, Unavailable) else Reason.INTERNAL


class ResidencyMiddleware:
    """Wrap any ASGI 3 app: `ResidencyMiddleware(app, policy="policies/deployments/chat-api.yaml")`.

    `policy` is the path of a deployment file, or a runtime already built by `residency.build`. The constructor does
    not raise for a policy that does not hold; see the module's docstring for what happens instead.
    """

    def __init__(self, app: ASGIApp, policy: str | Path | Residency) -> None:
        self.app = app
        self.failure: ResidencyError | None = None
        self.runtime: Residency | None = None
        try:
            self.runtime = policy if isinstance(policy, Residency) else build(policy)
        except ResidencyError as error:
            self._fail(error)

    def _fail(self, error: ResidencyError) -> None:
        self.failure = error
        _log.error("residency is not set up and refuses every request:\n%s", error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http" or kind == "websocket":
            runtime = self.runtime
            if runtime is None:
                await _refuse(scope, receive, send, Reason.SETUP, detail=_mend(self.failure))
                return
            if not runtime.is_open:
                # No lifespan (or a fork) came before this request: open now, once, whatever thread gets here first.
                try:
                    await anyio.to_thread.run_sync(runtime.open)
                except ResidencyError as error:
                    await _refuse(scope, receive, send, _reason(error), detail=_mend(error))
                    return
            await self._decided(runtime, scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            raise RuntimeError(f"residency refuses the unknown ASGI scope type {kind!r}")

    async def _decided(self, runtime: Residency, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter_ns()
        point = runtime.point
        http = scope["type"] == "http"
        path: str = scope["path"]
        if path == runtime.metrics_path and http and scope["method"] in ("GET", "HEAD"):
            await _metrics(runtime, send)
            return
        root = scope.get("root_path", "")
        if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
            path = path[len(root) :] or "/"  # frameworks route on what lies under their root
        try:
            admitted = point.admit(
                Request(
                    scope["method"] if http else "WS",
                    path,
                    scope.get("raw_path"),
                    scope["headers"],
                    scope.get("client"),
                    scope.get("user"),
                )
            )
            if isinstance(admitted, Current) and not admitted.decided:
                admitted = await point.settle(admitted)
            if isinstance(admitted, Refusal) and admitted.seq is not None:
                await point.recorder.durable(admitted.seq)
        except Unavailable as error:
            reason = _reason(error)
            point.metrics.refusal(reason)
            await _refuse(scope, receive, send, reason, detail=str(error))
            return
        point.metrics.overhead((perf_counter_ns() - began) // 1000)
        if admitted is None:
            await self.app(scope, receive, send)
        elif isinstance(admitted, Refusal):
            rules = admitted.decision.rules if admitted.decision is not None else ()
            await _refuse(scope, receive, send, admitted.reason, rules, admitted.message)
        elif admitted.activity.store is None:
            token = enter(admitted)
            try:
                await self.app(scope, receive, send)
            finally:
                leave(token)
        else:
            await self._with_store(admitted, scope, receive, send)

    async def _with_store(self, here: Current, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a route whose acts may still be refused: a refusal that the app lets through becomes a problem."""
        http = scope["type"] == "http"
        started = swallowing = False

        async def watch(message: Message) -> None:
            nonlocal started, swallowing
            if swallowing:
                return
            if message["type"] == "http.response.start":
                # The app's own error handler is about to hide a refusal behind a plain server error.
                if here.refusal is not None and not started and message["status"] >= 500:
                    swallowing = True
                    return
                started = True
            elif message["type"].startswith("websocket."):
                started = True
            await send(message)

        token = enter(here)
        problem_of: tuple[Reason, tuple[RuleRef, ...], str] | None = None
        try:
            await self.app(scope, receive, watch)
        except (Refused, SubjectUnknown):
            if here.refusal is None or (started and http):
                raise  # not one of ours, or too late to answer it: the server ends the response
        except Unavailable as error:
            reason = _reason(error)
            here.point.metrics.refusal(reason)
            problem_of = (reason, (), str(error))
            if started and http:
                raise
        except Exception:
            if not swallowing:
                raise
        finally:
            leave(token)
            here.point.close(here)
        if here.refusal is not None and problem_of is None and not started:
            problem_of = (here.refusal[0], here.refused_rules, here.refusal[2])
        if problem_of is not None and not (started and http):
            await _refuse(scope, receive, send, *problem_of, ran=True, accepted=started)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure = self.failure
        runtime = self.runtime
        if runtime is not None:
            try:
                await runtime.start()
            except ResidencyError as error:
                failure = error
        if failure is not None or runtime is None:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.failed", "message": _mend(failure)})
            return
        try:
            await self.app(scope, receive, send)
        finally:
            await runtime.aclose()


def _mend(failure: ResidencyError | None) -> str:
    return "residency: " + (str(failure) if failure is not None else "not set up")


async def _metrics(runtime: Residency, send: Send) -> None:
    body, content_type = await anyio.to_thread.run_sync(runtime.render_metrics)
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    reason: Reason,
    rules: tuple[RuleRef, ...] = (),
    detail: str = "",
    *,
    ran: bool = False,
    accepted: bool = False,
) -> None:
    """Answer a refusal: a problem document, or for a WebSocket a denial before accept where the server offers it.

    `ran` = the app has run and may have received `websocket.connect`; `accepted` = it has sent something.
    """
    if scope["type"] == "websocket" and accepted:
        await send({"type": "websocket.close", "code": 1008, "reason": reason.value})
        return
    status, headers, body = problem(
        reason, rules, vietnamese=wants_vietnamese(scope["headers"]), detail=detail
    )
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        return
    if not ran:
        await receive()  # websocket.connect
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": reason.value})
