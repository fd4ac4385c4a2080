"""The places at the end of the demo: paths that can be pasted where the demo runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.demo.places import CHECKER, POLICY, places


def test_paths_below_the_working_folder_are_short_and_others_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = dict(places(tmp_path / "demo-data", None, None))
    assert lines["the audit log"] == "demo-data/audit/log"
    assert lines["the deployment file"] == str(POLICY)


def test_a_path_with_a_space_is_quoted(tmp_path: Path) -> None:
    values = [value for _, value in places(tmp_path / "a b", None, None)]
    assert f"'{tmp_path}/a b/audit/log'" in values
    assert any(f"DEMO_DATA='{tmp_path}/a b'" in value for value in values)


def test_addresses_stand_there_only_while_something_serves(tmp_path: Path) -> None:
    assert not any("127.0.0.1" in value for _, value in places(tmp_path, None, None))
    values = "\n".join(value for _, value in places(tmp_path, 8000, 8080))
    assert "http://127.0.0.1:8000/docs" in values
    assert "http://127.0.0.1:8000/metrics" in values
    assert "http://127.0.0.1:8080/v1/people" in values


def test_what_they_name_of_the_package_is_there() -> None:
    assert POLICY.is_file()
    assert (CHECKER / "__main__.py").is_file()
