"""The edge: what the app sees, what the client is answered, and that nothing passes undecided or unrecorded."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar import post as litestar_post
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from residency import NoDecision, Refused, ResidencyMiddleware, SubjectUnknown, about, current, identify
from residency.errors import JournalFull, SinkUnavailable, UsageError
from residency.model import StopOrder
from residency.observe import names

pytestmark = pytest.mark.anyio
Serve = Callable[..., Any]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Says hello to anybody."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def wrong(scope: Scope, receive: Receive, send: Send) -> Any:
    """An app that puts a Vietnamese person's record where it may not lie."""
    return current().store("people").put("a", b"1", sink="sg")


def app_of(handler: Callable[[], Any]) -> Any:
    """An ASGI app that runs `handler` and then says hello."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await handler()
        await hello(scope, receive, send)

    return app


# -- set-up ------------------------------------------------------------------------------------------------------------


async def test_a_policy_that_does_not_hold_answers_every_request_with_the_line_to_mend(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("residency: 1\nkind: deployment\nnmae: x\n")
    app = ResidencyMiddleware(hello, policy=file)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    for kind in ("http", "websocket"):
        await app({"type": kind, "method": "GET", "path": "/", "headers": []}, receive, send)
    document = json.loads(sent[1]["body"])
    assert (sent[0]["status"], document["reason"]) == (503, "setup")
    assert "bad.yaml:3:1" in document["detail"]
    assert sent[2] == {"type": "websocket.close", "code": 1013, "reason": "setup"}


async def test_a_set_up_that_fails_for_no_reason_of_ours_refuses_too_and_tells_only_its_kind(tmp_path: Path) -> None:
    app = ResidencyMiddleware(hello, policy=object())  # type: ignore[arg-type]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": "GET", "path": "/", "headers": []}, lambda: None, send)  # type: ignore[arg-type,return-value]
    assert json.loads(sent[1]["body"])["detail"] == "residency: the set-up failed with TypeError"


async def test_without_a_lifespan_the_first_request_starts_the_runtime_once(serve: Serve) -> None:
    served = serve(hello)
    assert not served.runtime.is_open
    answers = await asyncio.gather(*(served.call() for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert [path.name for path in (served.folder / "audit" / "journal").iterdir() if path.is_dir()] == ["0"]


async def test_a_start_that_fails_is_tried_again_by_the_next_request(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(hello)
    (served.folder / "audit").write_text("a file where a folder must be")
    with caplog.at_level(logging.ERROR, "residency"):
        refused = [await served.call() for _ in range(3)]
    assert [answer.status for answer in refused] == [503] * 3
    assert len(caplog.records) == 1
    (served.folder / "audit").unlink()
    assert (await served.call()).status == 200


async def test_a_runtime_that_was_let_go_starts_again(serve: Serve) -> None:
    served = serve(hello)
    assert (await served.call()).status == 200
    await served.runtime.aclose()
    await served.runtime.aclose()
    assert (await served.call()).status == 200
    assert len(served.entries) == 2


async def test_a_scope_of_an_unknown_type_is_refused_with_a_record(serve: Serve) -> None:
    served = serve(hello)
    assert isinstance((await served.call(type="grpc")).raised, UsageError)
    await served.call()
    assert isinstance((await served.call(type="grpc")).raised, UsageError)
    assert served.told == [("decision", None), ("refusal", "unknown_scope")]


# -- http --------------------------------------------------------------------------------------------------------------


async def test_a_refusal_before_the_app_is_a_problem_that_names_no_path(serve: Serve) -> None:
    served = serve(hello)
    for path, status, reason in (("/secret-of-an", 403, "unclassified_route"), ("/a/../secret", 400, "path_ambiguous")):
        answer = await served.call("GET", path)
        assert (answer.status, json.loads(answer.body)["reason"]) == (status, reason)
        assert b"secret" not in answer.body
        assert answer.headers[b"content-type"] == b"application/problem+json"
    assert [reason for _, reason in served.told] == ["unclassified_route", "path_ambiguous"]


@pytest.mark.parametrize(
    "path", ["/plain/", "//plain", "/./plain", "/PLAIN", "/plain\x00", "/plain\n", "/\\plain", "plain", "*", ""]
)
async def test_a_path_that_is_not_the_route_never_passes_for_it(serve: Serve, path: str) -> None:
    assert (await serve(hello).call("GET", path)).status in (400, 403)


@pytest.mark.parametrize("raw", [b"/pl%61in%2f", b"/plain%0A", b"/plain%00", b"/x%5cplain", b"/%2fplain"])
async def test_a_raw_path_that_can_be_read_two_ways_is_refused(serve: Serve, raw: bytes) -> None:
    assert (await serve(hello).call("GET", "/plain", raw_path=raw)).status == 400


async def test_a_head_refusal_tells_its_length_and_sends_no_body(serve: Serve) -> None:
    answer = await serve(hello).call("HEAD", "/nothing")
    assert (answer.status, answer.body) == (403, b"")
    assert int(answer.headers[b"content-length"]) > 0


async def test_methods_are_told_apart(serve: Serve) -> None:
    served = serve(hello)
    statuses = {method: (await served.call(method)).status for method in ("GET", "HEAD", "POST", "OPTIONS", "TRACE")}
    assert statuses == {"GET": 200, "HEAD": 200, "POST": 403, "OPTIONS": 403, "TRACE": 403}


async def test_an_http_request_cannot_pass_for_a_websocket_by_its_method(serve: Serve) -> None:
    served = serve(hello)
    assert (await served.call("WS", "/chat")).status == 403
    assert (await served.call("ws", "/any")).status == 200
    assert served.entries[-1].activity == "ANY /any"


async def test_the_path_is_matched_below_the_root_that_the_server_names(serve: Serve) -> None:
    served = serve(hello)
    assert (await served.call("GET", "/api/plain", root_path="/api")).status == 200
    assert (await served.call("GET", "/apiplain", root_path="/api")).status == 403
    assert (await served.call("GET", "/api/metrics", root_path="/api")).status == 200
    assert (await served.call("GET", "/plain", root_path="/api")).status == 200


async def test_the_metrics_page_is_served_to_get_and_head_and_leaves_no_entry(serve: Serve) -> None:
    served = serve(hello)
    page = await served.call("GET", "/metrics")
    assert b"residency_refusals_total" in page.body
    head = await served.call("HEAD", "/metrics")
    assert (head.status, head.body) == (200, b"")
    assert served.entries == []
    assert (await served.call("POST", "/metrics")).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-forwarded-for", b"\xff\x00,,,[::1"), (b"x-forwarded-for", b"," * 70_000)],
        [(b"authorization", b"Bearer " + b"." * 100_000)],
        [(b"accept-language", b"vi;q=nan, \xff;q=\xff, *;q=1e999" * 500)],
        [(b"\xff\xfe", b"\x00")] * 500,
    ],
)
async def test_garbled_and_oversized_headers_are_no_signal_and_no_crash(serve: Serve, headers: Any) -> None:
    served = serve(hello)
    assert (await served.call(headers=headers)).status == 200
    assert (await served.call("GET", "/nothing", headers=headers)).status == 403
    assert served.entries[0].jurisdictions == ("VN",)


async def test_without_a_peer_or_with_a_host_that_is_no_address_the_app_is_still_served(serve: Serve) -> None:
    served = serve(hello)
    for client in (None, ("testclient", 50_000), ["113.160.0.1", 50_000]):
        assert (await served.call(client=client)).status == 200


# -- refused inside the app --------------------------------------------------------------------------------------------


async def test_a_refused_act_that_the_app_lets_through_is_a_problem_with_the_article(serve: Serve) -> None:
    served = serve(wrong)
    answer = await served.call("PUT", "/people/an", headers=[(b"accept-language", b"vi")])
    document = json.loads(answer.body)
    assert (answer.status, answer.raised, document["reason"]) == (451, None, "only_in_country")
    assert document["detail"] == "Test law Điều 1: Dữ liệu cá nhân ở lại Việt Nam."
    assert "an" not in document["detail"].split()
    assert served.told == [("refusal", "only_in_country")]


async def _identified() -> None:
    await identify("an", citizenship="VN")


async def _about() -> None:
    await identify("tan", citizenship="SG")
    async with about("an"):
        await _identified()


async def _group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_identified)


async def _unrecorded() -> None:
    raise Refused("no_sink", "the decision knows no sink for this activity")


@pytest.mark.parametrize(
    ("handler", "status", "reason"),
    [
        (_identified, 451, "law_forbids"),
        (_about, 451, "law_forbids"),
        (_group, 451, "law_forbids"),
        (_unrecorded, 503, "no_sink"),
    ],
)
async def test_a_refusal_is_answered_on_a_route_without_a_store_too(
    serve: Serve, handler: Any, status: int, reason: str
) -> None:
    served = serve(app_of(handler))
    answer = await served.call("POST", "/friends", address="165.21.0.1")
    assert (answer.status, answer.raised, json.loads(answer.body)["reason"]) == (status, None, reason)
    assert ("refusal", reason) in served.told


async def test_a_store_before_identify_is_answered_and_recorded(serve: Serve) -> None:
    served = serve(app_of(lambda: current().store("people").put("a", b"1")))
    answer = await served.call("POST", "/sign-up")
    assert (answer.status, json.loads(answer.body)["reason"]) == (403, "subject_unknown")
    assert served.told == [("refusal", "subject_unknown")]


@pytest.mark.parametrize("error", [JournalFull("no room"), SinkUnavailable("sink 'vn' cannot be reached")])
async def test_what_is_unavailable_inside_the_app_is_a_503_with_its_own_reason(serve: Serve, error: Exception) -> None:
    async def fail() -> None:
        raise error

    answer = await serve(app_of(fail)).call()
    assert (answer.status, answer.headers[b"retry-after"]) == (503, b"5")
    assert json.loads(answer.body)["detail"] == str(error)


def starlette_with(handler: Callable[[], Any]) -> Starlette:
    """A Starlette app, whose outermost middleware turns an exception into a plain 500 and raises it again."""

    async def endpoint(request: Request) -> JSONResponse:
        await handler()
        return JSONResponse({})

    return Starlette(routes=[Route("/people/{id}", endpoint, methods=["PUT"]), Route("/plain", endpoint)])


def litestar_with(handler: Callable[[], Any]) -> Litestar:
    """A Litestar app, which turns an exception into a 500 document and raises nothing."""

    @litestar_post("/friends", status_code=200)
    async def endpoint() -> dict[str, str]:
        await handler()
        return {}

    return Litestar([endpoint])


async def test_a_refusal_shows_through_the_error_handler_of_starlette(serve: Serve) -> None:
    served = serve(starlette_with(lambda: current().store("people").put("a", b"1", sink="sg")))
    answer = await served.call("PUT", "/people/an")
    assert (answer.status, answer.raised, answer.types.count("http.response.start")) == (451, None, 1)


async def test_what_is_unavailable_shows_through_the_error_handler_of_starlette(serve: Serve) -> None:
    async def fail() -> None:
        raise SinkUnavailable("sink 'vn' cannot be reached")

    answer = await serve(starlette_with(fail)).call()
    assert (answer.status, answer.raised) == (503, None)


async def test_a_refusal_shows_through_the_error_handler_of_litestar(serve: Serve) -> None:
    answer = await serve(litestar_with(_identified)).call("POST", "/friends", address="165.21.0.1", state={})
    assert (answer.status, answer.raised) == (451, None)


async def test_what_is_unavailable_shows_through_the_error_handler_of_litestar(serve: Serve) -> None:
    async def fail() -> None:
        raise SinkUnavailable("sink 'vn' cannot be reached")

    answer = await serve(litestar_with(fail)).call("POST", "/friends", address="165.21.0.1", state={})
    assert (answer.status, answer.raised) == (503, None)


async def test_an_error_of_the_apps_own_is_left_to_the_server(serve: Serve) -> None:
    async def fail() -> None:
        raise LookupError("a bug")

    for served in (serve(app_of(fail)), serve(starlette_with(fail))):
        answer = await served.call()
        assert isinstance(answer.raised, LookupError)
        assert answer.types[:1] in ([], ["http.response.start"])
        assert served.told == [("decision", None)]


async def test_an_app_that_catches_a_refusal_answers_as_it_likes(serve: Serve) -> None:
    for status in (200, 404, 503):

        async def app(scope: Scope, receive: Receive, send: Send, status: int = status) -> None:
            with pytest.raises(Refused):
                await wrong(scope, receive, send)
            await PlainTextResponse("mine", status)(scope, receive, send)

        answer = await serve(app).call("PUT", "/people/an")
        assert (answer.status, answer.body) == (status, b"mine")


async def test_an_error_that_comes_on_top_of_a_refusal_is_answered_and_still_raised(serve: Serve) -> None:
    async def fail() -> None:
        with pytest.raises(Refused):
            await current().store("people").put("a", b"1", sink="sg")
        raise LookupError("a bug in the error handling")

    answer = await serve(starlette_with(fail)).call("PUT", "/people/an")
    assert (answer.status, answer.types.count("http.response.start")) == (451, 1)
    assert isinstance(answer.raised, LookupError)


def left_behind(handler: Callable[[], Any]) -> Any:
    """An app that answers 500 when the error is no longer being handled, as Quart, BlackSheep and Django do."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        status = 200
        try:
            await handler()
        except Exception:  # noqa: BLE001 - so do frameworks
            status = 500
        await PlainTextResponse("mine", status)(scope, receive, send)

    return app


