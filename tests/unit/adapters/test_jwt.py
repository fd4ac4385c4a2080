"""Only a token that the deployment's own key signed, in time, verifies; whatever else comes is a TokenError."""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from residency.adapters.jwt import MAX_TOKEN, JwtVerifier
from residency.errors import KeysUnavailable, TokenError, UsageError

NOW = 1_800_000_000
KEY = ECKey.generate_key("P-256", {"kid": "k1"})
OTHER = ECKey.generate_key("P-256", {"kid": "k2"})
STRANGER = ECKey.generate_key("P-256", {"kid": "k1"})


class Clock:
    """A clock that stands where the test puts it, in microseconds."""

    def __init__(self, seconds: float = NOW) -> None:
        self.at = int(seconds * 1_000_000)

    def __call__(self) -> int:
        return self.at


def public(*keys: Any) -> str:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(public(KEY, OTHER))
    return path


def signed(claims: dict[str, Any] | None = None, key: Any = KEY, **header: Any) -> str:
    full = {"sub": "u-1", "exp": NOW + 600} | (claims or {})
    head = {"alg": "ES256", "kid": key.kid} | header
    return jwt.encode({k: v for k, v in head.items() if v is not None}, full, key, algorithms=[head["alg"]])


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def refused(verifier: JwtVerifier, token: str | bytes, why: str | None = None) -> None:
    with pytest.raises(TokenError, match=why) as caught:
        verifier.verify(token)
    text = token if isinstance(token, str) else token.decode("latin-1")
    assert len(text) < 8 or text not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_token_of_ours_verifies_as_bytes_and_as_text_and_again(jwks: Path) -> None:
    verifier = JwtVerifier(jwks, now=Clock())
    token = signed({"nationality": "VN"})
    for form in (token, token.encode(), token):
        assert verifier.verify(form) == {"sub": "u-1", "exp": NOW + 600, "nationality": "VN"}


def test_the_claims_cannot_be_changed_by_a_caller(jwks: Path) -> None:
    claims = JwtVerifier(jwks, now=Clock()).verify(signed())
    with pytest.raises(TypeError):
        claims["sub"] = "u-2"  # type: ignore[index]


def test_alg_none_is_refused(jwks: Path) -> None:
    verifier = JwtVerifier(jwks, now=Clock())
    for alg in ("none", "None", "NONE", None, "", 0, ["ES256"], {"a": 1}):
        refused(verifier, raw({"alg": alg, "kid": "k1"}, {"sub": "u", "exp": NOW + 9}))


def test_a_public_key_used_as_a_shared_secret_is_refused(jwks: Path) -> None:
    head, body, _ = raw({"alg": "HS256", "kid": "k1"}, {"sub": "u-2", "exp": NOW + 600}).split(".")
    mac = hmac.digest(KEY.as_pem(private=False), f"{head}.{body}".encode(), "sha256")
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    refused(JwtVerifier(jwks, now=Clock()), forged, "algorithm")


def test_a_strangers_key_under_our_kid_is_refused(jwks: Path) -> None:
    refused(JwtVerifier(jwks, now=Clock()), signed(key=STRANGER))


def test_a_key_of_ours_under_the_kid_of_another_is_refused(jwks: Path) -> None:
    refused(JwtVerifier(jwks, now=Clock()), signed(kid="k2"))


@pytest.mark.parametrize("kid", ["k3", "", None])
def test_an_unknown_kid_or_none_where_there_are_two_keys_is_refused(jwks: Path, kid: str | None) -> None:
    refused(JwtVerifier(jwks, now=Clock()), signed(kid=kid), "no key")


