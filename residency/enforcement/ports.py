"""What the enforcement point needs of the outside world, as contracts; one test suite per port holds adapters to them.

Every method says what it does when the thing behind it fails: it raises one of `residency.errors.Unavailable`, never
returns a default. Times are microseconds since the epoch, UTC. None of these may put personal data, secrets or URLs
into a message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Protocol, runtime_checkable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.model import Event, FactSet, Pin, Region

__all__ = ["Clock", "Entropy", "Facts", "Journal", "Keys", "Noted", "ObjectSink", "Pins", "SinkPort"]


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


@runtime_checkable
class ObjectSink(SinkPort, Protocol):
    """A sink of whole values under keys of 1 to 512 printable characters, without a leading slash or `..`."""

    async def put(self, key: str, value: bytes) -> None:
        """Store `value` whole or not at all, replacing what was there. Raises SinkUnavailable."""

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none. Raises SinkUnavailable."""

    async def delete(self, key: str) -> bool:
        """Remove the value; True where there was one. Raises SinkUnavailable."""

    def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """All keys that start with `prefix`, in order. Raises SinkUnavailable."""
