"""A server's lifespan scope in; the runtime started before the app and let go after it.

A set-up that does not hold is answered `startup.failed`, so that no server serves without it. For an app that takes no
lifespan and returns at once we stand in, since the runtime needs one. An app that raises tells the server that there is
no lifespan; that word goes through, and the first request starts the runtime anew.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from residency.asgi.answers import mend
from residency.asgi.server_settings import check_server
from residency.bootstrap import Residency
from residency.errors import PolicyError, ResidencyError, UsageError

__all__ = ["serve_lifespan", "start"]

_ENDED: Final = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


async def start(runtime: Residency) -> None:
    """Start `runtime` on the server that runs this call, if that leaves the peer as the strategy needs it.

    Raises: PolicyError where it does not; as `Residency.start`.
    """
    problem = check_server(runtime.strategy.name)
    if problem is not None:
        where = ("signals", "client_address", "strategy")
        raise PolicyError((runtime.deployment.source.problem(where, problem),))
    await runtime.start()


async def serve_lifespan(
    app: ASGIApp, runtime: Residency | None, failure: Exception | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve one lifespan. `runtime` None = the set-up failed with `failure`.

    Raises: what kept the runtime from starting, once the server has been told; what the app raises.
    """
    if runtime is not None:
        try:
            await start(runtime)
        except Exception as error:  # noqa: BLE001 - a server takes what is raised here for "no lifespan", and serves
            failure = error
            await runtime.aclose()
    if runtime is None or failure is not None:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.failed", "message": mend(failure)})
        # As frameworks do: a test client tells of a start that failed by what is raised here.
        raise failure if isinstance(failure, ResidencyError) else UsageError(mend(failure))
    try:
        await _with_app(app, runtime, scope, receive, send)
    finally:
        await runtime.aclose()


async def _with_app(app: ASGIApp, runtime: Residency, scope: Scope, receive: Receive, send: Send) -> None:
    received = told = False

    async def listen() -> Message:
        nonlocal received
        message = await receive()
        received = True
        return message

    async def tell(message: Message) -> None:
        nonlocal told
        told = True
        if message["type"] in _ENDED:
            # A server that is told so ends at once, and what is recorded would wait for the next start to be published.
            await runtime.aclose()
        await send(message)

    await app(scope, listen, tell)
    if told:
        return
    if not received:
        await receive()  # lifespan.startup
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await tell({"type": "lifespan.shutdown.complete"})
