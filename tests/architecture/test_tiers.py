"""A test whose outside tool is missing is listed, never hidden, and fails where tiers are required."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SUITE = """
import pytest

@pytest.mark.needs("starlette-sdist")
def test_needs_what_is_not_there(): ...

@pytest.mark.needs("no-such-tier")
def test_names_an_unknown_tier(): ...

@pytest.mark.slow
def test_is_slow(): ...

def test_needs_nothing(): ...
"""


def run(folder: Path, *arguments: str, require: str = "0") -> tuple[int, str]:
    """A suite of its own in `folder`, under our conftest, where nothing was fetched into .tools."""
    tests = folder / "tests"
    tests.mkdir()
    shutil.copy(CONFTEST, tests)
    (tests / "test_some.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = needs(tool)\n  slow\n")
    off = ["-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:residency"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *off, "tests", *arguments],
        cwd=folder,
        env={**os.environ, "RESIDENCY_REQUIRE_TIERS": require},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_missing_tier_is_skipped_with_its_reason_and_listed_last(tmp_path: Path) -> None:
    _, said = run(tmp_path, "-k", "not unknown")
    assert "1 passed, 2 skipped" in said
    listed = said[said.index("TIERS NOT RUN") :]
    assert "1 test NOT RUN: starlette-sdist" in listed
    assert "1 test NOT RUN: slow" in listed


def test_where_tiers_are_required_a_missing_one_fails_the_run(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-k", "not unknown", require="1")
    assert code == 1
    assert "(required here)" in said


def test_a_tier_that_nobody_defined_is_a_mistake_and_not_a_skip(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-k", "unknown")
    assert code == 1
    assert "unknown tier 'no-such-tier'" in said


def test_slow_tests_run_when_asked_for(tmp_path: Path) -> None:
    _, said = run(tmp_path, "-m", "slow")
    assert "1 passed" in said
