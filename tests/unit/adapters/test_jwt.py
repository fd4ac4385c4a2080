"""Only a token that the deployment's own key signed, in time, verifies; whatever else comes is a TokenError."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from residency.adapters.jwt import MAX_TOKEN, FixedKeys, JwtVerifier, PublicKey, parse_jwks
from residency.errors import KeysUnavailable, TokenError, UsageError

NOW = 1_800_000_000
KEY = ECKey.generate_key("P-256", {"kid": "k1"})
OTHER = ECKey.generate_key("P-256", {"kid": "k2"})
STRANGER = ECKey.generate_key("P-256", {"kid": "k1"})


def b64(data: bytes) -> str:
    """Bytes as JOSE writes them."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


WEAK = {"kty": "RSA", "e": "AQAB", "n": b64((2**1024 - 105).to_bytes(128, "big"))}


class Clock:
    """A clock that stands where the test puts it, in microseconds."""

    def __init__(self, seconds: float = NOW) -> None:
        self.at = int(seconds * 1_000_000)

    def __call__(self) -> int:
        return self.at


def public(*keys: Any) -> str:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


def of(*keys: Any) -> FixedKeys:
    """The keys of a published set."""
    return FixedKeys(parse_jwks(public(*keys).encode(), "the set"))


@pytest.fixture
def jwks() -> FixedKeys:
    """Two keys."""
    return of(KEY, OTHER)


def signed(claims: dict[str, Any] | None = None, key: Any = KEY, **header: Any) -> str:
    full = {"sub": "u-1", "exp": NOW + 600} | (claims or {})
    head = {"alg": "ES256", "kid": key.kid} | header
    return jwt.encode({k: v for k, v in head.items() if v is not None}, full, key, algorithms=[head["alg"]])


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    return ".".join(map(b64, (json.dumps(header).encode(), json.dumps(payload).encode(), signature)))


def refused(verifier: JwtVerifier, token: str | bytes, why: str | None = None) -> None:
    with pytest.raises(TokenError, match=why) as caught:
        verifier.verify(token)
    text = token if isinstance(token, str) else token.decode("latin-1")
    assert len(text) < 8 or text not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_token_of_ours_verifies_as_bytes_and_as_text_and_again(jwks: FixedKeys) -> None:
    verifier = JwtVerifier(jwks, now=Clock())
    token = signed({"nationality": "VN"})
    for form in (token, token.encode(), token):
        assert verifier.verify(form) == {"sub": "u-1", "exp": NOW + 600, "nationality": "VN"}


def test_the_claims_cannot_be_changed_by_a_caller(jwks: FixedKeys) -> None:
    claims = JwtVerifier(jwks, now=Clock()).verify(signed())
    with pytest.raises(TypeError):
        claims["sub"] = "u-2"  # type: ignore[index]


def test_alg_none_is_refused(jwks: FixedKeys) -> None:
    verifier = JwtVerifier(jwks, now=Clock())
    for alg in ("none", "None", "NONE", None, "", 0, ["ES256"], {"a": 1}):
        refused(verifier, raw({"alg": alg, "kid": "k1"}, {"sub": "u", "exp": NOW + 9}))


def test_a_public_key_used_as_a_shared_secret_is_refused(jwks: FixedKeys) -> None:
    head, body, _ = raw({"alg": "HS256", "kid": "k1"}, {"sub": "u-2", "exp": NOW + 600}).split(".")
    mac = hmac.digest(KEY.as_pem(private=False), f"{head}.{body}".encode(), "sha256")
    forged = f"{head}.{body}.{b64(mac)}"
    refused(JwtVerifier(jwks, now=Clock()), forged, "algorithm")


def test_a_strangers_key_under_our_kid_is_refused(jwks: FixedKeys) -> None:
    refused(JwtVerifier(jwks, now=Clock()), signed(key=STRANGER))


def test_a_key_of_ours_under_the_kid_of_another_is_refused(jwks: FixedKeys) -> None:
    refused(JwtVerifier(jwks, now=Clock()), signed(kid="k2"))


@pytest.mark.parametrize("kid", ["k3", "", None])
def test_an_unknown_kid_or_none_where_there_are_two_keys_is_refused(jwks: FixedKeys, kid: str | None) -> None:
    refused(JwtVerifier(jwks, now=Clock()), signed(kid=kid), "no key")


