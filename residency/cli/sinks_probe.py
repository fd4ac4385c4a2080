"""A sink and its kind in; whether it can serve now, and what that says of it in words, out."""

from __future__ import annotations

from typing import Final, cast

from residency.enforcement.ports import SinkPort
from residency.storage.caches import CacheSink

__all__ = ["ANSWERS", "probe"]

ANSWERS: Final = {
    "rows": "takes writes",
    "objects": "takes writes",
    "cache": "answers",
    "service": "takes connections (nothing was sent)",
}
"""By kind of store, what is known of a sink that was probed."""
_KEY: Final = b"residency:probe"


async def probe(sink: SinkPort, kind: str) -> None:
    """Ask a sink whether it can serve now; one of rows or objects, whether it takes a write. Nothing is written.

    Raises: SinkUnavailable, also for a cache that the app could do without.
    """
    if kind != "cache":
        await sink.ping()
        return
    await sink.start()  # which is a connection, and no more; an optional one starts without its server
    await sink.ping()
    await cast(CacheSink, sink).fetch([_KEY])
