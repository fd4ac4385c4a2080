"""Outboxes of homes in; for as long as one is inside, nobody copies from there, out.

By the lease that copiers take, which is renewed meanwhile. Who moves people to where copies go, who erases, and who
withdraws copies would else meet what another has looked at and not yet done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio

from residency.errors import SinkUnavailable
from residency.storage.outbox import Outbox

__all__ = ["still"]

_LEASE: Final = 30.0  # seconds
_PATIENCE: Final = 90.0
_AGAIN: Final = 0.1


@asynccontextmanager
async def still(
    outboxes: Sequence[tuple[str, Outbox]], holder: str, *, needed: str | None = None
) -> AsyncIterator[None]:
    """While inside nothing is copied from these homes (a sink's name, and its outbox), whose leases `holder` takes, a
    name that no other has. `needed` = of the others one that is away holds up nobody.

    Raises: SinkUnavailable where a worker does not let go in time.
    """
    taken = list[tuple[str, Outbox]]()
    try:
        for home, outbox in outboxes:
            try:
                await _take(home, outbox, holder)
            except SinkUnavailable:
                if needed in (None, home):
                    raise
            else:
                taken.append((home, outbox))
        async with anyio.create_task_group() as group:
            group.start_soon(_keep, taken, holder)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_LEASE):
            for _, outbox in outboxes:
                with suppress(SinkUnavailable):
                    await outbox.leave(holder)


async def _take(home: str, outbox: Outbox, holder: str) -> None:
    with anyio.move_on_after(_PATIENCE):
        while not await outbox.lease(holder, _LEASE):  # noqa: ASYNC110 - another process has it
            await anyio.sleep(_AGAIN)
        return
    raise SinkUnavailable(f"sink {home!r}: a worker that makes copies does not let go of its outbox")


async def _keep(outboxes: Sequence[tuple[str, Outbox]], holder: str) -> None:
    while True:
        await anyio.sleep(_LEASE / 3)
        for home, outbox in outboxes:
            if not await outbox.lease(holder, _LEASE):
                raise SinkUnavailable(f"sink {home!r}: its outbox was taken by another worker meanwhile")
