"""The test kit: an app acts as real people on its real policy, and everything it writes lies in one folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from residency import PolicyError, ResidencyMiddleware, UsageError, current, identify
from residency.testing import Kit, Went, address_in, person
from tests.services import VN_HOST, serving

POLICY = """
residency: 1
kind: deployment
name: kit
mode: enforce
operator: {established_in: [VN]}
laws: [vn/*]
regions: {vn-han: {country: VN}, sg: {country: SG}}
sinks:
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://${SG_FOLDER}"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://${VN_FOLDER}"}
stores: {uploads: [files-sg, files-vn]}
signals:
  client_address: CLIENT
  identity: {jwt: {jwks: "${JWKS}", issuer: us, audience: app, claims: {citizenship: nat}}}
audit: {folder: ./real-audit}
keys: {folder: ./real-keys}
pins: {url: "sqlite:///real-pins.db"}
activities:
  - {route: "PUT /files", subject: jwt.sub, data: [personal, account], operation: write, store: uploads}
  - {route: "GET /files", subject: jwt.sub, data: [personal, account], operation: read, store: uploads}
  - {route: "POST /sign-up", subject: app, data: [personal, account], operation: write, store: uploads}
"""
PEER = "{strategy: peer}"
PROXIED = "{strategy: rightmost_trusted_range, trusted: [10.0.0.0/8]}"


async def put(request: Request) -> JSONResponse:
    """Stores a value for who calls."""
    if request.url.path == "/sign-up":
        await identify("new", citizenship=request.query_params.get("citizenship"))
    uploads = current().store("uploads")
    await uploads.put("a.txt", b"value", sink=request.query_params.get("sink"))
    return JSONResponse({"sink": uploads.sink_name})


async def get(request: Request) -> JSONResponse:
    """Reads it back."""
    value = await current().store("uploads").get("a.txt")
    return JSONResponse({"value": value.decode() if value is not None else None})


def app(policy: Path, events: list[str] | None = None) -> Starlette:
    """An app with the middleware in its stack and a lifespan."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if events is not None:
            events.append("up")
        yield
        if events is not None:
            events.append("down")

    routes = [
        Route("/files", put, methods=["PUT"]),
        Route("/files", get),
        Route("/sign-up", put, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(ResidencyMiddleware, policy=policy)], lifespan=lifespan)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A deployment whose places must not be touched."""
    folder = tmp_path / "real"
    folder.mkdir()
    file = folder / "deployment.yaml"
    file.write_text(POLICY.replace("CLIENT", PEER))
    return file


def test_a_person_acts_and_the_kit_tells_where_their_data_went(policy: Path, tmp_path: Path) -> None:
    with Kit(app(policy), policy, tmp_path / "kit") as kit:
        lan = kit.client(person("VN", subject="lan", verified="phone"))
        tan = kit.client(person("SG", subject="tan", citizenship="SG"))
        assert lan.put("/files").json() == {"sink": "files-vn"}
        assert tan.put("/files").json() == {"sink": "files-sg"}
        assert lan.get("/files").json() == {"value": "value"}
        assert kit.went("uploads") == ["files-vn", "files-sg", "files-vn"]
        first = kit.acts("uploads")[0]
        assert (first.store, first.region, first.operation, first.outcome) == (
            "uploads",
            "vn-han",
            "write",
            "committed",
        )
        assert "VN" in first.jurisdictions
        assert kit.acts("other") == []
        refused = lan.put("/files?sink=files-sg")
        assert refused.status_code == 451
        assert [reason for reason, _ in kit.refusals()] == ["not_home"]
        assert isinstance(first, Went)


def test_nothing_that_the_deployment_names_is_touched(policy: Path, tmp_path: Path) -> None:
    with Kit(app(policy), policy, tmp_path / "kit") as kit:
        kit.client(person("VN", subject="lan")).put("/files")
    assert [path.name for path in policy.parent.iterdir()] == ["deployment.yaml"]
    assert {path.name for path in (tmp_path / "kit").iterdir()} >= {"audit", "keys", "pins.db", "files-vn", "jwks.json"}


def test_a_home_is_remembered_across_clients_and_lives(policy: Path, tmp_path: Path) -> None:
    kit = Kit(app(policy), policy, tmp_path / "kit")
    with kit:
        with kit.client(person("VN", subject="lan")) as first:
            assert first.put("/files").status_code == 200
        with kit.client(person("SG", subject="lan")) as abroad:
            assert abroad.get("/files").json() == {"value": "value"}
    with kit:
        assert kit.client(person("SG", subject="lan")).get("/files").json() == {"value": "value"}
        assert kit.went("uploads") == ["files-vn"] * 3


def test_the_apps_lifespan_runs_once_for_all_clients_and_its_own_middleware_comes_back(
    policy: Path, tmp_path: Path
) -> None:
    events: list[str] = []
    served = app(policy, events)
    with Kit(served, policy, tmp_path / "kit") as kit:
        for _ in range(3):
            with kit.client(person("VN", subject="lan")) as client:
                client.get("/files")
        assert events == ["up"]
    assert events == ["up", "down"]
    assert served.user_middleware[0].kwargs == {"policy": policy}


@pytest.mark.parametrize(
    "strategy",
    [
        PROXIED,
        "{strategy: rightmost_trusted_range, header: forwarded, trusted: [10.0.0.0/8]}",
        "{strategy: rightmost_trusted_count, count: 3}",
        "{strategy: rightmost_trusted_count, count: 2, header: forwarded, trusted: [10.0.0.0/8]}",
        "{strategy: single_header, header: cf-connecting-ip, trusted: [10.0.0.0/8]}",
        "{strategy: server}",
        "{strategy: unsafe_leftmost_non_private}",
    ],
)
def test_the_proxies_of_a_deployment_are_acted_too(policy: Path, tmp_path: Path, strategy: str) -> None:
    policy.write_text(POLICY.replace("CLIENT", strategy))
    with Kit(app(policy), policy, tmp_path / "kit") as kit:
        assert kit.client(person("VN", subject="lan")).put("/files").json() == {"sink": "files-vn"}


def test_a_gateways_own_header_carries_the_token(policy: Path, tmp_path: Path) -> None:
    policy.write_text(POLICY.replace("CLIENT", PEER).replace("issuer: us,", "issuer: us, header: x-assertion,"))
    with Kit(app(policy), policy, tmp_path / "kit") as kit:
        assert kit.client(person("SG", subject="lan", citizenship="VN")).put("/files").status_code == 200


def test_an_app_without_the_middleware_is_wrapped_and_a_wrapped_one_is_wrapped_anew(
    policy: Path, tmp_path: Path
) -> None:
    bare = Starlette(routes=[Route("/files", put, methods=["PUT"])])
    both: tuple[ASGIApp, ...] = (bare, ResidencyMiddleware(bare, policy=policy))
    for number, given in enumerate(both):
        with Kit(given, policy, tmp_path / f"kit{number}") as kit:
            assert kit.client(person("VN", subject="lan")).put("/files").status_code == 200
    assert [path.name for path in policy.parent.iterdir()] == ["deployment.yaml"]


def test_somebody_without_a_token_is_known_by_the_address_alone(policy: Path, tmp_path: Path) -> None:
    with Kit(app(policy), policy, tmp_path / "kit") as kit:
        assert kit.client(person("VN")).post("/sign-up").json() == {"sink": "files-vn"}
        assert kit.client(person("DE")).put("/files").status_code == 403  # no token, so no subject


def test_set_up_runs_in_the_apps_own_loop(policy: Path, tmp_path: Path) -> None:
    async def double(number: int) -> int:
        return 2 * number

    kit = Kit(app(policy), policy, tmp_path / "kit")
    with pytest.raises(UsageError):
        kit.run(double, 4)
    with kit:
        assert kit.run(double, 4) == 8


def test_a_token_says_what_the_person_says_under_the_deployments_names(policy: Path, tmp_path: Path) -> None:
    with Kit(app(policy), policy, tmp_path / "kit") as kit:
        verifier = kit.runtime.point.identifying.verifier
        assert verifier is not None
        claims = verifier.verify(
            kit.token(person("DE", subject="an", citizenship="VN", age=20, verified=["eid"])).encode()
        )
        assert {name: claims[name] for name in ("sub", "nat", "age", "identity_verified_by", "iss", "aud")} == {
            "sub": "an", "nat": "VN", "age": 20, "identity_verified_by": ["eid"], "iss": "us", "aud": "app",
        }  # fmt: skip


def test_what_a_token_says_needs_a_subject_and_a_deployment_that_reads_tokens(policy: Path, tmp_path: Path) -> None:
    assert person("VN").subject is None
    assert person("VN", verified="phone").subject == "somebody"
    text = POLICY.replace("CLIENT", PEER).replace("jwt.sub", "app")
    policy.write_text("\n".join(line for line in text.splitlines() if "identity:" not in line))
    with Kit(app(policy), policy, tmp_path / "kit") as kit, pytest.raises(UsageError):
        kit.client(person("VN", subject="lan"))


CALLING = """
  llm: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "${LLM_URL}",
        members: [{region: vn-han, url: "https://llm.example/"}]}
stores: {llm: [llm], uploads: [files-sg, files-vn]}
"""


@pytest.mark.parametrize("given", [True, False])
def test_a_service_is_called_on_this_machine_or_not_at_all(policy: Path, tmp_path: Path, given: bool) -> None:
    text = POLICY.replace("CLIENT", PEER).replace(
        "stores: {uploads: [files-sg, files-vn]}\n", CALLING.strip("\n") + "\n"
    )
    policy.write_text(
        text + '  - {route: "POST /chat", subject: app, data: [content], operation: process, http: llm}\n'
    )

    async def chat(request: Request) -> JSONResponse:
        await identify("an")
        async with current().http("llm") as client:
            return JSONResponse({"status": (await client.post("/chat", content="xin")).status_code})

    calling = Starlette(routes=[Route("/chat", chat, methods=["POST"])])
    with serving(VN_HOST) as service:
        env = {"LLM_URL": service.url if given else "https://llm.example/v1/"}
        with Kit(calling, policy, tmp_path / "kit", env=env) as kit:
            answer = kit.client(person("VN")).post("/chat")
            assert answer.status_code == (200 if given else 503)
            assert [act.outcome for act in kit.acts("llm")] == ["committed" if given else "failed"]
    assert [asked.body for asked in service.asked] == ([b"xin"] if given else [])


def test_a_policy_that_does_not_hold_fails_the_test_that_uses_it(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("residency: 1\n")
    with pytest.raises(PolicyError):
        Kit(Starlette(), file, tmp_path / "kit")


@pytest.mark.parametrize("country", ["VN", "SG", "DE", "US", "LA", "CN"])
def test_every_country_of_the_demo_has_a_public_address(country: str) -> None:
    assert person(country).address == address_in(country)


def test_a_country_without_an_address_is_an_error() -> None:
    with pytest.raises(UsageError):
        address_in("XX")
