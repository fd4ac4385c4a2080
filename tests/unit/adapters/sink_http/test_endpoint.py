"""A base URL read: what lies below it and what does not, whatever is tried; the headers it sets; what is refused."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.sink_http import Endpoint
from residency.errors import SinkUnavailable, UsageError

BASE = "https://api.example/v1/"


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://API.example/v1", ("https", "api.example", 443), b"api.example"),
        ("http://127.0.0.2:8001/", ("http", "127.0.0.2", 8001), b"127.0.0.2:8001"),
        ("https://[::1]:8443/x/", ("https", "::1", 8443), b"[::1]:8443"),
        ("https://bücher.example/", ("https", "xn--bcher-kva.example", 443), b"xn--bcher-kva.example"),
        ("https://api.example:443/", ("https", "api.example", 443), b"api.example"),
    ],
)
def test_scheme_host_and_port_are_read(url: str, origin: tuple[str, str, int], authority: bytes) -> None:
    endpoint = Endpoint("llm", url)
    assert (endpoint.origin, endpoint.authority) == (origin, authority)


@pytest.mark.parametrize(
    "url",
    [
        "", "https://", "https:///v1", "ftp://api.example/", "api.example/v1", "https://api.example:0/",
        "https://api.example:99999/", "https://api.example/v1?key=secret", "https://api.example/a/%2e%2e/b/",
        "https://api.example/#secret", "https://api.example/#host=secret", "https://api.example/#x-key=a%0d%0ab",
        "https://api.example/#a%20b=secret", "https://api.example/#x-key=sécret",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SinkUnavailable, match="sink 'llm' has a URL that") as caught:
        Endpoint("llm", url)
    assert "secret" not in str(caught.value)
    assert "example" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_user_and_password_become_a_header_and_so_do_the_fragments_words() -> None:
    endpoint = Endpoint("llm", "https://an:m%40t+k@api.example/v1/#X-Org=9&x-Key=a+b/c%20d")
    assert endpoint.own == {
        b"authorization": b"Basic " + b64encode(b"an:m@t+k"), b"x-org": b"9", b"x-key": b"a+b/c d"
    }  # fmt: skip
    assert Endpoint("llm", "https://api.example/#authorization=Bearer%20k").own == {b"authorization": b"Bearer k"}


@pytest.mark.parametrize(
    ("url", "target", "path"),
    [
        (BASE, "chat?x=1", "/v1/chat?x=1"),
        (BASE, "", "/v1/"),
        ("https://api.example/v1", "", "/v1"),
        ("https://api.example/v1", "?x", "/v1?x"),
        ("https://api.example/v1", "chat", "/v1/chat"),
        ("https://api.example", "chat", "/chat"),
        (BASE, "/evil.example/x", "/v1//evil.example/x"),
    ],
)
def test_a_target_is_put_below_the_base(url: str, target: str, path: str) -> None:
    endpoint = Endpoint("llm", url)
    assert endpoint.path(target) == path
    assert endpoint.target_of(f"https://api.example{path}") == target


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example/v1/x", "https://api.example:444/v1/x", "https://api.example.evil/v1/x",
        "https://api.example@evil.example/v1/x", "https://user@api.example/v1/x", "https://api.example\\@evil/v1/x",
        "https://api.example/v10/x", "https://api.example/v1", "https://api.example/", "//api.example/v1/x",
        "https://api.example/v1/../v2/x", "https://api.example/v1/%2e%2e/v2", "https://api.example/v1/..;/v2",
        "https://api.example/v1/a\x00b", "https://[api.example/v1/x", "https://аpi.example/v1/x",
        "https://api.example./v1/x", "gopher://api.example/v1/x", "x", "",
    ],
)  # fmt: skip
def test_urls_that_only_look_like_the_base_have_no_target(url: str) -> None:
    assert Endpoint("llm", BASE).target_of(url) is None


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("there", "there"), ("/v1/there", "there"), ("//api.example/v1/x", "x"), ("?b", "chat?b"), ("/there", None),
        ("//evil.example/v1/x", None), ("../there", None), ("https://[", None), ("x y", "x%20y"), ("#top", "chat"),
        ("HTTPS://API.EXAMPLE/v1/x", "x"),
    ],
)  # fmt: skip
def test_a_location_counts_from_the_request_it_answers(location: str, target: str | None) -> None:
    endpoint = Endpoint("llm", BASE)
    assert endpoint.target_of(endpoint.joined("/v1/chat", location)) == target


@given(st.text(max_size=40))
def test_what_has_a_target_lies_below_the_base_and_no_target_leaves_it(text: str) -> None:
    endpoint = Endpoint("llm", BASE)
    for url in (BASE + text, text, endpoint.joined("/v1/chat", text)):
        target = endpoint.target_of(url)
        if target is not None:
            assert endpoint.path(target).startswith("/v1/")
    try:
        path = endpoint.path(text)
    except UsageError:
        return
    assert path.startswith("/v1/")
    assert ".." not in path.partition("?")[0].split("/")


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("https://api.example/", False), ("http://api.example/", True), ("http://localhost:8000/", False),
        ("http://127.0.0.2/", False), ("http://[::1]/", False), ("http://10.0.0.1/", True),
    ],
)  # fmt: skip
def test_plain_http_to_another_machine_goes_in_clear(url: str, clear: bool) -> None:
    assert Endpoint("llm", url).in_clear is clear
