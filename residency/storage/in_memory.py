"""A name and a region in; a sink that is open or closed, as every one in memory is, out."""

from __future__ import annotations

from residency.errors import SinkUnavailable
from residency.model import Region

__all__ = ["InMemory"]


class InMemory:
    """What a sink in memory holds stays for a later `start`, as it would on a disk."""

    __slots__ = ("_name", "_open", "_region")

    def __init__(self, name: str, region: Region) -> None:
        self._name = name
        self._region = region
        self._open = True

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where its bytes rest; of a service, where it takes what it is sent."""
        return self._region

    async def start(self) -> None:
        """Serve again after `aclose`."""
        self._open = True

    async def ping(self) -> None:
        """Raise SinkUnavailable where closed."""
        self._check()

    async def aclose(self) -> None:
        """Serve no more; idempotent."""
        self._open = False

    def _check(self) -> None:
        if not self._open:
            raise SinkUnavailable(f"sink {self._name!r} is not open")
