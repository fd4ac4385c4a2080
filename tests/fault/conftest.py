"""What is real here is reached on one event loop."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The loop that the drivers of databases run on."""
    return "asyncio"
