"""Who asks, with the real thing: keys from an HTTP server that rotates, fails and forks; an app behind a gateway."""

from __future__ import annotations

import datetime
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from residency import Residency, ResidencyMiddleware, current, load
from residency.adapters.clock_manual import ManualClock
from residency.adapters.jwks import MAX_BYTES, Jwks, jwks_url
from residency.adapters.jwt import JwtVerifier, PublicKey, parse_jwks
from residency.audit.journal import RECORDS_AT, scan
from residency.errors import KeysUnavailable, TokenError

SECOND = 1_000_000
HOUR = 3_600 * SECOND
FIRST, SECOND_KEY = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("first", "second"))
Answer = Callable[["Handler"], None]


def published(*keys: ECKey) -> bytes:
    """A JWKS of these keys' public halves."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def token(key: ECKey, clock: ManualClock) -> bytes:
    """A token of half a day, signed by `key`."""
    claims = {"sub": "an", "exp": clock.now() // SECOND + 12 * 3600}
    return jwt.encode({"alg": "ES256", "kid": str(key.kid)}, claims, key).encode()


def until(holds: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.002)


class Handler(BaseHTTPRequestHandler):
    """Answers as the issuer says now."""

    issuer: ClassVar[Issuer]

    def do_GET(self) -> None:
        """One fetch."""
        self.issuer.fetches += 1
        self.issuer.answer(self)

    def give(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Send one whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


class Issuer:
    """An identity provider's JWKS endpoint, which can fail in every way."""

    def __init__(self) -> None:
        self.fetches = 0
        self.ended = threading.Event()
        self.publish(FIRST)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"issuer": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def publish(self, *keys: ECKey) -> None:
        """Answer with these keys from now on."""
        self.say(lambda handler: handler.give(published(*keys)))

    def say(self, answer: Answer) -> None:
        """Answer so from now on."""
        self.answer = answer

    def secure(self, folder: Path) -> Path:
        """Speak TLS from now on; the path of the certificate, which its own key signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        certificate, private = folder / "issuer.pem", folder / "issuer.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, private)
        # The handshake in the connection's own thread: one that fails must not end the server.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = self.url.replace("http:", "https:")
        return certificate

    def close(self) -> None:
        """Be gone."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer that works."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
def clock() -> ManualClock:
    """The time of keys and tokens."""
    return ManualClock()


Make = Callable[..., "Jwks[tuple[PublicKey, ...]]"]


@pytest.fixture
def make(issuer: Issuer, clock: ManualClock) -> Iterator[Make]:
    """Keys of the issuer, started; their threads end with the test."""
    made = []

    def keys(**options: Any) -> Jwks[tuple[PublicKey, ...]]:
        settings: dict[str, Any] = {"refresh": HOUR, "stale_for": HOUR, "again": 20_000, "least": 0} | options
        found = jwks_url(issuer.url, parse_jwks, monotonic=clock.monotonic, **settings)
        made.append(found)
        found.start()
        return found

    yield keys
    for each in made:
        each.stop()


def test_an_issuer_that_changes_its_keys_is_followed_by_the_first_token_of_the_new_one(
    issuer: Issuer, make: Make, clock: ManualClock
) -> None:
    verifier = JwtVerifier(make(), now=clock.now)
    old, new = token(FIRST, clock), token(SECOND_KEY, clock)
    assert verifier.verify(old)["sub"] == "an"
    issuer.publish(SECOND_KEY)

    def verifies() -> bool:
        try:
            return verifier.verify(new)["sub"] == "an"
        except TokenError:
            return False

    until(verifies)
    with pytest.raises(TokenError):
        verifier.verify(old)


def test_it_is_followed_without_any_token_too(issuer: Issuer, make: Make) -> None:
    keys = make(refresh=10_000)
    issuer.publish(FIRST, SECOND_KEY)
    until(lambda: len(keys.keys()) == 2)


