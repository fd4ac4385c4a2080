"""A name in, the addresses that this machine's resolver has for it out."""

from __future__ import annotations

import socket

import anyio

from residency.errors import Unavailable

__all__ = ["SystemResolver"]


class SystemResolver:
    """The `Resolver` port over `getaddrinfo`: hosts file, DNS, whatever the machine is set up for."""

    __slots__ = ()

    async def resolve(self, host: str) -> tuple[str, ...]:
        """The addresses of `host`, in the system's order. Raises: Unavailable."""
        try:
            found = await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Unavailable("a name cannot be resolved") from None
        return tuple(dict.fromkeys(str(each[4][0]) for each in found))
