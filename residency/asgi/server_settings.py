"""The server's settings in; why they do not go with the client address strategy out, or nothing.

Strategies need the socket's own peer. uvicorn replaces it (`scope["client"]`) by what X-Forwarded-For says when the
peer is one that it trusts, which is loopback if nobody says otherwise; UvicornWorker under gunicorn does the same.
Daphne does so when told to, and takes the leftmost address, which any client writes. Hypercorn, granian and gunicorn's
own worker leave the peer alone; the first two have proxy middlewares to put in by hand, which leave port 0, and that
every request is asked for.

The settings are read off the stack: whoever runs the event loop stands below everything that runs on it. Nothing is
imported for that, and no other server that happens to live in the process is mistaken for ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from types import FrameType
from typing import Final

__all__ = ["Rewriting", "ServerSettings", "check_server", "rewriting", "running"]

_ENV: Final = "FORWARDED_ALLOW_IPS"
_EVERYBODY: Final = "*"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What one server does about the peer: whether it rewrites at all, and for which peers (`*` is every one)."""

    server: str
    rewrites: bool
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Why a strategy and a server do not go together, and what to do about it."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.mend}"


def rewriting(strategy: str, env: Mapping[str, str], settings: Sequence[ServerSettings]) -> Rewriting | None:
    """Why `strategy` cannot hold on a server started like this, with the mending; None where it can.

    With `server` the peer may be rewritten, but not at anybody's word. `peer` bears a server that believes loopback
    only, uvicorn's default: each request is still asked whether its peer was rewritten.
    """
    listed = _items(env.get(_ENV, ""))
    allowed = [*listed, *(item for each in settings if each.rewrites for item in each.allowed)]
    if strategy == "server":
        if any(map(_is_everybody, allowed)):
            return Rewriting(
                "strategy `server` on a server that believes X-Forwarded-For from everybody, so that any client can "
                "write its own address",
                "list your proxies in --forwarded-allow-ips or FORWARDED_ALLOW_IPS, or use rightmost_trusted_range",
            )
        return None
    needs = f"strategy `{strategy}` needs the socket's own peer, and"
    if listed:
        return Rewriting(
            f"{needs} {_ENV} lets the server rewrite it",
            f"unset {_ENV} and run uvicorn with --no-proxy-headers, or say `strategy: server`",
        )
    for each in settings:
        beyond = not all(map(_is_loopback, each.allowed))
        if each.rewrites and each.allowed and (beyond or strategy != "peer"):
            return Rewriting(
                f"{needs} {each.server} rewrites it for "
                + ("its trusted proxies" if beyond else "this machine's proxies"),
                "switch that off (uvicorn: --no-proxy-headers), or say `strategy: server`",
            )
    return None


def check_server(strategy: str) -> str | None:
    """`rewriting` for this process's environment and the server that runs this very call.

    To be called where the app is called, on the event loop's thread: elsewhere no server is to be seen.
    """
    problem = rewriting(strategy, os.environ, running())
    return None if problem is None else str(problem)


def running() -> tuple[ServerSettings, ...]:
    """The settings of the servers whose code stands below the caller on the stack; of none that we know of, none."""
    found: dict[ServerSettings, None] = {}
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self") if frame.f_code.co_varnames[:1] == ("self",) else None
        if owner is not None and (settings := _settings(owner)) is not None:
            found[settings] = None
        frame = frame.f_back
    return tuple(found)


def _settings(owner: object) -> ServerSettings | None:
    package = type(owner).__module__.partition(".")[0]
    if package == "daphne":
        header = getattr(owner, "proxy_forwarded_address_header", None)
        return ServerSettings("daphne", header is not None, (_EVERYBODY,)) if hasattr(owner, "run") else None
    if package == "uvicorn" and hasattr(owner, "trusted_hosts"):  # its middleware, which an app may put in itself too
        return ServerSettings("uvicorn", True, _believed(owner.trusted_hosts))
    config = getattr(owner, "config", None)
    if config is None or type(config).__module__.partition(".")[0] != "uvicorn":
        return None
    allowed_ips: str | Iterable[str] = config.forwarded_allow_ips
    return ServerSettings("uvicorn", bool(config.proxy_headers), tuple(sorted(_items(allowed_ips))))


def _believed(hosts: object) -> tuple[str, ...]:
    kinds = [getattr(hosts, kind, ()) for kind in ("trusted_literals", "trusted_hosts", "trusted_networks")]
    told = sorted({str(item) for kind in kinds for item in kind} - {""})
    # A version that says it otherwise may believe anybody, for all that can be told.
    known = hasattr(hosts, "trusted_networks") and not getattr(hosts, "always_trust", True)
    return tuple(told) if known else (_EVERYBODY,)


def _items(allowed: str | Iterable[str]) -> tuple[str, ...]:
    texts = allowed.split(",") if isinstance(allowed, str) else allowed
    return tuple(filter(None, (text.strip() for text in texts)))


def _is_everybody(item: str) -> bool:
    return item == _EVERYBODY or item.endswith("/0")  # if all are trusted, the leftmost is the one left


def _is_loopback(item: str) -> bool:
    try:
        return ip_network(item, strict=False).is_loopback
    except ValueError:
        return item == "localhost"
