"""A session's id in, its data out, and stored again where they were changed: a mapping that JSON can hold.

It lies in the subject's home and under the subject's own name there, so a session id that was taken from somebody opens
nothing for another subject, and one that nobody was given (session fixation) becomes no session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final

from residency.errors import UsageError

__all__ = ["Session"]

_ID: Final = re.compile(r"[0-9a-f]{64}")
_LIMIT: Final = 1 << 20  # bytes


class Session(dict[str, Any]):
    """Data of one session between `async with` and its end, where they are stored if they changed; an error stores
    nothing. Two requests that change it at the same time: the later one stands."""

    def __init__(
        self,
        known: str | None,
        read: Callable[[str], Awaitable[bytes | None]],
        write: Callable[[str, bytes | None], Awaitable[None]],
        new_id: Callable[[], str],
    ) -> None:
        super().__init__()
        self._read, self._write, self._new_id = read, write, new_id
        self._known = known if known is not None and _ID.fullmatch(known) else None
        self._stored: str | None = None
        self._text = "{}"
        self._ended = False
        self.id = ""

    async def __aenter__(self) -> Session:
        value = None if self._known is None else await self._read(self._known)
        try:
            found = None if value is None else json.loads(value)
        except ValueError:
            found = None
        if self._known is not None and isinstance(found, dict):
            self.id = self._stored = self._known
            self.update(found)
            self._text = self._format()
        else:
            self.id = self._new_id()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._ended or (self._stored is not None and self._stored != self.id):
            if self._stored is not None:
                await self._write(self._stored, None)
            if self._ended:
                return
        text = self._format()
        if text != self._text or (self._stored is not None and self._stored != self.id):
            if len(text) > _LIMIT:
                raise UsageError("a session has at most 1 MiB")
            await self._write(self.id, text.encode())

    def renew(self) -> None:
        """Give the session another id and let the old one go: at each login, and whenever rights grow."""
        self.id = self._new_id()

    def end(self) -> None:
        """Forget the session with all it holds: at logout."""
        self._ended = True
        self.clear()

    def _format(self) -> str:
        try:
            return json.dumps(self, separators=(",", ":"), sort_keys=True)
        except (TypeError, ValueError):
            raise UsageError("a session holds what JSON can hold") from None