async def _away(served: Any) -> None:
    await served.runtime.start()
    for sink in served.runtime.point.stores.sinks_of("people"):
        await sink.aclose()


async def test_a_sink_that_is_away_is_told_though_the_error_is_left_behind(serve: Serve) -> None:
    served = serve(left_behind(lambda: current().store("people").put("a", b"1")))
    await _away(served)
    answer = await served.call("PUT", "/people/an")
    assert (answer.status, answer.headers[b"retry-after"]) == (503, b"5")
    assert json.loads(answer.body)["reason"] == "sink_unavailable"
    assert served.told == [("intent", None), ("outcome", None)]


async def test_a_refusal_after_a_sink_that_was_away_is_answered_as_what_it_is(serve: Serve) -> None:
    async def refused() -> None:
        with pytest.raises(SinkUnavailable):
            await current().store("people").put("a", b"1")
        raise Refused("no_sink", "the decision knows no sink for this activity")

    served = serve(app_of(refused))
    await _away(served)
    answer = await served.call("PUT", "/people/an")
    assert (answer.status, json.loads(answer.body)["reason"]) == (503, "no_sink")
    assert ("refusal", "no_sink") in served.told


async def test_an_error_that_an_app_makes_of_a_sink_that_is_away_stays_its_own(serve: Serve) -> None:
    async def fail() -> None:
        try:
            await current().store("people").put("a", b"1")
        except SinkUnavailable as error:
            raise LookupError("no such thing") from error

    served = serve(starlette_with(fail))
    await _away(served)
    answer = await served.call("PUT", "/people/an")
    assert (answer.status, type(answer.raised)) == (500, LookupError)