def test_forged_tokens_of_unknown_keys_do_not_flood_the_issuer(issuer: Issuer, make: Make, clock: ManualClock) -> None:
    verifier = JwtVerifier(make(least=HOUR), now=clock.now)
    for number in range(200):
        forged = jwt.encode({"alg": "ES256", "kid": f"k{number}"}, {"sub": "an"}, FIRST).encode()
        with pytest.raises(TokenError):
            verifier.verify(forged)
    time.sleep(0.05)
    assert issuer.fetches == 1


FAILURES: dict[str, tuple[Answer, str]] = {
    "error": (lambda h: h.give(b"", 503), "answered 503"),
    "redirect": (lambda h: h.give(b"", 302, location="https://elsewhere.example/jwks"), r"answered 302 \(a redirect"),
    "page": (lambda h: h.give(b"<html>Sign in</html>"), "cannot be read as a set of keys"),
    "empty": (lambda h: h.give(b'{"keys": []}'), "holds no key"),
    "private": (lambda h: h.give(json.dumps({"keys": [FIRST.as_dict(private=True)]}).encode()), "private key"),
    "shared": (lambda h: h.give(b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'), "shared secret"),
    "torn": (lambda h: h.give(published(FIRST)[:-9]), "cannot be read as a set of keys"),
    "endless": (lambda h: h.give(b" " * (MAX_BYTES + 1)), "longer than"),
    "packed": (lambda h: h.give(b"x", content_encoding="gzip"), "encoding that was not asked for"),
    "cut": (lambda h: h.connection.close(), "cannot be reached"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_whatever_the_issuer_answers_keys_that_were_read_stay_in_force(
    issuer: Issuer, make: Make, clock: ManualClock, kind: str
) -> None:
    answer, why = FAILURES[kind]
    keys = make()
    verifier = JwtVerifier(keys, now=clock.now)
    issuer.say(answer)
    with pytest.raises(KeysUnavailable, match=why) as caught:
        keys.reread()
    assert "127.0.0.1" not in str(caught.value)
    assert "example" not in str(caught.value)
    assert verifier.verify(token(FIRST, clock))["sub"] == "an"
    issuer.publish(FIRST, SECOND_KEY)
    keys.reread()
    assert verifier.verify(token(SECOND_KEY, clock))["sub"] == "an"


@pytest.mark.parametrize("kind", FAILURES)
def test_start_refuses_where_keys_cannot_be_had(issuer: Issuer, make: Make, kind: str) -> None:
    answer, why = FAILURES[kind]
    issuer.say(answer)
    with pytest.raises(KeysUnavailable, match=why):
        make()


def test_an_issuer_that_is_away_is_believed_for_as_long_as_said_and_then_again_once_it_is_back(
    issuer: Issuer, make: Make, clock: ManualClock
) -> None:
    keys = make()
    verifier = JwtVerifier(keys, now=clock.now)
    good = token(FIRST, clock)
    issuer.say(lambda handler: handler.give(b"", 500))
    clock.advance(HOUR)
    assert verifier.verify(good)["sub"] == "an"
    clock.advance(1)
    with pytest.raises(KeysUnavailable):
        verifier.verify(good)
    keys.wake()
    until(lambda: keys.problem == "JWKS URL answered 500")
    issuer.publish(FIRST)
    until(lambda: keys.problem is None)  # on its own: it tries again while things are bad
    assert verifier.verify(good)["sub"] == "an"


def drip(handler: Handler) -> None:
    """One byte at a time, each in time, for ever."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):  # the other side has had enough
        while not handler.issuer.ended.wait(0.01):
            handler.wfile.write(b" ")


def silent(handler: Handler) -> None:
    """Accept, and say nothing."""
    handler.issuer.ended.wait(30)


def hurried(make: Make) -> Jwks[tuple[PublicKey, ...]]:
    """Keys with a short deadline, which were had within it; on a busy machine not at the first try."""
    for _ in range(50):
        with suppress(KeysUnavailable):
            return make(deadline=0.3)
    raise AssertionError("no answer in time, fifty times")


@pytest.mark.parametrize("slow", [drip, silent])
def test_a_slow_answer_ends_at_the_deadline_and_no_request_waits_for_it(
    issuer: Issuer, make: Make, clock: ManualClock, slow: Answer
) -> None:
    keys = hurried(make)
    verifier = JwtVerifier(keys, now=clock.now)
    issuer.say(slow)
    before = issuer.fetches
    keys.wake()
    until(lambda: issuer.fetches > before)
    for _ in range(3):
        assert verifier.verify(token(FIRST, clock))["sub"] == "an"  # while the thread waits
    until(lambda: keys.problem == "JWKS URL did not answer within 0.3 s")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    issuer: Issuer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert len(make().keys()) == 1


def test_https_is_taken_from_a_certificate_that_is_trusted_and_from_no_other(
    issuer: Issuer, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = issuer.secure(tmp_path)
    with pytest.raises(KeysUnavailable, match=r"cannot be reached \(ConnectError\)"):
        make()
    # An address of this machine is fetched without the environment's settings; ask as for any other.
    monkeypatch.setattr("residency.adapters.jwks._loopback", lambda host: False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert len(make().keys()) == 1


FORKED = """
import os, sys, threading
from residency.adapters.clock_system import SystemClock
from residency.adapters.jwks import jwks_url
from residency.adapters.jwt import parse_jwks

keys = jwks_url(sys.argv[1], parse_jwks, monotonic=SystemClock().monotonic, refresh=20_000, stale_for=10**9)
keys.start()
child = os.fork()
if child == 0:
    keys.start()  # as a runtime does that finds itself in a child
    assert any(thread.name == "residency-jwks" for thread in threading.enumerate())
    print("child", flush=True)
    while len(keys.keys()) < 2:
        threading.Event().wait(0.005)
    keys.stop()
    os._exit(0)
code = os.waitpid(child, 0)[1]
keys.stop()
sys.exit(code != 0)
"""


def test_a_forked_child_reads_on_with_a_thread_of_its_own(issuer: Issuer) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKED, issuer.url],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"child\n"
        issuer.publish(FIRST, SECOND_KEY)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


# -- a whole app -----------------------------------------------------------------------------------------------------

DEPLOYMENT = """
residency: 1
kind: deployment
name: identity
mode: enforce
operator: {established_in: [VN]}
laws: [vn/*]
regions: {vn-han: {country: VN}}
sinks: {files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}}
stores: {uploads: [files]}
pins: {url: "memory:"}
signals: {identity: %s}
activities:
  - {route: "GET /me", subject: %s, data: [content], operation: read, store: uploads}
  - {route: "GET /login", subject: none, data: [content]}
"""


class Served:
    """An app that tells what is known of who asks, behind a gateway that signs."""

    def __init__(self, folder: Path, identity: str, clock: ManualClock, subject: str = "jwt.sub") -> None:
        (folder / "deployment.yaml").write_text(DEPLOYMENT % (identity, subject))
        self.folder = folder
        self.runtime = Residency(load(folder / "deployment.yaml", {}), clock=clock)
        app = Starlette(routes=[Route("/me", self.me), Route("/login", self.log_in)])
        app.add_middleware(ResidencyMiddleware, policy=self.runtime)
        app.add_middleware(SessionMiddleware, secret_key="s")  # outside ours: added after it
        self.app = app

    async def me(self, request: Request) -> JSONResponse:
        """What the newest decision stands on."""
        here = current()
        signals = [[s.anchor.value, s.place, s.trust.name, s.source] for s in here.signals]
        return JSONResponse({"subject": here.subject and here.subject.value, "signals": signals})

    async def log_in(self, request: Request) -> JSONResponse:
        """Begin a session."""
        request.session.update(user_id=7, passport="VN")
        return JSONResponse({})

    def reasons(self) -> list[str]:
        """The reasons of all refusals recorded so far."""
        found = []
        for segment in sorted((self.folder / "residency-data").rglob("*.seg")):
            for record in scan(segment.read_bytes(), RECORDS_AT, None).records:
                found.append(json.loads(bytes(record.payload)).get("reason"))
        return [reason for reason in found if reason]


def test_a_gateways_token_speaks_through_rotation_and_outage_and_is_never_taken_for_none(
    issuer: Issuer, tmp_path: Path, clock: ManualClock
) -> None:
    jwks = f'{{jwt: {{jwks: "{issuer.url}", header: cf-access-jwt-assertion, claims: {{phone: phone_number}}}}}}'
    served = Served(tmp_path, jwks, clock)
    claims = {"sub": "an", "nationality": "VN", "phone_number": "+84912345678", "exp": clock.now() // SECOND + 10**6}
    signed = jwt.encode({"alg": "ES256", "kid": "first"}, claims, FIRST)
    header = {"cf-access-jwt-assertion": signed}
    with TestClient(served.app) as client:
        assert client.get("/me", headers=header).json() == {
            "subject": "an",
            "signals": [
                ["citizenship", "VN", "VERIFIED", "jwt"],
                ["residence", "VN", "DECLARED", "jwt.phone"],
            ],
        }
        assert client.get("/me", headers={"authorization": f"Bearer {signed}"}).json()["subject"] is None
        issuer.say(lambda handler: handler.give(b"", 500))
        clock.advance(24 * HOUR + 1)
        refused = client.get("/me", headers=header)
        assert (refused.status_code, refused.json()["reason"]) == (503, "keys_unavailable")
        assert client.get("/me").status_code == 200  # who shows no token is not concerned
    assert served.reasons() == ["keys_unavailable"]


def test_a_server_whose_issuer_is_away_does_not_start(issuer: Issuer, tmp_path: Path, clock: ManualClock) -> None:
    issuer.say(lambda handler: handler.give(b"", 500))
    served = Served(tmp_path, f'{{jwt: {{jwks: "{issuer.url}"}}}}', clock)
    with (
        pytest.raises(KeysUnavailable, match=r"deployment\.yaml:\d+:\d+: JWKS URL answered 500"),
        TestClient(served.app),
    ):
        pass
    assert not any(thread.name == "residency-jwks" for thread in threading.enumerate())


def test_a_session_that_stands_outside_ours_declares(tmp_path: Path, clock: ManualClock) -> None:
    identity = "{session: {subject: user_id, trust: declared, claims: {citizenship: passport}}}"
    served = Served(tmp_path, identity, clock, subject="app")
    with TestClient(served.app) as client:
        assert client.get("/me").json()["signals"] == []
        client.get("/login")
        assert client.get("/me").json()["signals"] == [["citizenship", "VN", "DECLARED", "session"]]


WHO = """
async def who(scope):
    name = dict(scope["headers"]).get(b"x-name", b"").decode()
    if name == "unknown":
        return None
    if name == "broken":
        raise RuntimeError("an@example.vn is not in the database")
    return {"subject": name, "citizenship": "VN", "sim": "452-04", "verified": True}
"""


def test_the_apps_own_callable_says_who_asks_and_its_failure_is_a_recorded_refusal(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "whose_who.py").write_text(WHO)
    monkeypatch.syspath_prepend(tmp_path)
    served = Served(tmp_path, '{callable: "whose_who:who"}', clock, subject="user")
    with TestClient(served.app) as client:
        assert client.get("/me", headers={"x-name": "an"}).json() == {
            "subject": "an",
            "signals": [["citizenship", "VN", "VERIFIED", "callable"], ["territory", "VN", "NETWORK", "callable.sim"]],
        }
        assert client.get("/me", headers={"x-name": "unknown"}).json() == {"subject": None, "signals": []}
        refused = client.get("/me", headers={"x-name": "broken", "accept-language": "vi"})
    assert (refused.status_code, refused.json()["reason"]) == (503, "identity_unavailable")
    assert refused.json()["title"] == "Hiện không thể xác định người gửi yêu cầu"
    assert served.reasons() == ["identity_unavailable"]
    assert "whose_who.py" in caplog.text
    assert "example" not in caplog.text + refused.text
