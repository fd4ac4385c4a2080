"""What a handed-over request looks like, and which is handed over at all."""

from __future__ import annotations

from typing import Any

import pytest

from residency.adapters.forward import end_to_end
from residency.asgi.hand_over import HandOver, forwarded
from residency.enforcement.request import Refusal
from residency.model import Reason
from residency.policy.parser import parse_deployment
from residency.signals.address import RightmostTrustedRange, SingleHeader
from residency.signals.inet import Ranges
from residency.signals.peer import ClientAddress

TEXT = b"""
residency: 1
kind: deployment
name: app.one
mode: enforce
operator: {established_in: SG}
laws: none
hand_over: {VN: "https://vn.example/base/", DE: {url: "https://de.example", how: proxy}}
"""
STRATEGY = RightmostTrustedRange(Ranges(["10.0.0.0/8"]))
AT_VN, AT_DE = (Refusal(Reason.NOT_HOME, home=place) for place in ("VN", "DE"))


def scope(**more: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/a", "raw_path": b"/a", "headers": [], **more}


@pytest.fixture
def hand_over() -> HandOver:
    return HandOver(parse_deployment(TEXT, "f", {}), STRATEGY)


async def sent(hand_over: HandOver, asked: dict[str, Any]) -> dict[bytes, bytes]:
    messages: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("a redirect reads nothing")

    async def send(message: Any) -> None:
        messages.append(message)

    await hand_over.answer(asked, receive, send, AT_VN)
    assert messages[0]["status"] == 307
    return dict(messages[0]["headers"])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("more", "location"),
    [
        ({}, b"https://vn.example/base/a"),
        ({"query_string": b"q=%20"}, b"https://vn.example/base/a?q=%20"),
        ({"raw_path": b"/%2e%2E/a?x=1", "query_string": b"x=1"}, b"https://vn.example/base/%2e%2E/a?x=1"),
        ({"raw_path": b"//evil.example"}, b"https://vn.example/base//evil.example"),
        ({"raw_path": None, "path": "/é"}, b"https://vn.example/base/%C3%A9"),
    ],
)
async def test_a_redirect_keeps_path_and_query_as_they_came(
    hand_over: HandOver, more: dict[str, Any], location: bytes
) -> None:
    assert (await sent(hand_over, scope(**more)))[b"location"] == location


@pytest.mark.parametrize(
    ("more", "refusal", "ran", "may"),
    [
        ({}, AT_VN, False, True),
        ({}, AT_VN, True, True),
        ({}, AT_DE, False, True),
        ({}, AT_DE, True, False),
        ({}, Refusal(Reason.NOT_HOME), False, False),
        ({}, Refusal(Reason.NOT_HOME, home="FR"), False, False),
        ({"raw_path": b"http://evil.example/"}, AT_VN, False, False),
        ({"raw_path": b"*"}, AT_VN, False, False),
        ({"query_string": b"q=\xff"}, AT_DE, False, False),
        ({"raw_path": b"/\xff"}, AT_VN, False, False),
        ({"raw_path": b"/a\r\nSet-Cookie: a=b"}, AT_VN, False, False),
        ({"raw_path": b"/a HTTP/1.1"}, AT_DE, False, False),
        ({"query_string": b"q=\r\n\r\nGET /admin"}, AT_VN, False, False),
        ({"headers": [(b"a", b"b\r\nx-forwarded-for: 1.2.3.4")]}, AT_DE, False, False),
        ({"headers": [(b"a\nb", b"")]}, AT_DE, False, False),
        ({"headers": [(b"Via", b"1.1 residency-x")]}, AT_VN, False, False),
        ({"headers": [(b"via", b"1.1 nginx")]}, AT_VN, False, True),
        ({"type": "websocket"}, AT_VN, False, False),
        ({"type": "websocket", "extensions": {"websocket.http.response": {}}}, AT_VN, False, True),
        ({"type": "websocket"}, AT_DE, False, True),
    ],
)
def test_which_requests_are_handed_over(
    hand_over: HandOver, more: dict[str, Any], refusal: Refusal, ran: bool, may: bool
) -> None:
    assert hand_over.may(scope(**more), refusal, ran=ran) is may


