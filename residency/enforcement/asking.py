"""One async callable of the app's that knows who asks: its name in; the callable, and what it answers, checked, out.

The callable runs before the app, for each request that is decided. One that fails must not turn a person whom the app
knows into nobody, for with the person goes what they said for the law of their country: the request is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Final, cast

import anyio

from residency.enforcement.request import Request
from residency.errors import Unavailable, UsageError
from residency.policy.activities import Match
from residency.signals.identity import OWN_NAMES, OWN_WORDS, Identity, identity

__all__ = ["DEADLINE", "Unasked", "Who", "ask", "load_callable"]

Who = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, object] | None]]
"""`async def who(scope)`: our own words and what they hold, or None where nobody asks whom the app knows."""

DEADLINE: Final = 5.0
"""Seconds that a callable may take."""
_KNOWN: Final = OWN_WORDS | {"subject", "verified"}


@dataclass(frozen=True, slots=True)
class Unasked:
    """A request that is decided once the app has said who asks; it came at `requested` (microseconds)."""

    match: Match
    request: Request
    requested: int


def load_callable(target: str) -> Who:
    """The async callable that `target` ("module:name") names.

    Raises: UsageError, which names the target and says what is wrong with it.
    """
    module, _, path = target.partition(":")
    try:
        found: object = import_module(module)
    except Exception as error:  # importing runs anything
        raise UsageError(f"identity.callable `{target}`: `{module}` cannot be imported ({_kind(error)})") from error
    for name in path.split("."):
        found = getattr(found, name, None)
    # An object with an async __call__ is as good.
    of_object = callable(found) and inspect.iscoroutinefunction(type(found).__call__)
    if not inspect.iscoroutinefunction(found) and not of_object:
        what = "there is no such name" if found is None else "it is not an `async def`"
        raise UsageError(f"identity.callable `{target}`: {what}")
    return cast(Who, found)


async def ask(who: Who, scope: Mapping[str, Any], *, deadline: float = DEADLINE) -> Identity | None:
    """What `who` answers for the request of `scope`; None where it knows nobody. `deadline` in seconds.

    Raises: Unavailable where it raises, takes too long, or answers what has no meaning. The message names no person:
    only the kind of an error and the line it came from.
    """
    answer: object = None
    with anyio.move_on_after(deadline) as limit:
        try:
            answer = await who(scope)
        except Exception as error:  # noqa: BLE001 - whatever it was, who asks is not known
            raise Unavailable(f"identity.callable failed with {_kind(error)}") from None
    if limit.cancelled_caught:
        raise Unavailable(f"identity.callable did not answer within {deadline:g} s")
    try:
        return None if answer is None else _read(answer)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - a mapping that looks things up when it is read
        raise Unavailable(f"identity.callable answered what failed with {_kind(error)}") from None


def _read(answer: object) -> Identity:
    if not isinstance(answer, Mapping):
        raise Unavailable(f"identity.callable answered {type(answer).__name__}, not a mapping or None")
    unknown = set(answer) - _KNOWN
    if unknown:
        # Under a wrong name a claim would be lost, and with it perhaps the law that covers the person.
        raise Unavailable(f"identity.callable answered under an unknown name; names: {', '.join(sorted(_KNOWN))}")
    verified = answer.get("verified", False)
    if not isinstance(verified, bool):
        raise Unavailable("identity.callable answered `verified` that is neither True nor False")
    subject = answer.get("subject")
    if isinstance(subject, int) and not isinstance(subject, bool):
        subject = str(subject)
    said = identity({**answer, "subject": subject}, OWN_NAMES, verified=verified, source="callable")
    if subject is not None and said.subject is None:
        raise Unavailable("identity.callable answered a `subject` that is no text of 1 to 512 characters and no number")
    return said


def _kind(error: BaseException) -> str:
    """An error's kind and the line it came from, or the module that is not there. Its text may hold anything."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return f"there is no module `{error.name}`"
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} at {file}:{trace.tb_lineno}"
