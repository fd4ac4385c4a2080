"""A refusal or an error in, what the client is sent out: a problem document, or a WebSocket's denial or close."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

from residency.asgi.problems import problem, wants_vietnamese
from residency.enforcement.request import Refusal
from residency.enforcement.trail import REASONS
from residency.errors import PolicyError, Refused, ResidencyError, SubjectUnknown, Unavailable
from residency.model import STATUS, Reason

__all__ = ["mend", "ours", "refuse", "unready", "warning"]

_POLICY_VIOLATION: Final = 1008  # RFC 6455 section 7.4.1
_TRY_AGAIN_LATER: Final = 1013  # the IANA registry of close codes

_WAYS_OUT: Final = {
    Reason.PEER_REWRITTEN: "run uvicorn with --no-proxy-headers, or say `client_address: {strategy: server}`",
    Reason.DEV_NOT_LOOPBACK: "take `dev:` out of the deployment file where others than this machine are served",
}


def warning(refusal: Refusal) -> str | None:
    """What the server's log says of a refusal that is neither the law's nor the caller's doing; None for those."""
    if STATUS[refusal.reason] != 503:
        return None
    told = ": ".join(filter(None, (refusal.message, _WAYS_OUT.get(refusal.reason))))
    return f"requests are refused ({refusal.reason.value}){': ' if told else ''}{told}"


def ours(error: BaseException | None) -> Refused | SubjectUnknown | Unavailable | None:
    """The error of ours that `error` is, or that a group of nothing else holds; None for an error of the app's."""
    if isinstance(error, Refused | SubjectUnknown | Unavailable):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [ours(each) for each in error.exceptions]
        return found[0] if all(each is not None for each in found) else None
    return None


def unready(failure: Exception | None) -> Refusal:
    """The refusal of a request where the set-up does not hold."""
    reason = REASONS.get(type(failure), Reason.SETUP)
    if isinstance(failure, PolicyError):
        # A client may see the line to mend, not where on this machine the file lies.
        told = (f"{p.file.rpartition('/')[2]}:{p.line}:{p.column}: {p.message}" for p in failure.problems)
        return Refusal(reason, message="residency: " + "\n".join(told))
    return Refusal(reason, message=mend(failure))


def mend(failure: Exception | None) -> str:
    """What to mend, for the operator. Of an error that is not ours only its kind: its text may hold anything."""
    if isinstance(failure, ResidencyError):
        return f"residency: {failure}"
    return (
        f"residency: the set-up failed with {type(failure).__name__}"
        if failure is not None
        else "residency: not set up"
    )


async def refuse(
    scope: Scope, receive: Receive, send: Send, refusal: Refusal, *, ran: bool = False, accepted: bool = False
) -> None:
    """Answer `refusal`: a problem document, or for a WebSocket a denial before accept where the server offers it.

    `ran` = the app has run, so `websocket.connect` may have been received; `accepted` = the WebSocket is open.
    """
    reason = refusal.reason
    status, headers, body = problem(
        reason, refusal.rules, vietnamese=wants_vietnamese(scope["headers"]), detail=refusal.message
    )
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        return
    if not ran:
        await receive()  # websocket.connect
    if not accepted and "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        code = _TRY_AGAIN_LATER if status == 503 else _POLICY_VIOLATION
        await send({"type": "websocket.close", "code": code, "reason": reason.value})
