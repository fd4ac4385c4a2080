"""Regional detail, sealed and recorded for the subject's country: a head and detail bytes in, a sealed record out.

Each country has a journal of its own (given from outside, so that where it lies is decided in one place), out of which
records are filed into the country's store later. A detail is sealed to the country's key for this country and entry, so
that it opens nowhere else and for no other entry; where the country is not this one, to its public key, and then nobody
here opens it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from residency.audit.detail import parse_detail
from residency.audit.detail_head import FILLER, Head, format_record, parse_record, seal_context
from residency.audit.journal import RECORDS_AT, scan
from residency.audit.sequencer import Cursor
from residency.errors import IntegrityError, JournalFailed, UsageError
from residency.jurisdiction.pinned import parse_pin
from residency.model import Pin
from residency.vault.seal import Sealer, unseal

__all__ = ["DetailFiles", "journal_records", "open_sealed", "recent_pins", "turn_over"]

_FILLER_BYTES: Final = 65_535


class _Journal(Protocol):
    def append(self, payload: bytes) -> int: ...
    def ready(self) -> None: ...
    def sync(self, seq: int) -> None: ...
    def close(self) -> None: ...


class _Box(Protocol):
    def seal(self, plaintext: bytes, context: bytes) -> bytes: ...


class DetailFiles:
    """Detail per country. `key(country)` answers its 32-byte sealing key, `token(size)` unpredictable bytes; what has a
    box in `boxes` is sealed by it instead."""

    def __init__(
        self,
        journals: Mapping[str, _Journal],
        key: Callable[[str], bytes],
        token: Callable[[int], bytes],
        boxes: Mapping[str, _Box] | None = None,
    ) -> None:
        self._journals = journals
        self._key = key
        self._token = token
        self._boxes = dict(boxes or {})

    def append(self, country: str, head: Head, detail: bytes) -> int:
        """Seal and record `detail`; its number in the country's journal. One thread at a time.

        Raises: UsageError where no journal lies in that country; JournalFull, JournalFailed, KeysUnavailable.
        """
        journal = self._journal(country)
        context = seal_context(country, head)
        box = self._boxes.get(country)
        if box is None:  # its own key is asked for once there is something to seal
            box = self._boxes[country] = Sealer(self._key(country), self._token)
        return journal.append(format_record(head, box.seal(detail, context)))

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


def turn_over(journal: _Journal, segment_bytes: int) -> None:
    """Fill what is left of the segment in use with records that say nothing, so that it can be let go of once filed.

    Raises: JournalFull, JournalFailed.
    """
    for _ in range(-(-segment_bytes // _FILLER_BYTES)):
        journal.append(FILLER * _FILLER_BYTES)


def open_sealed(country: str, head: Head, sealed: bytes, key: bytes) -> bytes:
    """The detail sealed to `country`'s own 32-byte key. Raises: SealError."""
    return unseal(key, sealed, seal_context(country, head))


def journal_records(folder: Path, filed: Mapping[int, Cursor] | None = None) -> Iterator[tuple[Head, bytes]]:
    """Every (head, sealed detail) in the journals below `folder` that is not filed yet; their slots may be in use.

    `filed` is how far each slot's journal is filed, None = not at all. What is filed meanwhile may be missing: read the
    country's store afterwards. Raises: JournalCorrupt, JournalFailed.
    """
    known = filed if filed is not None else {}
    try:
        for path in sorted((folder / "journal").glob("*/*.seg")):
            done = known.get(int(path.parent.name), Cursor())
            if int(path.stem) < done.segment:
                continue
            start = done.offset if int(path.stem) == done.segment else RECORDS_AT
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # all of it was filed meanwhile
            for record in scan(data, start, None).records:
                parsed = parse_record(bytes(record.payload))
                if parsed is not None:
                    yield parsed
    except (OSError, ValueError) as error:
        raise JournalFailed(f"the detail journal cannot be read ({type(error).__name__})") from error


def recent_pins(records: Iterable[tuple[Head, bytes]], country: str, key: bytes, since: int) -> dict[str, Pin]:
    """The newest pin of each subject that a country's details tell of since `since` (microseconds, UTC), by subject.

    Within one life of a subject (one alias) the higher version is the newer, between lives the later. What does not
    open is passed over: it is of another key. Takes time: not for an event loop.
    """
    found: dict[str, Pin] = {}
    for head, sealed in records:
        pin = _pin(country, head, sealed, key) if head.at >= since else None
        if pin is None or pin.at < since:
            continue
        known = found.get(pin.subject)
        if known is None or _newer(pin, known):
            found[pin.subject] = pin
    return found


def _newer(pin: Pin, known: Pin) -> bool:
    return pin.version > known.version if pin.alias == known.alias else pin.at > known.at


def _pin(country: str, head: Head, sealed: bytes, key: bytes) -> Pin | None:
    try:
        fields = parse_detail(open_sealed(country, head, sealed, key))
        return parse_pin(str(fields["pin"])) if "pin" in fields else None
    except (IntegrityError, ValueError):
        return None
