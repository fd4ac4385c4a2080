"""Django's own apps and commands in units of work: what they give, write and are refused, over both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.django_project import DATABASES, told_by

PROJECT = Path(__file__).resolve().parent / "django_contrib.py"


@pytest.fixture(scope="module", params=DATABASES)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the project told of each question, and what was expected."""
    return told_by(PROJECT, tmp_path_factory.mktemp("django"), request)


def unexpected(told: dict[str, Any]) -> dict[str, Any]:
    """What was told otherwise than expected; of an error, how it begins."""
    return {
        name: given
        for name, (given, expected) in told.items()
        if given != expected and not (isinstance(expected, str) and str(given).startswith(expected))
    }


def test_what_djangos_own_apps_read_is_hers_or_may_be_read(project: dict[str, Any]) -> None:
    assert unexpected(project["read"]) == {}


def test_what_they_write_is_hers(project: dict[str, Any]) -> None:
    assert unexpected(project["written"]) == {}
    assert project["left"] == ["of anh", "of chua"]  # she took her own away, with what goes along


def test_a_command_without_a_request_is_told_to_name_a_sink(project: dict[str, Any]) -> None:
    assert "name one by .using(…), or a command's --database" in project["command"]
