"""In: nothing. Out: `detailed`, a deployment's file beside whose log details of two persons lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.detail_world import deploy, live


@pytest.fixture(scope="session")
def _detailed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = deploy(tmp_path_factory.mktemp("detailed"))
    live(file, "an", "binh")
    return file


@pytest.fixture
def detailed(_detailed: Path, tmp_path: Path) -> Path:
    """The policy of a deployment of the test's own, in which `an` and `binh` have written once."""
    return shutil.copytree(_detailed.parent, tmp_path / "deployed") / _detailed.name
