"""The list of client libraries: what a name belongs to, and that every entry says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.cli.bypass_libraries import GROUPS, group_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "called", "library"),
    [
        ("boto3", False, "boto3"),
        ("boto3.session.Session", True, "boto3"),
        ("google.cloud.storage.Client", True, "google.cloud.storage"),
        ("google.cloud", False, None),
        ("requests", False, None),  # only its calls go out
        ("requests.get", True, "requests"),
        ("requests.Timeout", True, None),
        ("http.client.HTTPSConnection", True, "http.client"),
        ("sqlalchemy.ext.asyncio.create_async_engine", True, "sqlalchemy"),
        ("boto3x", False, None),
        ("", False, None),
    ],
)
def test_a_name_is_of_the_library_that_it_begins_with(name: str, called: bool, library: str | None) -> None:
    known = group_of(name, called=called)
    assert (None if known is None else known[0]) == library


def test_no_library_is_in_two_groups_and_every_page_that_is_named_is_there() -> None:
    for kind in ("modules", "calls"):
        names = [name for group in GROUPS for name in getattr(group, kind)]
        assert len(names) == len(set(names))
    pages = {word.strip(".,;:") for group in GROUPS for word in group.mend.split() if word.startswith("docs/")}
    assert [page for page in pages if not (ROOT / page).is_file()] == []
