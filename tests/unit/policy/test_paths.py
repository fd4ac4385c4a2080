"""Templates, what covers what, and what of a path is ambiguous."""

from __future__ import annotations

import pytest

from residency.policy.paths import FRAMEWORKS, ambiguous, covers, hopeless, parse_template, shape


@pytest.mark.parametrize("template", "a /a//b /./a /a/.. /{x}.json /{x:path}/a /{x}/{x} /{x:int} /a?b /%61 /{".split())
def test_a_template_that_cannot_be_meant_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_template(template)


def test_routes_of_one_shape_take_the_same_paths() -> None:
    assert (
        shape(parse_template("/a/{x}/{y:path}")) == shape(parse_template("/a/{z}/{w:path}")) == ("a", "{}", "{:path}")
    )


@pytest.mark.parametrize(
    ("wide", "narrow", "holds"),
    [
        ("/a", "/a", True), ("/a", "/b", False), ("/{x}", "/a", True), ("/a", "/{x}", False), ("/{x}", "/a/b", False),
        ("/{r:path}", "/a/{x}", True), ("/a/{r:path}", "/a", False), ("/{x}", "/{r:path}", False),
        ("/{r:path}", "/{s:path}", True), ("/{x}", "/", False), ("/{r:path}", "/", True), ("/a/{x}", "/a/", False),
        ("/a/b", "/a", False), ("/{x}/b", "/a/b", True), ("/a", "/A", False),
    ],
)  # fmt: skip
def test_a_route_covers_another_that_takes_no_other_paths(wide: str, narrow: str, holds: bool) -> None:
    assert covers(shape(parse_template(wide)), shape(parse_template(narrow))) is holds


@pytest.mark.parametrize(
    ("path", "raw", "holds"),
    [
        ("/a/b", b"/a/b", False), ("/a b", b"/a%20b", False), ("/Đ", "/Đ".encode(), False),
        ("/a.b/.c", b"/a.b/.c", False),
        ("/a/../b", b"/a/../b", True), ("/a/.", b"/a/.", True), ("//a", b"//a", True), ("/a\\b", b"/a\\b", True),
        ("/a/b", b"/a%2Fb", True), ("/a", b"/%5Ca", True), ("/a\u00a0b", None, False), ("/a\n", None, True),
        ("/a\n", b"/a%0a", True), ("a", b"a", True), ("", None, True),
    ],
)  # fmt: skip
def test_what_servers_and_routers_could_read_differently_is_ambiguous(
    path: str, raw: bytes | None, holds: bool
) -> None:
    assert ambiguous(path, raw) is holds


def test_no_raw_path_is_taken_that_is_none_or_ends_in_a_newline() -> None:
    assert [hopeless(path) for path in ("/a", "/a\nb", "/a\n", "a", "", "//a")] == [False, False] + [True] * 4


@pytest.mark.parametrize(
    ("framework", "path", "root", "under"),
    [
        ("starlette", "/api/x", "/api", "/x"), ("starlette", "/apix", "/api", "/apix"),
        ("starlette", "/api", "/api", "/"),
        ("django", "/apix", "/api", "x"), ("django", "/x", "/api", "/x"), ("quart", "/x", "/api", "/ "),
        ("quart", "/api/x", "/api", "/x"), ("quart", "/apix", "/api", "/x"),
        ("litestar", "/public/api/x", "/api", "/x"), ("litestar", "/x", "/api", "/x"),
        ("litestar", "/apix", "/api", "/x"), ("litestar", "/api", "/api", "/"),
        ("blacksheep", "/api/x", "/api", "/x"),
    ],
)  # fmt: skip
def test_a_root_is_dropped_as_the_framework_drops_it(framework: str, path: str, root: str, under: str) -> None:
    assert FRAMEWORKS[framework].under(path, root) == under


def test_what_a_framework_folds_is_folded_and_nothing_else() -> None:
    folded = {name: framework.folded("/A//b/") for name, framework in FRAMEWORKS.items()}
    plain = {"asgi", "starlette", "fastapi", "django", "quart"}
    assert folded == {**dict.fromkeys(plain, "/A//b/"), "litestar": "/A/b", "blacksheep": "/a//b"}
    assert FRAMEWORKS["litestar"].folded("//") == "/"
