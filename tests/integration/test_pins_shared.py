"""Two instances over one real Redis, from HTTP request to entry: whose home it is, who may move it, what is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from residency import Residency, ResidencyMiddleware, current, load
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail import commit, parse_detail
from residency.audit.journal import RECORDS_AT, scan
from residency.errors import PinsUnavailable
from residency.jurisdiction.pinned import parse_pin
from residency.model import Anchor, Pin, SubjectId, Trust
from residency.observe import names
from residency.storage.homes_known import are_known, make_known
from tests.detail_world import open_detail
from tests.servers import Server, Servers, eventually
from tests.world import HANOI, HOME, SINGAPORE, write_deployment

pytestmark = pytest.mark.needs("redis")
KEY = ECKey.generate_key("P-256", {"kid": "one"})
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://../sg"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://../vn"}
stores: {people: [sg, vn]}
audit: {folder: ./audit, detail: {VN: ./detail}}
keys: {folder: ../keys}
pins: {url: "${PINS_URL}", stale_for: 3 s}
signals: {client_address: {strategy: peer}, identity: {jwt: {jwks: ../jwks.json}}}
activities:
  - {route: "PUT /me", subject: jwt.sub, data: [personal], operation: write, store: people}
  - {route: "GET /me", subject: jwt.sub, data: [personal], operation: read, store: people}
"""


class Instance:
    """One instance of the fleet: its own folder, journal and audit log; the keys, the sinks and the pins are shared."""

    def __init__(self, folder: Path, url: str, mode: str = "enforce") -> None:
        self.folder = folder
        file = folder / "test.yaml"
        if not file.exists():
            folder.mkdir()
            write_deployment(folder, DEPLOYMENT, (HOME,), [("mode: enforce", f"mode: {mode}")])
        self.runtime = Residency(load(file, {"PINS_URL": url}))
        app = Starlette(routes=[Route("/me", self.put, methods=["PUT"]), Route("/me", self.get)])
        app.add_middleware(ResidencyMiddleware, policy=self.runtime)
        self.client = TestClient(app)

    async def put(self, request: Request) -> JSONResponse:
        """Store the body."""
        here = current()
        assert here.subject is not None
        await here.store("people").put(here.subject.value, await request.body())
        return JSONResponse({})

    async def get(self, request: Request) -> JSONResponse:
        """What is stored, and the home by which it was found."""
        here = current()
        assert here.subject is not None
        found = await here.store("people").get(here.subject.value)
        pin = here.pin
        return JSONResponse({"note": found and found.decode(), "home": pin and [pin.home, pin.version]})

    def ask(self, who: str, *, address: str = SINGAPORE, put: str | None = None, **claims: object) -> Any:
        """The body of the answer to one request, or the reason why it was refused."""
        signed = jwt.encode({"alg": "ES256", "kid": "one"}, {"sub": who, "exp": int(time.time()) + 3600, **claims}, KEY)
        self.client._transport.client = (address, 50_000)  # type: ignore[attr-defined]
        answer = self.client.request(
            "GET" if put is None else "PUT",
            "/me",
            content=put,
            headers={"authorization": f"Bearer {signed}"},
        )
        return answer.json() if answer.status_code == 200 else (answer.status_code, answer.json()["reason"])

    def digest(self, who: str) -> str:
        """What pins know of a subject."""
        return self.runtime.point.digest(SubjectId(who))

    def move(self, who: str, home: str, reason: str) -> Pin:
        """An operator's act at this instance."""
        portal = self.client.portal
        assert portal is not None
        return portal.call(self.runtime.point.homes.move, self.digest(who), home, reason)

    def entries(self) -> list[dict[str, Any]]:
        """Every entry of this instance, as its journal has them."""
        return [json.loads(payload) for payload in _payloads(self.folder / "audit")]

    def told(self) -> dict[str, Pin]:
        """By what the log holds of each detail, the pin that this instance's regional detail tells of."""
        key = KeysFiles(self.folder.parent / "keys", create=False).secret("detail-vn")
        found = {}
        for payload in _payloads(self.folder / "detail"):
            _, detail = open_detail("VN", payload, key)
            fields = parse_detail(detail)
            if "pin" in fields:
                found[commit(detail)] = parse_pin(str(fields["pin"]))
        return found

    def events(self) -> dict[str, float]:
        """The metrics of pins, as a scrape has them."""
        families = {family.spec.name: family.series for family in self.runtime.metrics.families()}
        return {labels[0]: value for labels, value in families[names.PIN_EVENTS]}


def _payloads(folder: Path) -> list[bytes]:
    return [
        bytes(record.payload)
        for segment in sorted(folder.rglob("*.seg"))
        for record in scan(segment.read_bytes(), RECORDS_AT, None).records
    ]


