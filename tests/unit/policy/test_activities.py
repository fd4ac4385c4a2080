"""Which activity a request is: precedence, methods, ambiguous paths, how frameworks read them, the cache."""

from __future__ import annotations

import pytest

from residency.errors import PathError
from residency.model import Activity, Operation, SubjectSource
from residency.policy.activities import FRAMEWORKS, ActivityTable, AppRoute, Routing


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


def test_a_final_slash_and_another_case_are_other_paths() -> None:
    activities = [activity(route) for route in ("GET /a", "GET /b/", "GET /c/{x}")]
    routes = ActivityTable(activities, framework="starlette")
    assert name(routes, "GET", "/a/") is None
    assert name(routes, "GET", "/b") is None
    assert name(routes, "GET", "/b/") == "GET /b/"
    assert name(routes, "GET", "/A") is None
    assert name(routes, "GET", "/c/") is None


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/a/"), ("GET", "/A"), ("get", "/a"), ("GET", "/B"), ("GET", "/b")]
)
def test_where_the_framework_is_not_known_what_some_fold_into_another_route_is_refused(method: str, path: str) -> None:
    routes = table("GET /a", "GET /b/", "ANY /{rest:path}")
    assert name(routes, "GET", "/a") == "GET /a"
    assert name(routes, "GET", "/b/") == "GET /b/"
    assert name(routes, "GET", "/C/d/") == "ANY /{rest:path}"
    assert name(routes, "patch", "/c") == "ANY /{rest:path}"
    with pytest.raises(PathError):
        name(routes, method, path)
    assert routes.match(method, path, None, lenient=True).activity is not None


def test_routes_that_differ_only_in_what_is_folded_are_told_apart_where_they_stand_as_written() -> None:
    routes = table("GET /a", "GET /a/", "GET /A")
    for path in ("/a", "/a/", "/A"):
        assert name(routes, "GET", path) == f"GET {path}"


def test_head_is_a_get_unless_named() -> None:
    routes = table("GET /a", "HEAD /b", "GET /b", "ANY /c", "WS /d")
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
    assert routes.match("HEAD", "/a/docs", None).exempt == "GET /a/docs"
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


def test_two_routes_for_the_same_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="two routes"):
        table("GET /a/{x}", "GET /a/{y}")


def test_parameters_cannot_be_changed_for_the_next_request() -> None:
    match = table("GET /a/{x}").match("GET", "/a/1", None)
    with pytest.raises(TypeError):
        match.params["x"] = "2"  # type: ignore[index]
    assert table("GET /a").match("GET", "/a", None).params == {}


def test_what_a_client_can_make_us_remember_is_bounded() -> None:
    routes = table("GET /a/{x}")
    for number in range(10_000):
        routes.match("GET", f"/a/{number}", None)
        routes.match("GET", f"/a/{number}" + "x" * 300, None)
        routes.match("GET", "/a/1", b"/a/" + b"x" * 300 + b"%d" % number)
        routes.match("M" * 20 + str(number), "/a/1", None)
        routes.match("GET", f"/nobody/{number}/{number}", None)
    cache = routes._alone.cache
    assert 0 < len(cache) <= 4096
    assert all(len(path) <= 256 and len(raw or b"") <= 256 and len(method) < 16 for method, path, raw in cache)
    matcher = routes._alone._matcher
    assert len(matcher._states) < 10
    assert all(len(state.said) < 10 for state in matcher._states.values())


# -- where the app's own routes are known ------------------------------------------------------------------------------

GET = frozenset({"GET"})


def routing(framework: str, *routes: AppRoute) -> Routing:
    return Routing(FRAMEWORKS[framework], routes)


def served(routes: ActivityTable, how: Routing, method: str, path: str) -> str | None:
    match = routes.match(method, path, path.encode(), routing=how)
    return None if match.activity is None else match.activity.name


def test_a_request_is_what_names_the_route_that_serves_it() -> None:
    routes = table("GET /users/{id}", "GET /users/me", "GET /{a}/x")
    first = routing("starlette", AppRoute(GET, "/users/{key}"), AppRoute(GET, "/users/me"), AppRoute(GET, "/{a}/x"))
    last = routing("starlette", AppRoute(GET, "/{a}/x"), AppRoute(GET, "/users/me"), AppRoute(GET, "/users/{key}"))
    assert served(routes, first, "GET", "/users/me") == "GET /users/{id}"
    assert served(routes, first, "GET", "/users/x") == "GET /users/{id}"
    assert served(routes, last, "GET", "/users/me") == "GET /users/me"
    assert served(routes, last, "GET", "/users/x") == "GET /{a}/x"


def test_a_finer_activity_holds_where_it_is_no_other_routes_name() -> None:
    routes = table("GET /files/{rest:path}", "GET /files/public/{name}")
    whole = routing("starlette", AppRoute(GET, "/{rest:path}"))
    assert served(routes, whole, "GET", "/files/public/a") == "GET /files/public/{name}"
    other = routing("starlette", AppRoute(GET, "/files/{r:path}"), AppRoute(GET, "/files/public/{n}"))
    assert served(routes, other, "GET", "/files/public/a") == "GET /files/{rest:path}"


def test_what_is_served_by_a_route_that_nobody_named_is_nobodys() -> None:
    routes = table("GET /a/{x}")
    how = routing("starlette", AppRoute(GET, "/{y}/b"), AppRoute(GET, "/a/{x}"))
    assert served(routes, how, "GET", "/a/b") is None
    assert served(routes, how, "GET", "/a/c") == "GET /a/{x}"


