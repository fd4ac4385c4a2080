"""What may meet a sink that is away for a moment in; the same, tried again a few times and told on stderr, out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio
import typer

from residency.errors import SinkUnavailable
from residency.storage.lasting import is_lasting, lasting

__all__ = ["patient"]

_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try. A sink that restarts is back by then; what is wrong for good is told soon enough."""
T = TypeVar("T")


async def patient(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` comes to, which must bear being done again. Raises: SinkUnavailable where the sink stays away, and
    at once whatever else `work` raises, and what no wait mends: wrong credentials, no such table."""
    for pause in _PAUSES:
        try:
            return await work()
        except SinkUnavailable as error:
            if is_lasting(error):
                raise
            typer.echo(f"{error}; tried again in {pause:g} s", err=True)
            await anyio.sleep(pause)
    try:
        return await work()
    except SinkUnavailable as error:
        lasting(error)  # what this is a part of does not wait for it once more
        raise