async def test_an_app_that_answers_nothing_after_a_refusal_is_answered_for(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(Refused):
            await wrong(scope, receive, send)

    assert (await serve(app).call("PUT", "/people/an")).status == 451


async def test_a_refusal_after_the_response_began_ends_it_with_the_error(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await wrong(scope, receive, send)

    served = serve(app)
    answer = await served.call("PUT", "/people/an")
    assert isinstance(answer.raised, Refused)
    assert answer.types == ["http.response.start"]
    assert served.told == [("refusal", "only_in_country")]


# -- the context -------------------------------------------------------------------------------------------------------


async def test_current_is_gone_when_the_request_is_over(serve: Serve) -> None:
    await serve(hello).call()
    with pytest.raises(NoDecision):
        current()


async def test_an_exempt_route_called_inside_a_decided_request_has_no_decision(serve: Serve) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/healthz":
            with pytest.raises(NoDecision):
                current()
            seen.append("exempt")
        else:
            here = current()
            await served.call("GET", "/healthz")
            assert current() is here
        await hello(scope, receive, send)

    served = serve(app)
    assert (await served.call()).raised is None
    assert seen == ["exempt"]


async def test_a_cancelled_request_leaves_its_record(serve: Serve) -> None:
    async def act() -> None:
        scope.cancel()
        await anyio.sleep_forever()

    served = serve(app_of(act))
    await served.runtime.start()
    with anyio.CancelScope() as scope:
        await served.call("PUT", "/people/an")
    assert scope.cancelled_caught
    assert served.told == [("decision", None)]
    with pytest.raises(NoDecision):
        current()


async def test_an_act_cut_off_midway_stays_open(serve: Serve) -> None:
    async def act() -> None:
        await current().store("people").begin().confirm()
        scope.cancel()
        await anyio.sleep_forever()

    served = serve(app_of(act))
    await served.runtime.start()
    with anyio.CancelScope() as scope:
        await served.call("PUT", "/people/an")
    assert served.told == [("intent", None)]
    assert served.runtime.point.recorder.open_intents == 1


async def test_a_record_that_fails_at_the_end_replaces_no_exception(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def act() -> None:
        await served.runtime.aclose()
        raise LookupError("a bug")

    served = serve(app_of(act))
    with caplog.at_level(logging.ERROR, "residency"):
        assert isinstance((await served.call("PUT", "/people/an")).raised, LookupError)
    assert "left no record" in caplog.text


async def test_a_request_that_runs_while_the_runtime_closes_has_its_acts_refused(serve: Serve) -> None:
    async def act() -> None:
        await served.runtime.aclose()
        await current().store("people").put("a", b"1")

    served = serve(app_of(act))
    answer = await served.call("PUT", "/people/an")
    assert answer.status == 503
    assert served.told == []


# -- websockets --------------------------------------------------------------------------------------------------------


def chat(handler: Callable[[WebSocket, str], Any]) -> Starlette:
    """A Starlette app with one WebSocket, which calls `handler` for every text."""

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await handler(websocket, text)

    return Starlette(routes=[WebSocketRoute("/chat", endpoint)])


def text(value: str) -> dict[str, str]:
    return {"type": "websocket.receive", "text": value}


@pytest.mark.parametrize(("denial", "first"), [(True, "websocket.http.response.start"), (False, "websocket.close")])
async def test_a_refused_websocket_is_denied_before_accept(serve: Serve, denial: bool, first: str) -> None:
    answer = await serve(hello).websocket("/nothing", denial=denial)
    assert answer.types[0] == first
    if denial:
        assert (answer.status, json.loads(answer.body)["reason"]) == (403, "unclassified_route")
    else:
        assert answer.sent == [{"type": "websocket.close", "code": 1008, "reason": "unclassified_route"}]


@pytest.mark.parametrize("denial", [True, False])
async def test_a_refusal_that_the_app_raises_before_accept_denies_the_websocket(serve: Serve, denial: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await identify("an")
        await wrong(scope, receive, send)

    answer = await serve(app).websocket(denial=denial)
    assert answer.raised is None
    assert answer.types[0] == ("websocket.http.response.start" if denial else "websocket.close")


async def test_a_stop_order_between_two_messages_refuses_the_second(serve: Serve) -> None:
    async def say(websocket: WebSocket, value: str) -> None:
        if value == "first":
            await identify("an")
        await current().store("people").put(value, b"1")
        await websocket.send_text("stored")
        facts = served.runtime.facts
        facts.replace(dataclasses.replace(facts.current(), stop_orders=(StopOrder("7", "vn", 0),)))

    served = serve(chat(say))
    answer = await served.websocket("/chat", [text("first"), text("second")])
    assert answer.raised is None
    assert answer.types == ["websocket.accept", "websocket.send", "websocket.close"]
    assert answer.sent[-1]["code"] == 1008
    assert [kind for kind, _ in served.told] == ["decision", "intent", "outcome", "refusal"]
    assert served.entries[-1].epoch > served.entries[0].epoch


async def test_a_refusal_on_an_open_websocket_closes_it_and_one_after_its_close_says_no_more(serve: Serve) -> None:
    async def unknown(websocket: WebSocket, value: str) -> None:
        if value == "close":
            await websocket.close()
        await current().store("people").put("a", b"1")

    served = serve(chat(unknown))
    opened = await served.websocket("/chat", [text("a")])
    assert (opened.raised, opened.sent[-1]) == (
        None,
        {"type": "websocket.close", "code": 1008, "reason": "subject_unknown"},
    )
    closed = await served.websocket("/chat", [text("close")])
    assert (closed.raised, closed.types) == (None, ["websocket.accept", "websocket.close"])


async def test_what_is_unavailable_closes_an_open_websocket_with_try_again_later(serve: Serve) -> None:
    async def fail(websocket: WebSocket, value: str) -> None:
        raise SinkUnavailable("sink 'vn' cannot be reached")

    answer = await serve(chat(fail)).websocket("/chat", [text("a")])
    assert answer.sent[-1] == {"type": "websocket.close", "code": 1013, "reason": "sink_unavailable"}


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_websocket_that_a_framework_ends_as_failed_is_told_why(serve: Serve, accepted: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await identify("an")
        with pytest.raises(SinkUnavailable):
            await current().store("people").put("a", b"1")
        if accepted:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1011, "reason": "mine"})
        else:
            await send({"type": "websocket.http.response.start", "status": 500, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"mine"})

    served = serve(app)
    await _away(served)
    answer = await served.websocket()
    if accepted:
        assert answer.types == ["websocket.accept", "websocket.close"]
        assert (answer.sent[1]["code"], answer.sent[1]["reason"]) == (1013, "sink_unavailable")
    else:
        assert answer.types == ["websocket.http.response.start", "websocket.http.response.body"]
        assert (answer.status, json.loads(answer.body)["reason"]) == (503, "sink_unavailable")


async def test_an_app_may_deny_a_websocket_itself(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"mine"})
        raise SubjectUnknown("too late")

    answer = await serve(app).websocket("/any")
    assert (answer.status, len(answer.sent), answer.raised) == (401, 2, None)


async def test_a_websockets_record_is_kept_when_it_did_nothing(serve: Serve) -> None:
    async def listen(websocket: WebSocket, value: str) -> None:
        await websocket.send_text("heard")

    served = serve(chat(listen))
    await served.websocket("/chat", [text("a"), text("b")])
    assert served.told == [("decision", None)]


# -- metrics -----------------------------------------------------------------------------------------------------------


async def test_counters_add_up_over_every_way_a_request_can_end(serve: Serve) -> None:
    served = serve(wrong)
    await served.call("PUT", "/people/an")
    await served.call("GET", "/nothing")
    await served.call("GET", "/a//b")
    metrics = served.runtime.metrics
    assert metrics.value(names.REFUSALS, "only_in_country") == 1
    assert metrics.value(names.REFUSALS, "unclassified_route") == 1
    assert metrics.value(names.REFUSALS, "path_ambiguous") == 1
    assert min(metrics.cells) >= 0


async def test_a_refusal_of_our_own_making_is_logged_once_with_the_way_out_and_the_laws_is_not(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served, address = serve(hello), "113.160.0.1"
    forwarded = [(b"x-forwarded-for", address.encode())]
    with caplog.at_level(logging.ERROR, "residency"):
        for _ in range(3):
            # Port 0 and the header's address: what uvicorn makes of a peer on loopback.
            assert (await served.call(client=(address, 0), headers=forwarded)).status == 503
        assert (await served.call(path="/nobody/named/this")).status == 403
    (record,) = caplog.records
    assert "peer_rewritten" in record.getMessage()
    assert "--no-proxy-headers" in record.getMessage()
    assert address not in record.getMessage()


async def test_the_next_outage_is_logged_again(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [5.0]  # seconds since the machine started, less than lie between two warnings
    monkeypatch.setattr("residency.asgi.middleware.monotonic", lambda: now[0])
    served, client, forwarded = serve(hello), ("113.160.0.1", 0), [(b"x-forwarded-for", b"113.160.0.1")]
    with caplog.at_level(logging.ERROR, "residency"):
        for now[0] in (5.0, 30.0, 64.0, 66.0, 67.0):
            await served.call(client=client, headers=forwarded)
    assert len(caplog.records) == 2
