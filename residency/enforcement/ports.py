"""What the enforcement point needs of the outside world, as contracts; one test suite per port holds adapters to them.

Every method says what it does when the thing behind it fails: it raises one of `residency.errors.Unavailable`, never
returns a default. Times are microseconds since the epoch, UTC. None of these may put personal data, secrets or URLs
into a message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.model import Event, FactSet, Pin, Region

__all__ = [
    "OCTETS", "Chunks", "Clock", "Entropy", "Facts", "Journal", "Keys", "Noted", "ObjectMeta", "ObjectRead",
    "ObjectSink", "Pins", "SinkPort", "Upload", "nothing",
]  # fmt: skip

OCTETS: Final = "application/octet-stream"
"""The content type of a value of which nobody told one."""


def nothing() -> None:
    """What is called where nobody wants to be told."""


class Clock(Protocol):
    """The time: `now` is wall time and may step, `monotonic` never goes backwards within a process."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""

    def monotonic(self) -> int:
        """Microseconds of a clock that never goes backwards."""


class Entropy(Protocol):
    """Unpredictable bytes, fit for nonces, salts and aliases."""

    def token(self, size: int) -> bytes:
        """`size` bytes (at least 1) that nobody can predict."""


class Keys(Protocol):
    """Named keys. The same name answers the same key for as long as the key store lives."""

    def signing_key(self, name: str) -> Ed25519PrivateKey:
        """The Ed25519 key called `name`. Raises KeysUnavailable."""

    def ml_dsa_44_key(self, name: str) -> MLDSA44PrivateKey:
        """The ML-DSA-44 key called `name`. Raises KeysUnavailable, also where the algorithm cannot be had."""

    def secret(self, name: str) -> bytes:
        """The 32-byte secret called `name`. Raises KeysUnavailable."""


class Facts(Protocol):
    """What is true of the operator now: filings and orders, events and escalations.

    `epoch()` is one cheap read; it grows whenever anything in `current()` changes and never shrinks. An act reads it
    before it starts and before it commits, and is decided again where it moved.
    """

    def epoch(self) -> int:
        """The present epoch."""

    def current(self) -> FactSet:
        """A consistent snapshot; its epoch is the one `epoch()` answered when it was taken or a later one."""

    def change(self, make: Callable[[FactSet], FactSet], before: Callable[[FactSet], object] = ...) -> FactSet:
        """Put in force what `make` makes of the newest facts, once `before` has had it; the facts then in force."""


class Noted(Protocol):
    """What all processes of a deployment note of the operator together: when each event happened first, who was
    counted, which escalations are up. A subject is its keyed digest (hex).

    Any method may block and may be called from any thread. Each raises FactsUnavailable; what it was to change is then
    changed or not, and trying again does no harm. What it has answered survives a power cut where the store keeps
    anything at all.
    """

    def events(self) -> tuple[Event, ...]:
        """Every event that is noted."""

    def note(self, event: Event) -> Event:
        """Note `event` unless one of its kind and place is; the one that stands. Of many at once one is noted."""

    def put_back(self, event: Event) -> None:
        """Note `event` again, where it was lost; an earlier one stays."""

    def count(self, subjects: Mapping[str, Collection[str]], counters: Collection[str]) -> dict[str, int]:
        """Count each subject once in its counter; how many each of `counters` has then."""

    def forget(self, subject: str) -> None:
        """Take a subject out of every counter."""

    def escalated(self) -> frozenset[str]:
        """The escalations that are up."""

    def escalate(self, escalation: str, *, up: bool) -> bool:
        """Say whether an escalation is up; whether that was news. Of many that say so at once it is news to one."""

    def close(self) -> None:
        """Release what is held; idempotent."""


class Pins(Protocol):
    """Remembered homes, by subject digest. A version never goes backwards.

    `peek` answers at once from what is held in this process: no await, no network. `known` tells whether a None is to
    be believed: (None, True) = there is no pin; (None, False) = ask `get`.
    """

    def peek(self, subject: str) -> tuple[Pin | None, bool]:
        """(pin, known) without waiting. Raises PinsUnavailable."""

    def is_stale(self) -> bool:
        """Whether `peek` answers from a copy while the store behind it is not heard of."""

    async def get(self, subject: str) -> Pin | None:
        """The newest pin of `subject`. Raises PinsUnavailable."""

    async def put(self, pin: Pin) -> None:
        """Store `pin` if its version is exactly one above the stored one (1 where there is none).

        Raises StaleVersion (nothing is changed) or PinsUnavailable.
        """

    async def forget(self, subject: str, version: int) -> None:
        """Remove the pin whose version is `version`. Raises StaleVersion or PinsUnavailable."""

    async def aclose(self) -> None:
        """Release what is held; idempotent."""


