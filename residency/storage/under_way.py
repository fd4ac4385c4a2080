"""Pins in; whether anybody's data is on its way from one sink to another, out: a mark among the pins.

Every instance sees the pins, so who lists people over several sinks knows by one look whether to ask for the pin of
each. The mark is a pin of nobody's: a NUL begins no subject's id. It stands from before the first copy until nothing is
left in two places, and where a move was killed until another one has ended it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from residency.enforcement.homes import Homes
from residency.errors import StaleVersion
from residency.model import Pin

__all__ = ["end", "is_under_way", "set_out"]

_MARK: Final = "\0residency: people are on their way"


async def is_under_way(homes: Homes, digest: Callable[[str], str]) -> bool:
    """Whether the mark stands; `digest` is the pins'. Raises: PinsUnavailable."""
    return await homes.fetch(digest(_MARK)) is not None


async def set_out(homes: Homes, digest: Callable[[str], str], source: str, target: str) -> None:
    """Set the mark, of a move between two places. Raises: PinsUnavailable."""
    if not await is_under_way(homes, digest):
        with suppress(StaleVersion):  # another mover was first
            await homes.pins.put(Pin(digest(_MARK), target, (), homes.new_alias(), "move", "", 0, moving=source))


async def end(homes: Homes, digest: Callable[[str], str]) -> None:
    """Take the mark away. Raises: PinsUnavailable."""
    pin = await homes.fetch(digest(_MARK))
    if pin is not None:
        with suppress(StaleVersion):
            await homes.pins.forget(pin.subject, pin.version)
