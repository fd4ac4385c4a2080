"""Where data goes by being read in; the evidence that says so, and a place of reading as rules about sinks see it, out.

Who reads abroad takes data abroad, though nothing rests there. So a reader's place is asked about as a sink would be:
by all rules about sinks, of scope `reader`. It is said by evidence (`reader:SG`), which thus stands in entries, is
replayed and explained as all evidence is. Unlike other evidence it never permits more.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from residency.model.activity import Sink
from residency.signals.inet import Ranges

__all__ = ["READER", "office_of", "reader_sink", "readers_of", "reading"]

READER: Final = "reader:"
"""Begins the token of evidence, and the name of the sink, that stands for reading at a place: `reader:SG`."""


def reader_sink(place: str) -> Sink:
    """Reading at `place`, as rules see it. At rest there is nothing, so that is protected as well as can be; how it is
    shown there is under nobody else's laws than the place's."""
    return Sink(READER + place, place, place, place, place, encrypted=True, in_transit=True, scope="reader")


def readers_of(evidence: Iterable[str]) -> tuple[str, ...]:
    """The places of reading that evidence tells of, in order."""
    return tuple(sorted(token.removeprefix(READER) for token in evidence if token.startswith(READER)))


@lru_cache(maxsize=4096)
def reading(evidence: frozenset[str], places: tuple[str, ...]) -> frozenset[str]:
    """The same evidence, and that the data goes to `places` by being read there."""
    return evidence.union([READER + place for place in places])


def office_of(offices: tuple[tuple[str, tuple[str, ...]], ...], address: str | None) -> str | None:
    """The place of the office whose ranges have `address`, None where none has it."""
    if not offices or address is None:
        return None
    return next((place for place, texts in offices if _ranges(texts).contains(address)), None)


@lru_cache(maxsize=256)
def _ranges(texts: tuple[str, ...]) -> Ranges:
    return Ranges(texts)
