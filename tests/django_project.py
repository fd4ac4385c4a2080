"""For tests: a Django project in a process of its own, over files and over a server in each country; what it told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

__all__ = ["DATABASES", "told_by"]

DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))]
"""What a fixture that runs a project is parametrised by."""


def told_by(project: Path, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What `project` told, line by line; `folder` is its own, and `request` that of a fixture over DATABASES."""
    command = [sys.executable, str(project), str(folder)]
    if request.param == "postgres":
        pair = request.getfixturevalue("postgres")
        command += [server.url("psycopg", server.database()) for server in (pair.sg, pair.vn)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        told |= json.loads(line)
    return told