def test_a_route_that_asks_more_than_its_template_is_asked() -> None:
    routes = table("GET /{n}/a", "GET /{x}/{y}")
    how = routing("starlette", AppRoute(GET, "/{n}/a", lambda path: path[1:2].isdigit()), AppRoute(GET, "/{x}/{y}"))
    assert served(routes, how, "GET", "/1/a") == "GET /{n}/a"
    assert served(routes, how, "GET", "/z/a") == "GET /{x}/{y}"


def test_a_route_that_depends_on_more_than_the_path_makes_what_it_could_take_ambiguous() -> None:
    routes = table("GET /{n}/a", "GET /{x}/{y}")
    how = routing("starlette", AppRoute(GET, "/{n}/a", sure=False), AppRoute(GET, "/{x}/{y}"))
    assert served(routes, how, "GET", "/1/b") == "GET /{x}/{y}"
    with pytest.raises(PathError):
        served(routes, how, "GET", "/1/a")
    assert routes.match("GET", "/1/a", None, routing=how, lenient=True).activity is not None


def test_a_mount_keeps_its_paths_from_later_routes_and_is_named_by_what_names_it() -> None:
    routes = table("ANY /m/{rest:path}", "GET /{page}")
    how = routing(
        "litestar",
        AppRoute(None, "/{rest:path}", lambda path: path.startswith("/m"), known_as="/m/{rest:path}"),
        AppRoute(GET, "/{page}"),
    )
    assert served(routes, how, "GET", "/mail") == "ANY /m/{rest:path}"
    assert routes.match("GET", "/mail", b"/mail", routing=how).params == {"rest": ""}
    assert served(routes, how, "GET", "/other") == "GET /{page}"


def test_what_the_app_only_sends_on_is_what_it_sends_on_to() -> None:
    routes = table("GET /a", "GET /b/", "GET /{x}")
    how = routing("starlette", AppRoute(GET, "/a"), AppRoute(GET, "/b/"))
    assert served(routes, how, "GET", "/a/") == "GET /a"
    assert served(routes, how, "get", "/a") == "GET /a"
    assert served(routes, how, "GET", "/x/") is None
    litestar = routing("litestar", AppRoute(GET, "/a"))
    assert served(routes, litestar, "GET", "/a/") == "GET /a"


def test_methods_are_read_as_the_framework_reads_them() -> None:
    routes = table("POST /a", "ANY /a")
    own = (AppRoute(frozenset({"POST"}), "/a"), AppRoute(None, "/a"))
    assert served(routes, routing("django", *own), "post", "/a") == "POST /a"
    assert served(routes, routing("starlette", *own), "post", "/a") == "ANY /a"
    for framework, method in (("litestar", "websocket"), ("litestar", "asgi"), ("blacksheep", "GET_WS")):
        with pytest.raises(PathError):
            served(routes, routing(framework, *own), method, "/a")


def test_a_router_that_ignores_case_and_does_not_decode_is_followed() -> None:
    routes = table("GET /users/me", "GET /users/{id}")
    how = routing("blacksheep", AppRoute(GET, "/users/me"), AppRoute(GET, "/users/{id}"))
    assert served(routes, how, "GET", "/Users/ME/") == "GET /users/me"
    match = routes.match("GET", "/users/me", b"/users/%6de", routing=how)
    assert match.activity is not None
    assert (match.activity.name, dict(match.params)) == ("GET /users/{id}", {"id": "me"})


def test_a_header_that_asks_for_a_method_of_another_activity_is_refused() -> None:
    routes = table("POST /a", "DELETE /a", "ANY /b")
    assert routes.match("POST", "/b", b"/b", also="DELETE").activity is not None
    with pytest.raises(PathError):
        routes.match("POST", "/a", b"/a", also="DELETE")
    assert routes.match("POST", "/a", b"/a", also="DELETE", lenient=True).activity is not None


def test_of_several_methods_that_headers_ask_for_each_counts() -> None:
    routes = table("ANY /b", "DELETE /b")
    assert routes.match("POST", "/b", b"/b", also="PUT PATCH").activity is not None
    for also in ("PUT DELETE", "DELETE PUT", "A B C D E"):
        with pytest.raises(PathError):
            routes.match("POST", "/b", b"/b", also=also)


def test_a_newline_at_the_end_is_refused_even_where_raw_paths_are_taken() -> None:
    routes = ActivityTable([activity("GET /{x}", raw=True)])
    assert routes.match("GET", "/a\tb", b"/a%09b").activity is not None
    with pytest.raises(PathError):
        routes.match("GET", "/a\n", b"/a%0A")


def test_an_apps_route_is_named_only_by_what_takes_all_of_it() -> None:
    routes = table("GET /files/{x}", "ANY /m/{rest:path}")
    how = routing("starlette")
    assert routes.names(AppRoute(GET, "/files/{name}"), how)
    assert routes.names(AppRoute(GET, "/m/{a}/b"), how)
    assert not routes.names(AppRoute(GET, "/files/{rest:path}"), how)
    assert not routes.names(AppRoute(None, "/files/{name}"), how)
    assert not routes.names(AppRoute(frozenset({"GET", "PUT"}), "/files/{name}"), how)
