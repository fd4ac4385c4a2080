"""Which activity a request is: precedence, methods, ambiguous paths, the cache."""

from __future__ import annotations

import pytest

from residency.errors import PathError
from residency.model import Activity, Operation, SubjectSource
from residency.policy.activities import ActivityTable, parse_template


def activity(route: str, *, raw: bool = False) -> Activity:
    method, path = route.split(" ")
    return Activity(route, method, path, SubjectSource("none"), frozenset({"personal"}), Operation.READ, raw_paths=raw)


def table(*routes: str, exempt: tuple[tuple[str, str], ...] = ()) -> ActivityTable:
    return ActivityTable([activity(route) for route in routes], exempt)


def name(found: ActivityTable, method: str, path: str) -> str | None:
    match = found.match(method, path, path.encode())
    return None if match.activity is None else match.activity.name


def test_a_literal_beats_a_parameter_beats_the_rest_of_the_path() -> None:
    routes = table("GET /a/{x:path}", "GET /a/{x}", "GET /a/b")
    assert name(routes, "GET", "/a/b") == "GET /a/b"
    assert name(routes, "GET", "/a/c") == "GET /a/{x}"
    assert name(routes, "GET", "/a/b/c") == "GET /a/{x:path}"


def test_a_branch_without_a_route_gives_way_to_the_next() -> None:
    routes = table("GET /a/b/c", "GET /a/{x}/d", "POST /a/{x}/c")
    assert name(routes, "GET", "/a/b/d") == "GET /a/{x}/d"
    assert name(routes, "POST", "/a/b/c") == "POST /a/{x}/c"


def test_parameters_are_taken_as_they_stand() -> None:
    match = table("GET /a/{x}/{y:path}").match("GET", "/a/Đà Nẵng/b/c", None)
    assert dict(match.params) == {"x": "Đà Nẵng", "y": "b/c"}


def test_a_trailing_slash_and_another_case_are_other_paths() -> None:
    routes = table("GET /a", "GET /b/", "GET /c/{x}")
    assert name(routes, "GET", "/a/") is None
    assert name(routes, "GET", "/b") is None
    assert name(routes, "GET", "/b/") == "GET /b/"
    assert name(routes, "GET", "/A") is None
    assert name(routes, "GET", "/c/") is None


def test_methods_match_in_any_case_and_head_is_a_get_unless_named() -> None:
    routes = table("GET /a", "HEAD /b", "GET /b", "ANY /c", "WS /d")
    assert name(routes, "get", "/a") == "GET /a"
    assert name(routes, "HEAD", "/a") == "GET /a"
    assert name(routes, "HEAD", "/b") == "HEAD /b"
    assert name(routes, "PATCH", "/c") == "ANY /c"
    assert name(routes, "WS", "/c") is None
    assert name(routes, "WS", "/d") == "WS /d"
    assert name(routes, "GET", "/d") is None
    assert name(routes, "POST", "/a") is None


def test_exempt_routes_are_told_apart_from_routes_that_nobody_named() -> None:
    routes = table("GET /a/{x}", exempt=(("GET", "/healthz"), ("GET", "/a/docs")))
    assert routes.match("GET", "/healthz", None).exempt
    assert routes.match("HEAD", "/a/docs", None).exempt
    nobody = routes.match("GET", "/nope", None)
    assert nobody.activity is None
    assert not nobody.exempt


AMBIGUOUS = [
    ("/a/../b", b"/a/../b"), ("/a/.", b"/a/."), ("/a/..", b"/a/.."), ("/./a", b"/./a"), ("//a", b"//a"),
    ("/a//b", b"/a//b"), ("/a//", b"/a//"), ("/a/../b", b"/a/%2e%2E/b"), ("/a/b", b"/a%2fb"), ("/a/b", b"/a%2Fb"),
    ("/a\\b", b"/a\\b"), ("/a\\b", b"/a%5Cb"), ("/a\n", b"/a%0A"), ("/a\x00", b"/a%00"), ("/a\x7f", b"/a%7f"),
    ("/a\t", None), ("", b""), ("a", b"a"), ("*", b"*"), ("http://h/a", b"http://h/a"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "raw"), AMBIGUOUS)
def test_a_path_that_can_be_read_in_two_ways_is_refused(path: str, raw: bytes | None) -> None:
    with pytest.raises(PathError):
        table("GET /a/{x:path}", "GET /{x}").match("GET", path, raw)


@pytest.mark.parametrize("path", ["/a/...", "/a/.b", "/a/b..", "/a/..b", "/a/%2e", "/a;x=1", "/a/b/"])
def test_an_ordinary_path_is_never_refused(path: str) -> None:
    assert name(table("GET /{x:path}"), "GET", path) == "GET /{x:path}"


def test_raw_paths_take_what_others_refuse_and_only_under_their_own_route() -> None:
    routes = ActivityTable([activity("GET /files/{x:path}", raw=True), activity("GET /a/{x:path}")])
    assert dict(routes.match("GET", "/files/a/../b", b"/files/a/../b").params) == {"x": "a/../b"}
    with pytest.raises(PathError):
        routes.match("GET", "/a/../files/b", b"/a/../files/b")


def test_repeated_and_changed_questions_get_the_same_answers() -> None:
    routes = table("GET /a", "GET /b/{x}")
    for _ in range(2):
        assert name(routes, "GET", "/a") == "GET /a"
        assert routes.match("GET", "/b/1", None).params == {"x": "1"}
        assert routes.match("GET", "/b/2", None).params == {"x": "2"}
        with pytest.raises(PathError):
            routes.match("GET", "/a", b"/%2fa")


@pytest.mark.parametrize("template", "a /a//b /./a /a/.. /{x}.json /{x:path}/a /{x}/{x} /{x:int} /a?b /%61 /{".split())
def test_a_template_that_cannot_be_meant_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_template(template)


def test_two_routes_for_the_same_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="two routes"):
        table("GET /a/{x}", "GET /a/{y}")
