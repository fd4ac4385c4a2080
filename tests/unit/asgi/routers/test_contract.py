"""Frameworks' patterns as templates that take no less."""

from __future__ import annotations

import pytest

from residency.asgi.routers.contract import template_of

X, REST = ("x", False), ("rest", True)


@pytest.mark.parametrize(
    ("parts", "template", "exact"),
    [
        (["/"], "/", True),
        (["/a/", X, "/b/"], "/a/{x}/b/", True),
        (["/a/", REST], "/a/{rest:path}", True),
        (["/a/", X, ".json"], "/a/{x}", False),
        (["/", X, "-", ("y", False)], "/{x}", False),
        (["/a", REST], "/{rest:path}", False),
        (["/a/", REST, "/b"], "/a/{rest:path}", False),
        (["/a//b"], "/a/{rest:path}", False),
        (["/a*b/c"], "/{p1}/c", False),
        (["/", X, "/", X], "/{x}/{p2}", True),
        (["/", ("no name", False)], "/{p1}", True),
    ],
)
def test_a_pattern_becomes_a_template_that_takes_no_less(
    parts: list[str | tuple[str, bool]], template: str, exact: bool
) -> None:
    assert template_of(parts) == (template, exact)
