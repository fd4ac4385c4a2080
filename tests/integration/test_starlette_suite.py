"""Starlette's own test suite passes as well with every app under the middleware as without it, on asyncio and trio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

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


def start(sdist: Path, report: Path, *extra: str, **environment: str) -> subprocess.Popen[bytes]:
    """Starlette's tests in a process of their own, in their own order and with their own settings."""
    off = [part for plugin in ("randomly", "residency", "cacheprovider") for part in ("-p", f"no:{plugin}")]
    with report.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", *off, f"--junitxml={report}", *extra, "tests"],
            cwd=sdist,
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(map(str, SOURCES))},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def outcomes(report: Path) -> dict[str, str]:
    """Test id to "passed", "skipped" or why it did not pass."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - written by the pytest we started
        bad = next((child for child in case if child.tag in ("failure", "error")), None)
        skipped = any(child.tag == "skipped" for child in case)
        outcome = "skipped" if skipped else "passed" if bad is None else (bad.text or bad.tag)
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


@pytest.mark.needs("starlette-sdist")
@pytest.mark.timeout(600)
def test_no_test_of_starlette_fails_under_the_middleware_that_passes_without_it(
    starlette_sdist: Path, tmp_path: Path
) -> None:
    policy, seen = tmp_path / "policy.yaml", tmp_path / "seen.json"
    policy.write_text(POLICY)
    bare_report, wrapped_report = tmp_path / "bare.xml", tmp_path / "wrapped.xml"
    bare = start(starlette_sdist, bare_report)
    wrapped = start(
        starlette_sdist,
        wrapped_report,
        "-p",
        "starlette_wrapped",
        RESIDENCY_SUITE_POLICY=str(policy),
        RESIDENCY_SUITE_REPORT=str(seen),
    )
    for run, report in ((bare, bare_report), (wrapped, wrapped_report)):
        run.wait()
        assert report.exists(), report.with_suffix(".log").read_text()[-2_000:]
    without, under = outcomes(bare_report), outcomes(wrapped_report)

    passing = {name for name, outcome in without.items() if outcome == "passed"}
    assert len(passing) > 1_000
    assert any("trio" in name for name in passing)
    broken = {name: under.get(name, "not run")[-1_500:] for name in passing if under.get(name) != "passed"}
    assert not broken, "\n\n".join(f"{name}\n{why}" for name, why in sorted(broken.items()))

    counted = json.loads(seen.read_text())
    assert counted["wrapped"] > 500
    assert counted["decided"] > 700
