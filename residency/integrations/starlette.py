"""A store's name in, a decorator for Starlette endpoints out that hands them a session where the data must lie.

from residency.integrations.starlette import with_session

@with_session("people")
async def add(request: Request, people: AsyncSession) -> Response:
    people.add(Person(**await request.json()))
    await people.commit()
    return Response(status_code=201)
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from residency.integrations.sqlalchemy import async_sessionmaker, sessionmaker

__all__ = ["with_session"]


def with_session(store: str, *, sink: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give an endpoint a session on `store` behind its request: an AsyncSession, or a Session where it is no coroutine.

    The endpoint commits; what is not committed is rolled back. `sink` asks for one of the store's sinks by name. Errors
    are those of `sql.async_sessionmaker`.
    """
    make, make_sync = async_sessionmaker(store, sink=sink), sessionmaker(store, sink=sink)

    def decorate(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(endpoint):

            @wraps(endpoint)
            async def on_loop(*arguments: Any, **named: Any) -> Any:
                async with make() as session:
                    answer: Awaitable[Any] = endpoint(*arguments, session, **named)
                    return await answer

            return on_loop

        @wraps(endpoint)
        def in_thread(*arguments: Any, **named: Any) -> Any:
            with make_sync() as session:
                return endpoint(*arguments, session, **named)

        return in_thread

    return decorate
