"""Regional detail, sealed and kept in the subject's country: detail bytes in, a sealed record there out.

Each country has a journal of its own (given from outside, so that where it lies is decided in one place). A record is
`length of id (1 byte) | entry id | sealed detail`; it is sealed to the country's key for this country and entry, so
that it opens nowhere else and for no other entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from residency.audit.entry import parse_entry_id
from residency.errors import JournalCorrupt, JournalFailed, UsageError
from residency.vault.seal import NONCE_BYTES, seal, unseal

__all__ = ["DetailFiles", "open_detail"]


class _Journal(Protocol):
    def append(self, payload: bytes) -> int: ...
    def ready(self) -> None: ...
    def sync(self, seq: int) -> None: ...
    def close(self) -> None: ...


class DetailFiles:
    """Detail per country. `key(country)` answers its 32-byte sealing key, `token(size)` unpredictable bytes."""

    def __init__(
        self, journals: Mapping[str, _Journal], key: Callable[[str], bytes], token: Callable[[int], bytes]
    ) -> None:
        self._journals = journals
        self._key = key
        self._token = token

    def append(self, country: str, entry_id: str, detail: bytes) -> int:
        """Seal and record `detail` of entry `entry_id`; its number in the country's journal.

        Raises: UsageError where no journal lies in that country; JournalFull, JournalFailed, KeysUnavailable.
        """
        journal = self._journal(country)
        sealed = seal(self._key(country), self._token(NONCE_BYTES), detail, _context(country, entry_id))
        name = entry_id.encode()
        return journal.append(bytes([len(name)]) + name + sealed)

    def ready(self, country: str) -> None:
        """Raise as the country's journal does if a detail might not find room. Raises: UsageError too."""
        self._journal(country).ready()

    def sync(self, country: str, seq: int) -> None:
        """Block until detail number `seq` of `country` survives a power cut. Raises: JournalFailed."""
        self._journal(country).sync(seq)

    def close(self) -> None:
        """Release every country's journal; idempotent. Raises: JournalFailed, once all were tried."""
        failed: JournalFailed | None = None
        for journal in self._journals.values():
            try:
                journal.close()
            except JournalFailed as error:
                failed = error
        if failed is not None:
            raise failed

    def _journal(self, country: str) -> _Journal:
        journal = self._journals.get(country)
        if journal is None:
            raise UsageError(f"no place for detail is configured in {country}")
        return journal


def open_detail(country: str, record: bytes, key: bytes) -> tuple[str, bytes]:
    """(entry id, detail) of one record of a country's detail journal. Raises: JournalCorrupt, EntryError, SealError."""
    if not record or len(record) < 1 + record[0] or not record[1 : 1 + record[0]].isascii():
        raise JournalCorrupt("a detail record does not name its entry")
    entry_id = record[1 : 1 + record[0]].decode()
    parse_entry_id(entry_id)
    return entry_id, unseal(key, record[1 + record[0] :], _context(country, entry_id))


def _context(country: str, entry_id: str) -> bytes:
    return f"residency detail 1\n{country}\n{entry_id}".encode()