Fleet = Callable[[str, str], Instance]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Starts the instance of that name over pins behind that URL; all end with the test."""
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    with ExitStack() as stack:

        def start(name: str, url: str) -> Instance:
            instance = Instance(tmp_path / name, url)
            stack.enter_context(instance.client)
            return instance

        yield start


def stored(server: Server, digest: str) -> list[bytes]:
    """The keys in Redis under which a subject's pin lies."""
    keys: Any = server.client.keys("*")
    return [key for key in keys if key.endswith(digest.encode())]


def test_a_home_set_or_moved_by_one_instance_is_the_others_home_and_every_move_is_recorded(
    redis_servers: Servers, fleet: Fleet
) -> None:
    server = redis_servers.single()
    one, two = fleet("one", server.url), fleet("two", server.url)
    # `two` has asked, and holds that there is no pin: nothing keeps a visitor in Singapore from the first sink there.
    assert two.ask("an") == {"note": None, "home": None}
    eventually(lambda: two.runtime.point.homes.peek(two.digest("an")) == (None, True), what="the copy to hold `none`")
    assert one.ask("an", address=HANOI, put="xin chào") == {}
    eventually(lambda: two.ask("an") == {"note": "xin chào", "home": ["VN", 1]}, what="the home to be seen")
    first = one.told()
    (pin,) = first.values()
    assert (pin.subject, pin.home, pin.set_by, pin.policy, pin.version) == (
        one.digest("an"), "VN", "first_write", one.runtime.policy.digest, 1,
    )  # fmt: skip
    assert pin.anchors == ((Anchor.TERRITORY, "VN", Trust.NETWORK), (Anchor.COLLECTION, "VN", Trust.NETWORK))
    assert [e["kind"] for e in one.entries() if e.get("detail") in first] == ["outcome"]
    # A verified claim, by a token over HTTP, moves what is remembered: at the other instance, as an act of its own.
    assert two.ask("an", put="hai", nationality="VN") == {}
    eventually(lambda: one.ask("an") == {"note": "hai", "home": ["VN", 2]}, what="the second version to be seen")
    (stronger,) = two.told().values()
    assert (stronger.set_by, stronger.version, stronger.alias) == ("stronger_signal", 2, pin.alias)
    assert (Anchor.CITIZENSHIP, "VN", Trust.VERIFIED) in stronger.anchors
    # One that contradicts it moves nothing, and is counted beside what the adapter counts. What was written under that
    # law stays covered by it.
    assert one.ask("an", put="ba", nationality="US") == {}
    assert one.events()["contradicted"] == 1
    assert one.events()["invalidations"] > 0
    # An operator's act, at one instance, with a reason. The other reads there at once, and there only.
    assert two.ask("binh", put="chào") == {}
    eventually(lambda: one.ask("binh") == {"note": "chào", "home": ["SG", 1]}, what="the home to be seen")
    moved = one.move("binh", "VN", "ticket 7")
    assert (moved.home, moved.version, moved.set_by) == ("VN", 2, "operator")
    eventually(lambda: two.ask("binh") == {"note": None, "home": ["VN", 2]}, what="the move to be seen")
    acts = [
        (e["kind"], e.get("act"), e.get("note"), e.get("detail") in instance.told())
        for instance in (one, two)
        for e in instance.entries()
        if e.get("operation") == "pin"
    ]
    assert acts == [
        ("intent", None, "also_covered:US", False),
        ("outcome", "committed", None, True),
        ("intent", None, "operator: ticket 7", False),
        ("outcome", "committed", None, True),
        ("intent", None, "stronger_signal", False),
        ("outcome", "committed", None, True),
    ]
    # Redis knows no name, and no entry either.
    everything = b"".join(_payloads(one.folder / "audit") + _payloads(two.folder / "audit"))
    assert one.digest("an").encode() not in everything
    assert b'"an"' not in everything
    assert len(stored(server, one.digest("an"))) == 1


def test_once_everybody_was_moved_every_instance_that_observes_begins_new_people_at_home(
    redis_servers: Servers, tmp_path: Path
) -> None:
    server = redis_servers.single()
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    one, two = (Instance(tmp_path / name, server.url, "observe") for name in ("one", "two"))
    with one.client, two.client:
        for instance, who in ((one, "an"), (two, "binh")):
            assert instance.ask(who, address=HANOI, put="old") == {}
            assert instance.ask(who, address=HANOI) == {"note": "old", "home": ["SG", 1]}
        point = one.runtime.point
        assert one.client.portal is not None
        assert one.client.portal.call(make_known, point.homes, point.perception.digest, "SG")
        # What `two` held, that there is no such mark, the server takes back within milliseconds.
        eventually(
            lambda: are_known(two.runtime.point.homes, two.runtime.point.perception.digest) is not False,
            what="the mark to be told of",
        )
        assert two.ask("chi", address=HANOI, put="new") == {}
        assert one.ask("chi", address=SINGAPORE) == {"note": "new", "home": ["VN", 1]}
        assert two.ask("binh", address=HANOI) == {"note": "old", "home": ["SG", 1]}


