"""In: nothing. Out: `service`, a real server that the pool and the sink are tried against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services import VN_HOST, Service, serving


@pytest.fixture(scope="module")
def _service() -> Iterator[Service]:
    with serving(VN_HOST) as made:
        yield made


@pytest.fixture
def service(_service: Service) -> Service:
    """A real server that has heard nothing yet."""
    _service.forget()
    return _service
