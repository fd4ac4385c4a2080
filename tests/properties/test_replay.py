"""Every decision that the real enforcement point records can be decided again, and comes to the same.

Random requests by people anywhere, of known and unknown, under stop orders that come and go, in both modes: the log
under its own policy shows no wrong record, no gap and no change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.authentication import SimpleUser

from residency.adapters.sink_memory import MemorySink
from residency.audit.entry import Entry
from residency.audit.recall import Beside, Recall
from residency.enforcement.current import Current
from residency.enforcement.point import Identifying, Request
from residency.errors import ResidencyError
from residency.model import FactSet, StopOrder
from residency.policy.archive import archived, facts_digest, parse_archive, policy_path
from residency.policy.compiler import Policy
from residency.policy.replay import Replayed, Replayer
from residency.signals.identity import ClaimMap
from tests.world import HOME, NEVER, SG, VERIFIED, VN, Deployed, handling, load_policy, write_deployment

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
signals: {identity: {user: verified}}
exempt: [GET /healthz]
activities:
  - {route: "POST /people", subject: user, data: [personal], store: people}
  - {route: "GET /people/{id}", subject: path.id, data: [personal], store: people}
  - {route: "POST /sign-up", subject: app, data: [personal], store: people}
  - {route: "POST /posts", subject: user, data: [content], operation: post, store: people}
  - {route: "POST /friends", subject: user, data: [relationship], operation: process}
  - {route: "GET /plain", subject: none, data: [content]}
"""
ABROAD = """
  - id: test.abroad
    article: art. 4
    text: Content abroad is observed.
    applies: {anchor: residence, data: [content], sink: {abroad: true}}
    mode: observe
    duty: {effect: hold}
"""
ROUTES = ["POST /people", "GET /people/an", "POST /sign-up", "POST /posts", "POST /friends", "GET /plain"]
ROUTES += ["GET /healthz", "GET /nowhere", "GET /people/../plain"]
CLAIMS: list[dict[str, object]] = [
    {}, {"citizenship": "VN"}, {"citizenship": ["US"], "verified_by": "phone"}, {"residence": "SG", "consents": ["x"]},
]  # fmt: skip
SUBJECTS = ["an", "binh", "cuc"]


class Logged(Deployed):
    """One deployment that serves requests and tells what its log says of them."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(
            policy,
            [MemorySink("sg", SG), MemorySink("vn", VN)],
            identifying=Identifying(None, ClaimMap(), "verified"),
        )
        self.archive: dict[str, FactSet] = {}
        self._name(self.facts.current())

    def _name(self, facts: FactSet) -> None:
        self.archive[facts_digest(facts)] = facts
        self.recorder.facts(facts)

    def change(self, stopped: frozenset[str]) -> None:
        """Put stop orders in force as a reload does: archived and named first."""
        orders = tuple(StopOrder("7", sink, 0) for sink in sorted(stopped))
        facts = replace(self.facts.current(), stop_orders=orders, epoch=self.facts.epoch() + 1)
        self._name(facts)
        self.facts.replace(facts)

    def serve(self, route: str, address: str, who: str | None, claims: dict[str, object], sink: str | None) -> None:
        """One request whose handler writes to the store it has."""
        method, path = route.split(" ")
        user: Any = None
        if who is not None:
            user = SimpleUser(who)
            user.claims = claims
        with suppress(ResidencyError):
            here = self.point.admit(Request(method, path, path.encode(), (), (address, 50_000), user))
            if isinstance(here, Current):
                with handling(here):
                    asyncio.run(self._handle(here, who, claims, sink))
                self.point.close(here)
        self.clock.advance(1_000_000)

    async def _handle(self, here: Current, who: str | None, claims: dict[str, object], sink: str | None) -> None:
        if here.activity.subject.kind == "app" and who is not None:
            await here.identify(who, claims, verified=True)
        if here.activity.store is not None:
            await here.store("people").put("k", b"v", sink=sink)

    def replayed(self, replayer: Replayer) -> Iterator[tuple[Entry, Replayed | Beside]]:
        """Every entry with what becomes of it."""
        recall = Recall()
        for entry in self.entries:
            taken = recall.take(entry)
            yield entry, taken if isinstance(taken, Beside) else replayer.replay(*taken)


@pytest.fixture(scope="module", params=["enforce", "observe"])
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A policy in that mode."""
    folder, rules = tmp_path_factory.mktemp("replay"), (HOME, VERIFIED, NEVER, ABROAD)
    return load_policy(write_deployment(folder, DEPLOYMENT, rules, [("mode: enforce", f"mode: {request.param}")]))