def test_an_instance_whose_subjects_have_other_digests_does_not_start(
    redis_servers: Servers, fleet: Fleet, tmp_path: Path
) -> None:
    server = redis_servers.single()
    one = fleet("one", server.url)
    one.ask("an", address=HANOI, put="xin chào")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "jwks.json").rename(tmp_path / "elsewhere" / "jwks.json")
    stranger = Instance(tmp_path / "elsewhere" / "two", server.url)
    with pytest.raises(PinsUnavailable, match=r"test\.yaml:\d+:\d+: .*another `subjects` key"):
        stranger.runtime.open()
    assert not stranger.runtime.is_open
    assert one.ask("an") == {"note": "xin chào", "home": ["VN", 1]}


def test_while_redis_stands_still_the_copy_serves_says_so_and_then_refuses(
    redis_servers: Servers, fleet: Fleet
) -> None:
    server = redis_servers.single()
    one = fleet("one", server.url)
    one.ask("an", address=HANOI, put="xin chào")
    home = {"note": "xin chào", "home": ["VN", 1]}
    eventually(lambda: one.ask("an") == home and one.runtime.point.homes.peek(one.digest("an"))[1], what="a copy")
    assert "stale_pin" not in [e.get("note") for e in one.entries()]
    server.pause()
    eventually(one.runtime.point.homes.is_stale, what="silence to be noticed")
    assert one.ask("an") == home
    eventually(lambda: one.ask("an") == (503, "pins_unavailable"), what="the end of stale_for")
    assert one.ask("binh") == (503, "pins_unavailable"), "nobody knows whether there is a home"
    told = one.entries()
    assert [e["note"] for e in told if e["kind"] == "intent"][-1] == "stale_pin"
    assert {e.get("reason") for e in told if e["kind"] == "refusal"} == {"pins_unavailable"}
    assert one.runtime.metrics.value(names.PINS_STALE) >= 1
    server.resume()
    eventually(lambda: one.ask("an") == home, what="service")
    assert not one.runtime.point.homes.is_stale()


def test_a_pin_that_redis_lost_is_put_back_from_the_audit_log_by_an_instance_that_starts_anew(
    redis_servers: Servers, fleet: Fleet, tmp_path: Path
) -> None:
    server = redis_servers.single("redis", "--appendonly", "yes", "--appendfsync", "always")
    one = fleet("one", server.url)
    one.ask("an", address=HANOI, put="xin chào")
    one.ask("an", address=HANOI, put="hai", nationality="VN")
    one.ask("binh", address=HANOI, put="chào")
    digest, other = one.digest("an"), one.digest("binh")
    one.client.__exit__()
    before = {key: server.client.get(key) for key in (*stored(server, digest), *stored(server, other))}
    assert len(before) == 2
    server.client.delete(*before)
    server.kill()
    server.start()
    assert stored(server, digest) == []
    again = fleet("one", server.url)
    assert {key: server.client.get(key) for key in before} == before
    assert again.events()["replayed"] == 2
    assert again.ask("an") == {"note": "hai", "home": ["VN", 2]}
    # An instance that has no such log knows what is there now.
    assert fleet("two", server.url).ask("binh") == {"note": "chào", "home": ["VN", 1]}


def test_a_pin_that_the_new_primary_never_heard_of_is_put_back_from_the_audit_log(
    redis_servers: Servers, fleet: Fleet
) -> None:
    primary = redis_servers.single()
    replica = redis_servers.single("redis", "--replicaof", "127.0.0.1", str(primary.port))
    eventually(lambda: primary.client.set("other", 1) and primary.client.wait(1, 100), what="the replica")
    sentinels = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in redis_servers.sentinels(primary))
    url = f"redis+sentinel://{sentinels}/pins"
    gone = fleet("one", url)
    gone.ask("an", address=HANOI, put="xin chào")
    gone.client.__exit__()
    # Its process is replaced: what it wrote stands in its log alone, and the replica lags behind.
    first = fleet("one", url)
    (key,) = stored(primary, first.digest("an"))
    replica.client.config_set("replica-read-only", "no")
    replica.client.delete(key)
    assert first.events()["replayed"] == 0
    primary.kill()
    eventually(lambda: first.events()["replayed"] == 1, what="the failover", within=60)
    eventually(lambda: first.ask("an") == {"note": "xin chào", "home": ["VN", 1]}, what="service")
    assert stored(replica, first.digest("an")) == [key]
