"""A SELECT in; its rows from every sink of a store that may be read, in one order, page by page, out.

    async with residency.gather("people") as people:
        page = await people.scalars(select(Person).order_by(Person.name), limit=50, cursor=cursor)
    page.items, page.cursor, page.partial, page.missing

The SELECT is the app's own, with an ORDER BY and without LIMIT. Each sink is read by a routed session of its own, which
is one act there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from sqlalchemy import Select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession

from residency.adapters.session_sql import RoutedSession
from residency.enforcement.context import current
from residency.errors import UsageError
from residency.integrations.paged_select import PagedSelect, Whose, paged
from residency.integrations.related import Related, check_named
from residency.policy.parsed_storage import RecordDoc
from residency.storage.gather import Gathering, Listing, Page
from residency.storage.handle import StoreHandle, backend_of
from residency.storage.judged import NOBODY
from residency.storage.listed import Found
from residency.storage.under_way import has_been

__all__ = ["RowGathering", "gather"]

_tuple: Final = tuple.__new__
_Select = Select[*tuple[Any, ...]]


@asynccontextmanager
async def gather(store: str, *, wait: float | None = 10.0) -> AsyncIterator[RowGathering]:
    """Lists over every sink of `store`, a store of rows, for the request that this runs in.

    Each sink is decided apart, as of people of its place; one that may not be read, or does not answer within `wait`
    seconds (None = as long as it takes), is missing from the pages, and they say so.

    Raises: NoDecision, UnknownStore, UsageError where the activity is not declared to read, PinsUnavailable.
    """
    here = current()
    moved = here.decision.mode == "observe" and await has_been(here.point.homes, here.point.perception.digest)
    yield RowGathering(Gathering(here, store, wait=wait, moved=moved))


class RowGathering:
    """Pages of rows of several sinks in one order. Objects are detached: what they should bring along is loaded by the
    SELECT's own options."""

    __slots__ = ("_gathering",)

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks that are asked."""
        return self._gathering.sinks

    async def scalars(self, statement: _Select, *, limit: int, cursor: str | None = None) -> Page[Any]:
        """The first column or entity of the next `limit` rows after `cursor`. Raises: as `rows`."""
        return await self._page(statement, limit, cursor, 1)

    async def rows(self, statement: _Select, *, limit: int, cursor: str | None = None) -> Page[tuple[Any, ...]]:
        """The next `limit` rows (1 to 10,000) after `cursor`, which a page before brought; None = the first.

        Raises: UsageError for a SELECT that has no order, has a limit, or is of groups; CallerError for a cursor that
        is not of this list and this caller, which the app answers with 400; where no sink may be read or answers,
        Refused or SinkUnavailable.
        """
        return await self._page(statement, limit, cursor, None)

    def _along(self, plan: PagedSelect, docs: Sequence[RecordDoc]) -> Related | None:
        """What is to be looked at of what comes along with the rows; None where nothing can."""
        gathering = self._gathering
        store, told = gathering.store, plan.is_told(docs)
        sinks = [verdict.sink for verdict in gathering.here.decision.sinks if verdict.sink.name in gathering.sinks]
        alone = len({sink.place for sink in sinks}) < 2
        if told and not alone:
            for name in plan.named:
                check_named(name, {doc.name for doc in docs}, store)
        if not plan.relates:
            return None
        names = {doc.name for doc in docs}
        unnamed = None if told else next((name for name in plan.named if name not in names), None)
        return Related(store, docs, unnamed=unnamed, alone=alone)

    async def _page(self, statement: _Select, limit: int, cursor: str | None, width: int | None) -> Page[Any]:
        plan = paged(statement)
        gathering = self._gathering
        store = gathering.store
        docs = gathering.here.point.policy.deployment.records_at(store, gathering.sinks)
        # What `records:` does not tell of is nobody's, and neither moved nor copied.
        told = plan.is_told(docs)
        binds = gathering.here.decision.mode != "observe"
        along = self._along(plan, docs) if binds and docs else None
        if binds and docs:
            plan.check(docs, store)
        while True:
            twice = told and await gathering.may_repeat()
            whose = plan.whose(docs) if told and (binds or twice) else ()

            async def fetch(
                listing: Listing, after: tuple[Any, ...] | None, count: int, whose: Whose = whose
            ) -> Sequence[Found]:
                chosen = plan.statement(_dialect(listing, store), after, count, whose)
                session = AsyncSession(
                    expire_on_commit=False, sync_session_class=RoutedSession, store=store, sink=listing.sink
                )
                end = plan.width
                async with session:
                    found = _all(await session.execute(chosen))
                    also = await along.whose(session, [row[:end] for row in found]) if along is not None else ()
                told = _found(found, end, width, whose)
                if whose:
                    if not any(also):
                        return told
                    return [each._replace(also=(*each.also, *more)) for each, more in zip(told, also, strict=True)]
                if along is None:
                    return told
                # Rows that are nobody's; what came along with them may be somebody's.
                return [each._replace(whose=NOBODY, also=more) for each, more in zip(told, also, strict=True)]

            page = await gathering.page(
                fetch,
                [each.how for each in plan.order],
                plan.fingerprint,
                limit=limit,
                cursor=cursor,
                judged=told or along is not None,
                whose=bool(whose) and whose[0] is not None,
                twice=twice,
            )
            # Where somebody set out while this was read, it is read again as of then.
            if twice or not told or not await gathering.may_repeat():
                return page


def _all(result: Any) -> Sequence[Any]:
    try:
        return cast(Sequence[Any], result.all())
    except InvalidRequestError as error:
        raise UsageError("a list over several sinks loads collections by selectinload(), not joinedload()") from error


def _found(rows: Sequence[Any], end: int, width: int | None, whose: Whose) -> list[Found]:
    """The rows as pages take them. A call of its own for each, as lists of several tables need, takes eight times as
    long."""
    what = 0 if width == 1 else slice(end)
    if not whose:
        return [_tuple(Found, (row[what], row[end:], None, ())) for row in rows]
    if len(whose) > 1 or whose[0] is None:
        return [_of_several(row, row[what], end, whose) for row in rows]
    return [_tuple(Found, (row[what], row[end:-1], None if (who := row[-1]) is None else str(who), ())) for row in rows]


def _of_several(row: Sequence[Any], item: Any, end: int, whose: Whose) -> Found:
    behind = len(row) - sum(column is not None for column in whose)
    told = iter(row[behind:])
    first, *also = (None if column is None or (each := next(told)) is None else str(each) for column in whose)
    return Found(item, tuple(row[end:behind]), first, tuple(also))


def _dialect(listing: Listing, store: str) -> str:
    handle = listing.store(store)
    sink = backend_of(handle, listing.sink) if isinstance(handle, StoreHandle) else None
    bind = getattr(sink, "bind", None)  # to ask whether it is a `RowSink` takes ten times as long
    if bind is None:
        raise UsageError(f"store {store!r} is no store of rows")
    return str(bind(read_only=True, blocking=False).dialect.name)
