"""A request that this instance may not serve in; a redirect to the person's own instance, or that one's answer, out.

Nothing of a body is kept: a redirect reads none of it, a proxied one goes through memory piece by piece. A request is
handed over once: one that another instance handed over here is refused, as the `Via` of RFC 9110 section 7.6.3 tells.
One that comes back after a redirect, again and again, is refused too: `hops` counts it. So is one whose home is not
where it must be.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.types import Message, Receive, Scope, Send

from residency.asgi.hops import MOST, cookie_of, counted
from residency.asgi.sharing import kept_private
from residency.enforcement.request import Refusal
from residency.errors import PolicyError, SinkUnavailable, UsageError
from residency.model import Activity
from residency.policy.parsed import DeploymentDoc, hand_over_name
from residency.policy.parsed_storage import HandOverDoc
from residency.signals.peer import ClientAddress, Strategy
from residency.storage.services import check_target
from residency.wiring.signals import trusted_ranges
from residency.wiring.storage import Judging

if TYPE_CHECKING:
    from residency.adapters.forward import Forward, Judge

__all__ = ["HandOver", "forwarded"]

_MARK: Final = "residency-"
"""What the pseudonyms of our instances in `Via` begin with."""
_OURS: Final = frozenset(
    {
        b"host", b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"expect",
        b"connection",
    }
)  # fmt: skip
"""Headers that are made anew, and the one that says which others are of the client's own connection."""
_UNSAFE: Final = re.compile(rb"[\r\n\0]")
"""What ends a header in HTTP/1.1, or may; over HTTP/2 servers have let it through."""
Headers = list[tuple[bytes, bytes]]


class HandOver:
    """The instances that serve other places' people, by place."""

    def __init__(
        self,
        deployment: DeploymentDoc,
        strategy: Strategy,
        judging: Judging | None = None,
        misplaced: Callable[[str], bool] = lambda name: False,
        activities: Callable[[], Iterable[Activity]] = tuple,
    ) -> None:
        """`strategy` finds whom home is told of; `judging` judges where each new connection leads, None = that is not
        asked; `misplaced` says of an instance, by the name that it is told by, that it may be handed nobody now;
        `activities` are those that are in force.

        Raises: PolicyError where requests are to be proxied and what that needs is not installed.
        """
        self._homes: Mapping[str, HandOverDoc] = deployment.hand_over
        self._strategy = strategy
        self._activities = activities
        told = deployment.signals.client_address
        self._gateways = trusted_ranges(told)
        self._single = (told.header or "").encode() if told.strategy == "single_header" else None
        self._misplaced = misplaced
        self._judges = {} if judging is None else {place: _judge(place, judging(place)) for place in self._homes}
        self._via = f"1.1 {_MARK}{''.join(c if c.isalnum() else '-' for c in deployment.audit.origin)}"
        self._forward: Forward | None = None
        if any(home.how == "proxy" for home in self._homes.values()):
            try:
                from residency.adapters.forward import Forward  # an optional extra
            except ImportError as error:
                what = "`how: proxy` needs the extra `http`: pip install 'residency[http]'"
                raise PolicyError((deployment.source.problem(("hand_over",), what),)) from error
            self._forward = Forward()

    def may(self, scope: Scope, refusal: Refusal, *, ran: bool) -> bool:
        """Whether a refused request is handed over; `ran` = the app has begun to read it."""
        home, path = self._homes.get(refusal.home or ""), _path(scope)
        if home is None or path is None or not _is_visible(scope.get("query_string", b"")):
            return False
        if any(_UNSAFE.search(part) for pair in scope["headers"] for part in pair):
            return False
        if any(_MARK.encode() in value for name, value in scope["headers"] if name.lower() == b"via"):
            return False
        if home.how == "redirect":
            return scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {})
        # Who may be one of several is told to nobody as unknown: home would presume where they are.
        return not ran and _stays_below(path) and not self._client(scope).either

    async def answer(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal, *, ran: bool = False) -> None:
        """Answer with a redirect, or with what the person's own instance answers.

        Raises: SinkUnavailable where that gives none, sends this request back here, or does not lie where it must; then
        nothing was sent.
        """
        place = refusal.home or ""
        home, judge = self._homes[place], self._judges.get(place)
        if self._misplaced(hand_over_name(place)):
            if scope["type"] == "websocket" and not ran:
                await receive()  # websocket.connect
            raise SinkUnavailable(f"the instance of {place} is not used now: it is not shown to lie there")
        target = home.url.rstrip("/").encode() + (_path(scope) or b"/")
        if scope.get("query_string"):
            target += b"?" + scope["query_string"]
        if home.how == "redirect" or self._forward is None:
            await _redirect(scope, receive, send, target, ran=ran)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": kept_private(message["headers"])}
            await send(message)

        send_on = self._forward.http if scope["type"] == "http" else self._forward.websocket
        await send_on(scope, receive, sent, target.decode("ascii"), self._headers(scope), judge)

    def _headers(self, scope: Scope) -> Headers:
        """As `forwarded`; of what a gateway alone may say, nothing that anybody else did: home takes this instance for
        a gateway."""
        client, peer = self._client(scope), scope.get("client")
        headers = forwarded(scope, client, self._via)
        if peer is None or self._gateways is None or not self._gateways.contains(peer[0]):
            named = (each.subject for each in self._activities())
            theirs = {subject.name.lower().encode("latin-1") for subject in named if subject.kind == "header"}
            headers = [pair for pair in headers if pair[0] not in theirs]
        if self._single is not None:
            headers = [pair for pair in headers if pair[0] != self._single]
            headers += [(self._single, client.address.encode("ascii"))] if client.address is not None else []
        return headers

    def _client(self, scope: Scope) -> ClientAddress:
        return self._strategy.client(scope.get("client"), scope["headers"])