def test_a_kid_may_be_left_out_where_there_is_one_key() -> None:
    assert JwtVerifier(of(KEY), now=Clock()).verify(signed(kid=None))["sub"] == "u-1"


def test_a_changed_payload_or_signature_is_refused(jwks: FixedKeys) -> None:
    verifier = JwtVerifier(jwks, now=Clock())
    head, body, signature = signed().split(".")
    forged = raw({}, {"sub": "u-2", "exp": NOW + 600}).split(".")[1]
    refused(verifier, f"{head}.{forged}.{signature}")
    refused(verifier, f"{head}.{body}.{signature[::-1]}")
    refused(verifier, f"{head}.{body}.")


def test_expiry_is_checked_with_leeway_and_again_on_each_use(jwks: FixedKeys) -> None:
    clock = Clock()
    verifier = JwtVerifier(jwks, now=clock, leeway=30)
    token = signed({"exp": NOW + 10})
    for later in (0, 10, 39.9):
        clock.at = int((NOW + later) * 1_000_000)
        verifier.verify(token)
    clock.at = (NOW + 40) * 1_000_000
    refused(verifier, token, "expired")
    refused(JwtVerifier(jwks, now=clock), token, "expired")


def test_a_token_that_is_not_valid_yet_is_refused_until_it_is(jwks: FixedKeys) -> None:
    clock = Clock()
    verifier = JwtVerifier(jwks, now=clock, leeway=0)
    token = signed({"nbf": NOW + 5})
    refused(verifier, token, "not valid yet")
    clock.at = (NOW + 5) * 1_000_000
    verifier.verify(token)
    clock.at = NOW * 1_000_000
    refused(verifier, token, "not valid yet")


def test_a_token_without_expiry_is_refused_unless_allowed(jwks: FixedKeys) -> None:
    token = jwt.encode({"alg": "ES256", "kid": "k1"}, {"sub": "u-1"}, KEY)
    refused(JwtVerifier(jwks, now=Clock()), token, "no expiry")
    assert JwtVerifier(jwks, now=Clock(), require_exp=False).verify(token) == {"sub": "u-1"}


@pytest.mark.parametrize("exp", ["soon", str(NOW + 9), True, [], {}, 10**16, None])
def test_an_expiry_that_is_no_time_is_refused(jwks: FixedKeys, exp: object) -> None:
    token = jwt.encode({"alg": "ES256", "kid": "k1"}, {"sub": "u-1", "exp": exp}, KEY)
    refused(JwtVerifier(jwks, now=Clock(), require_exp=False), token)


def test_issuer_and_audience_are_checked_where_named(jwks: FixedKeys) -> None:
    verifier = JwtVerifier(jwks, now=Clock(), issuer="https://id.example", audience="api")
    good: dict[str, Any] = {"iss": "https://id.example", "aud": "api"}
    verifier.verify(signed(good))
    verifier.verify(signed(good | {"aud": ["x", "api"]}))
    refused(verifier, signed(good | {"iss": "https://id.example/"}), "issuer")
    refused(verifier, signed({"aud": "api"}), "issuer")
    refused(verifier, signed(good | {"aud": "api2"}), "audience")
    refused(verifier, signed(good | {"aud": {"api": 1}}), "audience")
    refused(verifier, signed({"iss": "https://id.example"}), "audience")


def test_an_oversize_token_is_refused_before_it_is_parsed(jwks: FixedKeys) -> None:
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
def test_garbage_is_a_token_error(jwks: FixedKeys, token: str | bytes) -> None:
    refused(JwtVerifier(jwks, now=Clock()), token)


def test_a_signed_payload_that_is_no_object_is_refused(jwks: FixedKeys) -> None:
    for payload in (b"[]", b'"u-1"', b"1", b"", b"\xff", b"[" * 3000):
        refused(JwtVerifier(jwks, now=Clock()), jws.serialize_compact({"alg": "ES256", "kid": "k1"}, payload, KEY))