class Journal(Protocol):
    """One worker slot's durable record. An entry is *recorded* once `append` returned: `kill -9` loses nothing."""

    @property
    def slot(self) -> int:
        """The slot's number, this process's alone while the journal is open."""

    @property
    def next_seq(self) -> int:
        """The sequence number that the next `append` will return; counts from 0 per slot, across restarts."""

    def append(self, payload: bytes) -> int:
        """Record one entry (1 to 65,535 bytes) and return its sequence number. Makes no system call as a rule.

        Raises JournalFull or JournalFailed; then nothing was recorded.
        """

    def ready(self) -> None:
        """Raise JournalFull or JournalFailed now if an act's entries might not find room. Called before an act.

        JournalLate: there is room, but what was recorded is not durable in time; who waits for `sync` may go on.
        """

    def sync(self, seq: int) -> None:
        """Block until entry `seq` survives a power cut (group commit). Raises JournalFailed."""

    def close(self) -> None:
        """Release the slot; idempotent."""


class SinkPort(Protocol):
    """One physical backend that lies in one region. Errors name the sink, never its URL."""

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""

    @property
    def region(self) -> Region:
        """Where its bytes rest."""

    async def start(self) -> None:
        """Connect as far as is needed to serve. Raises SinkUnavailable."""

    async def ping(self) -> None:
        """Raise SinkUnavailable unless the sink can take a write now."""

    async def aclose(self) -> None:
        """Release what is held; idempotent."""


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What a sink tells of one value: `size` in bytes, an `etag` that another value does not have, when it was stored
    (microseconds), its content type (None in a listing of stores that do not list it)."""

    key: str
    size: int
    etag: str
    modified: int
    content_type: str | None = None


class Chunks(Protocol):
    """The bytes of one value, piece by piece. None is empty. `aclose` lets go of what is held; idempotent.

    Raises SinkUnavailable, also where the value was replaced meanwhile and the rest of it can no longer be had.
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ObjectRead:
    """A value that is being read: what is told of it, and its bytes from `start` up to (not with) `end`."""

    meta: ObjectMeta
    start: int
    end: int
    chunks: Chunks


class Upload(Protocol):
    """A value on its way. Nothing of it is visible under its key before `commit` returned, and none if that never is
    called. Each raises SinkUnavailable."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes; waits where the sink is slower than who writes. Raises UsageError over its limit."""

    async def commit(self, done: Callable[[], object] = nothing) -> ObjectMeta:
        """Make the value visible whole, in the place of what was there; `done` as in `ObjectSink.put`. After an error
        without `done` nobody knows whether it is."""

    async def abort(self) -> None:
        """Remove what was written, as far as the sink can be reached: to its end, also where its caller is cancelled,
        and without an error of its own. Idempotent."""


@runtime_checkable
class ObjectSink(SinkPort, Protocol):
    """A sink of whole values under keys that `storage.check_key` takes. Other keys raise UsageError.

    `content_type` is kept and told again as far as the sink can; it means nothing to it.
    """

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        """Store `value` whole or not at all, replacing what was there. Once begun it runs to its end, also where its
        caller is cancelled: `done` is called when the value is known to be stored, before this returns or raises.

        Raises SinkUnavailable; without `done` nobody knows whether it was stored.
        """

    async def upload(self, key: str, content_type: str = OCTETS, size: int | None = None) -> Upload:
        """Begin to store a value piece by piece, of `size` bytes where that is known. Raises SinkUnavailable,
        UsageError where it is more than the sink takes."""

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none. Raises SinkUnavailable."""

    async def open(self, key: str, start: int = 0, end: int | None = None) -> ObjectRead | None:
        """The value from byte `start` up to `end` (None = its last), None where there is none. What lies beyond the
        value is left out: the answer says which bytes come. Raises SinkUnavailable."""

    async def head(self, key: str) -> ObjectMeta | None:
        """What is told of the value, None where there is none. Raises SinkUnavailable."""

    async def delete(self, key: str, *, done: Callable[[], object] = nothing) -> bool:
        """Remove the value; True where there was one. `done` as in `put`. Raises SinkUnavailable."""

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """All values whose keys start with `prefix`, each once, in the sink's own order, which stays the same: as a
        rule that of the keys' UTF-8 bytes. `after` = only those behind this key in it. Raises SinkUnavailable.

        What is stored or removed meanwhile may be listed or not. Needs memory for a page, not for all of them. Keys of
        our own (`.residency/`) are told to who asks for that prefix, and to nobody else.
        """
