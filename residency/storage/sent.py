"""Keys of one home in; which of them were ever sent to a sink abroad, marked at home before the first byte goes, out.

Who asks a sink abroad for a key has told it the key. So a key is asked for there only if its copy may be made now, or
if its mark says that it was sent. A mark holds a digest, lies beside the data, and goes once nothing of its key is
there any more. Where nobody knows what was sent, since copies were made before there were marks or the marks were lost,
the sink is asked for its own list, which tells it nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection
from typing import Final, NamedTuple, Protocol

from residency.model import Sink
from residency.storage.copied import Key
from residency.storage.fitting import Fitting, weight
from residency.storage.outbox import Deciding, Outbox, Target
from residency.storage.records import KeyedRecords

__all__ = ["Elsewhere", "Marks", "Sent", "learn"]

_PAGE: Final = 200  # subjects


class Marks(Protocol):
    """Marks in one home, each an id of 64 hex digits. Raises: SinkUnavailable."""

    async def read(self, ids: Collection[str]) -> frozenset[str]:
        """Those of these that are there."""

    async def write(self, ids: Collection[str]) -> None:
        """Make these, which may be there already; durable when it returns."""

    async def forget(self, ids: Collection[str]) -> None:
        """Remove these, which may not be there."""


class Sent:
    """What was ever sent of one store from one home, by the sink it was sent to."""

    __slots__ = ("_marks", "_store")

    def __init__(self, store: str, marks: Marks) -> None:
        self._store = store
        self._marks = marks

    async def among(self, target: str, keys: Collection[Key]) -> frozenset[Key] | None:
        """Those of these that were sent to `target` (a sink's name) and may lie there; None = nobody knows what was
        sent before. Raises: SinkUnavailable."""
        known = self._known(target)
        ids = {self._id(target, key): key for key in keys}
        found = await self._marks.read([known, *ids])
        return None if known not in found else frozenset(ids[each] for each in found if each != known)

    async def mark(self, target: str, keys: Collection[Key]) -> None:
        """These are about to be sent; durable when it returns. Raises: SinkUnavailable."""
        if keys:
            await self._marks.write([self._id(target, key) for key in keys])

    async def unmark(self, target: str, keys: Collection[Key]) -> None:
        """Nothing of these lies there any more. Raises: SinkUnavailable."""
        if keys:
            await self._marks.forget([self._id(target, key) for key in keys])

    async def learned(self, target: str) -> None:
        """From now on the marks tell all that was ever sent there. Raises: SinkUnavailable."""
        await self._marks.write([self._known(target)])

    async def doubt(self, target: str) -> None:
        """Perhaps the marks do not tell all: the sink is asked for its list again. Raises: SinkUnavailable."""
        await self._marks.forget([self._known(target)])

    def _id(self, target: str, key: Key) -> str:
        return _digest("sent", self._store, target, *key)

    def _known(self, target: str) -> str:
        return _digest("known", self._store, target)


class Elsewhere(NamedTuple):
    """Another home of a store: its records, its outbox, and what was sent from there."""

    records: KeyedRecords
    outbox: Outbox
    sent: Sent


async def learn(
    sent: Sent, target: Target, home: Sink, deciding: Deciding, keep: Callable[[], Awaitable[bool]] | None
) -> bool:
    """Mark what `target` itself lists as copies of ours, of people whose home is `home` or of whom nothing is known;
    whether it came to the end, for the outbox was ours all along.

    Raises: SinkUnavailable, and as `Deciding`.
    """
    after, fit = "", Fitting(_PAGE)
    while subjects := await target.copied.records.subjects(after=after, limit=fit.now):
        if keep is not None and not await keep():
            return False
        after = subjects[-1]
        lying = [each async for each in target.copied.records.read(subjects)]
        fit.saw(len(subjects), weight(lying))
        there = await target.copied.of(lying)
        owners = await deciding.owners(subjects)
        found = []
        for key, each in there.items():
            pin = None if each.record.subject is None else owners[each.record.subject].pin
            # Of who lives elsewhere not even a digest is kept here.
            if each.ours and (pin is None or home.place in (pin.home, pin.moving)):
                found.append(key)
        await sent.mark(target.sink.name, found)
    await sent.learned(target.sink.name)
    return True


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
