"""A log as its sequencer grows it in; the acts of the whole log that have no outcome, whoever began them, out.

Entries come from memory as they are committed. Those that an earlier sequencer committed are read back from the log's
bundles, some at each tick, from where the file `open-intents.json` got: so taking over waits for nothing, and until
all is read, nothing is told. The file is a shortcut and no more: where it is missing, damaged, or ahead of the log (an
older log was put back), the whole log is read instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from residency.audit.open_intents import OPEN_INTENTS_PATH, OpenIntents, format_open_intents, parse_open_intents
from residency.audit.tiles import TILE_WIDTH, bundle_path, parse_bundle
from residency.errors import VerificationError

__all__ = ["Opened"]

_AT_ONCE: Final = 256  # bundles that a tick reads back
_SAVE_ENTRIES: Final = 1 << 18
_SAVE_SECONDS: Final = 60.0


class _State(Protocol):
    def read(self, path: str) -> bytes | None: ...
    def write_all(self, files: Iterable[tuple[str, bytes]]) -> None: ...


class Opened:
    """Follows the log `origin`. Whoever holds the sequencer's lock calls it, from one thread at a time."""

    __slots__ = ("_known", "_origin", "_read", "_saved", "_saved_at", "_state", "whole")

    def __init__(self, read: Callable[[str], bytes | None], state: _State, origin: str) -> None:
        self._read = read
        self._state = state
        self._origin = origin
        self._known: OpenIntents | None = None
        self._saved = 0  # entries that the file knows of
        self._saved_at = 0.0
        self.whole: OpenIntents | None = None
        """The open intents of all that is published; None while that is not known."""

    def committed(self, before: int, entries: Sequence[bytes]) -> None:
        """Take in `entries`, which were committed after the first `before`."""
        if self._known is not None and self._known.size == before:
            self._known.take(entries)

    def catch_up(self, size: int) -> None:
        """Go on to the end of the log of `size` entries, or some way towards it. What fails is tried again."""
        try:
            known = self._load(size)
            for _ in range(_AT_ONCE):
                if known.size == size:
                    break
                number, taken = divmod(known.size, TILE_WIDTH)
                known.take(self._bundle(number, min(size - number * TILE_WIDTH, TILE_WIDTH))[taken:])
            self.whole = known if known.size == size else None
            waits = known.size - self._saved
            if waits >= _SAVE_ENTRIES or (waits and time.monotonic() - self._saved_at > _SAVE_SECONDS):
                self._save(known)
        except (VerificationError, OSError):
            # Publishing goes on: what cannot be told is a gauge without a sample.
            self.whole = None

    def let_go(self) -> None:
        """Another one goes on from here: leave it the file; the lock is held still."""
        known = self._known
        self.forget()
        try:
            if known is not None and known.size != self._saved:
                self._save(known)
        except OSError:
            return  # the next one reads more of the log

    def forget(self) -> None:
        """Begin anew, as a forked child must: the fork may have come in the middle of an entry."""
        self._known = self.whole = None

    def _load(self, size: int) -> OpenIntents:
        if self._known is None or self._known.size > size:
            self._known, self._saved_at = self._stored(size), time.monotonic()
            self._saved = self._known.size
        return self._known

    def _stored(self, size: int) -> OpenIntents:
        data = self._state.read(OPEN_INTENTS_PATH)
        try:
            known = OpenIntents() if data is None else parse_open_intents(data, self._origin)
        except VerificationError:
            return OpenIntents()
        return known if known.size <= size else OpenIntents()

    def _bundle(self, number: int, width: int) -> tuple[bytes, ...]:
        path = bundle_path(number, width)
        data = self._read(path)
        if data is None:
            raise VerificationError(f"{path} is missing from the log")
        return parse_bundle(data, width, path)

    def _save(self, known: OpenIntents) -> None:
        # A crash leaves the older file, from which more of the log is read again.
        self._state.write_all([(OPEN_INTENTS_PATH, format_open_intents(known, self._origin))])
        self._saved, self._saved_at = known.size, time.monotonic()
