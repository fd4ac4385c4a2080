"""Identity tokens: the keys of a JWKS and a compact JWT in, verified claims out.

Signature and encoding are joserfc's; which key, which algorithm and which times count is said here. Only algorithms
with a public key are taken, so a token can never be signed with what a key set publishes.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from residency.errors import KeysUnavailable, TokenError, UsageError

__all__ = ["ALGORITHMS", "MAX_TOKEN", "FixedKeys", "JwtVerifier", "KeySource", "PublicKey", "parse_jwks"]

ALGORITHMS: Final = frozenset(
    {"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"}
)
"""What may be asked for: signatures that a public key verifies."""
MAX_TOKEN: Final = 8192
"""Bytes of the longest token that is looked at."""

_CACHE: Final = 4096
_BAD: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What joserfc and json raise on bytes that a stranger chose."""
_RSA_BITS: Final = 2048  # RFC 7518 section 3.3: a key of this size or larger MUST be used
_CURVES: Final = frozenset({"P-256", "P-384", "P-521", "Ed25519", "Ed448"})

PublicKey = ECKey | OKPKey | RSAKey
_Claims = tuple[Mapping[str, object], float | None, float | None]  # with not before and expires, in seconds


class KeySource(Protocol):
    """Where the verifier's keys come from. What it answers may change between two tokens."""

    def keys(self) -> tuple[PublicKey, ...]:
        """The keys that hold now: the same object for as long as they do not change.

        Raises: KeysUnavailable where they are too old to be believed.
        """

    def wake(self) -> None:
        """A token names a key that is not there: look again soon. Never waits."""


class FixedKeys:
    """A `KeySource` whose keys never change: of tests, and of who reads a key set once."""

    def __init__(self, keys: tuple[PublicKey, ...]) -> None:
        self._keys = keys

    def keys(self) -> tuple[PublicKey, ...]:
        """The keys."""
        return self._keys

    def wake(self) -> None:
        """Nothing: there is nowhere to look."""


class _Registry(JWSRegistry):
    """joserfc's, but for where it is stricter than the RFCs."""

    max_header_length = MAX_TOKEN  # certificates may stand in it

    def __init__(self, algorithms: Sequence[str]) -> None:
        # Header parameters that nobody knows must be ignored (RFC 7515 section 4); gateways add their own.
        super().__init__(algorithms=list(algorithms), strict_check_header=False)

    def get_alg(self, name: str) -> Any:  # the library does not export the type
        """The algorithm, without the warning that joserfc gives for `EdDSA`, once for every token."""
        if self.allowed is None or name not in self.allowed:
            raise TokenError("the token's algorithm is not one that this deployment takes")
        return self.algorithms[name]