@given(st.one_of(st.binary(max_size=300), st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(b".".join)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_the_verifier_raise_anything_else(jwks: FixedKeys, token: bytes) -> None:
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
def test_no_header_makes_an_unsigned_token_verify(jwks: FixedKeys, header: dict[str, object]) -> None:
    refused(JwtVerifier(jwks, now=Clock()), raw(header, {"sub": "u", "exp": NOW + 9}, b"0" * 64))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSAKey.generate_key(2048, {"kid": "r"}), "RS256"), (OKPKey.generate_key("Ed25519", {"kid": "o"}), "Ed25519")],
    ids=["RS256", "Ed25519"],
)
def test_other_public_key_algorithms_verify_where_named_and_only_there(key: Any, algorithm: str) -> None:
    token = signed(key=key, alg=algorithm)
    assert JwtVerifier(of(key), now=Clock(), algorithms=(algorithm,)).verify(token)["sub"] == "u-1"
    refused(JwtVerifier(of(key), now=Clock()), token, "algorithm")


# RFC 7515 appendix A: the keys and the signatures of A.2 (RS256) and A.3 (ES256) over the same claims.
JOE = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
RFC_RSA = {
    "kty": "RSA",
    "e": "AQAB",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
    "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB"
    "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia"
    "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
}
RFC_RS256 = (
    f"eyJhbGciOiJSUzI1NiJ9.{JOE}."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dn"
    "ZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC"
    "-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
RFC_EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RFC_ES256 = (
    f"eyJhbGciOiJFUzI1NiJ9.{JOE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
# RFC 8037 appendix A: the key of A.1 and A.2. Its signature of A.4 is over a text that is no claims, so ours is made by
# another library; Ed25519 is deterministic.
RFC_OKP = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
RFC_SEED = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
RFC_TEXT = b64(b'{"alg":"EdDSA"}') + "." + JOE
RFC_EDDSA = f"{RFC_TEXT}.{b64(Ed25519PrivateKey.from_private_bytes(RFC_SEED).sign(RFC_TEXT.encode()))}"


@pytest.mark.parametrize(
    ("key", "token", "algorithm"),
    [(RFC_RSA, RFC_RS256, "RS256"), (RFC_EC, RFC_ES256, "ES256"), (RFC_OKP, RFC_EDDSA, "EdDSA")],
    ids=["RS256", "ES256", "EdDSA"],
)
def test_the_vectors_of_the_rfcs_verify_and_one_changed_bit_does_not(
    key: dict[str, str], token: str, algorithm: str
) -> None:
    source = FixedKeys(parse_jwks(json.dumps({"keys": [key]}).encode(), "a set"))
    clock = Clock(1_300_819_379)
    verifier = JwtVerifier(source, now=clock, algorithms=("RS256", "ES256", "EdDSA"))
    assert verifier.verify(token)["iss"] == "joe"
    text, _, signature = token.rpartition(".")
    changed = bytearray(base64.urlsafe_b64decode(signature + "=="))
    changed[7] ^= 1
    refused(verifier, f"{text}.{b64(bytes(changed))}", "does not verify")
    refused(JwtVerifier(source, now=clock, algorithms=(*({"RS256", "ES256", "EdDSA"} - {algorithm}),)), token, "algo")


def test_a_key_verifies_by_its_own_algorithm_alone() -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "r", "alg": "RS256"})
    free = RSAKey.import_key(
        rsa.as_pem(private=True), {"kid": "r"}
    )  # the same key, of which nobody says what it is for
    source = of(rsa)
    verifier = JwtVerifier(source, now=Clock(), algorithms=("RS256", "PS256", "ES256"))
    verifier.verify(signed(key=rsa, alg="RS256"))
    refused(verifier, signed(key=free, alg="PS256"), "does not verify")
    refused(verifier, raw({"alg": "ES256", "kid": "r"}, {"sub": "u", "exp": NOW + 9}, b"0" * 64), "does not verify")


def test_two_keys_under_one_kid_verify_nothing() -> None:
    both = of(KEY, STRANGER)
    for key in (KEY, STRANGER):
        refused(JwtVerifier(both, now=Clock()), signed(key=key), "no key")


