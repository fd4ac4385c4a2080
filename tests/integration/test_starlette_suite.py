"""Starlette's own test suite passes as well with every app under the middleware as without it, on asyncio and trio."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import residency

SOURCES = (Path(__file__).parent, Path(residency.__file__).parents[1])
POLICY = """\
residency: 1
kind: deployment
name: starlette-suite
mode: enforce
operator: {established_in: [VN]}
laws: none
unclassified: permit
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "ANY /{rest:path}", paths: raw, subject: none, data: [content], operation: process}
"""


def run(sdist: Path, log: Path, *extra: str, **environment: str) -> str:
    """Starlette's tests in a process of their own, in their own order and with their own settings; what it printed."""
    off = [part for plugin in ("randomly", "residency", "cacheprovider") for part in ("-p", f"no:{plugin}")]
    with log.open("w") as out:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *off, *extra],
            cwd=sdist,
            # What its tests leave in the folder for temporary files goes with ours.
            env={
                **os.environ,
                **environment,
                "PYTHONPATH": os.pathsep.join(map(str, SOURCES)),
                "TMPDIR": str(log.parent),
            },
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return log.read_text()


@pytest.mark.needs("starlette-sdist")
@pytest.mark.timeout(600)
def test_no_test_of_starlette_fails_under_the_middleware_that_passes_without_it(
    starlette_sdist: Path, tmp_path: Path
) -> None:
    policy, seen = tmp_path / "policy.yaml", tmp_path / "seen.json"
    policy.write_text(POLICY)
    told = {"RESIDENCY_SUITE_POLICY": str(policy), "RESIDENCY_SUITE_REPORT": str(seen)}
    said = run(starlette_sdist, tmp_path / "wrapped.log", "-p", "starlette_wrapped", "tests", **told)
    assert seen.exists(), said[-2_000:]
    under = json.loads(seen.read_text())

    assert len(under["passed"]) > 1_000
    assert any("trio" in name for name in under["passed"])
    # The others are run without it: none of them may pass there.
    if under["others"]:
        bare = run(starlette_sdist, tmp_path / "bare.log", "-rp", *under["others"])
        passing = [line for line in bare.splitlines() if line.startswith("PASSED ")]
        assert not passing, f"{passing}\n{said[-5_000:]}"
        assert re.search(r"\d+ (failed|error|skipped|xfailed)", bare.splitlines()[-1]), bare[-2_000:]
    assert under["wrapped"] > 500
    assert under["decided"] > 700