def test_a_kid_may_be_left_out_where_there_is_one_key(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(public(KEY))
    assert JwtVerifier(tmp_path / "one.json", now=Clock()).verify(signed(kid=None))["sub"] == "u-1"


def test_a_changed_payload_or_signature_is_refused(jwks: Path) -> None:
    verifier = JwtVerifier(jwks, now=Clock())
    head, body, signature = signed().split(".")
    forged = raw({}, {"sub": "u-2", "exp": NOW + 600}).split(".")[1]
    refused(verifier, f"{head}.{forged}.{signature}")
    refused(verifier, f"{head}.{body}.{signature[::-1]}")
    refused(verifier, f"{head}.{body}.")


def test_expiry_is_checked_with_leeway_and_again_on_each_use(jwks: Path) -> None:
    clock = Clock()
    verifier = JwtVerifier(jwks, now=clock, leeway=30)
    token = signed({"exp": NOW + 10})
    for later in (0, 10, 39.9):
        clock.at = int((NOW + later) * 1_000_000)
        verifier.verify(token)
    clock.at = (NOW + 40) * 1_000_000
    refused(verifier, token, "expired")
    refused(JwtVerifier(jwks, now=clock), token, "expired")


def test_a_token_that_is_not_valid_yet_is_refused_until_it_is(jwks: Path) -> None:
    clock = Clock()
    verifier = JwtVerifier(jwks, now=clock, leeway=0)
    token = signed({"nbf": NOW + 5})
    refused(verifier, token, "not valid yet")
    clock.at = (NOW + 5) * 1_000_000
    verifier.verify(token)
    clock.at = NOW * 1_000_000
    refused(verifier, token, "not valid yet")


def test_a_token_without_expiry_is_refused_unless_allowed(jwks: Path) -> None:
    token = jwt.encode({"alg": "ES256", "kid": "k1"}, {"sub": "u-1"}, KEY)
    refused(JwtVerifier(jwks, now=Clock()), token, "no expiry")
    assert JwtVerifier(jwks, now=Clock(), require_exp=False).verify(token) == {"sub": "u-1"}


@pytest.mark.parametrize("exp", ["soon", str(NOW + 9), True, [], {}, 10**16, None])
def test_an_expiry_that_is_no_time_is_refused(jwks: Path, exp: object) -> None:
    token = jwt.encode({"alg": "ES256", "kid": "k1"}, {"sub": "u-1", "exp": exp}, KEY)
    refused(JwtVerifier(jwks, now=Clock(), require_exp=False), token)


def test_issuer_and_audience_are_checked_where_named(jwks: Path) -> None:
    verifier = JwtVerifier(jwks, now=Clock(), issuer="https://id.example", audience="api")
    good: dict[str, Any] = {"iss": "https://id.example", "aud": "api"}
    verifier.verify(signed(good))
    verifier.verify(signed(good | {"aud": ["x", "api"]}))
    refused(verifier, signed(good | {"iss": "https://id.example/"}), "issuer")
    refused(verifier, signed({"aud": "api"}), "issuer")
    refused(verifier, signed(good | {"aud": "api2"}), "audience")
    refused(verifier, signed(good | {"aud": {"api": 1}}), "audience")
    refused(verifier, signed({"iss": "https://id.example"}), "audience")


def test_an_oversize_token_is_refused_before_it_is_parsed(jwks: Path) -> None:
    refused(JwtVerifier(jwks, now=Clock()), signed({"pad": "x" * MAX_TOKEN}), "longer")


GARBAGE: list[str | bytes] = [
    "",
    ".",
    "..",
    "a.b.c",
    "a.b.c.d.e",
    "\u00e9.b.c",
    "[" * 3000,
    b"\xff\x00.\xff.\xff",
    raw("x", "y"),
    raw([], {}),
    raw({"alg": "ES256", "kid": ["k1"]}, {}),
    raw({"alg": "ES256", "crit": ["x"]}, {}),
    base64.urlsafe_b64encode(b"[" * 6000).decode()[:8000] + ".e30.e30",
]


@pytest.mark.parametrize("token", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_a_token_error(jwks: Path, token: str | bytes) -> None:
    refused(JwtVerifier(jwks, now=Clock()), token)


def test_a_signed_payload_that_is_no_object_is_refused(jwks: Path) -> None:
    for payload in (b"[]", b'"u-1"', b"1", b"", b"\xff", b"[" * 3000):
        refused(JwtVerifier(jwks, now=Clock()), jws.serialize_compact({"alg": "ES256", "kid": "k1"}, payload, KEY))


@given(st.one_of(st.binary(max_size=300), st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(b".".join)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_the_verifier_raise_anything_else(jwks: Path, token: bytes) -> None:
    refused(JwtVerifier(jwks, now=Clock()), token)


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk", "jku", "x5c"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.sampled_from(["ES256", "none", "k1"]), st.lists(st.text())
        ),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_header_makes_an_unsigned_token_verify(jwks: Path, header: dict[str, object]) -> None:
    refused(JwtVerifier(jwks, now=Clock()), raw(header, {"sub": "u", "exp": NOW + 9}, b"0" * 64))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSAKey.generate_key(2048, {"kid": "r"}), "RS256"), (OKPKey.generate_key("Ed25519", {"kid": "o"}), "Ed25519")],
    ids=["RS256", "Ed25519"],
)
def test_other_public_key_algorithms_verify_where_named_and_only_there(
    tmp_path: Path, key: Any, algorithm: str
) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(public(key))
    token = signed(key=key, alg=algorithm)
    assert JwtVerifier(path, now=Clock(), algorithms=(algorithm,)).verify(token)["sub"] == "u-1"
    refused(JwtVerifier(path, now=Clock()), token, "algorithm")


@pytest.mark.parametrize("algorithms", [(), ("none",), ("HS256",), ("ES256", "HS256"), ("es256",)])
def test_an_algorithm_that_no_public_key_verifies_cannot_be_asked_for(jwks: Path, algorithms: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        JwtVerifier(jwks, now=Clock(), algorithms=algorithms)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read"),
        ("{}", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"keys": 1}', "cannot be read"),
        ('{"keys": ["k"]}', "cannot be read"),
        ('{"keys": [{"kty": "EC", "crv": "P-256"}]}', "cannot be read"),
        ('{"keys": []}', "holds no key"),
        ('{"keys": [{"kty": "ML-DSA"}]}', "holds no key"),
        (json.dumps({"keys": [KEY.as_dict(private=True)]}), "private key"),
        (json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQ"}]}), "shared secret"),
    ],
)
def test_a_bad_key_file_is_refused_at_once_by_its_name(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(text)
    with pytest.raises(KeysUnavailable, match=why) as caught:
        JwtVerifier(path, now=Clock())
    assert "jwks.json" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_key_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeysUnavailable, match=r"absent\.json"):
        JwtVerifier(tmp_path / "absent.json", now=Clock())


def test_the_cache_is_bounded(jwks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residency.adapters.jwt._CACHE", 4)
    verifier = JwtVerifier(jwks, now=Clock())
    for n in range(20):
        assert verifier.verify(signed({"sub": f"u-{n}"}))["sub"] == f"u-{n}"
        assert len(verifier._seen) <= 4
