"""In: a module's PROJECT, a program. Out: `project`, what that Django project told over SQLite and over PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the module's project told, line by line; over files, and over a server in each country."""
    command = [sys.executable, str(request.module.PROJECT), str(tmp_path_factory.mktemp("django"))]
    if request.param == "postgres":
        pair = request.getfixturevalue("postgres")
        command += [server.url("psycopg", server.database()) for server in (pair.sg, pair.vn)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        told |= json.loads(line)
    return told
