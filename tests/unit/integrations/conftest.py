"""In: a module's PROJECT, a program. Out: `project`, what that Django project told over SQLite and over PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from tests.django_project import DATABASES, told_by


@pytest.fixture(scope="module", params=DATABASES)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the module's project told."""
    return told_by(request.module.PROJECT, tmp_path_factory.mktemp("django"), request)