def test_home_is_told_who_asked_as_it_was_found_here_and_nothing_that_a_client_wrote() -> None:
    headers = [(b"X-Forwarded-For", b"1.2.3.4, 10.0.0.1"), (b"forwarded", b"for=1.2.3.4"), (b"a", b"b")]
    headers += [(b"Host", b"sg.example"), (b"via", b"1.1 nginx")]
    made = forwarded(
        scope(headers=headers, scheme="wss"), ClientAddress("203.0.113.9", "rightmost_trusted_range"), "1.1 residency-x"
    )
    assert made == [
        (b"a", b"b"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"forwarded", b'for="203.0.113.9"'),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"sg.example"),
        (b"via", b"1.1 nginx, 1.1 residency-x"),
    ]


def test_a_client_takes_out_nothing_of_what_we_tell() -> None:
    """`Connection: via, x-forwarded-for` would make two instances hand a request to each other without an end, and the
    person seem to be where this instance is."""
    words = b"via, X-Forwarded-For,x-forwarded-proto , forwarded, x-own"
    headers = [(b"connection", b"close"), (b"connection", words), (b"x-own", b"1"), (b"forwarded", b"for=192.0.2.1")]
    made = forwarded(scope(headers=headers), ClientAddress("2001:db8::1", "peer"), "1.1 residency-x")
    assert end_to_end(made) == made == [
        (b"x-forwarded-for", b"2001:db8::1"),
        (b"forwarded", b'for="[2001:db8::1]"'),
        (b"x-forwarded-proto", b"http"),
        (b"via", b"1.1 residency-x"),
    ]  # fmt: skip
    unseen = dict(forwarded(scope(headers=[(b"forwarded", b"for=192.0.2.1")]), ClientAddress(None, "peer"), "1.1 x"))
    assert (unseen[b"x-forwarded-for"], unseen[b"forwarded"]) == (b"unknown", b'for="unknown"')


@pytest.mark.parametrize("peer", [("10.0.0.1", 5), ("198.51.100.7", 5), None])
def test_what_a_gateway_alone_may_say_is_told_to_home_where_a_gateway_said_it(peer: tuple[str, int] | None) -> None:
    more = b"""
regions: {sg: {country: SG}}
sinks: {sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}}
stores: {people: [sg]}
signals: {client_address: {strategy: single_header, header: cf-connecting-ip, trusted: [10.0.0.0/8]}}
activities: [{route: "GET /a", subject: header.X-User, data: [personal], store: people}]
"""
    doc = parse_deployment(TEXT + more, "f", {})
    strategy = SingleHeader("cf-connecting-ip", Ranges(["10.0.0.0/8"]))
    handing = HandOver(doc, strategy, activities=lambda: doc.activities)
    headers = [(b"x-user", b"an"), (b"cf-connecting-ip", b"203.0.113.9")]
    told = dict(handing._headers(scope(headers=headers, client=peer)))
    if peer == ("10.0.0.1", 5):
        assert (told[b"x-user"], told[b"cf-connecting-ip"]) == (b"an", b"203.0.113.9")
    else:
        assert b"x-user" not in told
        assert told.get(b"cf-connecting-ip") == (None if peer is None else b"198.51.100.7")


def test_home_is_told_that_the_client_came_by_tls_where_a_proxy_before_us_says_so() -> None:
    told = forwarded(scope(headers=[(b"x-forwarded-proto", b"https")]), ClientAddress(None, "peer"), "1.1 residency-x")
    assert dict(told)[b"x-forwarded-proto"] == b"https"


def test_who_may_be_one_of_several_by_a_trailer_is_handed_over_only_where_all_are_the_same(hand_over: HandOver) -> None:
    lines = [(b"x-forwarded-for", b"203.0.113.9"), (b"transfer-encoding", b"chunked")]
    for last, may in ((b"10.0.0.7", True), (b"198.51.100.7", False)):
        asked = scope(headers=[*lines, (b"x-forwarded-for", last)], client=("10.0.0.1", 5))
        assert hand_over.may(asked, AT_DE, ran=False) is may
        assert hand_over.may(asked, AT_VN, ran=False), "a redirect tells home nothing"


@pytest.mark.parametrize("path", [b"/../admin", b"/a/%2e%2E/b", b"/..;/admin", b"/a\\..\\b", b"/%252e%252e/admin"])
def test_what_would_leave_the_base_at_home_is_not_proxied(hand_over: HandOver, path: bytes) -> None:
    assert not hand_over.may(scope(raw_path=path), AT_DE, ran=False)
    assert hand_over.may(scope(raw_path=b"/a..b/c"), AT_DE, ran=False)
