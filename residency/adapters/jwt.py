"""Identity tokens: a JWKS file and a compact JWT in, verified claims out.

Signature and encoding are joserfc's; which key, which algorithm and which times count is said here. Only algorithms
with a public key are taken, so a token can never be signed with what this file publishes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from residency.errors import KeysUnavailable, TokenError, UsageError

__all__ = ["ALGORITHMS", "MAX_TOKEN", "JwtVerifier"]

ALGORITHMS: Final = frozenset(
    {"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"}
)
"""What may be asked for: signatures that a public key verifies."""
MAX_TOKEN: Final = 8192
"""Bytes of the longest token that is looked at."""

_CACHE: Final = 4096
_BAD: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What joserfc and json raise on bytes that a stranger chose."""

PublicKey = ECKey | OKPKey | RSAKey


class JwtVerifier:
    """Verifies compact JWTs against the keys of one JWKS file, read at construction.

    `now` answers microseconds since the epoch, UTC; `leeway` is in seconds. `require_exp=False` takes tokens that
    never expire. Raises KeysUnavailable for a file that is missing or holds no usable public key, UsageError for an
    algorithm that no public key verifies.
    """

    def __init__(
        self,
        jwks_path: Path,
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
        self._keys = _read(jwks_path)
        self._algorithms = tuple(algorithms)
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._require_exp = require_exp
        self._now = now
        # Verified tokens only, so strangers cannot fill it: (claims, not before, expires), in seconds.
        self._seen: dict[bytes, tuple[Mapping[str, object], float | None, float | None]] = {}

    def verify(self, token: bytes | str) -> Mapping[str, object]:
        """The claims of `token`, read-only. Raises TokenError, which says what is wrong and never shows the token."""
        try:
            raw = token.encode("ascii") if isinstance(token, str) else token
        except UnicodeEncodeError:
            raise TokenError("the token is not ASCII") from None
        known = self._seen.get(raw)
        if known is None:
            known = self._verified(raw)
            self._in_time(*known[1:])
            if len(self._seen) >= _CACHE:
                self._seen.clear()
            self._seen[raw] = known
        else:
            self._in_time(*known[1:])
        return known[0]

    def _in_time(self, starts: float | None, ends: float | None) -> None:
        now = self._now() / 1_000_000
        if ends is not None and now >= ends + self._leeway:
            raise TokenError("the token has expired")
        if starts is not None and now < starts - self._leeway:
            raise TokenError("the token is not valid yet")

    def _verified(self, raw: bytes) -> tuple[Mapping[str, object], float | None, float | None]:
        # 1. Size, before anything is parsed.
        if len(raw) > MAX_TOKEN:
            raise TokenError(f"the token is longer than {MAX_TOKEN} bytes")
        try:
            # 2. The header names an algorithm of ours and, where there is a choice, the key.
            header = jws.extract_compact(raw).headers()
            key = self._key(header.get("alg"), header.get("kid"))
            # 3. The signature, by that key alone.
            claims = jwt.decode(raw, key, algorithms=list(self._algorithms)).claims
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

    def _key(self, algorithm: object, kid: object) -> PublicKey:
        if algorithm not in self._algorithms:
            raise TokenError("the token's algorithm is not one that this deployment takes")
        if kid is None and len(self._keys) == 1:
            return self._keys[0]
        found = [key for key in self._keys if kid is not None and key.kid == kid]
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


def _read(path: Path) -> tuple[PublicKey, ...]:
    """The public keys of a JWKS file. Raises KeysUnavailable, naming the file without its folder."""
    try:
        document = json.loads(path.read_bytes())
        listed = document["keys"]
        # RFC 7517 section 5: a key of a type that is not understood is left out.
        known = [JWKRegistry.import_key(k) for k in listed if k.get("kty") in ("EC", "OKP", "RSA", "oct")]
    except (OSError, *_BAD):
        raise KeysUnavailable(f"JWKS file `{path.name}` cannot be read") from None
    keys = [key for key in known if isinstance(key, ECKey | OKPKey | RSAKey)]
    if len(keys) != len(known):
        raise KeysUnavailable(f"JWKS file `{path.name}` holds a shared secret: only public keys may verify")
    if any(key.is_private for key in keys):
        raise KeysUnavailable(f"JWKS file `{path.name}` holds a private key: publish its public half only")
    if not keys:
        raise KeysUnavailable(f"JWKS file `{path.name}` holds no key")
    for key in keys:
        key.ensure_kid()  # a key without one is known by its thumbprint
    return tuple(keys)