class JwtVerifier:
    """Verifies compact JWTs against the keys of `source`, asked anew for each token.

    `now` answers microseconds since the epoch, UTC; `leeway` is in seconds. `require_exp=False` takes tokens that
    never expire. Safe from any thread.

    Raises: UsageError for an algorithm that no public key verifies.
    """

    def __init__(
        self,
        source: KeySource,
        *,
        now: Callable[[], int],
        algorithms: Sequence[str] = ("ES256",),
        issuer: str | None = None,
        audience: str | None = None,
        leeway: int = 30,
        require_exp: bool = True,
    ) -> None:
        if not algorithms or not ALGORITHMS.issuperset(algorithms):
            raise UsageError(f"JWT algorithms are one or more of {', '.join(sorted(ALGORITHMS))}")
        self._source = source
        self.rejected: dict[str, int] = {}
        """How many tokens were refused, by what was wrong with them."""
        self._algorithms = tuple(algorithms)
        self._registry = _Registry(algorithms)
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._require_exp = require_exp
        self._now = now
        # Verified tokens only, so strangers cannot fill it; of these keys only, so that a withdrawn key takes its
        # tokens along. Replaced as one, so that a thread that verified by old keys fills what nobody reads any more.
        self._seen: tuple[tuple[PublicKey, ...], dict[bytes, _Claims]] = ((), {})

    def verify(self, token: bytes | str) -> Mapping[str, object]:
        """The claims of `token`, read-only.

        Raises: TokenError, which says what is wrong and never shows the token; KeysUnavailable where there are no keys
        that could be believed, which is not the token's doing.
        """
        try:
            return self._known(token)
        except TokenError as error:
            # Few sentences, none of which shows the token: fit to be counted by.
            self.rejected[str(error)] = self.rejected.get(str(error), 0) + 1
            raise

    def _known(self, token: bytes | str) -> Mapping[str, object]:
        try:
            raw = token.encode("ascii") if isinstance(token, str) else token
        except UnicodeEncodeError:
            raise TokenError("the token is not ASCII") from None
        keys = self._source.keys()
        if keys is not self._seen[0]:
            self._seen = (keys, {})
        cache = self._seen[1]
        known = cache.get(raw)
        if known is None:
            known = self._verified(raw, keys)
            self._in_time(*known[1:])
            if len(cache) >= _CACHE:
                cache.clear()
            cache[raw] = known
        else:
            self._in_time(*known[1:])
        return known[0]

    def _in_time(self, starts: float | None, ends: float | None) -> None:
        now = self._now() / 1_000_000
        if ends is not None and now >= ends + self._leeway:
            raise TokenError("the token has expired")
        if starts is not None and now < starts - self._leeway:
            raise TokenError("the token is not valid yet")

    def _verified(self, raw: bytes, keys: tuple[PublicKey, ...]) -> _Claims:
        # 1. Size, before anything is parsed.
        if len(raw) > MAX_TOKEN:
            raise TokenError(f"the token is longer than {MAX_TOKEN} bytes")
        try:
            # 2. The header names an algorithm of ours and, where there is a choice, the key.
            header = jws.extract_compact(raw, registry=self._registry).headers()
            key = self._key(header.get("alg"), header.get("kid"), keys)
            # 3. The signature, by that key alone; by its own algorithm, where the key set names one.
            claims = jwt.decode(raw, key, registry=self._registry).claims
        except _BAD:
            # `from None`: the library's message may quote the token.
            raise TokenError("the token does not verify") from None
        # 4. Who issued it, for whom, and when.
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise TokenError("the token is from another issuer")
        if self._audience is not None:
            audience = claims.get("aud")
            if self._audience not in (audience if isinstance(audience, list) else [audience]):
                raise TokenError("the token is for another audience")
        ends = _seconds(claims, "exp")
        if ends is None and self._require_exp:
            raise TokenError("the token has no expiry")
        return MappingProxyType(claims), _seconds(claims, "nbf"), ends

    def _key(self, algorithm: object, kid: object, keys: tuple[PublicKey, ...]) -> PublicKey:
        if algorithm not in self._algorithms:
            raise TokenError("the token's algorithm is not one that this deployment takes")
        if kid is None and len(keys) == 1:
            return keys[0]
        found = [key for key in keys if kid is not None and key.kid == kid]
        if not found and isinstance(kid, str):
            self._source.wake()  # perhaps its issuer has changed keys
        if len(found) != 1:
            raise TokenError("the token names no key that this deployment knows")
        return found[0]


def _seconds(claims: Mapping[str, object], name: str) -> float | None:
    """A NumericDate claim; None where it is absent. Raises TokenError where it is no finite number."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise TokenError(f"the token's `{name}` is not a time")
    return value


def parse_jwks(data: bytes, what: str) -> tuple[PublicKey, ...]:
    """The public keys of a JWKS that may sign; `what` names it in messages.

    Raises: KeysUnavailable where it cannot be read, or holds what must not be published, or nothing that verifies.
    """
    try:
        listed = json.loads(data)["keys"]
        kinds = [key.get("kty") for key in listed]
        private = any("d" in key for key in listed)
        weak = any(kind == "RSA" and _bits(key) < _RSA_BITS for kind, key in zip(kinds, listed, strict=True))
        keys = tuple(map(_key, filter(_ours, listed))) if not private and not weak else ()
    except _BAD:
        raise KeysUnavailable(f"{what} cannot be read as a set of keys") from None
    if "oct" in kinds:
        raise KeysUnavailable(f"{what} holds a shared secret: only public keys may verify")
    if private:
        raise KeysUnavailable(f"{what} holds a private key: publish its public half only")
    if weak:
        raise KeysUnavailable(f"{what} holds an RSA key of less than {_RSA_BITS} bits")
    if not keys:
        raise KeysUnavailable(f"{what} holds no key that verifies signatures")
    return keys


def _ours(key: Mapping[str, Any]) -> bool:
    """RFC 7517 section 5: what is not understood is left out; so is what is there to encrypt (Keycloak lists both)."""
    known = key.get("kty") == "RSA" or (key.get("kty") in ("EC", "OKP") and key.get("crv", "P-256") in _CURVES)
    return known and key.get("use", "sig") == "sig" and "verify" in key.get("key_ops", ["verify"])


def _bits(key: Mapping[str, str]) -> int:
    return int.from_bytes(urlsafe_b64decode(key["n"] + "=="), "big").bit_length()


def _key(listed: dict[str, Any]) -> PublicKey:
    key = JWKRegistry.import_key(listed)
    if not isinstance(key, ECKey | OKPKey | RSAKey):
        raise TypeError
    key.ensure_kid()  # a key without one is known by its thumbprint
    return key
