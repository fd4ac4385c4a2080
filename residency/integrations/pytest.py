"""The pytest plugin: the fixture `residency_kit`, an app under its own policy with everything it writes in tmp_path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from residency.testing import Kit

__all__ = ["residency_kit"]


@pytest.fixture
def residency_kit(tmp_path: Path) -> Iterator[Callable[..., Kit]]:
    """A factory: `kit = residency_kit(app, "policies/deployments/social-api.yaml")`; see `residency.testing.Kit`."""
    from residency.testing import Kit  # not needed by test runs that never use the fixture

    with ExitStack() as stack:

        def make(app: Any, policy: str | Path, **options: Any) -> Kit:
            return stack.enter_context(Kit(app, policy, tmp_path / "residency", **options))

        yield make
