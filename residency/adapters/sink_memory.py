"""Values under keys in, the same out, for as long as this process lives: the reference for every object sink."""

from __future__ import annotations

from collections.abc import AsyncIterator

from residency.errors import SinkUnavailable
from residency.model import Region
from residency.storage.keys import check_key

__all__ = ["MemorySink"]


class MemorySink:
    """The `ObjectSink` port over a dict."""

    __slots__ = ("_name", "_open", "_region", "_values")

    def __init__(self, name: str, region: Region) -> None:
        self._name = name
        self._region = region
        self._values: dict[str, bytes] = {}
        self._open = True

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where its bytes rest."""
        return self._region

    async def start(self) -> None:
        """Serve again after `aclose`."""
        self._open = True

    async def ping(self) -> None:
        """Raise SinkUnavailable where closed."""
        if not self._open:
            raise SinkUnavailable(f"sink {self._name!r} is not open")

    async def aclose(self) -> None:
        """Serve no more; idempotent. The values stay for a later `start`, as files would."""
        self._open = False

    async def put(self, key: str, value: bytes) -> None:
        """Store `value` whole. Raises: UsageError for a bad key, SinkUnavailable."""
        check_key(key)
        await self.ping()
        self._values[key] = bytes(value)

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none. Raises: UsageError for a bad key, SinkUnavailable."""
        check_key(key)
        await self.ping()
        return self._values.get(key)

    async def delete(self, key: str) -> bool:
        """Remove the value; True where there was one. Raises: UsageError for a bad key, SinkUnavailable."""
        check_key(key)
        await self.ping()
        return self._values.pop(key, None) is not None

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """All keys that start with `prefix`, in order. Raises: SinkUnavailable."""
        await self.ping()
        for key in sorted(self._values):
            if key.startswith(prefix):
                yield key
