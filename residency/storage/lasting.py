"""An error of a sink in; whether waiting may mend it out.

A sink that restarts is back in a moment. Wrong credentials, a database, bucket or table that is not there: these stay
until somebody mends them, and whoever tries again only says so later.
"""

from __future__ import annotations

from typing import Final, TypeVar

from residency.errors import ResidencyError

__all__ = ["is_lasting", "lasting"]

_E = TypeVar("_E", bound=ResidencyError)
_NOTED: Final = "_residency_lasting"


def lasting(error: _E) -> _E:
    """`error`, noted as one that no wait mends."""
    setattr(error, _NOTED, True)
    return error


def is_lasting(error: BaseException) -> bool:
    """Whether `error` was noted as one that no wait mends."""
    return bool(getattr(error, _NOTED, False))
