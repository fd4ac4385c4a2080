"""The import contracts of pyproject.toml hold."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_imports_point_down_and_the_core_is_deaf_and_blind() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/adr/0001-layers.md"])
def test_documents_tell_the_layers_that_are_checked(document: str) -> None:
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    told = re.search(r"`cli` > .*?`errors`", (ROOT / document).read_text(), re.DOTALL)
    assert told is not None
    assert re.findall(r"`([^`]+)`", told[0]) == checked
