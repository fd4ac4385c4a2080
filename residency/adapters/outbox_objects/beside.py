"""One sink of objects in: its ledger of copies, and its marks of what was sent, each an object of its own, out."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Final

from residency.enforcement.ports import ObjectSink

__all__ = ["JSON", "RESERVED", "ObjectLedger", "ObjectMarks"]

RESERVED: Final = ".residency/"
"""What every key of ours begins with, and none of the app's may."""
JSON: Final = "application/json"


class ObjectLedger:
    """The `Ledger` port over one sink of objects."""

    def __init__(self, sink: ObjectSink) -> None:
        self._plain: ObjectSink = getattr(sink, "plain", sink)

    async def missing(self) -> list[str]:
        """Nothing has to be made."""
        return []

    async def prepare(self) -> None:
        """Nothing has to be made."""

    async def read(self, ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The digests noted of these. Raises: SinkUnavailable."""
        found = {}
        for each in ids:
            value = await self._plain.get(_noted(each))
            if value is not None:
                found[each] = frozenset(json.loads(value))
        return found

    async def write(self, digests: Mapping[str, frozenset[str]]) -> None:
        """Note these. Raises: SinkUnavailable."""
        for each, some in digests.items():
            await self._plain.put(_noted(each), json.dumps(sorted(some)).encode(), JSON)

    async def forget(self, ids: Collection[str]) -> None:
        """Note nothing of these any more. Raises: SinkUnavailable."""
        for each in ids:
            await self._plain.delete(_noted(each))


class ObjectMarks:
    """The `Marks` port over one sink of objects."""

    def __init__(self, sink: ObjectSink) -> None:
        self._plain: ObjectSink = getattr(sink, "plain", sink)

    async def read(self, ids: Collection[str]) -> frozenset[str]:
        """Those of these that are there. Raises: SinkUnavailable."""
        return frozenset([each for each in ids if await self._plain.head(_sent(each)) is not None])

    async def write(self, ids: Collection[str]) -> None:
        """Make these. Raises: SinkUnavailable."""
        for each in ids:
            await self._plain.put(_sent(each), b"{}", JSON)

    async def forget(self, ids: Collection[str]) -> None:
        """Remove these. Raises: SinkUnavailable."""
        for each in ids:
            await self._plain.delete(_sent(each))


def _noted(each: str) -> str:
    return f"{RESERVED}copied/{each}"


def _sent(each: str) -> str:
    return f"{RESERVED}sent/{each}"
