"""Pins in; whether the home of everybody who had data before is known, out: a mark among the pins.

A move sets it once it has seen everybody's records and each of these people has a pin. From then on who has no pin is
new. So a deployment that only observes may follow every pin, and lets new people begin where their law wants them:
nobody's old data lies elsewhere, and nobody more needs to be moved. The mark is a pin of nobody's: a NUL begins no
subject's id.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from residency.enforcement.homes import Homes
from residency.errors import StaleVersion
from residency.model import Pin

__all__ = ["are_known", "learned", "make_known"]

_MARK: Final = "\0residency: whoever has no pin is new"


def are_known(homes: Homes, digest: Callable[[str], str]) -> bool | None:
    """Whether the mark stands; None where that is not told without waiting (`learned`). `digest` is the pins'.

    Raises: PinsUnavailable.
    """
    mark, told = homes.peek(digest(_MARK))
    return mark is not None if told else None


async def learned(homes: Homes, digest: Callable[[str], str]) -> bool:
    """Whether the mark stands, asked of whoever keeps the pins where it is not held here. Raises: PinsUnavailable."""
    return await homes.fetch(digest(_MARK)) is not None


async def make_known(homes: Homes, digest: Callable[[str], str], place: str) -> bool:
    """Set the mark; whether it was not there. `place` is where people were seen. Raises: PinsUnavailable."""
    if await learned(homes, digest):
        return False
    with suppress(StaleVersion):  # another mover was first
        await homes.pins.put(Pin(digest(_MARK), place, (), homes.new_alias(), "move", "", 0))
    return True