requests = st.tuples(
    st.sampled_from(ROUTES),
    st.sampled_from(["113.160.0.1", "165.21.0.1", "127.0.0.1", "8.8.8.8"]),
    st.none() | st.sampled_from(SUBJECTS),
    st.sampled_from(CLAIMS),
    st.none() | st.sampled_from(["sg", "vn"]),
)
orders = st.frozensets(st.sampled_from(["sg", "vn", "*"]), max_size=2)


@given(st.lists(requests | orders, min_size=1, max_size=12))
def test_a_log_under_its_own_policy_shows_no_wrong_record_no_gap_and_no_change(
    policy: Policy, happens: list[Any]
) -> None:
    world = Logged(policy)
    for what in happens:
        if isinstance(what, frozenset):
            world.change(what)
        else:
            world.serve(*what)
    # Not the object that decided, but what the archive makes of it, years later.
    later = parse_archive(dict(archived(policy, policy.facts))[policy_path(policy.digest)], policy.digest, {})
    replayer = Replayer({policy.digest: later}.get, world.archive.get, later)
    for entry, found in world.replayed(replayer):
        assert not isinstance(found, Replayed) or (found.gap, found.wrong, found.change) == (None, (), None), entry


@given(st.lists(requests, min_size=1, max_size=6), st.sampled_from(["effect", "rules", "reason", "observed", "places"]))
def test_an_entry_that_tells_another_decision_than_its_policy_gives_is_found(
    policy: Policy, happens: list[Any], forged: str
) -> None:
    world = Logged(policy)
    for what in happens:
        world.serve(*what)
    replayer = Replayer({policy.digest: policy}.get, world.archive.get)
    recall = Recall()
    for entry in world.entries:
        taken = recall.take(entry)
        if isinstance(taken, Beside):
            continue
        recorded, now = taken
        forgeries: dict[str, dict[str, Any]] = {
            "effect": {"effect": "permit" if recorded.effect != "permit" else "hold"},
            "rules": {"rules": (*recorded.rules, "vn.forged.1")},
            "reason": {"reason": "hold" if recorded.reason != "hold" else "law_forbids"},
            "observed": {"observed": (*recorded.observed, "vn.forged.1")},
            "places": {"jurisdictions": (*recorded.jurisdictions, "ZZ")},
        }
        assert replayer.replay(replace(recorded, **forgeries[forged]), now).wrong, (forged, entry)


def test_the_requests_under_test_leave_entries_of_every_kind(policy: Policy) -> None:
    world = Logged(policy)
    for address in ("113.160.0.1", "165.21.0.1"):
        for claims in CLAIMS:
            for route in ROUTES:
                world.serve(route, address, "an", claims, "sg")
                world.serve(route, address, "binh", claims, None)
    told = {(entry.kind, entry.reason) for entry in world.entries if entry.decided is not None}
    if policy.deployment.mode == "observe":
        assert {
            ("decision", None),
            ("decision", "law_forbids"),
            ("intent", None),
            ("intent", "only_in_country"),
        } <= told
    else:
        assert {("decision", None), ("intent", None), ("refusal", "law_forbids")} <= told
        assert {("refusal", "only_in_country"), ("refusal", "identity_missing")} <= told
