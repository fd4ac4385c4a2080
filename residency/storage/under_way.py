"""Pins in; whether anybody's data is on its way from one sink to another, or ever was, out: two marks among the pins.

Every instance sees the pins, so who lists people over several sinks knows by one look whether to ask for the pin of
each. A mark is a pin of nobody's: a NUL begins no subject's id. The first stands from before the first copy until
nothing is left in two places, and where a move was killed until another one has ended it. The second stands for ever:
from then on a list is of all sinks, also where a deployment only observes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from residency.enforcement.homes import Homes
from residency.errors import StaleVersion
from residency.model import Pin

__all__ = ["end", "has_been", "is_under_way", "set_out"]

_MARK: Final = "\0residency: people are on their way"
_EVER: Final = "\0residency: people were moved"


async def is_under_way(homes: Homes, digest: Callable[[str], str]) -> bool:
    """Whether the mark stands; `digest` is the pins'. Raises: PinsUnavailable."""
    return await homes.fetch(digest(_MARK)) is not None


async def has_been(homes: Homes, digest: Callable[[str], str]) -> bool:
    """Whether anybody's data was ever moved, or is on its way. Raises: PinsUnavailable."""
    return await homes.fetch(digest(_EVER)) is not None


async def set_out(homes: Homes, digest: Callable[[str], str], source: str, target: str) -> None:
    """Set the marks, of a move between two places. Raises: PinsUnavailable."""
    for mark in (_MARK, _EVER):  # who lists all sinks must know that a row may lie in two
        if await homes.fetch(digest(mark)) is None:
            with suppress(StaleVersion):  # another mover was first
                await homes.pins.put(Pin(digest(mark), target, (), homes.new_alias(), "move", "", 0, moving=source))


async def end(homes: Homes, digest: Callable[[str], str]) -> None:
    """Take the mark away. Raises: PinsUnavailable."""
    pin = await homes.fetch(digest(_MARK))
    if pin is not None:
        with suppress(StaleVersion):
            await homes.pins.forget(pin.subject, pin.version)
