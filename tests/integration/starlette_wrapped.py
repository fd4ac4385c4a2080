"""A pytest plugin for Starlette's own suite: every app that a test drives is wrapped by one permit-all middleware.

In: RESIDENCY_SUITE_POLICY, the path of a deployment file. Out: at the end, how much passed through the middleware, and
which tests did not pass, as JSON in the file named by RESIDENCY_SUITE_REPORT. Loaded with `-p starlette_wrapped` in a
process of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette import testclient

from residency import ResidencyMiddleware, build
from residency.observe import names

_RUNTIME = build(os.environ["RESIDENCY_SUITE_POLICY"])
_wrapped = 0
_passed: set[str] = set()
_others: set[str] = set()


class Transparent(ResidencyMiddleware):
    """The middleware as it is, but a test may still read its app's own attributes through it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["app"], name)


def _wrap(app: Any) -> Any:
    global _wrapped
    _wrapped += 1
    return Transparent(app, policy=_RUNTIME)


_client_init = testclient.TestClient.__init__
_transport_init = httpx2.ASGITransport.__init__


def _wrapped_client(self: testclient.TestClient, app: Any, *args: Any, **kwargs: Any) -> None:
    if not testclient._is_asgi3(app):
        app = testclient._WrapASGI2(app)
    _client_init(self, _wrap(app), *args, **kwargs)


def _wrapped_transport(self: httpx2.ASGITransport, app: Any, *args: Any, **kwargs: Any) -> None:
    _transport_init(self, _wrap(app), *args, **kwargs)


testclient.TestClient.__init__ = _wrapped_client  # type: ignore[method-assign]
httpx2.ASGITransport.__init__ = _wrapped_transport  # type: ignore[method-assign]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note which tests pass, and which are anything else at any of their stages."""
    if not report.passed:
        _others.add(report.nodeid)
    elif report.when == "call":
        _passed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Say how much the middleware saw: a suite that passed beside it would prove nothing."""
    decided = sum(_RUNTIME.metrics.value(names.DECIDED, basis) for basis in ("signal", "presumption"))
    told = {"wrapped": _wrapped, "decided": decided, "passed": sorted(_passed - _others), "others": sorted(_others)}
    Path(os.environ["RESIDENCY_SUITE_REPORT"]).write_text(json.dumps(told))
