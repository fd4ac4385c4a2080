"""What the code inside a request sees: `current()`, `identify()`, `about()`, `about_many()`.

The decision of a request travels in a context variable, so tasks and thread-pool functions that copy the context see
the right one; where there is none, asking is an error and never a default.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar, Token
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING, Final

from residency.errors import NoDecision, UsageError

if TYPE_CHECKING:
    from residency.enforcement.about import Many
    from residency.enforcement.current import Current

__all__ = ["about", "about_many", "check_holder", "current", "enter", "identify", "leave"]

_current: ContextVar[Current | None] = ContextVar("residency_current", default=None)


_DRIVERS: Final = ("contextlib", "starlette.")
"""Who takes values of an async generator and runs no code of the app's meanwhile that is about anybody else."""


def current() -> Current:
    """The newest decision of the request this code runs in. Raises: NoDecision outside a decided request."""
    here = _current.get()
    if here is None:
        raise NoDecision(
            "no request has been decided here: this code runs outside ResidencyMiddleware, on an exempt route, "
            "or in a thread that copied no context (use anyio.to_thread or asyncio.to_thread, not run_in_executor)"
        )
    return here


async def identify(
    subject: str, *, verified: bool = False, collected: datetime | None = None, **claims: object
) -> Current:
    """Say that the person this request is about is `subject`, once the app knows, and decide again.

    `claims` are citizenship, residence, verified_by, age, consents. `verified=True` means the app itself checked them;
    else they count as declared. So do those of a token that names another subject than this one, and nothing it proves
    (a phone, an age) is proven of this one: say it here. Data of somebody else than the one who asks is for `about`.

    `collected` (with a time zone) is when the data was collected that this request is about, for laws that go by it;
    None = not known, or as said before of this subject.

    Raises: NoDecision, UsageError for an unknown claim, no id or no instant, Refused where the new decision forbids
    the activity, PinsUnavailable; then, but for Refused, the decision is the one before.
    """
    here = current()
    with here.trail:
        await here.identify(subject, claims, verified=verified, collected=collected)
    return here


@asynccontextmanager
async def about(
    subject: str | None = None, *, row: object = None, store: str | None = None, collected: datetime | None = None
) -> AsyncIterator[Current]:
    """Judge what happens inside by `subject`, whose data it is, not by the caller who asks; or by whoever's `row` is.

    `row` is (record, key) or an instance of a mapped class, of `store` (None = the activity's one).

    Only the subject's own pin speaks: the caller's address and claims say nothing of someone else. A subject
    without a pin is silent on every anchor, so `presume:` decides. `collected` is as in `identify`.

    Raises: NoDecision, UsageError where `subject` is no id, `row` no row or `collected` no instant, or as
    `check_holder`, NotFound where nobody has that row, Refused, PinsUnavailable, SinkUnavailable where the locator
    does not answer.
    """
    check_holder()
    if (subject is None) is (row is None):
        raise UsageError("about() takes a subject or a row")
    here = current()
    with here.trail:
        if subject is not None:
            other = await here.about(subject, collected=collected)
        else:
            other = await here.about_row(row, store, collected=collected)
    token = enter(other)
    try:
        yield other
    finally:
        leave(token)


async def about_many(
    subjects: Iterable[str] = (),
    *,
    rows: Iterable[object] = (),
    store: str | None = None,
    collected: datetime | None = None,
) -> Many:
    """As `about`, of many subjects and rows of `store` at once, grouped by the sink that their data lies in.

        many = await about_many(ids)
        for group in many.groups:
            async with group, Session() as session:
                rows = await session.scalars(select(Person).where(Person.id.in_(group.asked)))

    Who is refused and what nobody has stand in `many.refused` and `many.unknown`. Each subject leaves entries of their
    own. Raises: as `about`, but for these two.
    """
    here = current()
    with here.trail:
        return await here.about_many(subjects, rows, store, collected=collected)


def check_holder() -> None:
    """Refuse to change what `current()` answers from inside an async generator: it has no context of its own (PEP 568
    was deferred), so between two of its values whoever iterates over it would act under that decision.

    Generators that are context managers, as dependencies of FastAPI are, and bodies of responses may. Raises:
    UsageError.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _name(frame).startswith(("residency.enforcement.", "contextlib")):
        frame = frame.f_back
    driver = frame.f_back
    if not frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR or driver is None:
        return
    if not _name(driver).startswith(_DRIVERS):
        raise UsageError(
            "about() inside an async generator would hold for the code that iterates over it, too: "
            "let the generator give whose data it is, and open about() where the values are used"
        )


def _name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def enter(value: Current | None) -> Token[Current | None]:
    """Make `value` what `current()` answers in this context, until `leave`; None = nothing has been decided here."""
    return _current.set(value)


def leave(token: Token[Current | None]) -> None:
    """Undo `enter`, in the same context."""
    _current.reset(token)
