"""A name in, the addresses that this machine's resolver has for it out."""

from __future__ import annotations

import socket
from functools import partial

import anyio
import anyio.to_thread

from residency.errors import Unavailable

__all__ = ["SystemResolver"]


class SystemResolver:
    """The `Resolver` port over `getaddrinfo`: hosts file, DNS, whatever the machine is set up for."""

    __slots__ = ("_abandons",)

    def __init__(self, *, abandons: bool = False) -> None:
        """`abandons` = who gives up waits for nobody, and each name that hangs keeps a thread of its own for as long:
        for who asks seldom. Else those that hang are few, and an event loop that ends waits for them, half a minute.
        """
        self._abandons = abandons

    async def resolve(self, host: str) -> tuple[str, ...]:
        """The addresses of `host`, in the system's order. Raises: Unavailable."""
        try:
            if self._abandons:
                asked = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
                found = [each[4] for each in await anyio.to_thread.run_sync(asked, abandon_on_cancel=True)]
            else:
                found = [each[4] for each in await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError):
            raise Unavailable("a name cannot be resolved") from None
        return tuple(dict.fromkeys(str(each[0]) for each in found))
