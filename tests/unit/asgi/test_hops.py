"""How often a request was just redirected, as its client's cookie tells."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest

from residency.asgi.hops import WINDOW, cookie_of, counted

TARGET = b"https://vn.example/people/an-secret-name?x=1"


def told(cookie: bytes) -> list[tuple[bytes, bytes]]:
    """What a client that was given this cookie sends, beside one of the app's own."""
    return [(b"accept", b"*/*"), (b"Cookie", b"session=1; " + cookie.partition(b";")[0] + b"; last=2")]


def test_a_redirect_is_counted_for_seconds_and_then_no_more() -> None:
    assert counted([], "GET", TARGET, 100) == (0, 100)
    first = cookie_of("GET", TARGET, 0, 100, secure=True)
    assert counted(told(first), "GET", TARGET, 103) == (1, 100)
    second = cookie_of("GET", TARGET, 1, 100, secure=True)
    assert counted(told(second), "GET", TARGET, 100 + WINDOW - 1) == (2, 100)
    assert counted(told(second), "GET", TARGET, 100 + WINDOW) == (0, 100 + WINDOW)
    assert counted(told(second), "GET", TARGET, 99) == (0, 99), "a clock that went back"


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ({}, 3),
        ({"Sec-Fetch-Site": "same-origin"}, 0),
        ({"sec-fetch-site": "cross-site", "origin": "https://shop.example"}, 0),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, 3),
        ({"sec-fetch-site": "same-site"}, 3),
        ({"sec-fetch-site": "none"}, 3),
        ({"origin": "https://shop.example"}, 3),  # of no browser, which would say both
    ],
)
def test_a_page_that_asks_again_is_no_circle_where_its_browser_says_that_nobody_sent_it_here(
    said: dict[str, str], count: int
) -> None:
    headers = [(name.encode(), value.encode()) for name, value in said.items()]
    cookie = cookie_of("GET", TARGET, 2, 100, secure=True)
    assert counted(headers + told(cookie), "GET", TARGET, 101)[0] == count


def test_another_request_is_another_count_and_none_is_read_off_a_cookie() -> None:
    cookie = cookie_of("GET", TARGET, 3, 100, secure=True)
    assert counted(told(cookie), "POST", TARGET, 101) == (0, 101)
    assert counted(told(cookie), "GET", TARGET + b"&y", 101) == (0, 101)
    assert b"secret" not in cookie


@pytest.mark.parametrize(
    "value", [b"", b"x", b"1", b"1.", b"-1.100", b"1.100.1", b"9999.100", b"1." + b"9" * 99, b"\xff.1"]
)
def test_what_a_client_makes_up_counts_nothing(value: bytes) -> None:
    name = cookie_of("GET", TARGET, 0, 0, secure=False).partition(b"=")[0]
    assert counted([(b"cookie", name + b"=" + value)], "GET", TARGET, 101) == (0, 101)


@pytest.mark.parametrize(("secure", "site"), [(True, "None"), (False, "Lax")])
def test_a_cookie_says_that_it_is_of_tls_only_where_it_is(secure: bool, site: str) -> None:
    (found,) = SimpleCookie(cookie_of("GET", TARGET, 0, 100, secure=secure).decode()).values()
    assert (bool(found["secure"]), found["samesite"], bool(found["httponly"])) == (secure, site, True)
    assert (found["path"], found["max-age"]) == ("/", str(WINDOW))
