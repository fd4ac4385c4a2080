"""Answers of decided requests in; answers that no shared cache hands to somebody under another decision out.

Where a request came from stands in no header that a cache could compare: a proxy writes X-Forwarded-For on the way in,
after its own look-up. So `Vary` alone keeps nobody apart, and an answer is made private, whatever a framework's default
says of it:

| the app's answer                     | goes out with                                                              |
|--------------------------------------|----------------------------------------------------------------------------|
| no Cache-Control                     | `private`                                                                  |
| `public`, `s-maxage`, `max-age` …    | the same without what is for shared caches, and `private`                  |
| `private` or `no-store`              | the same                                                                   |
| `Residency-Cache: shared`            | the same: the app says in words that it is the same for everybody          |

An ETag carries a mark of the decision and the subject. A reader's that comes back is the app's to see only under the
same mark; else the request is answered in full. So is one that asks by date, for a date carries no mark. A writer's
`If-Match` guards a write and tells nobody anything: it only loses its mark. Only heads are touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from residency.enforcement.current import Current
from residency.policy.parsed import DeploymentDoc
from residency.storage.namespace import decision_of

__all__ = ["Sharing", "kept_private", "sharing_of"]

Headers = Sequence[tuple[bytes, bytes]]
_CONDITIONAL: Final = frozenset({b"if-none-match", b"if-modified-since", b"if-match", b"if-range"})
# What tells shared caches alone what to do, past Cache-Control: Akamai and Fastly, nginx; and CDNs, each of which may
# have a field of its own that ends so (RFC 9213 section 2.3): Cloudflare-CDN-Cache-Control, Netlify's, Vercel's.
_FOR_SHARED: Final = frozenset({b"surrogate-control", b"x-accel-expires", b"edge-control"})
_TARGETED: Final = b"cache-control"
_TOUCHED: Final = _FOR_SHARED | {b"vary", b"etag", b"residency-cache"}
_ANY: Final = re.compile(rb'~r[0-9a-f]{18}"')
_TAG: Final = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_PRIVATE: Final = (b"private", b"no-store")
_SHARED: Final = (b"public", b"s-maxage", b"proxy-revalidate", b"must-understand")


class Sharing:
    """How the answer to one request is kept apart; made where the request was let in, before the app sees it."""

    __slots__ = ("_here", "_mark", "_reads", "_vary")

    def __init__(self, here: Current, method: str, vary: bytes) -> None:
        """`vary` = what the decision reads of a request's headers, as `Vary` has it; b"" = nothing."""
        self._here = here
        self._reads = method in ("GET", "HEAD")
        self._vary = vary
        self._mark: bytes | None = None

    def incoming(self, headers: Headers) -> Headers:
        """The request's headers as the app may see them; the same object where nothing of them is conditional."""
        for name, _ in headers:
            if name in _CONDITIONAL:
                break
        else:
            return headers
        if not self._reads:
            return [(name, _ANY.sub(b'"', value) if name in _CONDITIONAL else value) for name, value in headers]
        mark = self._mark = self._marked()
        # Whose data it is may be said by the app alone, and by then it has answered.
        known = self._here.subject is not None or self._here.activity.subject.kind == "none"
        kept: list[tuple[bytes, bytes]] = []
        ranged = True
        for name, value in headers:
            match name:
                case b"if-none-match" | b"if-range":
                    value = _unmarked(value, mark) if known else b""
                    ranged = ranged and (bool(value) or name == b"if-none-match")
                    if value:
                        kept.append((name, value))
                case b"if-match":
                    kept.append((name, _ANY.sub(b'"', value)))
                case b"if-modified-since":
                    pass
                case _:
                    kept.append((name, value))
        # A part is of use only beside the rest of the same answer.
        return kept if ranged else [pair for pair in kept if pair[0] != b"range"]

    def outgoing(self, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The head of an answer (`http.response.start`) as a shared cache may see it."""
        kept: list[tuple[bytes, bytes]] = []
        found: list[tuple[bytes, bytes]] = []
        for pair in message.get("headers", ()):
            name = pair[0].lower()
            (found if name in _TOUCHED or name.endswith(_TARGETED) else kept).append(pair)
        control = vary = tag = b""
        shared = False
        for name, value in found:
            match name.lower():
                case b"cache-control":
                    control = control + b", " + value if control else value
                case b"vary":
                    vary = vary + b", " + value if vary else value
                case b"etag":
                    tag = value
                case b"residency-cache":
                    shared = value.strip().lower() == b"shared"
                case _:
                    pass
        if message["status"] == 304 and self._mark is not None and self._mark != self._marked():
            # What the client holds was made under another decision than the one that this answer is of.
            head = [(b"content-length", b"0"), (b"cache-control", b"no-store"), (b"retry-after", b"0")]
            return {"type": "http.response.start", "status": 503, "headers": head}
        if shared:
            kept += [pair for pair in found if pair[0].lower() not in (b"residency-cache", b"vary", b"etag")]
        else:
            kept.append((b"cache-control", _private(control) if control else b"private"))
        if vary or self._vary:
            kept.append((b"vary", b", ".join(filter(None, (vary, self._vary)))))
        if tag:
            kept.append((b"etag", _marked_tag(tag, self._marked())))
        return {**message, "headers": kept}

    def _marked(self) -> bytes:
        here = self._here
        parts = (decision_of(here.decision), here.subject_digest, None if here.pin is None else here.pin.version)
        return b"~r" + blake2b(repr(parts).encode(), digest_size=9).hexdigest().encode()


def sharing_of(deployment: DeploymentDoc) -> Callable[[Current, str], Sharing | None]:
    """What keeps the answer to a request of some method apart; None where nothing binds, or where no law, no store and
    no subject could make one answer differ from the next."""
    plain = _read_by(deployment)
    known: dict[str, bytes] = {}

    def of(here: Current, method: str) -> Sharing | None:
        activity = here.activity
        source = activity.subject
        # A reload may bring the first law.
        lawless = not here.point.policy.deployment.laws
        if here.decision.mode == "observe" or (lawless and source.kind == "none" and not activity.stores):
            return None
        own = source.name.lower() if source.kind == "header" else ""
        if own not in known:
            known[own] = ", ".join(dict.fromkeys((*plain, own) if own else plain)).encode()
        return Sharing(here, method, known[own])

    return of


def _read_by(deployment: DeploymentDoc) -> tuple[str, ...]:
    """The headers of a request that every decision reads."""
    signals = deployment.signals
    names: list[str] = []
    if signals.identity.jwt is not None:
        names.append(signals.identity.jwt.header)
    if signals.identity.user is not None or signals.identity.callable is not None:
        names += ["authorization", "cookie"]
    if signals.identity.session is not None:
        names.append("cookie")
    address = signals.client_address
    if address.strategy == "server":
        names += ["x-forwarded-for", "forwarded"]
    elif address.strategy != "peer":
        names.append(address.header or "x-forwarded-for")
    return tuple(dict.fromkeys(name.lower() for name in names))


def kept_private(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that another instance gave, for its own client alone: here its URL has other answers."""
    kept: list[tuple[bytes, bytes]] = []
    control: list[bytes] = []
    for name, value in headers:
        low = name.lower()
        if low == b"cache-control":
            control.append(value)
        elif low not in _FOR_SHARED and not low.endswith(_TARGETED):
            kept.append((name, value))
    return [*kept, (b"cache-control", _private(b", ".join(control)))]


@lru_cache(256)  # apps say a handful of different ones
def _private(control: bytes) -> bytes:
    parts = [part.strip() for part in _directives(control)]
    kept = [part for part in parts if part and part.partition(b"=")[0].strip().lower() not in _SHARED]
    # `private="set-cookie"` is of that field alone.
    if not any(part.lower() in _PRIVATE for part in kept):
        kept.insert(0, b"private")
    return b", ".join(kept)


def _directives(control: bytes) -> list[bytes]:
    """The directives of a Cache-Control, of which a quoted one may hold commas."""
    parts: list[bytes] = [b""]
    quoted = False
    for at in range(len(control)):
        sign = control[at : at + 1]
        quoted ^= sign == b'"'
        if sign == b"," and not quoted:
            parts.append(b"")
        else:
            parts[-1] += sign
    return parts


def _marked_tag(tag: bytes, mark: bytes) -> bytes:
    found = _TAG.fullmatch(tag.strip())
    return tag if found is None else (found[1] or b"") + b'"' + found[2] + mark + b'"'


def _unmarked(value: bytes, mark: bytes) -> bytes:
    """The tags of a header that carry this mark, without it; b"" where none does."""
    kept = [
        (weak or b"") + b'"' + tag.removesuffix(mark) + b'"'
        for weak, tag in _TAG.findall(value[:8192])
        if tag.endswith(mark)
    ]
    return b", ".join(kept)
