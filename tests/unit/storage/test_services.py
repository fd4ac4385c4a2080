"""Services under the real enforcement point: each request one act, on the permitted endpoint, with the right word."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from starlette.authentication import SimpleUser

from residency.adapters.journal_memory import JournalMemory
from residency.audit.transfers import Transfers
from residency.enforcement.context import current
from residency.enforcement.point import Request
from residency.errors import JournalFailed, NoDecision, Refused, SinkUnavailable, UsageError
from residency.model import Pin, Reason
from residency.policy.archive import facts_digest
from residency.storage import Stores
from residency.storage.handle import backend_of
from residency.storage.services import Headers, ServiceAnswer, ServiceHandle, ServiceRequest, check_target
from tests.service_world import OK, Answer, ServiceWorld, asks, said, whole
from tests.world import HANOI, SINGAPORE

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> ServiceWorld:
    """A world as it stands."""
    return ServiceWorld(tmp_path)


async def test_a_covered_persons_request_goes_to_the_endpoint_at_home_anothers_to_the_first(
    world: ServiceWorld,
) -> None:
    with world.request() as llm:
        assert await whole(await llm.send(asks())) == b"ok"
    with world.request(address=SINGAPORE, who="tan") as llm:
        await whole(await llm.send(asks()))
    assert (len(world.vn.sent), len(world.sg.sent)) == (1, 1)
    assert world.acts() == [("llm-vn", "process", "committed"), ("llm-sg", "process", "committed")]


async def test_the_client_of_a_handle_is_an_httpx_client_of_the_store(world: ServiceWorld) -> None:
    with world.request():
        async with current().http("llm") as client:
            answer = await client.post("/chat", json={"prompt": "xin chào"})
            assert (answer.status_code, answer.text) == (200, "ok")
    assert world.vn.sent[0][0].target == "chat"
    assert "xin chào".encode() in world.vn.sent[0][1]


async def test_the_client_is_closed_with_the_last_task_that_uses_it(world: ServiceWorld) -> None:
    with world.request() as llm:
        async with llm as first:
            async with llm as second:
                assert second is first
            await first.get("/chat")
        assert first.is_closed
        async with llm as third:
            assert third is not first


async def test_an_endpoint_abroad_that_is_asked_for_by_name_is_refused_with_nothing_sent(world: ServiceWorld) -> None:
    with world.request() as llm, pytest.raises(Refused):
        await llm.send(asks(), sink="llm-sg")
    assert world.sg.sent == []
    assert (world.acts(), world.reasons()) == ([], ["only_in_country"])


async def test_a_store_that_has_endpoints_abroad_alone_is_refused(world: ServiceWorld) -> None:
    here = world.point.admit(Request("POST", "/one", b"/one", (), (HANOI, 50_000), SimpleUser("an")))
    assert getattr(here, "reason", None) == "only_in_country"
    assert world.sg.sent == []


async def test_a_stop_order_moves_the_next_request_to_another_endpoint_or_refuses_it(world: ServiceWorld) -> None:
    with world.request("/public") as llm:
        await whole(await llm.send(asks()))
        world.stop("llm-sg")
        await whole(await llm.send(asks()))
        world.stop("llm-sg", "llm-vn")
        with pytest.raises(Refused):
            await llm.send(asks())
    assert [act[0] for act in world.acts()] == ["llm-sg", "llm-vn"]
    assert world.reasons() == ["stop_order"]


async def test_what_is_observed_goes_where_it_went_before_and_is_told(tmp_path: Path) -> None:
    world = ServiceWorld(tmp_path, "observe")
    with world.request() as llm:
        await whole(await llm.send(asks()))
    assert world.acts() == [("llm-sg", "process", "committed")]
    assert world.intents[0][0].note == "enforce:llm-vn"


async def test_who_is_being_moved_home_is_served_at_home_and_no_endpoint_abroad_is_sent_a_word(
    world: ServiceWorld,
) -> None:
    with world.request() as llm:
        digest = current().subject_digest or ""
        await world.pins.put(Pin(digest, "VN", (), "a1" * 16, "move", "0" * 64, 1, moving="SG"))
        await world.point.renew(current())
        with pytest.raises(Refused) as refused:
            await llm.send(asks(), sink="llm-sg")
        assert refused.value.reason == "only_in_country"
        await whole(await llm.send(asks()))
    assert world.sg.sent == []
    assert world.acts() == [("llm-vn", "process", "committed")]


async def test_a_home_elsewhere_does_not_keep_a_person_from_a_service(world: ServiceWorld) -> None:
    with world.request(address=SINGAPORE) as llm:
        pin = Pin(current().subject_digest or "", "DE", (), "a1" * 16, "first_write", "0" * 64, 1)
        await world.pins.put(pin)
        current().pin = pin
        await whole(await llm.send(asks()))
    assert world.acts() == [("llm-sg", "process", "committed")]


@pytest.mark.parametrize(
    ("path", "method", "word"),
    [("/posts", "POST", "process"), ("/chat", "GET", "process"), ("/chat", "DELETE", "erase")],
)
async def test_a_service_is_nobodys_home_whatever_the_activity_does(
    world: ServiceWorld, path: str, method: str, word: str
) -> None:
    with world.request(path, method) as llm:
        await whole(await llm.send(asks()))
        assert await world.pins.get(current().subject_digest or "") is None
    assert world.acts() == [("llm-vn", word, "committed")]


async def test_the_intent_is_on_disk_before_the_first_byte_leaves(tmp_path: Path) -> None:
    journal = _Watched()
    world = ServiceWorld(tmp_path, journal=journal)
    seen: list[tuple[int, int]] = []
    world.vn.seen = lambda: seen.append((len(journal.records), journal.synced))
    with world.request() as llm:
        await whole(await llm.send(asks()))
    assert seen == [(1, 0)]  # entry 0, the intent, and no outcome yet


async def test_what_cannot_be_recorded_is_not_sent(tmp_path: Path) -> None:
    journal = _Watched()
    world = ServiceWorld(tmp_path, journal=journal)
    with world.request() as llm:
        journal.broken = True
        with pytest.raises(JournalFailed):
            await llm.send(asks())
    assert world.vn.sent == []
    assert world.acts() == [("llm-vn", "process", "failed")]


class _Watched(JournalMemory):
    synced = -1
    broken = False

    def sync(self, seq: int) -> None:
        if self.broken:
            raise JournalFailed("the disk is gone")
        super().sync(seq)
        self.synced = seq


@pytest.mark.parametrize(
    ("status", "word"), [(200, "committed"), (204, "committed"), (404, "committed"), (500, "unknown"), (503, "unknown")]
)
async def test_an_answer_that_says_the_service_failed_leaves_a_transfer_whose_end_is_not_known(
    world: ServiceWorld, status: int, word: str
) -> None:
    world.vn.answers["chat"] = lambda: (status, OK, said(b"ok"))
    with world.request() as llm:
        assert (await llm.send(asks())).status == status
        assert world.acts() == [("llm-vn", "process", word)]  # told by the head, though the body is still to come


async def test_what_never_left_is_failed_and_what_left_without_an_answer_is_unknown(world: ServiceWorld) -> None:
    def breaks() -> Answer:
        raise SinkUnavailable("sink 'llm-vn' broke off")

    world.vn.answers["breaks"] = breaks
    with world.request() as llm:
        with pytest.raises(SinkUnavailable):
            await llm.send(asks("breaks"))
        await backend_of(llm, "llm-vn").aclose()
        with pytest.raises(SinkUnavailable):
            await llm.send(asks())
    assert [act[2] for act in world.acts()] == ["unknown", "failed"]


async def test_credentials_of_our_own_that_are_refused_are_an_error_that_names_the_sink_alone(
    world: ServiceWorld,
) -> None:
    let_go: list[str] = []

    async def no() -> AsyncIterator[bytes]:
        try:
            yield b"invalid key-of-vn"
        finally:
            let_go.append("closed")

    bodies = [no()]
    await anext(bodies[0])  # as a body whose connection is held
    world.vn.answers["chat"] = lambda: (401, (), bodies[0])
    with world.request() as llm:
        with pytest.raises(SinkUnavailable) as caught:
            await llm.send(asks(headers=((b"authorization", b"key-of-app"),)))  # which a store of several drops
        assert str(caught.value) == "sink 'llm-vn' does not accept the credentials in its URL"
        assert caught.value.__context__ is None
        noted = current().trail.refusal
        assert noted is not None
        assert noted.reason is Reason.SINK_UNAVAILABLE
    assert let_go == ["closed"]
    assert world.acts() == [("llm-vn", "process", "unknown")]  # what was sent did arrive: it counts as a transfer


@pytest.mark.parametrize(
    ("status", "headers", "raises"),
    [
        (401, (), True),
        (401, ((b"Authorization", b"key-of-app"),), True),  # the sink's own stands in its place
        (401, ((b"X-API-Key", b"key-of-app"),), False),  # perhaps it is this one
        (403, (), False),
    ],
)
async def test_what_may_be_about_the_apps_credentials_or_about_what_was_asked_is_the_apps_to_judge(
    world: ServiceWorld, status: int, headers: Headers, raises: bool
) -> None:
    world.sg.answers["chat"] = lambda: (status, OK, said(b"no"))
    with world.request("/one", address=SINGAPORE, who="tan") as one:
        if raises:
            with pytest.raises(SinkUnavailable, match="llm-sg"):
                await one.send(asks(headers=headers))
        else:
            answer = await one.send(asks(headers=headers))
            assert (answer.status, await whole(answer)) == (status, b"no")
    assert [act[2] for act in world.acts()] == ["unknown" if raises else "committed"]


async def test_a_401_of_a_sink_without_credentials_is_an_answer(tmp_path: Path) -> None:
    world = ServiceWorld(tmp_path, own=False)
    world.vn.answers["chat"] = lambda: (401, OK, said(b"no"))
    with world.request() as llm:
        assert (await llm.send(asks())).status == 401
    assert world.acts() == [("llm-vn", "process", "committed")]


async def test_a_cancelled_request_is_unknown_once_it_left(world: ServiceWorld) -> None:
    world.vn.hangs = True
    with world.request() as llm, anyio.CancelScope() as scope:
        world.vn.seen = scope.cancel
        await llm.send(asks())
    assert world.acts() == [("llm-vn", "process", "unknown")]


async def test_a_stream_ends_its_act_with_its_last_byte(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = lambda: (200, ((b"content-type", b"text/event-stream"),), said(b"a", b"b"))
    with world.request() as llm:
        answer = await llm.send(asks())
        assert await anext(answer.body) == b"a"
        assert world.acts() == [("llm-vn", "process", None)]
        assert [piece async for piece in answer.body] == [b"b"]
        assert world.acts() == [("llm-vn", "process", "committed")]
        await answer.aclose()
    assert world.acts() == [("llm-vn", "process", "committed")]


async def test_a_stream_that_is_left_early_ends_its_act_when_it_is_closed(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = lambda: (200, (), said(b"a", b"b"))
    with world.request() as llm:
        answer = await llm.send(asks())
        await anext(answer.body)
    await answer.aclose()  # after the request was answered, as a streamed response does
    assert world.acts() == [("llm-vn", "process", "committed")]


async def test_a_stream_that_breaks_leaves_an_act_whose_end_is_not_known(world: ServiceWorld) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"a"
        raise SinkUnavailable("sink 'llm-vn' broke off")

    world.vn.answers["chat"] = lambda: (200, (), breaks())
    with world.request() as llm:
        answer = await llm.send(asks())
        with pytest.raises(SinkUnavailable):
            await whole(answer)
        await answer.aclose()
    assert world.acts() == [("llm-vn", "process", "unknown")]


def redirects(status: int, to: bytes) -> Callable[[], Answer]:
    """An endpoint's answer that leads to `to`."""
    return lambda: (status, ((b"location", to),), said())


