"""Every form of a URL leads where it says; a bad one is refused without being repeated."""

from __future__ import annotations

import pytest
from redis.connection import SSLConnection, UnixDomainSocketConnection

from residency.adapters.pins_redis.urls import parse_redis_url


@pytest.mark.parametrize(
    ("url", "kind", "nodes"),
    [
        ("redis://h", "single", (("h", 6379),)),
        ("valkey://h:7000/2", "single", (("h", 7000),)),
        ("redis://u:p%40w@[2001:db8::1]:7000", "single", (("2001:db8::1", 7000),)),
        ("redis+sentinel://a,b:1,[::1]:2/main", "sentinel", (("a", 26379), ("b", 1), ("::1", 2))),
        ("valkey+cluster://a:1,b", "cluster", (("a", 1), ("b", 6379))),
        ("unix:///run/redis.sock", "single", ()),
    ],
)
def test_servers_are_found_in_the_url(url: str, kind: str, nodes: tuple[tuple[str, int], ...]) -> None:
    place = parse_redis_url(url)
    assert (place.kind, place.nodes) == (kind, nodes)


def test_user_password_database_and_options_are_those_of_the_url() -> None:
    place = parse_redis_url("redis+sentinel://u:p%40w@a,b/main/3?sentinel_password=s&health_check_interval=7")
    assert place.service == "main"
    assert place.options["username"] == "u"
    assert place.options["password"] == "p@w"
    assert place.options["db"] == 3
    assert place.options["health_check_interval"] == 7
    assert place.sentinel_options == {"password": "s"}


@pytest.mark.parametrize("scheme", ["rediss", "valkeys", "rediss+sentinel", "rediss+cluster"])
def test_a_double_s_means_tls_for_servers_and_sentinels(scheme: str) -> None:
    place = parse_redis_url(f"{scheme}://a{'/main' if 'sentinel' in scheme else ''}?ssl_check_hostname=no")
    assert place.connection is SSLConnection
    assert place.options["ssl_check_hostname"] is False
    assert place.sentinel_options["ssl_check_hostname"] is False


def test_a_unix_socket_is_a_path() -> None:
    place = parse_redis_url("unix:///run/redis.sock?db=2")
    assert place.connection is UnixDomainSocketConnection
    assert place.options == {"path": "/run/redis.sock", "db": 2}


@pytest.mark.parametrize(
    "url",
    [
        "secret",
        "http://secret",
        "redis+other://secret",
        "unix+cluster:///secret",
        "redis://a,secret",
        "redis://secret:port",
        "redis://h/secret",
        "redis://h?secret=1",
        "redis://h?max_connections=1",
        "redis+sentinel://secret",
        "redis+cluster://secret/1",
        "redis://:secret@h?db=secret",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]{3}") as caught:
        parse_redis_url(url)
    assert "secret" not in str(caught.value)


def test_a_place_prints_no_password() -> None:
    assert "pw" not in repr(parse_redis_url("redis+sentinel://u:pw@h/main?sentinel_password=pw2"))
