"""The edge: an ASGI app in, the same app under residency control out. Plain ASGI, no BaseHTTPMiddleware.

http and websocket are decided, lifespan starts and stops the runtime, any other scope type is refused. A set-up that
does not hold never raises into a server that would then serve anyway: lifespan is answered with `startup.failed`, and
every request with 503 and the line to mend.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from time import monotonic, perf_counter_ns
from typing import Final

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from residency.asgi.answers import mend, ours, refuse, unready, warning
from residency.asgi.hand_over import HandOver
from residency.asgi.labels import LABELLED, labelled
from residency.asgi.lifespan import serve_lifespan, start
from residency.asgi.routing import Router, override, target
from residency.asgi.sharing import Sharing, sharing_of
from residency.bootstrap import Residency, build
from residency.enforcement.context import enter, leave
from residency.enforcement.current import Current
from residency.enforcement.point import Unasked
from residency.enforcement.refusing import refuse_as
from residency.enforcement.request import Refusal, Request
from residency.enforcement.trail import unavailable
from residency.errors import (
    JournalLate,
    Refused,
    ResidencyError,
    SinkUnavailable,
    SubjectUnknown,
    Unavailable,
    UsageError,
)
from residency.model import Reason

__all__ = ["ResidencyMiddleware"]

_log = logging.getLogger("residency")
# "WS" names WebSockets in routes; an HTTP request whose method is spelled so must not pass for one.
_NOT_A_WEBSOCKET: Final = "HTTP-WS"
_HEADS: Final = frozenset({"http.response.start", "websocket.http.response.start"})
_WARNINGS: Final = 64  # different ones remembered, so that the same one is not logged again and again …
_AGAIN: Final = 60.0  # seconds … but once in so long: the next outage is told too


class ResidencyMiddleware:
    """Wrap any ASGI 3 app: `ResidencyMiddleware(app, policy="policies/deployments/chat-api.yaml")`.

    `policy` is the path of a deployment file, or a runtime already built by `residency.build`. The constructor does
    not raise for a policy that does not hold; see the module's docstring for what happens instead.
    """

    def __init__(self, app: ASGIApp, policy: str | Path | Residency) -> None:
        self.app = app
        self.failure: Exception | None = None
        self.runtime: Residency | None = None
        self._router = Router(app)
        self._told = ""
        self._warned: dict[str, float] = {}
        self._hand_over: HandOver | None = None
        try:
            runtime = policy if isinstance(policy, Residency) else build(policy)
            if runtime.deployment.hand_over:
                self._hand_over = HandOver(
                    runtime.deployment,
                    runtime.strategy,
                    runtime.judging,
                    lambda name: name in runtime.stores.misplaced,
                    lambda: runtime.point.policy.deployment.activities,
                )
            self.runtime = runtime
        except Exception as error:  # noqa: BLE001 - frameworks build us lazily, inside a server that goes on serving
            self._fail(error)
        else:
            # What the deployment says its framework is; else whatever is found.
            self._router = Router(app, runtime.deployment.framework)
            self._sharing = sharing_of(runtime.deployment)

    def _fail(self, error: Exception) -> None:
        self.failure = error
        if mend(error) != self._told:  # not once for every request
            self._told = mend(error)
            _log.error("requests are refused until this is mended:\n%s", self._told)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http" or kind == "websocket":
            runtime = self.runtime
            if runtime is None:
                await refuse(scope, receive, send, unready(self.failure))
                return
            if not runtime.is_ready:
                # No lifespan (or a fork) came before this request: start now, once, whoever gets here first.
                try:
                    await start(runtime)
                except Exception as error:  # noqa: BLE001 - whatever it was, the promise cannot be kept now
                    self._fail(error)
                    await refuse(scope, receive, send, unready(error))
                    return
            await self._decided(runtime, scope, receive, send)
        elif kind == "lifespan":
            await serve_lifespan(self.app, self.runtime, self.failure, scope, receive, send)
        else:
            if self.runtime is not None and self.runtime.is_ready:
                self.runtime.point.refuse_scope()
            raise UsageError("residency refuses an ASGI scope whose type is not http, websocket or lifespan")

    async def _decided(self, runtime: Residency, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter_ns()
        point = runtime.point
        routing = self._router.routing(scope)
        path, raw_path = target(scope, routing)
        headers = scope["headers"]
        method, also = "WS", None
        if scope["type"] == "http":
            method = scope["method"]
            if path == runtime.metrics_path and method in ("GET", "HEAD"):
                await _metrics(runtime, method, send)
                return
            if len(method) == 2 and method.upper() == "WS":
                method = _NOT_A_WEBSOCKET
            also = override(method, headers)
        get = scope.get
        request = Request(
            method, path, raw_path, headers, get("client"), get("user"), get("session"), routing=routing, also=also
        )
        try:
            try:
                admitted = point.admit(request)
            except JournalLate:
                # A slow disk is waited for, as by who must not be lost at all; one that hangs ends in a refusal.
                await point.recorder.caught_up()
                admitted = point.admit(request)
            if isinstance(admitted, Unasked):
                admitted = await point.ask(admitted, scope)
            if isinstance(admitted, Current) and not admitted.decided:
                admitted = await point.settle(admitted)
            if isinstance(admitted, Refusal) and admitted.seq is not None:
                await point.recorder.durable(admitted.seq)
        except ResidencyError as error:
            admitted = unavailable(error)
            point.metrics.refusal(admitted.reason)
        point.metrics.overhead((perf_counter_ns() - began) // 1000)
        if isinstance(admitted, Current):
            await self._serve(admitted, scope, receive, send)
        elif admitted is None:
            # Nothing is decided on an exempt route, not even where a decided request calls this app in its own task.
            token = enter(None)
            try:
                await self.app(scope, receive, send)
            finally:
                leave(token)
        else:
            await self._refuse(scope, receive, send, admitted)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, refusal: Refusal, *, ran: bool = False, accepted: bool = False
    ) -> None:
        """Answer a refusal, or have the person's own instance answer where there is one; see `answers.refuse`."""
        elsewhere = self._hand_over
        if elsewhere is not None and not accepted and elsewhere.may(scope, refusal, ran=ran):
            try:
                await elsewhere.answer(scope, receive, send, refusal, ran=ran)
                return
            except SinkUnavailable as error:
                refusal, ran = unavailable(error), True  # what was to be received has been
        self._warn(refusal)
        await refuse(scope, receive, send, refusal, ran=ran, accepted=accepted)

    def _warn(self, refusal: Refusal) -> None:
        text = warning(refusal)
        if text is not None and monotonic() - self._warned.get(text, -_AGAIN) >= _AGAIN:  # not for every request
            if len(self._warned) >= _WARNINGS:
                self._warned.clear()
            self._warned[text] = monotonic()
            _log.error("%s", text)

    async def _serve(self, here: Current, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request whose acts may still be refused: a refusal that the app lets through becomes a problem."""
        # One who is known inside the handler only may be handed over from there, while nothing was read: before it is
        # said whose data it is no act begins. Of anybody else it is another person whom the app was refused.
        late = self._hand_over is not None and here.activity.subject.kind == "app"
        started = closed = swallowing = read = False
        hidden: Refused | SubjectUnknown | Unavailable | None = None
        trail = here.trail
        sharing: Sharing | None = None
        if scope["type"] == "http" and (sharing := self._sharing(here, scope["method"])) is not None:
            scope["headers"] = sharing.incoming(scope["headers"])

        async def listen() -> Message:
            nonlocal read
            read = True
            return await receive()

        async def watch(message: Message) -> None:
            nonlocal started, closed, swallowing, hidden
            if swallowing:
                return
            if not started or message["type"] == "websocket.close":
                if _is_failure(message):
                    # The app's own error handler is about to hide a refusal behind a plain server error.
                    error, noted = sys.exception(), trail.refusal
                    hidden = ours(error)
                    # Of what was away (no entry tells it) an app may make an error of its own, where one is seen.
                    if hidden is not None or (noted is not None and (noted.seq is not None or error is None)):
                        swallowing = True
                        return
                started = True
                closed = message["type"] in ("websocket.close", "websocket.http.response.start")
            if message["type"] in LABELLED:
                message = labelled(here, message)
                if sharing is not None:
                    message = sharing.outgoing(message)
            await send(message)

        token = enter(here)
        raised: Exception | None = None
        try:
            await self.app(scope, listen if late else receive, watch)
        except Exception as error:
            if not swallowing and (ours(error) is None or (started and scope["type"] == "http")):
                raise  # an error of the app's own, or too late for another answer: the server ends the response
            raised = error
        finally:
            leave(token)
            _close(here)
        cause = ours(raised) or hidden
        if closed or (cause is None and not swallowing and (started or trail.refusal is None)):
            return
        refusal = await _refusal(here, cause)
        await self._refuse(scope, receive, send, refusal, ran=read or not late, accepted=started)
        if raised is not None and ours(raised) is None:
            raise raised  # an error of the app's own that came on top: the server's log must have it


def _is_failure(message: Message) -> bool:
    """Whether a framework says by it that its app has failed; 1011 is what RFC 6455 has for that."""
    if message["type"] == "websocket.close":
        return bool(message.get("code") == 1011)
    return bool(message["type"] in _HEADS and message["status"] == 500)


async def _refusal(here: Current, cause: Refused | SubjectUnknown | Unavailable | None) -> Refusal:
    """What to answer for `cause`, or where the app has kept silent about it for the last refusal; durable by then."""
    point = here.point
    try:
        if isinstance(cause, Unavailable):
            raise cause
        refusal = here.trail.refusal
        if refusal is None or (refusal.seq is None and cause is not None):
            refusal = refuse_as(here, cause.reason if isinstance(cause, Refused) else Reason.SUBJECT_UNKNOWN)
        if refusal.seq is not None:
            await point.recorder.durable(refusal.seq)
            return refusal
    except Unavailable as failure:
        refusal = unavailable(failure)
    point.metrics.refusal(refusal.reason)
    return refusal


def _close(here: Current) -> None:
    try:
        here.point.close(here)
    except ResidencyError as error:
        # The answer is out, no act was done, and an exception on its way (a cancellation too) must not be replaced.
        _log.error("a request that performed no act left no record: %s", error)


async def _metrics(runtime: Residency, method: str, send: Send) -> None:
    body, content_type = await anyio.to_thread.run_sync(runtime.render_metrics)
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
