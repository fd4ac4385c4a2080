"""What laws want labelled is labelled: the answer's head bears the decision's labels and those of the sinks it used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from residency import current, identify
from residency.asgi.labels import LABEL
from tests.world import HANOI

pytestmark = pytest.mark.anyio
Serve = Callable[..., Any]

# The deployment's laws get rules beside their own: of everybody in Vietnam, of machines, and of what lies abroad.
RULES = """\
  - id: vn.ai
    article: art. 11
    text: People are told that they talk to a machine.
    applies: {anchor: territory, data: content}
    duty: {label: [ai.interaction, "ai, line\\nbreak \\u00e9"]}
  - id: vn.abroad
    article: art. 12
    text: People are told that data goes abroad.
    applies: {anchor: territory, data: relationship, sink: {abroad: true}}
    duty: {label: [notice.cross_border]}
"""
OWN = '  - {route: "POST /friends", subject: app, data: [relationship], operation: process}'
ABROAD = '  - {route: "POST /friends", subject: app, data: [relationship], operation: read, store: people}'


def labelled(serve: Serve, app: Any, *replace: tuple[str, str]) -> Any:
    return serve(app, replace=replace, rules=(RULES,))


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"a", b"b")]})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_an_answer_bears_the_labels_of_its_decision_and_only_words(serve: Serve) -> None:
    answer = await labelled(serve, hello).call("GET", "/plain")
    assert answer.headers[LABEL] == b"ai%2C%20line%0Abreak%20%C3%A9, ai.interaction"
    assert answer.headers[b"a"] == b"b"


async def test_who_no_law_covers_gets_an_answer_without_labels(serve: Serve) -> None:
    answer = await labelled(serve, hello).call("GET", "/plain", address="8.8.8.8")
    assert LABEL not in answer.headers


async def test_a_deployment_that_observes_changes_no_answer(serve: Serve) -> None:
    answer = await labelled(serve, hello, ("mode: enforce", "mode: observe")).call("GET", "/plain")
    assert LABEL not in answer.headers


async def test_a_websocket_bears_them_in_its_handshake(serve: Serve) -> None:
    answer = await labelled(serve, hello).websocket("/any")
    (accept,) = [message for message in answer.sent if message["type"] == "websocket.accept"]
    assert (b"a", b"b") in accept["headers"]
    assert LABEL in dict(accept["headers"])


@pytest.mark.parametrize(("sink", "told"), [("sg", True), ("vn", False)])
async def test_a_label_of_what_lies_abroad_is_told_where_it_was_used(serve: Serve, sink: str, *, told: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await identify("friend-1")
        await current().store("people").get("a", sink=sink)
        await hello(scope, receive, send)

    answer = await labelled(serve, app, (OWN, ABROAD)).call("POST", "/friends", address=HANOI)
    assert answer.status == 200
    assert (answer.headers.get(LABEL) == b"notice.cross_border") is told
