"""An act on a subject whose data is being moved in; when it may go on where it began, when one that waits may, out.

What an act waits for before it begins is told by one error, whatever it is, and who may wait then does.
What is written while pins move, the mover would miss; so who begins to write then waits until the data is home, for a
while. Who had begun before is waited for instead: the mover asks the database which transactions were open by then
(`Parcels.settled`), or waits as long as they may take. Times are those of `Pin.at`, of the mover's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import anyio

from residency.model import Pin, Reason

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["FOLLOWED", "GRACE", "OPEN_BY", "WAIT", "WaitFirstError", "may_end", "may_read", "until_home"]

OPEN_BY: Final = 150_000
"""A writer's transaction that is open so long (microseconds) after the pin moved is one that the mover waits for."""
GRACE: Final = 1_000_000
"""So long (microseconds) after a pin moved or turned who had begun before may confirm; the mover waits longer."""
FOLLOWED: Final = frozenset({Reason.ONLY_IN_COUNTRY, Reason.NOT_HOME})
"""What stands against a sink as a home, and not against reading what lies there until it is moved."""
WAIT: Final = 2.0
"""Seconds that a write waits for its subject's data to be home, before it is refused."""
_POLL: Final = 0.02


class WaitFirstError(Exception):
    """Inside: where an act goes is not known yet (its subject's data is being moved, say), and who asked would rather
    wait than be refused, or go where it is not."""

    def __init__(self, wait: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`wait` is to be awaited before the act is begun again. It raises PinsUnavailable."""
        super().__init__("wait, and begin again")
        self.wait = wait


def may_end(before: Pin | None, pin: Pin, place: str, opened: int | None, now: int) -> bool:
    """Whether a change of data at `place` that began under pin `before` may still be made though the data is being
    moved (`pin`): where its transaction was `opened` (microseconds; None = it has none) in time."""
    if opened is None or pin.moving != place or (before is not None and before.moving is not None):
        return False
    return opened <= pin.at + OPEN_BY and now < pin.at + GRACE


def may_read(before: Pin | None, pin: Pin, place: str, now: int) -> bool:
    """Whether data may still be read at `place`, where it lay under pin `before`, though it is home by now (`pin`):
    there it is, until readers have had their time."""
    lay = place if before is None else before.moving or before.home
    return lay == place and pin.moving is None and now < pin.at + GRACE


async def until_home(here: Current) -> None:
    """Wait until the data of the subject of `here` is home, or `WAIT` seconds. Raises: PinsUnavailable."""
    end = anyio.current_time() + WAIT
    while anyio.current_time() < end:
        pin = await here.point.homes.fetch(here.subject_digest)
        if pin is None or pin.moving is None:
            return
        await anyio.sleep(_POLL)
