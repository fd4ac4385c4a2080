"""One request in, a decision or a refusal out, and always a record: the stages in order, and what each may refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.journal_memory import JournalMemory
from residency.adapters.pins_memory import PinsMemory
from residency.enforcement.context import current, identify
from residency.enforcement.current import Current
from residency.enforcement.point import Refusal, Request
from residency.errors import AddressDataUnavailable, JournalFull, PinsUnavailable, Refused, UsageError
from residency.model import Anchor, Effect, Pin, Reason, Signal, SubjectId, Trust
from residency.observe import names
from residency.signals.address import RightmostTrustedRange, Server
from residency.signals.inet import Ranges
from residency.signals.peer import ClientAddress, Peer

pytestmark = pytest.mark.anyio
HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"
Worlds = Callable[..., Any]


class RemotePins(PinsMemory):
    """Pins of which this process holds none: `peek` does not know."""

    def peek(self, subject: str) -> tuple[Pin | None, bool]:
        """Nothing, and that is not to be believed."""
        super().peek(subject)
        return None, False


class NoCountries:
    """Address data that is too old for the deployment."""

    def signals_of(self, client: ClientAddress) -> tuple[Signal, ...]:
        """Raises: AddressDataUnavailable."""
        raise AddressDataUnavailable("the address data is older than the deployment allows")


def test_a_plain_request_leaves_one_entry_before_the_app_runs(world: Any) -> None:
    here = world.admit("GET", "/plain")
    assert isinstance(here, Current)
    assert world.kinds == ["decision"]
    world.point.close(here)
    assert world.kinds == ["decision"]


def test_a_request_with_a_store_leaves_one_entry_at_its_end_if_it_did_nothing(world: Any) -> None:
    with world.request(who="an"):
        assert world.kinds == []
    assert world.kinds == ["decision"]


def test_an_exempt_request_is_counted_and_recorded_under_the_exempt_routes_name(world: Any) -> None:
    assert world.admit("GET", "/healthz") is None
    assert world.admit("HEAD", "/docs/a/b") is None
    assert [(entry.activity, entry.note) for entry in world.entries] == [
        ("GET /healthz", "exempt"),
        ("GET /docs/{page:path}", "exempt"),
    ]
    assert world.metrics.value(names.EXEMPT) == 2


def test_a_route_that_nobody_named_is_denied_recorded_and_counted(world: Any) -> None:
    assert world.refused("GET", "/else") == "unclassified_route"
    assert [(entry.kind, entry.reason) for entry in world.entries] == [("refusal", "unclassified_route")]
    assert world.metrics.value(names.REFUSALS, "unclassified_route") == 1


def test_a_route_that_nobody_named_passes_undecided_where_the_deployment_says_so(make_world: Worlds) -> None:
    world = make_world(replace=[("stores:", "unclassified: permit\nstores:")])
    assert world.admit("GET", "/else") is None
    assert world.kinds == ["decision"]


@pytest.mark.parametrize("trusted", [Ranges(("10.0.0.1",)), None], ids=["a range", "the peer"])
def test_the_strategy_that_found_the_address_is_named_in_the_decision_and_in_its_entry(
    make_world: Worlds, trusted: Ranges | None
) -> None:
    strategy = Peer() if trusted is None else RightmostTrustedRange(trusted)
    world = make_world(strategy=strategy)
    here = world.admit("GET", "/plain")
    assert here.decision.strategy == strategy.name
    world.refused("GET", "/else")
    assert [(entry.kind, entry.strategy) for entry in world.entries] == [
        ("decision", strategy.name),
        ("refusal", strategy.name),
    ]


async def test_a_claim_that_names_no_place_is_counted_whoever_made_it(make_world: Worlds) -> None:
    world = make_world()

    class User(SimpleUser):
        claims: ClassVar = {"nationality": "Viet Nam"}

    with world.request(user=User("an")):
        assert world.metrics.value(names.UNREAD_CLAIMS, "citizenship") == 1
    with world.request(path="/sign-up"):
        await identify("an", citizenship="VNM", residence="Hanoi")
        assert current().decision.finding.citizenship.established == {"VN"}
    assert world.metrics.value(names.UNREAD_CLAIMS, "citizenship") == 1
    assert world.metrics.value(names.UNREAD_CLAIMS, "residence") == 1


def test_an_ambiguous_path_is_refused_without_repeating_it(world: Any) -> None:
    answer = world.admit("GET", "/people/../plain")
    assert isinstance(answer, Refusal)
    assert (answer.reason, "plain" in answer.message) == (Reason.PATH_AMBIGUOUS, False)
    assert world.entries[0].activity is None


def test_observing_lets_an_ambiguous_path_through_to_its_activity_and_notes_it(make_world: Worlds) -> None:
    world = make_world(replace=[("mode: enforce", "mode: observe")])
    here = world.point.admit(Request("GET", "/people/a\\b", b"/people/a%5Cb", (), (HANOI, 50_000)))
    assert here.params == {"id": "a\\b"}
    assert [(entry.kind, entry.effect, entry.reason) for entry in world.entries] == [
        ("decision", "deny", "path_ambiguous")
    ]
    assert world.metrics.value(names.WOULD_REFUSE, "path_ambiguous") == 1


def test_a_rewritten_peer_is_refused_in_both_modes(make_world: Worlds) -> None:
    for mode in ("enforce", "observe"):
        world = make_world(replace=[("mode: enforce", f"mode: {mode}")])
        request = Request("GET", "/plain", None, (), ("113.160.0.1", 0))
        assert world.point.admit(request).reason is Reason.PEER_REWRITTEN
        assert [(entry.kind, entry.activity) for entry in world.entries] == [("refusal", "GET /plain")]


def test_a_server_that_is_trusted_in_words_may_rewrite_the_peer(make_world: Worlds) -> None:
    world = make_world(strategy=Server())
    here = world.point.admit(Request("GET", "/plain", None, (), ("113.160.0.1", 0)))
    assert here.decision.jurisdictions == ("VN",)


def test_address_data_that_fails_at_a_lookup_refuses_with_a_record(make_world: Worlds) -> None:
    world = make_world(network=NoCountries())
    assert world.refused("GET", "/plain") == "address_data_unavailable"
    assert [entry.reason for entry in world.entries] == ["address_data_unavailable"]


def test_pins_that_cannot_be_read_refuse_with_a_record(make_world: Worlds) -> None:
    for pins in (PinsMemory(), RemotePins()):
        world = make_world(pins=pins)
        pins._closed = True
        assert world.refused(who="an") == "pins_unavailable"
        assert [entry.reason for entry in world.entries] == ["pins_unavailable"]


async def test_a_pin_that_is_not_held_here_is_fetched_before_anything_is_decided(make_world: Worlds) -> None:
    world = make_world(pins=RemotePins())
    here = world.admit(who="an", address=SINGAPORE)
    assert not here.decided
    settled = await world.point.settle(here)
    assert settled is here
    assert here.decision.effect is Effect.PERMIT


async def test_a_pin_that_cannot_be_fetched_refuses_with_a_record(make_world: Worlds) -> None:
    pins = RemotePins()
    world = make_world(pins=pins)
    here = world.admit(who="an")
    pins._closed = True
    assert (await world.point.settle(here)).reason is Reason.PINS_UNAVAILABLE
    assert world.kinds == ["refusal"]


def test_without_room_for_the_record_there_is_no_answer(make_world: Worlds) -> None:
    world = make_world(journal=JournalMemory(capacity=10))
    for method, path in (
        ("GET", "/plain"),
        ("GET", "/healthz"),
        ("GET", "/else"),
        ("GET", "/a//b"),
        ("POST", "/people"),
    ):
        with pytest.raises(JournalFull):
            world.admit(method, path)


# -- who, and whose data ---------------------------------------------------------------------------------------------


def test_a_verified_token_names_the_subject_and_another_is_nobody(world: Any) -> None:
    good = world.admit("GET", "/token", headers=[(b"authorization", b"Bearer good-an")])
    assert good.subject.value == "an"
    for header in (b"Bearer bad", b"Basic good-an", b"Bearer", b"Bearer \xff\xfe", b"Bearer " + b"x" * 100_000):
        assert world.admit("GET", "/token", headers=[(b"authorization", header)]).subject is None


def test_two_tokens_are_no_token(world: Any) -> None:
    headers = [(b"authorization", b"Bearer good-an"), (b"authorization", b"Bearer good-binh")]
    assert world.admit("GET", "/token", headers=headers).subject is None


def test_an_anonymous_caller_of_a_route_for_callers_is_still_somewhere(world: Any) -> None:
    assert world.admit("GET", "/token", address=HANOI).decision.jurisdictions == ("VN",)
    assert world.admit("GET", "/token", address=SINGAPORE).decision.jurisdictions == ()


def test_the_callers_address_says_nothing_of_the_person_in_the_path(world: Any) -> None:
    assert world.admit("GET", "/people/binh", who="an", address=HANOI).signals == ()
    own = world.admit("GET", "/people/an", who="an", address=HANOI)
    assert [signal.place for signal in own.signals] == ["VN", "VN"]


def test_a_header_names_the_subject_only_where_a_trusted_gateway_sent_it(world: Any) -> None:
    headers = [(b"x-user", b"an")]
    assert world.admit("GET", "/gateway", headers=headers, address="10.0.0.1").subject.value == "an"
    assert world.admit("GET", "/gateway", headers=headers, address=HANOI).subject is None
    assert world.admit("GET", "/gateway", headers=headers * 2, address="10.0.0.1").subject is None


def test_text_that_no_digest_can_take_is_nobody(world: Any) -> None:
    for path in ("/people/\ud800", "/people/" + "x" * 513):
        request = Request("GET", path, None, (), (HANOI, 50_000))
        assert world.point.admit(request).subject is None
    headers = [(b"authorization", "Bearer good-\udcff".encode("latin-1", "ignore"))]
    assert world.admit("GET", "/token", headers=headers).subject is None


def test_a_forged_forwarding_header_changes_nothing(make_world: Worlds) -> None:
    forged = [(b"x-forwarded-for", b"165.21.0.1, 165.21.0.2")]
    assert make_world().admit("GET", "/plain", headers=forged).decision.jurisdictions == ("VN",)
    proxied = make_world(strategy=RightmostTrustedRange(Ranges(["10.0.0.0/8"])))
    headers = [(b"x-forwarded-for", b"165.21.0.1, 113.160.0.1")]
    assert proxied.admit("GET", "/plain", address="10.1.2.3", headers=headers).decision.jurisdictions == ("VN",)
    assert proxied.admit("GET", "/plain", address=HANOI, headers=forged).decision.jurisdictions == ("VN",)


# -- dev.assume ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_an_assumed_country_is_served_to_this_machine(make_world: Worlds, address: str) -> None:
    world = make_world(replace=[("stores:", "dev: {assume: VN}\nstores:")])
    assert world.admit("GET", "/plain", address=address).decision.jurisdictions == ("VN",)


@pytest.mark.parametrize("address", ["113.160.0.1", "::12", "::1234", "127.evil.example", "", "testclient"])
def test_an_assumed_country_is_refused_to_any_other_peer(make_world: Worlds, address: str) -> None:
    world = make_world(replace=[("stores:", "dev: {assume: VN}\nstores:")])
    assert world.refused("GET", "/plain", address=address) == "dev_not_loopback"


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"forwarded", b"x-real-ip"])
def test_an_assumed_country_is_refused_to_what_a_proxy_on_this_machine_passes_on(
    make_world: Worlds, header: bytes
) -> None:
    world = make_world(replace=[("stores:", "dev: {assume: VN}\nstores:")])
    assert world.refused("GET", "/plain", address="127.0.0.1", headers=[(header, b"8.8.8.8")]) == "dev_not_loopback"


def test_without_a_peer_nothing_is_assumed(make_world: Worlds) -> None:
    world = make_world(replace=[("stores:", "dev: {assume: VN}\nstores:")])
    answer = world.point.admit(Request("GET", "/plain", None, (), None))
    assert answer.reason is Reason.DEV_NOT_LOOPBACK


# -- identify --------------------------------------------------------------------------------------------------------


async def test_the_verdict_waits_for_the_subject_where_the_app_names_it(world: Any) -> None:
    with world.request("POST", "/posts") as here:
        assert here.decision.effect is Effect.DENY  # nobody is verified yet, and nothing has been refused for it
        await identify("an", verified=True, verified_by="phone")
        assert current().decision.effect is Effect.PERMIT
    assert [(entry.kind, entry.note) for entry in world.entries] == [("decision", "identified")]


async def test_a_decision_against_the_activity_is_raised_recorded_and_counted_once(world: Any) -> None:
    with world.request("POST", "/posts") as here:
        with pytest.raises(Refused) as caught:
            await identify("an", verified_by="phone")  # declared only
        assert (caught.value.reason, caught.value.citations) == ("identity_missing", ("Test law art. 2",))
        assert here.trail.refusal.reason is Reason.IDENTITY_MISSING
    assert world.kinds == ["refusal"]
    assert world.metrics.value(names.REFUSALS, "identity_missing") == 1


async def test_a_plain_route_is_decided_at_once_and_again_by_identify(world: Any) -> None:
    with world.request("POST", "/friends", address=SINGAPORE), pytest.raises(Refused):
        await identify("an", citizenship="VN")
    assert world.kinds == ["decision", "refusal"]


async def test_what_was_proven_of_one_person_proves_nothing_of_the_next(world: Any) -> None:
    with world.request("POST", "/posts") as here:
        await identify("an", verified=True, verified_by="phone", citizenship="SG")
        first = here.alias
        with pytest.raises(Refused):
            await identify("binh")
        assert here.evidence == frozenset()
        assert {signal.place for signal in here.signals} == {"VN"}
        assert here.alias != first


async def test_said_twice_of_one_person_claims_add_up(world: Any) -> None:
    with world.request("POST", "/sign-up") as here:
        await identify("an", citizenship="SG")
        alias = here.alias
        await identify("an", residence="DE")
        assert {(signal.anchor.value, signal.place) for signal in here.signals} >= {
            ("citizenship", "SG"),
            ("residence", "DE"),
        }
        assert here.alias == alias


async def test_another_person_than_the_token_names_is_judged_without_the_callers_claims(world: Any) -> None:
    with world.request("POST", "/people", who="an", address=HANOI) as here:
        await identify("binh")
        assert here.signals == ()


class Proven:
    """A logged-in user whose claims the app has verified."""

    is_authenticated = True

    def __init__(self, identity: str, **claims: object) -> None:
        self.identity = identity
        self.claims = claims


async def test_what_a_token_proves_of_the_caller_outweighs_nothing_of_the_person_named(world: Any) -> None:
    clerk = Proven("clerk", nationality="US", country="US", identity_verified_by="phone")
    with world.request("POST", "/friends", address=SINGAPORE, user=clerk) as here:
        with pytest.raises(Refused):
            await identify("an", citizenship="VN")  # declared beside declared: contested, so covered
        assert here.evidence == frozenset()
    with world.request("POST", "/posts", address=SINGAPORE, user=clerk) as here:
        await identify("clerk", citizenship="VN")
        assert {signal.trust.name for signal in here.signals if signal.source == "user"} == {"VERIFIED"}
        assert here.evidence == frozenset({"identity:phone"})


async def test_what_a_token_says_for_a_law_still_speaks_of_the_person_named(world: Any) -> None:
    user = Proven("idp|7", nationality="VN")
    with world.request("POST", "/sign-up", address=SINGAPORE, user=user) as here:
        await identify("an")
        citizenship = here.decision.finding.citizenship
        assert (citizenship.established, citizenship.trust) == (frozenset({"VN"}), Trust.DECLARED)


async def test_a_claim_under_a_wrong_name_is_an_error_and_not_lost(world: Any) -> None:
    with world.request("POST", "/sign-up") as here:
        with pytest.raises(UsageError, match="citizenshp"):
            await identify("an", citizenshp="VN")
        assert here.subject is None


@pytest.mark.parametrize("subject", ["", "x" * 513, "\ud800", "\0residency: who moves people"])
async def test_what_is_no_id_is_an_error_that_does_not_repeat_it(world: Any, subject: str) -> None:
    with world.request("POST", "/sign-up"), pytest.raises(UsageError) as caught:
        await identify(subject)
    assert not subject or subject not in str(caught.value)


async def test_a_subject_whose_pin_cannot_be_read_does_not_pass_for_one_without_a_pin(make_world: Worlds) -> None:
    pins = PinsMemory()
    world = make_world(pins=pins)
    with world.request("POST", "/sign-up") as here:
        await identify("an")
        pins._closed = True
        with pytest.raises(PinsUnavailable):
            await identify("binh")
        assert here.subject.value == "an"


# -- memo ------------------------------------------------------------------------------------------------------------


def test_distinct_addresses_share_findings_of_their_country(world: Any) -> None:
    for last in range(1, 20):
        world.admit("GET", "/plain", address=f"113.160.0.{last}")
    assert len(world.point.perception._findings) == 1


def test_a_moved_stop_order_is_seen_by_the_next_request(world: Any) -> None:
    assert world.admit(who="an").decision.sink("vn").effect is Effect.PERMIT
    world.stop("vn")
    assert world.refused(who="an") in ("stop_order", "no_sink")


def test_a_scope_of_an_unknown_type_is_recorded(world: Any) -> None:
    world.point.refuse_scope()
    assert [entry.reason for entry in world.entries] == ["unknown_scope"]


@pytest.mark.parametrize("headers", [(), ((b"authorization", b"Bearer forged"),)], ids=["no token", "a bad token"])
def test_leaving_ones_token_out_shakes_no_law_off(world: Any, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    own = world.admit("GET", "/people/an", headers=((b"authorization", b"Bearer good-an"),))
    unknown = world.admit("GET", "/people/an", headers=headers)
    another = world.admit("GET", "/people/an", headers=((b"authorization", b"Bearer good-binh"),))
    covered = [here.decision.jurisdictions for here in (own, unknown, another)]
    assert covered == [("VN",), ("VN",), ()]  # the address of somebody else says nothing of the subject
    assert unknown.decision.finding.territory.trust is Trust.HINT
    assert own.decision.finding.territory.trust is Trust.NETWORK


@pytest.mark.parametrize("headers", [(), ((b"authorization", b"Bearer forged"),)], ids=["no token", "a bad token"])
async def test_a_bad_token_takes_no_weight_from_what_others_say_of_the_one_whom_the_app_names(
    make_world: Worlds, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    class User(SimpleUser):
        claims: ClassVar = {"nationality": "VN", "age": 30}

    world = make_world()
    for name, trust in (("an", Trust.VERIFIED), ("binh", Trust.DECLARED)):
        with world.request("POST", "/sign-up", headers=headers, user=User("an")) as here:
            await identify(name)
            assert here.decision.finding.citizenship.established == {"VN"}
            assert here.decision.finding.citizenship.trust is trust
    # Nor does it gain any: what the others prove is lost beside it.
    with world.request("POST", "/sign-up", headers=headers, user=User("an")) as here:
        await identify("an")
        assert ("age:at_least_18" in here.evidence) is (not headers)


async def test_of_a_subject_with_a_pin_an_unknown_callers_address_says_nothing(make_world: Worlds) -> None:
    for pins in (PinsMemory(), RemotePins()):
        world = make_world(pins=pins)
        digest = world.point.digest(SubjectId("an"))
        anchors = ((Anchor.TERRITORY, "SG", Trust.NETWORK),)
        await pins.put(Pin(digest, "SG", anchors, "ab" * 16, "first_write", world.policy.digest, 0))
        here = world.admit("GET", "/people/an")
        if not here.decided:
            here = await world.point.settle(here)
        assert here.decision.jurisdictions == ()
        assert here.decision.sinks[0].sink.name == "sg"


def test_a_requests_token_is_not_in_what_it_prints(world: Any) -> None:
    request = Request("GET", "/", b"/", [(b"authorization", b"Bearer secret")], None, user="an", session={"user": "an"})
    assert "secret" not in repr(request)
    assert "an" not in repr(request).replace("headers", "")


def test_a_deployment_may_say_that_conflicts_are_presumed(make_world: Worlds) -> None:
    class Two:
        def signals_of(self, client: ClientAddress) -> tuple[Signal, ...]:
            """An address that two databases place in two countries."""
            return tuple(Signal(Anchor.TERRITORY, place, Trust.NETWORK, "address") for place in ("VN", "US"))

    words = ("presume: {territory: not_covered}", "presume: {territory: not_covered, conflicts: as_silent}")
    for changes, covering in ((), ("VN",)), (((words[0], words[1]),), ()):
        world = make_world(network=Two(), replace=changes)
        assert world.admit("GET", "/people", who="an").decision.jurisdictions == covering
