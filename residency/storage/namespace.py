"""A decision, a home and an app's own key in; the key that a server sees, and the mark of whom its value is for, out.

What stands where, and why:

| in the key                 | so that                                                                        |
|----------------------------|--------------------------------------------------------------------------------|
| deployment, store          | two of them on one server do not meet                                          |
| home                       | subjects of two homes share nothing, also where one server serves both         |
| subject (or `-`: shared)   | a value of one person's is another's only where the app says `shared`          |
| digest of the app's key    | no name, address or number of a person stands in a server's slow log           |

In the mark, before each value, stands what may change while a subject stays who they are: policy, laws, duty, verdict,
version of the pin. It is not in the key, for then a value of an earlier decision would lie on where no `delete` finds
it and come back with that decision. The mark is made of the key too, so a value stored under another key is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from typing import Final, TypeVar

from residency.errors import UsageError
from residency.model import Decision, SinkVerdict

__all__ = ["ANYBODY", "MARK", "Namespace", "decision_of", "facet_of", "namespace", "tag_of"]

MARK: Final = 16
"""Bytes of the mark before a value."""
ANYBODY: Final = 0
"""The facet of what is computed under no decision: a counter, a session."""
_KEY_LIMIT: Final = 4096  # characters
_BOUND: Final = 1024
_SHARED: Final = "-"
_facets: dict[tuple[int, str, int], tuple[Decision, int]] = {}
_decisions: dict[int, tuple[Decision, str]] = {}
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where one subject's keys lie in one store, and under which facet their values are of use."""

    prefix: bytes
    facet: int

    def key(self, key: str) -> tuple[bytes, int]:
        """(the key that the server sees, its digest as a number). Raises: UsageError, which does not repeat the key."""
        text: object = key  # the app's word, and not every app is typed
        if not isinstance(text, str) or not 0 < len(text) <= _KEY_LIMIT:
            raise UsageError("a key of a cache is a text of 1 to 4,096 characters")
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=MARK)
        return self.prefix + digest.hexdigest().encode(), int.from_bytes(digest.digest(), "big")

    def seal(self, number: int, value: bytes, facet: int | None = None) -> bytes:
        """`value` with its mark before it, for the key of that `number`; `facet` None = this namespace's own."""
        return self.mark(number, facet) + value

    def mark(self, number: int, facet: int | None = None) -> bytes:
        """The mark of a value of the key of that `number`."""
        return (number ^ (self.facet if facet is None else facet)).to_bytes(MARK, "big")

    def open(self, number: int, stored: bytes | None) -> bytes | None:
        """The value, None where none is stored that is of use under this decision and key."""
        if stored is None or len(stored) < MARK:
            return None
        found = int.from_bytes(stored[:MARK], "big") ^ number
        return stored[MARK:] if found in (self.facet, ANYBODY) else None


def namespace(what: str, deployment: str, store: str, home: str, subject: str | None, facet: int) -> Namespace:
    """The namespace of a subject (keyed digest in hex, None = shared by all of that home); `what` is `cache` …"""
    return Namespace(f"residency:{deployment}:{what}:{store}:{home}:{tag_of(subject)}:".encode(), facet)


def tag_of(subject: str | None) -> str:
    """What stands in a key for a subject (keyed digest in hex, None = shared)."""
    return _SHARED if subject is None else subject[-32:]


def facet_of(decision: Decision, verdict: SinkVerdict, version: int) -> int:
    """What of a decision a value may depend on, as a number; the same in every process. `version` is the pin's, 0 = no
    pin: who came home again is not given what lay there before."""
    key = (id(decision), verdict.sink.name, version)
    held = _facets.get(key)
    if held is not None and held[0] is decision:
        return held[1]
    parts = (decision_of(decision), verdict.sink.name, verdict.effect, verdict.duty, verdict.unmet, version)
    facet = int.from_bytes(blake2b(_canonical(parts).encode(), digest_size=MARK).digest(), "big") or 1
    _hold(_facets, key, (decision, facet))
    return facet


def decision_of(decision: Decision) -> str:
    """What of a decision an answer may depend on, as a text: equal for equal ones, in every process."""
    held = _decisions.get(id(decision))
    if held is not None and held[0] is decision:
        return held[1]
    parts = (
        decision.policy, decision.mode, decision.effect, decision.jurisdictions, decision.unmet, decision.duty,
    )  # fmt: skip
    text = blake2b(_canonical(parts).encode(), digest_size=MARK).hexdigest()
    _hold(_decisions, id(decision), (decision, text))
    return text


def _hold(kept: dict[K, V], key: K, value: V) -> None:
    if len(kept) >= _BOUND:
        kept.clear()
    kept[key] = value  # with its decision, so that the id stays its own


def _canonical(value: object) -> str:
    """The same text for equal values, in every process: sets are sorted, for their own order is chance."""
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(map(_canonical, value))) + "}"
    if isinstance(value, tuple):
        return "(" + ",".join(map(_canonical, value)) + ")"
    if isinstance(value, Enum):
        return _text(value.name)
    if is_dataclass(value):
        read: Callable[[str], object] = lambda name: getattr(value, name)  # noqa: E731 - typed
        return "[" + ",".join(_canonical(read(each.name)) for each in fields(value) if each.compare) + "]"
    return _text(value)


def _text(value: object) -> str:
    return repr(value)