def test_a_header_that_nobody_registered_is_ignored_unless_it_is_critical(jwks: FixedKeys) -> None:
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    claims = {"sub": "u-1", "exp": NOW + 9}
    head = {"alg": "ES256", "kid": "k1", "signer": "arn:x", "client": "c"}
    assert JwtVerifier(jwks, now=Clock()).verify(jwt.encode(head, claims, KEY, registry=registry))["sub"] == "u-1"
    critical = jws.serialize_compact({"alg": "ES256", "kid": "k1"}, json.dumps(claims), KEY).split(".")
    refused(JwtVerifier(jwks, now=Clock()), raw({**head, "crit": ["signer"]}, claims, critical[2].encode()))


class Rotating:
    """A source whose keys the test changes, and which counts how often it was woken."""

    def __init__(self, *keys: Any) -> None:
        self.woken = 0
        self.now: tuple[PublicKey, ...] | None = keys

    def keys(self) -> tuple[PublicKey, ...]:
        """The keys of now."""
        if self.now is None:
            raise KeysUnavailable("too old")
        return self.now

    def wake(self) -> None:
        """Count."""
        self.woken += 1


def test_a_withdrawn_key_takes_the_tokens_it_verified_along() -> None:
    source = Rotating(KEY, OTHER)
    verifier = JwtVerifier(source, now=Clock())
    old, new = signed(), signed(key=OTHER)
    for token in (old, new, old):
        verifier.verify(token)
    source.now = (OTHER,)
    refused(verifier, old, "no key")
    verifier.verify(new)


def test_a_token_of_an_unknown_key_wakes_the_source_and_others_do_not() -> None:
    source = Rotating(KEY, OTHER)
    verifier = JwtVerifier(source, now=Clock())
    verifier.verify(signed())
    refused(verifier, signed(key=STRANGER))
    refused(verifier, signed(kid=None))
    refused(verifier, "a.b.c")
    assert source.woken == 0
    refused(verifier, signed(kid="k3"))
    assert source.woken == 1


def test_without_keys_no_token_verifies_and_none_is_called_bad() -> None:
    source = Rotating(KEY)
    verifier = JwtVerifier(source, now=Clock())
    token = signed()
    verifier.verify(token)
    source.now = None
    with pytest.raises(KeysUnavailable, match="too old"):
        verifier.verify(token)


@pytest.mark.parametrize("algorithms", [(), ("none",), ("HS256",), ("ES256", "HS256"), ("es256",)])
def test_an_algorithm_that_no_public_key_verifies_cannot_be_asked_for(
    jwks: FixedKeys, algorithms: tuple[str, ...]
) -> None:
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
        ('{"keys": [{"kty": "OKP", "crv": "X25519", "x": "AA"}]}', "holds no key"),
        ('{"keys": [{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}]}', "holds no key"),
        (json.dumps({"keys": [KEY.as_dict(private=False) | {"use": "enc"}]}), "holds no key"),
        (json.dumps({"keys": [KEY.as_dict(private=False) | {"key_ops": ["encrypt"]}]}), "holds no key"),
        (json.dumps({"keys": [KEY.as_dict(private=True)]}), "private key"),
        (json.dumps({"keys": [{"kty": "ML-DSA", "d": "AA"}, KEY.as_dict(private=False)]}), "private key"),
        (json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQ"}]}), "shared secret"),
        (json.dumps({"keys": [WEAK, KEY.as_dict(private=False)]}), "less than 2048 bits"),
    ],
)
def test_a_bad_set_of_keys_is_refused_by_its_name(text: str, why: str) -> None:
    with pytest.raises(KeysUnavailable, match=f"JWKS file `x.json` .*{why}") as caught:
        parse_jwks(text.encode(), "JWKS file `x.json`")
    assert caught.value.__cause__ is None


def test_the_cache_is_bounded(jwks: FixedKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residency.adapters.jwt._CACHE", 4)
    verifier = JwtVerifier(jwks, now=Clock())
    for n in range(20):
        assert verifier.verify(signed({"sub": f"u-{n}"}))["sub"] == f"u-{n}"
        assert len(verifier._seen) <= 4


def test_tokens_that_do_not_hold_are_counted_by_what_was_wrong(jwks: FixedKeys) -> None:
    verifier = JwtVerifier(jwks, now=Clock())
    for token in (signed({"exp": NOW - 60}), signed({"exp": NOW - 60}), "garbage"):
        with pytest.raises(TokenError):
            verifier.verify(token)
    verifier.verify(signed())
    assert verifier.rejected == {"the token has expired": 2, "the token does not verify": 1}
