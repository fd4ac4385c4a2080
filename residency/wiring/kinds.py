"""A sink as the deployment says it in; what kind of store it is for out. Nothing is opened, and no driver imported."""

from __future__ import annotations

from typing import Final

from residency.policy.parsed import SinkDoc
from residency.wiring.caches import REDIS

__all__ = ["kind_of"]

_OBJECTS: Final = ("memory", "file", "s3", "gs", "az")


def kind_of(sink: SinkDoc) -> str:
    """What a sink's URL says that it holds: `rows`, `objects`, `cache` or `service`. Nothing is opened."""
    url = sink.url.reveal()
    scheme = url.partition(":")[0]
    if url == "memory:cache" or scheme.partition("+")[0] in REDIS:
        return "cache"
    if scheme in ("http", "https"):
        return "service"
    return "objects" if scheme in _OBJECTS else "rows"
