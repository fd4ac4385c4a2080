"""The register of requests in; how many of them are due soon or overdue, for the metrics page, out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from residency.adapters.requests_sqlite import RequestsSqlite
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.parsed import DeploymentDoc
from residency.storage.requests import State

__all__ = ["meter_requests", "requests_of"]

_FILE: Final = "requests.db"
_SHOWN: Final = {names.REQUESTS_SOON: State.SOON, names.REQUESTS_OVERDUE: State.OVERDUE}


def requests_of(deployment: DeploymentDoc, path_of: Callable[[str], Path]) -> RequestsSqlite:
    """The deployment's register of requests, in the audit folder. Nothing is opened or made yet."""
    return RequestsSqlite(path_of(deployment.audit.folder) / _FILE)


def meter_requests(metrics: Metrics, register: RequestsSqlite, now: Callable[[], int]) -> None:
    """Show how many requests are due soon and how many overdue, read whenever the page is; `now` in microseconds."""
    for name, state in _SHOWN.items():
        metrics.gauge(name, lambda state=state: _count(register, state, now()))  # type: ignore[misc]  # bound by default


def _count(register: RequestsSqlite, state: State, now: int) -> float:
    return float(sum(request.state(now) is state for request in register.all(open_only=True)))