async def test_a_redirect_below_the_same_base_is_followed_as_an_act_of_its_own(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = redirects(307, b"memory://llm-vn/v2/chat?x=1")
    with world.request() as llm:
        assert await whole(await llm.send(asks(body=b"again"))) == b"ok"
    assert [(sent.target, body) for sent, body in world.vn.sent] == [("chat", b"again"), ("v2/chat?x=1", b"again")]
    assert world.acts() == [("llm-vn", "process", "committed")] * 2


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_asks_for_a_get_is_sent_no_body(world: ServiceWorld, status: int) -> None:
    world.vn.answers["chat"] = redirects(status, b"there")
    headers = ((b"Content-Type", b"text/plain"), (b"Content-Length", b"3"), (b"X-Mine", b"1"))
    with world.request() as llm:
        await whole(await llm.send(asks(headers=headers)))
    sent, body = world.vn.sent[1]
    assert (sent.method, sent.target, body) == ("GET", "there", b"")
    assert world.vn.header(b"x-mine") == b"1"
    assert world.vn.header(b"content-length") is None


async def test_a_redirect_abroad_is_refused_for_whom_the_decision_keeps_at_home(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = redirects(307, b"memory://llm-sg/chat")
    with world.request() as llm, pytest.raises(Refused):
        await llm.send(asks())
    assert world.sg.sent == []
    assert (world.acts(), world.reasons()) == ([("llm-vn", "process", "committed")], ["only_in_country"])


async def test_a_redirect_to_another_sink_is_followed_where_the_decision_permits_it(world: ServiceWorld) -> None:
    world.sg.answers["chat"] = redirects(308, b"memory://llm-vn/chat")
    with world.request("/public") as llm:
        await whole(await llm.send(asks()))
    assert world.acts() == [("llm-sg", "process", "committed"), ("llm-vn", "process", "committed")]


@pytest.mark.parametrize(
    "to",
    [b"https://evil.example/", b"memory://llm-vn.evil.example/chat", b"memory://people-vn/x", b"file:///etc/passwd"],
)
async def test_a_redirect_to_anywhere_else_is_an_error_that_names_the_sink(world: ServiceWorld, to: bytes) -> None:
    world.vn.answers["chat"] = redirects(307, to)
    with world.request() as llm, pytest.raises(SinkUnavailable, match="'llm-vn' redirects") as caught:
        await llm.send(asks())
    assert "evil" not in str(caught.value)
    assert len(world.vn.sent) == 1


async def test_a_redirect_that_leads_nowhere_is_noted_for_the_edge(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = redirects(307, b"https://elsewhere.example/")
    with world.request() as llm:
        with pytest.raises(SinkUnavailable):
            await llm.send(asks())
        noted = current().trail.refusal
    assert noted is not None
    assert "'llm-vn'" in noted.message


async def test_redirects_come_to_an_end(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = redirects(307, b"chat")
    with world.request() as llm, pytest.raises(SinkUnavailable, match="more than 5 redirects"):
        await llm.send(asks())
    assert len(world.vn.sent) == 6


async def test_a_body_that_can_be_read_once_is_not_sent_again(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = redirects(307, b"there")
    with world.request() as llm, pytest.raises(SinkUnavailable, match="only once"):
        await llm.send(ServiceRequest("POST", "chat", (), said(b"once")))
    assert len(world.vn.sent) == 1


async def test_no_sink_sees_the_credentials_of_another_or_the_apps_where_there_are_several(world: ServiceWorld) -> None:
    headers = ((b"Authorization", b"key-of-app"), (b"X-Vn-Key", b"guessed"), (b"X-API-Key", b"key-of-app"))
    with world.request() as llm:
        await whole(await llm.send(asks(headers=headers)))
    with world.request(address=SINGAPORE, who="tan") as llm:
        await whole(await llm.send(asks(headers=headers)))
    assert (world.vn.header(b"authorization"), world.vn.header(b"x-vn-key")) == (None, b"key-of-vn")
    assert (world.sg.header(b"authorization"), world.sg.header(b"x-vn-key")) == (b"key-of-sg", None)
    assert world.sg.header(b"x-api-key") is None


async def test_the_apps_credentials_reach_the_one_sink_of_a_store(world: ServiceWorld) -> None:
    with world.request("/one", address=SINGAPORE, who="tan") as one:
        await whole(await one.send(asks(headers=((b"x-api-key", b"key-of-app"),))))
    assert world.sg.header(b"x-api-key") == b"key-of-app"


async def test_no_cookie_goes_out_or_comes_in(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = lambda: (200, ((b"Set-Cookie", b"who=an"), (b"x-mine", b"1"), *OK), said(b"ok"))
    with world.request() as llm:
        answer = await llm.send(asks(headers=((b"Cookie", b"who=binh"),)))
    assert world.vn.header(b"cookie") is None
    assert (answer.header(b"set-cookie"), answer.header(b"x-mine")) == (None, b"1")


async def test_what_belongs_to_one_connection_goes_no_further(world: ServiceWorld) -> None:
    headers = ((b"Connection", b"X-Hop, close"), (b"X-Hop", b"1"), (b"Upgrade", b"h2c"), (b"Proxy-Authorization", b"x"))
    with world.request() as llm:
        await whole(await llm.send(asks(headers=headers)))
    for name in (b"connection", b"x-hop", b"upgrade", b"proxy-authorization"):
        assert world.vn.header(name) is None


async def test_a_target_that_leaves_the_base_is_refused_before_any_act(world: ServiceWorld) -> None:
    with world.request() as llm, pytest.raises(UsageError):
        await llm.send(asks("a/../../admin"))
    assert world.acts() == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "connect", "", "GET /x", "PÖST"])
async def test_a_method_that_no_service_is_sent_is_refused_before_any_act(world: ServiceWorld, method: str) -> None:
    with world.request() as llm, pytest.raises(UsageError):
        await llm.send(asks(method=method))
    assert world.acts() == []


@pytest.mark.parametrize(
    "target",
    [
        "..",
        "../x",
        "x/..",
        "%2e%2e/x",
        "%252e%252e/x",
        "x/..%2fy",
        "x\\..\\y",
        "..;a=b/x",
        ".",
        "x/%2E",
        "x%00/..",
        "x y",
        "ä",
        "x#y",
    ],
)
def test_a_target_that_could_be_read_as_leaving_the_base_is_refused(target: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_target(target)
    assert target in (".", "..") or target not in str(caught.value)


@pytest.mark.parametrize(
    "target", ["", "x", "x/", "/x", "?a=../b", "x.y/..z", "a%2Fb", "models/gpt-4:chat?x=%2e%2e", "...", "x;y=1"]
)
def test_other_targets_are_taken_as_they_are(target: str) -> None:
    check_target(target)


async def test_a_handle_is_of_no_use_in_another_request(world: ServiceWorld) -> None:
    with world.request() as llm:
        pass
    with pytest.raises(NoDecision):
        await llm.send(asks())
    with world.request(address=SINGAPORE, who="tan"), pytest.raises(UsageError, match="own request only"):
        await llm.send(asks())
    assert (world.vn.sent, world.sg.sent) == ([], [])


async def test_of_many_people_at_once_each_reaches_the_endpoint_of_their_own(world: ServiceWorld) -> None:
    async def one(number: int) -> None:
        home = number % 2 == 0
        with world.request(address=HANOI if home else SINGAPORE, who=f"u{number}") as llm:
            async with llm as client:
                await anyio.lowlevel.checkpoint()
                await client.post("/chat", content=f"{'vn' if home else 'sg'}-{number}")

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(one, number)
    assert {body[:2] for _, body in world.vn.sent} == {b"vn"}
    assert {body[:2] for _, body in world.sg.sent} == {b"sg"}
    assert len(world.vn.sent) == len(world.sg.sent) == 20
    assert {act[2] for act in world.acts()} == {"committed"}


async def test_a_store_of_services_and_of_anything_else_is_two_stores(world: ServiceWorld) -> None:
    sinks = {sink.name: sink for store in ("people", "llm") for sink in world.stores.sinks_of(store)}
    with pytest.raises(UsageError, match="sinks of objects and of service: make it two stores"):
        Stores(sinks, {"mixed": ("people-vn", "llm-vn")})


async def test_a_sink_that_is_no_service_is_sent_nothing(world: ServiceWorld) -> None:
    with world.request("/people") as people:
        odd = ServiceHandle(current(), "people", ("people-vn",), {"people-vn": backend_of(people, "people-vn")}, None)
        with pytest.raises(UsageError, match="'people-vn' is no service"):
            await odd.send(asks())
    assert world.acts() == [("people-vn", "process", "failed")]


def test_a_header_is_found_whatever_its_case_and_the_first_one_counts() -> None:
    async def aclose() -> None:
        pass

    answer = ServiceAnswer(200, ((b"X-A", b"1"), (b"x-a", b"2")), said(), aclose)
    assert (answer.header(b"x-a"), answer.header(b"x-b")) == (b"1", None)


DOSSIER = """
  - id: test.dossier
    article: art. 20
    text: A dossier within 60 days.
    applies: {anchor: territory, data: [personal], sink: {abroad: true}}
    duty: {require: [{any: "filing:vn.transfer_dossier", within: 60 days, after: first_transfer}]}
"""


async def test_a_call_abroad_that_is_permitted_stands_in_the_register_of_transfers_and_begins_its_term(
    tmp_path: Path,
) -> None:
    world = ServiceWorld(tmp_path, rules=(DOSSIER,))
    world.sg.answers["broken"] = lambda: (500, OK, said(b"no"))
    known = [world.facts.current()]
    world.recorder.facts(known[0])
    with world.request("/one") as one:
        await whole(await one.send(asks()))
        await whole(await one.send(asks("broken")))
        await backend_of(one, "llm-sg").aclose()
        with pytest.raises(SinkUnavailable):
            await one.send(asks())
    assert [(event.kind, event.place) for event in world.noted.events()] == [("first_transfer", "VN")]
    facts = {facts_digest(each): each for each in (*known, world.facts.current())}
    register = Transfers({world.policy.digest: world.policy}.get, facts.get)
    for index, entry in enumerate(world.entries):
        register.add(index, entry)
    (flow,) = register.flows()
    # Twice the data left, once without a known end; the third time nothing did.
    assert (flow.key.sink, flow.key.place, flow.count, flow.unknown) == ("llm-sg", "SG", 2, 1)
