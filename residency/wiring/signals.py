"""What a deployment says of signals in; the strategy, tables and verifiers that serve it, not started, out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from residency.adapters import mmdb
from residency.adapters.address_data import AddressData
from residency.adapters.address_tables import AddressTables, PackagedTable, Sources
from residency.adapters.jwks import Jwks, check_url, is_url, jwks_file, jwks_url
from residency.adapters.jwt import JwtVerifier, PublicKey, parse_jwks
from residency.enforcement.asking import Who, load_callable
from residency.enforcement.ports import Clock
from residency.enforcement.request import Identifying
from residency.errors import AddressDataUnavailable, KeysUnavailable, PolicyError, UsageError
from residency.policy.parsed import DeploymentDoc
from residency.policy.parsed_signals import ClientAddressDoc, JwtDoc
from residency.signals.address import strategy_named
from residency.signals.identity import ClaimMap
from residency.signals.inet import Ranges
from residency.signals.peer import Strategy
from residency.wiring.problems import problem_at

__all__ = [
    "address_data", "check_keys", "claim_map", "identifying", "identity_keys", "place_of", "strategy_of",
    "trusted_ranges", "who",
]  # fmt: skip

_NO_AGE: Final = 2**62
_ROLES: Final = {
    "second": ("signals", "geoip", "second"),
    "list": ("signals", "networks", "lists"),
    "anonymous_ip": ("signals", "networks", "anonymous_ip"),
    "asn": ("signals", "networks", "asn"),
}
"""Where the deployment names each source of address data, beside the first."""
Keys = Jwks[tuple[PublicKey, ...]]
PathOf = Callable[[str], Path]


def place_of(error: Exception) -> tuple[str, ...] | None:
    """Where the deployment names the source of address data that `error` is of; None where it is of no such source."""
    role = error.role if isinstance(error, AddressDataUnavailable) else None
    return None if role is None else _ROLES.get(role)


def strategy_of(doc: ClientAddressDoc) -> Strategy:
    """How the client's address is found."""
    trusted = Ranges(doc.trusted) if doc.trusted else None
    return strategy_named(doc.strategy, header=doc.header, trusted=trusted, count=doc.count, unix=doc.unix)


def trusted_ranges(doc: ClientAddressDoc) -> Ranges | None:
    """The ranges of our own proxies; None where there are none."""
    return Ranges(doc.trusted) if doc.trusted else None


def check_keys(deployment: DeploymentDoc) -> None:
    """Raises: PolicyError where the deployment's `jwks` is a URL that keys may not be fetched from."""
    jwt = deployment.signals.identity.jwt
    if jwt is None or not is_url(jwt.jwks):
        return
    try:
        check_url(jwt.jwks)
    except KeysUnavailable as error:
        raise PolicyError((problem_at(deployment, ("signals", "identity", "jwt", "jwks"), error),)) from error


def address_data(deployment: DeploymentDoc, path_of: PathOf, now: Callable[[], int]) -> AddressData[Any]:
    """What the network says of addresses: not open and not watched yet.

    Raises: AddressDataUnavailable for a source that cannot be read; what is in it shows when it is opened.
    """
    geoip = deployment.signals.geoip
    sources = _sources(deployment, path_of)
    if sources is None:
        tables: Any = PackagedTable(mmdb.EMBEDDED_TABLE)
    else:
        for role, path in sources.files():
            if not os.access(path, os.R_OK):
                raise AddressDataUnavailable(f"address data ({role}) `{path.name}` cannot be read", role)
        tables = AddressTables(sources, path_of(geoip.tables), mmdb)
    return AddressData(
        tables,
        now=now,
        max_age=_NO_AGE if geoip.max_age is None else geoip.max_age,
        stale=geoip.stale,
        max_change=geoip.max_change,
        check_every=geoip.check_every,
    )


def _sources(deployment: DeploymentDoc, path_of: PathOf) -> Sources | None:
    """The files that a table is to be made of; None where the one that ships, as it is, does."""
    geoip, networks = deployment.signals.geoip, deployment.signals.networks
    named = (geoip.database, geoip.second, networks.anonymous_ip, networks.asn)
    if named == (None,) * len(named) and not networks.lists:
        return None
    database, second, anonymous_ip, asn = (None if name is None else path_of(name) for name in named)
    return Sources(
        database=mmdb.EMBEDDED if database is None else database,
        second=second,
        lists=tuple(path_of(path) for path in networks.lists),
        anonymous_ip=anonymous_ip,
        asn=asn,
    )


def identity_keys(doc: JwtDoc, path_of: PathOf, monotonic: Callable[[], int]) -> Keys:
    """Where the keys of identity tokens come from: a file, read now; or a URL, fetched when started.

    Raises: KeysUnavailable.
    """
    if is_url(doc.jwks):
        return jwks_url(doc.jwks, parse_jwks, monotonic=monotonic, refresh=doc.refresh, stale_for=doc.stale_for)
    return jwks_file(path_of(doc.jwks), parse_jwks, monotonic=monotonic, stale_for=doc.stale_for)


def claim_map(doc: JwtDoc | None) -> ClaimMap:
    """Which claims of a token carry what."""
    return ClaimMap() if doc is None else ClaimMap(subject=doc.subject, **doc.claims)


def identifying(deployment: DeploymentDoc, keys: Keys | None, clock: Clock) -> Identifying:
    """Where identity comes from in each request."""
    doc = deployment.signals.identity
    jwt, session = doc.jwt, doc.session
    verifier = None
    if jwt is not None and keys is not None:
        verifier = JwtVerifier(keys, algorithms=jwt.algorithms, issuer=jwt.issuer, audience=jwt.audience, now=clock.now)
    return Identifying(
        verifier,
        claim_map(jwt),
        doc.user,
        header=b"authorization" if jwt is None else jwt.header.encode(),
        session=None if session is None else ClaimMap(subject=session.subject, **session.claims),
        session_trust=None if session is None else session.trust,
    )


def who(deployment: DeploymentDoc) -> Who | None:
    """The app's own callable that knows who asks. Raises: PolicyError where it cannot be had."""
    target = deployment.signals.identity.callable
    if target is None:
        return None
    try:
        return load_callable(target)
    except UsageError as error:
        raise PolicyError((problem_at(deployment, ("signals", "identity", "callable"), error),)) from error