def _judge(place: str, elsewhere: Callable[[str], bool]) -> Judge:
    def judge(address: str) -> None:
        if elsewhere(address):
            raise SinkUnavailable(f"the instance of {place} has an address in another country than it says")

    return judge


async def _redirect(scope: Scope, receive: Receive, send: Send, target: bytes, *, ran: bool) -> None:
    # 307 keeps method and body. It is not 308: a person's home may change, and a browser would remember.
    headers: Headers = [(b"location", target), (b"cache-control", b"no-store"), (b"content-length", b"0")]
    if scope["type"] == "http":
        method = scope["method"]
        count, since = counted(scope["headers"], method, target, int(time.time()))
        if count >= MOST:
            raise SinkUnavailable("the instances of this deployment send this request to each other")
        # A cookie that is marked as secure is not taken without TLS.
        headers.append((b"set-cookie", cookie_of(method, target, count, since, secure=_is_secure(scope))))
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    headers[0] = (b"location", b"ws" + target.removeprefix(b"http"))
    if not ran:
        await receive()  # websocket.connect
    start: Message = {"type": "websocket.http.response.start", "status": 307, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": b""})


def forwarded(scope: Scope, client: ClientAddress, via: str) -> Headers:
    """The headers of a request as a proxy sends them on: who asked, by which scheme and under which name, told in the
    `X-Forwarded-*` headers and in `Forwarded`. Of who asked home is told what was found here, and no list: its proxies
    are not home's, and the client began it. What the client's `Connection` names is left out, before ours are added:
    else a client could take out who asked, and that the request was handed over once."""
    given: Headers = [(name.lower(), value) for name, value in scope["headers"]]
    named = {word.strip().lower() for name, value in given if name == b"connection" for word in value.split(b",")}
    headers = [pair for pair in given if pair[0] not in _OURS and pair[0] not in named]
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) > 1:  # HTTP/2 splits them, and before it there is one line (RFC 9113 section 8.2.3)
        headers = [pair for pair in headers if pair[0] != b"cookie"]
        headers.append((b"cookie", b"; ".join(cookies)))
    address = (client.address or "unknown").encode("ascii")
    headers.append((b"x-forwarded-for", address))
    headers.append((b"forwarded", b'for="[%s]"' % address if b":" in address else b'for="%s"' % address))
    headers.append((b"x-forwarded-proto", b"https" if _is_secure(scope) else b"http"))
    headers += [(b"x-forwarded-host", value) for name, value in given if name == b"host"]
    seen = [value for name, value in given if name == b"via"]
    headers.append((b"via", b", ".join((*seen, via.encode("ascii", "replace")))))
    return headers


def _is_secure(scope: Scope) -> bool:
    """Whether this server, or one before it, speaks TLS with the client."""
    return scope.get("scheme") in ("https", "wss") or (b"x-forwarded-proto", b"https") in scope["headers"]


def _stays_below(path: bytes) -> bool:
    """Whether a path leads nowhere but below the URL that it is put behind, whoever reads it on the way."""
    try:
        check_target(path.decode("ascii"))
    except UsageError:
        return False
    return True


def _path(scope: Scope) -> bytes | None:
    """The path as the client wrote it, None where it is none: an absolute form would name another host."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    raw = raw.partition(b"?")[0]  # some servers leave the query in
    return raw if raw.startswith(b"/") and _is_visible(raw) else None


def _is_visible(part: bytes) -> bool:
    """Whether a part of a target is that in HTTP/1.1 too: over HTTP/2 it could hold the end of a line, and servers have
    let that through."""
    return part.isascii() and part.decode().isprintable() and b" " not in part
