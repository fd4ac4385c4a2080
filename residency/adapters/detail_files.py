"""Regional detail, sealed and kept in the subject's country: detail bytes in, a sealed record there out.

Each country has a journal of its own (given from outside, so that where it lies is decided in one place). A record is
`length of id (1 byte) | entry id | sealed detail`; it is sealed to the country's key for this country and entry, so
that it opens nowhere else and for no other entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from residency.audit.detail import parse_detail
from residency.audit.entry import parse_entry_id
from residency.audit.journal import RECORDS_AT, scan
from residency.errors import IntegrityError, JournalCorrupt, JournalFailed, UsageError
from residency.jurisdiction.pinned import parse_pin
from residency.model import Pin
from residency.vault.seal import NONCE_BYTES, seal, unseal

__all__ = ["DetailFiles", "open_detail", "recent_pins"]

_LAG: Final = 3_600_000_000


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


def recent_pins(journal: Path, country: str, key: bytes, since: int) -> dict[str, Pin]:
    """The newest pin of each subject that a country's detail tells of since `since` (microseconds, UTC), by subject.

    Within one life of a subject (one alias) the higher version is the newer, between lives the later. `journal`
    is the folder of the country's journal, whose slots may be in use. What does not open is passed over: it is of
    another key, or half written. Takes time: not for an event loop. Raises: JournalFailed.
    """
    found: dict[str, Pin] = {}
    try:
        for slot in sorted(journal.glob("*/")):
            for segment in _since(sorted(slot.glob("*.seg")), since):
                for record in scan(segment.read_bytes(), RECORDS_AT, None).records:
                    pin = _pin(country, bytes(record.payload), key)
                    if pin is None or pin.at < since:
                        continue
                    known = found.get(pin.subject)
                    if known is None or _newer(pin, known):
                        found[pin.subject] = pin
    except OSError as error:
        raise JournalFailed("the detail journal cannot be read") from error
    return found


def _newer(pin: Pin, known: Pin) -> bool:
    return pin.version > known.version if pin.alias == known.alias else pin.at > known.at


def _since(segments: Sequence[Path], since: int) -> Iterator[Path]:
    for index, segment in enumerate(segments):
        # A mapped file's own time may lag behind what is in it, so the newest segment is always read.
        if index == len(segments) - 1 or segment.stat().st_mtime * 1e6 >= since - _LAG:
            yield segment


def _pin(country: str, record: bytes, key: bytes) -> Pin | None:
    try:
        fields = parse_detail(open_detail(country, record, key)[1])
        return parse_pin(str(fields["pin"])) if "pin" in fields else None
    except (IntegrityError, ValueError):
        return None


def _context(country: str, entry_id: str) -> bytes:
    return f"residency detail 1\n{country}\n{entry_id}".encode()
