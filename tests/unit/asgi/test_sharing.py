"""What goes out of a decided request into caches, and which conditional requests reach the app."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.authentication import SimpleUser

from residency.asgi.sharing import Sharing, sharing_of
from residency.enforcement.current import Current
from residency.enforcement.point import Request
from residency.model import Pin, SubjectId
from tests.cache_world import CacheWorld
from tests.world import HANOI, SINGAPORE, load_policy, write_deployment

Pairs = list[tuple[bytes, bytes]]


@pytest.fixture
def world(tmp_path: Path) -> CacheWorld:
    """The deployment with its law."""
    return CacheWorld(tmp_path)


def asked(world: CacheWorld, who: str = "an", address: str = HANOI, path: str = "/me", method: str = "GET") -> Current:
    """A request that was let in."""
    here = world.point.admit(Request(method, path, path.encode(), (), (address, 50_000), SimpleUser(who)))
    assert isinstance(here, Current)
    return here


def answer(here: Current, *headers: tuple[bytes, bytes], status: int = 200, vary: bytes = b"authorization") -> Pairs:
    """The headers that go out for these of the app's."""
    message: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": list(headers)}
    return list(Sharing(here, "GET", vary).outgoing(message)["headers"])


def one(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The only value of a header."""
    found = [value for key, value in headers if key == name]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("said", "goes_out"),
    [
        (None, b"private"),
        (b"", b"private"),
        (b"max-age=60", b"private, max-age=60"),
        (b"public, max-age=60", b"private, max-age=60"),
        (b"Public,S-MaxAge=60, proxy-revalidate, must-understand", b"private"),
        (b"private, max-age=60", b"private, max-age=60"),
        (b"no-store", b"no-store"),
        (b"no-cache", b"private, no-cache"),
        (b'private="set-cookie, x", public', b'private, private="set-cookie, x"'),
        (b'x="a,public", max-age=1', b'private, x="a,public", max-age=1'),
        (b"public\t, s-maxage = 5", b"private"),
    ],
)
def test_what_the_app_lets_shared_caches_keep_is_private(
    world: CacheWorld, said: bytes | None, goes_out: bytes
) -> None:
    headers = [] if said is None else [(b"Cache-Control", said)]
    assert one(answer(asked(world), *headers), b"cache-control") == goes_out


def test_two_lines_of_cache_control_are_one(world: CacheWorld) -> None:
    found = answer(asked(world), (b"cache-control", b"max-age=60"), (b"cache-control", b"public"))
    assert one(found, b"cache-control") == b"private, max-age=60"


def test_what_speaks_to_shared_caches_past_cache_control_is_left_out(world: CacheWorld) -> None:
    found = answer(
        asked(world),
        (b"CDN-Cache-Control", b"max-age=60"),
        (b"Surrogate-Control", b"max-age=60"),
        (b"X-Accel-Expires", b"60"),
        (b"x-own", b"stays"),
    )
    assert found == [(b"x-own", b"stays"), (b"cache-control", b"private"), (b"vary", b"authorization")]


@pytest.mark.parametrize(
    "name",
    [
        "CDN-Cache-Control",
        "Cloudflare-CDN-Cache-Control",
        "netlify-cdn-cache-control",
        "X-LiteSpeed-Cache-Control",
        "Edge-Control",
    ],
)
def test_no_field_of_one_cdns_own_lets_it_keep_what_is_private(world: CacheWorld, name: str) -> None:
    found = answer(asked(world), (name.encode(), b"public, max-age=600"), (b"cache-control", b"max-age=60"))
    assert found == [(b"cache-control", b"private, max-age=60"), (b"vary", b"authorization")]
    shared = answer(asked(world), (name.encode(), b"public, max-age=600"), (b"residency-cache", b"shared"))
    assert one(shared, name.encode()) == b"public, max-age=600", "unless the app says that it is everybody's"


def test_the_first_law_that_a_reload_brings_keeps_answers_apart(tmp_path: Path) -> None:
    lawless = CacheWorld(tmp_path / "l", replace=[("laws: [vn/test]\nlaws_from: [laws]", "laws: none")])
    of, bare = sharing_of(lawless.policy.deployment), asked(CacheWorld(tmp_path / "w"), path="/bare")
    assert of(asked(lawless, path="/bare"), "GET") is None
    assert of(bare, "GET") is not None


def test_what_the_app_says_is_shared_is_shared_and_the_word_stays_here(world: CacheWorld) -> None:
    found = answer(
        asked(world),
        (b"cache-control", b"public, max-age=60"),
        (b"Residency-Cache", b"shared"),
        (b"x-accel-expires", b"60"),
        (b"etag", b'"v1"'),
    )
    assert one(found, b"cache-control") == b"public, max-age=60"
    assert one(found, b"x-accel-expires") == b"60"
    assert one(found, b"residency-cache") is None
    # Still marked: what comes back with it is answered in full, should the next answer not be shared.
    assert one(found, b"etag") != b'"v1"'
    other = answer(asked(world), (b"residency-cache", b"yes"), (b"cache-control", b"public"))
    assert one(other, b"cache-control") == b"private"


def test_vary_is_added_to_the_apps_own(world: CacheWorld) -> None:
    assert one(answer(asked(world), (b"vary", b"accept")), b"vary") == b"accept, authorization"
    assert one(answer(asked(world), vary=b""), b"vary") is None
    assert one(answer(asked(world), (b"vary", b"accept"), vary=b""), b"vary") == b"accept"


def tag_of(here: Current, tag: bytes = b'"v1"') -> bytes:
    """The tag that goes out for the app's."""
    found = one(answer(here, (b"etag", tag)), b"etag")
    assert found is not None
    return found


def reaches(here: Current, *headers: tuple[bytes, bytes], method: str = "GET") -> Pairs:
    """The request's headers as the app sees them."""
    return list(Sharing(here, method, b"").incoming([(b"host", b"x"), *headers]))[1:]


@pytest.mark.parametrize("tag", [b'"v1"', b'W/"v1"', b'""', b'"\xe9~r"'])
def test_a_tag_comes_back_to_the_app_as_it_was_under_the_same_decision(world: CacheWorld, tag: bytes) -> None:
    marked = tag_of(asked(world), tag)
    assert marked != tag
    assert re.fullmatch(rb'(W/)?".*~r[0-9a-f]{18}"', marked)
    assert reaches(asked(world), (b"if-none-match", marked)) == [(b"if-none-match", tag)]
    several = b'"other", ' + marked + b', W/"x"'
    assert reaches(asked(world), (b"if-none-match", several)) == [(b"if-none-match", tag)]


def test_another_persons_place_or_home_is_another_decision_and_the_app_is_not_asked(world: CacheWorld) -> None:
    marked = tag_of(asked(world))
    for here in (asked(world, "binh"), asked(world, address=SINGAPORE)):
        assert reaches(here, (b"if-none-match", marked), (b"x-own", b"1")) == [(b"x-own", b"1")]


@pytest.mark.anyio
async def test_a_home_that_moved_is_another_decision(world: CacheWorld) -> None:
    digest = world.point.digest(SubjectId("an"))
    for version, home in ((1, "VN"), (2, "SG"), (3, "VN")):
        before = tag_of(asked(world))
        await world.pins.put(Pin(digest, home, (), "a" * 32, "test", "0" * 64, 1, version))
        assert reaches(asked(world), (b"if-none-match", before)) == []


@pytest.mark.parametrize("came", [b'"v1"', b"*", b"nonsense", b'"v1~r000000000000000000"', b""])
def test_a_readers_tag_without_our_mark_does_not_reach_the_app(world: CacheWorld, came: bytes) -> None:
    assert reaches(asked(world), (b"if-none-match", came)) == []


def test_a_date_carries_no_mark_and_does_not_reach_the_app(world: CacheWorld) -> None:
    date = b"Sun, 22 Nov 2026 12:00:00 GMT"
    assert reaches(asked(world), (b"if-modified-since", date)) == []


def test_a_part_is_asked_for_only_beside_the_rest_of_the_same_answer(world: CacheWorld) -> None:
    marked = tag_of(asked(world))
    part = (b"range", b"bytes=5-")
    assert reaches(asked(world), (b"if-range", marked), part) == [(b"if-range", b'"v1"'), part]
    for came in (b'"v1"', b"Sun, 22 Nov 2026 12:00:00 GMT"):
        assert reaches(asked(world), part, (b"if-range", came)) == []
    assert reaches(asked(world), part) == [part]


def test_a_writers_condition_is_never_left_out_whoever_it_comes_from(world: CacheWorld) -> None:
    marked = tag_of(asked(world, "binh"))
    for method in ("PUT", "POST", "DELETE"):
        here = asked(world, method="POST")
        assert reaches(here, (b"if-match", marked), method=method) == [(b"if-match", b'"v1"')]
        assert reaches(here, (b"if-none-match", b"*"), method=method) == [(b"if-none-match", b"*")]
        assert reaches(here, (b"if-match", b'"v2"'), method=method) == [(b"if-match", b'"v2"')]
    assert reaches(asked(world), (b"if-match", marked)) == [(b"if-match", b'"v1"')]


def test_where_the_app_says_whose_data_it_is_nothing_is_answered_by_a_tag(world: CacheWorld) -> None:
    here = asked(world, path="/login", method="POST")
    marked = tag_of(here)
    assert reaches(here, (b"if-none-match", marked)) == []
    without = asked(world, path="/open")
    assert reaches(without, (b"if-none-match", tag_of(without))) == [(b"if-none-match", b'"v1"')]


def test_not_modified_under_another_decision_is_no_answer(world: CacheWorld) -> None:
    here = asked(world)
    sharing = Sharing(here, "GET", b"")
    sharing.incoming([(b"if-none-match", tag_of(here))])
    told: dict[str, Any] = {"type": "http.response.start", "status": 304, "headers": []}
    assert sharing.outgoing(told)["status"] == 304
    here.decision = asked(world, address=SINGAPORE).decision
    assert sharing.outgoing(told)["status"] == 503


def test_a_request_without_conditions_is_the_same_object(world: CacheWorld) -> None:
    headers = [(b"host", b"x"), (b"accept", b"*/*")]
    assert Sharing(asked(world), "GET", b"").incoming(headers) is headers


SIGNALS = [
    ("{client_address: {strategy: peer}}", b""),
    ("{client_address: {strategy: server}}", b"x-forwarded-for, forwarded"),
    ("{client_address: {strategy: rightmost_trusted_range, trusted: [10.0.0.0/8]}}", b"x-forwarded-for"),
    ("{client_address: {strategy: single_header, header: x-real-ip, trusted: [10.0.0.0/8]}}", b"x-real-ip"),
    ("{identity: {user: declared}}", b"authorization, cookie"),
    ("{identity: {session: {subject: sub, trust: declared}}}", b"cookie"),
    ("{identity: {jwt: {jwks: k.json, header: x-token, subject: sub}}}", b"x-token"),
]


@pytest.mark.parametrize(("signals", "expected"), SIGNALS)
def test_vary_names_what_a_decision_reads(tmp_path: Path, signals: str, expected: bytes) -> None:
    deployment = load_policy(write_deployment(tmp_path / "p", f"signals: {signals}\n")).deployment
    sharing = sharing_of(deployment)(asked(CacheWorld(tmp_path / "w")), "GET")
    assert sharing is not None
    told = sharing.outgoing({"type": "http.response.start", "status": 200, "headers": []})
    assert (one(told["headers"], b"vary") or b"") == expected


def test_where_nothing_binds_or_could_differ_nothing_is_touched(tmp_path: Path) -> None:
    observing = CacheWorld(tmp_path / "o", mode="observe")
    assert sharing_of(observing.policy.deployment)(asked(observing), "GET") is None
    lawless = CacheWorld(tmp_path / "l", replace=[("laws: [vn/test]\nlaws_from: [laws]", "laws: none")])
    of = sharing_of(lawless.policy.deployment)
    assert of(asked(lawless), "GET") is not None
    assert of(asked(lawless, path="/open"), "GET") is not None  # its home decides
    assert of(asked(lawless, path="/bare"), "GET") is None
    lawful = CacheWorld(tmp_path / "f")
    assert sharing_of(lawful.policy.deployment)(asked(lawful, path="/bare"), "GET") is not None
