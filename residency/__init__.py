"""Data residency for Python ASGI APIs: whose law covers this person, what may happen to their data, and proof of it.

    from residency import ResidencyMiddleware, current, identify, about
    app = ResidencyMiddleware(app, policy="policies/deployments/chat-api.yaml")

Names are imported when first used, so importing the package is cheap and needs no optional extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from residency.adapters.policy_files import load
    from residency.asgi.middleware import ResidencyMiddleware
    from residency.bootstrap import Residency, build
    from residency.enforcement.context import about, about_many, current, identify
    from residency.enforcement.current import Current
    from residency.errors import (
        NoDecision,
        NotFound,
        PolicyError,
        Refused,
        ResidencyError,
        SubjectUnknown,
        Unavailable,
        UnknownStore,
        UsageError,
    )
    from residency.integrations import httpx as http
    from residency.integrations import sqlalchemy as sql
    from residency.integrations.gathering import gather
    from residency.model import Decision, Effect, Reason

__version__ = "0.1.0"

__all__ = [
    "Current",
    "Decision",
    "Effect",
    "NoDecision",
    "NotFound",
    "PolicyError",
    "Reason",
    "Refused",
    "Residency",
    "ResidencyError",
    "ResidencyMiddleware",
    "SubjectUnknown",
    "Unavailable",
    "UnknownStore",
    "UsageError",
    "about",
    "about_many",
    "build",
    "current",
    "gather",
    "http",
    "identify",
    "load",
    "sql",
]

_HOME = {
    "Current": "residency.enforcement.current",
    "Decision": "residency.model",
    "Effect": "residency.model",
    "NoDecision": "residency.errors",
    "NotFound": "residency.errors",
    "PolicyError": "residency.errors",
    "Reason": "residency.model",
    "Refused": "residency.errors",
    "Residency": "residency.bootstrap",
    "ResidencyError": "residency.errors",
    "ResidencyMiddleware": "residency.asgi.middleware",
    "SubjectUnknown": "residency.errors",
    "Unavailable": "residency.errors",
    "UnknownStore": "residency.errors",
    "UsageError": "residency.errors",
    "about": "residency.enforcement.context",
    "about_many": "residency.enforcement.context",
    "build": "residency.bootstrap",
    "current": "residency.enforcement.context",
    "gather": "residency.integrations.gathering",
    "identify": "residency.enforcement.context",
    "load": "residency.adapters.policy_files",
}
_INTEGRATIONS = {"http": "residency.integrations.httpx", "sql": "residency.integrations.sqlalchemy"}


def __getattr__(name: str) -> Any:
    if name in _INTEGRATIONS:
        value: Any = import_module(_INTEGRATIONS[name])
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'residency' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
