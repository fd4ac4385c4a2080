"""A store's name in, FastAPI dependencies out: a session that opens where the data of this request's subject must lie.

    from residency.integrations.fastapi import session

    People = Annotated[AsyncSession, Depends(session("people"))]

    @app.post("/people")
    async def add(person: NewPerson, people: People) -> None:
        people.add(Person(**person.model_dump()))
        await people.commit()

The handler commits: what a dependency does after its `yield` may come after the answer, which nobody can take back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

from sqlalchemy.ext.asyncio import AsyncSession

from residency.integrations.sqlalchemy import RoutedSession, async_sessionmaker, sessionmaker

__all__ = ["session", "sync_session"]


def session(store: str, *, sink: str | None = None) -> Callable[[], AsyncIterator[AsyncSession]]:
    """A dependency that gives an AsyncSession on `store`; what is not committed is rolled back when it is closed.

    It opens at its first statement, so one that identifies the subject may be asked for before or after it. `sink` asks
    for one of the store's sinks by name. Its errors are those of `sql.async_sessionmaker`.
    """
    make = async_sessionmaker(store, sink=sink)

    async def routed_session() -> AsyncIterator[AsyncSession]:
        async with make() as made:
            yield made

    return routed_session


def sync_session(store: str, *, sink: str | None = None) -> Callable[[], Iterator[RoutedSession]]:
    """As `session`, for endpoints that are no coroutines and so run in a thread."""
    make = sessionmaker(store, sink=sink)

    def routed_session() -> Iterator[RoutedSession]:
        with make() as made:
            yield made

    return routed_session
